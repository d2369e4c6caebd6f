//! The write side, as strict as the coordinator's.

use super::{CHUNKS, Committed, Double, Session};
use bytes::Bytes;
use holdfast_common::{ChunkKind, Code, Error, PointId, Result, SessionId, SystemEntropy, limits};
use holdfast_repository::PointObject;
use holdfast_repository::point::PointState;
use holdfast_wire::v1::{self, put_request::Part};
use holdfast_wire::{parse, status::to_status};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tonic::{Request, Response, Status, Streaming};

pub(crate) struct Service(pub(crate) Arc<Double>);

fn refuse(error: Error) -> Status {
    to_status(&error)
}

#[tonic::async_trait]
impl v1::ingest_server::Ingest for Service {
    async fn begin(
        &self,
        request: Request<v1::BeginRequest>,
    ) -> Result<Response<v1::BeginResponse>, Status> {
        let run = parse::run_id(&request.get_ref().run_id).map_err(refuse)?;
        let (session, point) = (SessionId::random(&SystemEntropy), PointId::random(&SystemEntropy));
        let double = &self.0;
        let mut inner = double.inner();
        inner.begins += 1;
        inner.sessions.retain(|_, old| old.run != run);
        let previous = inner.newest;
        inner.sessions.insert(session, Session { run, point, previous });
        let (vault, index) = (double.vault_key.public(), double.index_key.public());
        let key = inner.faults.foreign_key.unwrap_or(vault.key);
        Ok(Response::new(v1::BeginResponse {
            session_id: Bytes::copy_from_slice(session.as_bytes()),
            lease_ms: 20_000,
            vault_id: Bytes::copy_from_slice(double.vault.as_bytes()),
            vault_key_version: vault.version,
            vault_public: Bytes::copy_from_slice(&key),
            index_key_version: index.version,
            index_public: Bytes::copy_from_slice(&index.key),
            id_key: Bytes::copy_from_slice(double.ids().secret().expose()),
            id_scope: 1,
            chunking_key: Bytes::copy_from_slice(double.chunking.secret().expose()),
            chunks: Some(CHUNKS),
            previous_point: previous.map(|point| Bytes::copy_from_slice(point.as_bytes())),
            point_id: Bytes::copy_from_slice(point.as_bytes()),
            successions: Vec::new(),
        }))
    }

    async fn offer(
        &self,
        request: Request<v1::OfferRequest>,
    ) -> Result<Response<v1::OfferResponse>, Status> {
        let request = request.get_ref();
        self.session(&request.session_id).map_err(refuse)?;
        let kind = ChunkKind::try_from(request.kind as u8).map_err(refuse)?;
        let ids = parse::chunk_ids(&request.ids, limits::OFFER_CHUNKS_MAX).map_err(refuse)?;
        let distinct: HashSet<_> = ids.iter().collect();
        if ids.is_empty() || distinct.len() != ids.len() {
            let message = "an offer names 1 to 1,024 distinct chunks";
            return Err(refuse(Error::new(Code::UsageMalformed, message)));
        }
        while self.0.inner().faults.hold_offers {
            tokio::time::sleep(HOLD_LOOK_INTERVAL).await;
        }
        let inner = self.0.inner();
        let held = |id: &holdfast_common::ChunkId| inner.chunks.contains_key(&(kind, *id));
        let wanted = (0u32..).zip(&ids).filter(|(_, id)| !held(id)).map(|(at, _)| at).collect();
        Ok(Response::new(v1::OfferResponse { wanted }))
    }

    async fn put(
        &self,
        request: Request<Streaming<v1::PutRequest>>,
    ) -> Result<Response<v1::PutResponse>, Status> {
        let mut parts = request.into_inner();
        let Some(Part::Header(header)) = parts.message().await?.and_then(|part| part.part) else {
            return Err(Status::invalid_argument("the first part is not a header"));
        };
        self.session(&header.session_id).map_err(refuse)?;
        let mut bytes = Vec::new();
        while let Some(part) = parts.message().await? {
            let Some(Part::Data(data)) = part.part else {
                return Err(Status::invalid_argument("a second header"));
            };
            assert!(data.len() <= limits::STREAM_FRAME_BYTES);
            bytes.extend_from_slice(&data);
        }
        assert_eq!(bytes.len(), header.length as usize);
        let number = {
            let mut inner = self.0.inner();
            inner.faults.packs_arrived += 1;
            inner.faults.packs_arrived
        };
        self.stumble(number).await?;
        let id = parse::pack_id(&header.pack_id).map_err(refuse)?;
        let kind = self.0.keep(id, bytes.into()).map_err(refuse)?;
        self.0.inner().packs.push((kind, id));
        if self.0.inner().faults.cut_after_packs.remove(&number) {
            self.0.wire.cut();
        }
        Ok(Response::new(v1::PutResponse {}))
    }

    async fn renew(
        &self,
        request: Request<v1::RenewSessionRequest>,
    ) -> Result<Response<v1::RenewSessionResponse>, Status> {
        let session = self.session(&request.get_ref().session_id).map_err(refuse)?;
        let cancelled = self.0.inner().cancelled.contains(&session.run);
        Ok(Response::new(v1::RenewSessionResponse { cancelled }))
    }

    async fn checkpoint(
        &self,
        request: Request<v1::FinishRequest>,
    ) -> Result<Response<v1::FinishResponse>, Status> {
        self.commit(request.into_inner(), true).map(Response::new).map_err(refuse)
    }

    async fn finish(
        &self,
        request: Request<v1::FinishRequest>,
    ) -> Result<Response<v1::FinishResponse>, Status> {
        self.commit(request.into_inner(), false).map(Response::new).map_err(refuse)
    }
}

impl Service {
    fn session(&self, id: &[u8]) -> Result<Session> {
        let id = parse::session_id(id)?;
        let session = self.0.inner().sessions.get(&id).cloned();
        session.ok_or_else(|| Error::new(Code::SessionMissing, "there is no such session"))
    }

    async fn stumble(&self, number: usize) -> Result<(), Status> {
        let (cut, stall) = {
            let mut inner = self.0.inner();
            if inner.faults.forget_at_packs.remove(&number) {
                inner.sessions.clear();
                let message = "this coordinator has no such session";
                return Err(refuse(Error::new(Code::SessionMissing, message)));
            }
            (inner.faults.cut_at_packs.remove(&number), inner.faults.stall_puts)
        };
        if cut {
            self.0.wire.cut();
            return Err(Status::unavailable("the line was cut"));
        }
        if stall {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    fn commit(&self, request: v1::FinishRequest, checkpoint: bool) -> Result<v1::FinishResponse> {
        let session = self.session(&request.session_id)?;
        let signature = parse::array("the signature", &request.signature)?;
        self.0.identity().verify_point(&request.record, &signature)?;
        let object =
            PointObject::new(request.record.clone(), signature, request.inline_packs.clone())?;
        let record = object.record().clone();
        assert_eq!(record.vault, self.0.vault);
        assert_eq!(record.run, session.run);
        assert_eq!(record.previous, session.previous);
        assert_eq!(record.state == PointState::Checkpoint, checkpoint);
        assert_eq!(record.point != session.point, checkpoint);
        for (id, bytes) in record.inline_packs.iter().zip(request.inline_packs) {
            let kind = self.0.keep(*id, bytes)?;
            self.0.inner().inline_packs.push(kind);
        }
        let mut inner = self.0.inner();
        if !inner.chunks.contains_key(&(ChunkKind::Page, record.root)) {
            return Err(Error::new(Code::ChunkMissing, "the root page is not stored"));
        }
        inner.points.push(Committed {
            point: record.point,
            record: request.record,
            signature: request.signature,
            checkpoint,
        });
        if !checkpoint {
            inner.newest = Some(record.point);
            inner.sessions.retain(|_, open| open.run != session.run);
        }
        let point_id = Bytes::copy_from_slice(record.point.as_bytes());
        Ok(v1::FinishResponse { point_id, told: None })
    }
}

const HOLD_LOOK_INTERVAL: Duration = Duration::from_millis(1);
