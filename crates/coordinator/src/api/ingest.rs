//! Streams into a vault: parsed here, decided in [`crate::ingest`].

use super::{caller, refuse, render};
use crate::{
    agents::history,
    house::House,
    ingest::{Assembly, Finish, Pace, WriteSession, insist_on_bounds},
    keys::custody::id_key,
};
use bytes::Bytes;
use holdfast_common::{AgentId, ChunkKind, Code, Error, PointId, Result, limits};
use holdfast_keyring::VaultKeys;
use holdfast_repository::PointObject;
use holdfast_runtime::tasks::{OnError, Tasks};
use holdfast_wire::{
    parse,
    status::from_status,
    v1::{self, ingest_server::Ingest, put_request::Part},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::oneshot;
use tonic::{Request, Response, Status, Streaming};

pub(crate) struct IngestService {
    pub(crate) house: Arc<House>,
    pub(crate) tasks: Tasks,
}

#[tonic::async_trait]
impl Ingest for IngestService {
    async fn begin(
        &self,
        request: Request<v1::BeginRequest>,
    ) -> Result<Response<v1::BeginResponse>, Status> {
        let agent = caller(&request).agent().map_err(refuse)?;
        self.begun(agent, &request.into_inner()).await.map(Response::new).map_err(refuse)
    }

    async fn offer(
        &self,
        request: Request<v1::OfferRequest>,
    ) -> Result<Response<v1::OfferResponse>, Status> {
        let agent = caller(&request).agent().map_err(refuse)?;
        self.offered(agent, &request.into_inner()).await.map(Response::new).map_err(refuse)
    }

    async fn put(
        &self,
        request: Request<Streaming<v1::PutRequest>>,
    ) -> Result<Response<v1::PutResponse>, Status> {
        let agent = caller(&request).agent().map_err(refuse)?;
        self.received(agent, request.into_inner()).await.map(Response::new).map_err(refuse)
    }

    async fn renew(
        &self,
        request: Request<v1::RenewSessionRequest>,
    ) -> Result<Response<v1::RenewSessionResponse>, Status> {
        let agent = caller(&request).agent().map_err(refuse)?;
        let renewed = async {
            let session = self.session(agent, &request.get_ref().session_id)?;
            self.house.renew(&session).await
        };
        let cancelled = renewed.await.map_err(refuse)?;
        Ok(Response::new(v1::RenewSessionResponse { cancelled }))
    }

    async fn checkpoint(
        &self,
        request: Request<v1::FinishRequest>,
    ) -> Result<Response<v1::FinishResponse>, Status> {
        let agent = caller(&request).agent().map_err(refuse)?;
        self.finished(agent, request.into_inner(), true).await.map(Response::new).map_err(refuse)
    }

    async fn finish(
        &self,
        request: Request<v1::FinishRequest>,
    ) -> Result<Response<v1::FinishResponse>, Status> {
        let agent = caller(&request).agent().map_err(refuse)?;
        self.finished(agent, request.into_inner(), false).await.map(Response::new).map_err(refuse)
    }
}

impl IngestService {
    fn session(&self, agent: AgentId, id: &[u8]) -> Result<Arc<WriteSession>> {
        self.house.session(&agent, &parse::session_id(id)?)
    }

    async fn begun(&self, agent: AgentId, request: &v1::BeginRequest) -> Result<v1::BeginResponse> {
        if let Err(error) = self.house.catch_up_with_kek().await {
            tracing::debug!(%error, "sealed to keys that are open here, if they are the newest");
        }
        let session = self.house.begin(agent, parse::run_id(&request.run_id)?).await?;
        let vault = self.house.vault(&session.row.vault)?;
        let version = vault.row.key_version;
        let (key, scope) = id_key(&vault.custody, &vault.row, &agent);
        let keys = vault.custody.keys();
        Ok(v1::BeginResponse {
            session_id: Bytes::copy_from_slice(session.row.id.as_bytes()),
            lease_ms: limits::SESSION_LEASE_SECS * 1000,
            vault_id: Bytes::copy_from_slice(vault.row.id.as_bytes()),
            vault_key_version: version,
            vault_public: Bytes::copy_from_slice(&keys.public(version)?.key),
            index_key_version: version,
            index_public: Bytes::copy_from_slice(&keys.index_public(version)?.key),
            id_key: Bytes::copy_from_slice(key.secret().expose()),
            id_scope: u32::from(scope),
            chunking_key: Bytes::copy_from_slice(keys.chunking().secret().expose()),
            chunks: Some(render::chunk_parameters()),
            previous_point: session.row.previous.map(|p| Bytes::copy_from_slice(p.as_bytes())),
            point_id: Bytes::copy_from_slice(session.row.point.as_bytes()),
            successions: successions(&keys, version),
        })
    }

    async fn offered(
        &self,
        agent: AgentId,
        request: &v1::OfferRequest,
    ) -> Result<v1::OfferResponse> {
        let session = self.session(agent, &request.session_id)?;
        let kind = kind(request.kind)?;
        let ids = parse::chunk_ids(&request.ids, limits::OFFER_CHUNKS_MAX)?;
        insist_on_bounds(&ids)?;
        // The index is mapped: a look-up may wait for a disk.
        let house = self.house.clone();
        let offer = move || house.offer(&session, kind, &ids);
        let wanted = self.tasks.run_blocking("offer", offer).await?;
        Ok(v1::OfferResponse { wanted })
    }

    async fn received(
        &self,
        agent: AgentId,
        mut parts: Streaming<v1::PutRequest>,
    ) -> Result<v1::PutResponse> {
        let _turn = self.house.turn_to_send(agent).await?;
        let now = || self.house.clock.elapsed();
        let first = next_part(&mut parts, Pace::new(now()).patience(now())).await?;
        let Some(Part::Header(header)) = first else {
            return Err(Error::new(Code::UsageMalformed, "a pack begins with its header"));
        };
        let session = self.session(agent, &header.session_id)?;
        let id = parse::pack_id(&header.pack_id)?;
        let mut assembly = Assembly::new(header.length, &self.house.shelf)?;
        let share = self.house.incoming.reserve(header.length as usize).await?;
        let mut pace = Pace::new(now());
        while let Some(part) = next_part(&mut parts, pace.patience(now())).await? {
            match part {
                Part::Data(data) => {
                    pace.came(data.len(), now());
                    assembly.push(&data)?;
                }
                Part::Header(_) => {
                    return Err(Error::new(Code::UsageMalformed, "a pack has one header"));
                }
            }
        }
        let (house, bytes) = (self.house.clone(), assembly.finish()?);
        let put = async move {
            let _share = share;
            house.put_pack(&session, id, bytes).await
        };
        self.to_its_end("put", put).await?;
        Ok(v1::PutResponse {})
    }

    async fn finished(
        &self,
        agent: AgentId,
        request: v1::FinishRequest,
        checkpoint: bool,
    ) -> Result<v1::FinishResponse> {
        let again = request.clone();
        match self.commit(agent, request, checkpoint).await {
            Err(error) if error.code == Code::SessionMissing => {
                self.committed_before(agent, again).await?.ok_or(error)
            }
            ended => ended,
        }
    }

    async fn commit(
        &self,
        agent: AgentId,
        request: v1::FinishRequest,
        checkpoint: bool,
    ) -> Result<v1::FinishResponse> {
        let session = self.session(agent, &request.session_id)?;
        let finish = Finish {
            record: request.record,
            signature: parse::array("the signature", &request.signature)?,
            inline: request.inline_packs,
            counts: render::counts_from_wire(&request.counts.unwrap_or_default()),
        };
        let house = self.house.clone();
        let finish = async move { house.finish(&session, finish, checkpoint).await };
        Ok(self.told(&self.to_its_end("finish", finish).await?))
    }

    /// Goes on when the caller goes away: what is stored or committed must also be in the index.
    async fn to_its_end<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (tell, ended) = oneshot::channel();
        self.tasks.spawn(what, OnError::Log, async move {
            let _unheard = tell.send(work.await);
            Ok(())
        });
        ended.await.map_err(|_| {
            Error::new(Code::ClusterUnreachable, "this coordinator is shutting down")
        })?
    }

    fn told(&self, point: &PointId) -> v1::FinishResponse {
        let point_id = Bytes::copy_from_slice(point.as_bytes());
        v1::FinishResponse { point_id, told: self.house.shipping.told().map(history::render) }
    }

    /// The answer to a `Finish` whose first answer was lost: the point is there already, and is to
    /// the byte what was sent again.
    async fn committed_before(
        &self,
        agent: AgentId,
        request: v1::FinishRequest,
    ) -> Result<Option<v1::FinishResponse>> {
        let signature = parse::array("the signature", &request.signature)?;
        let sent = PointObject::new(request.record, signature, request.inline_packs);
        let Ok(object) = sent else { return Ok(None) };
        let record = object.record();
        let Ok(point) = self.house.ledger.query().point(&record.point) else { return Ok(None) };
        let hash = blake3::hash(&object.to_object());
        if point.agent != agent || point.run != record.run || hash != point.object_hash {
            return Ok(None);
        }
        let applied = *self.house.ledger.applied().borrow();
        self.house.shipped(applied).await?;
        Ok(Some(self.told(&point.id)))
    }
}

/// A sender that falls behind its pace gives its share of our memory back.
async fn next_part(
    parts: &mut Streaming<v1::PutRequest>,
    patience: Duration,
) -> Result<Option<Part>> {
    let next = tokio::time::timeout(patience, parts.message())
        .await
        .map_err(|_| Error::new(Code::ClusterBusy, "the pack came too slowly to keep its place"))?;
    match next.map_err(|status| from_status(&status))? {
        Some(request) => parse::required("a part", request.part).map(Some),
        None => Ok(None),
    }
}

/// How each version up to this one followed another: an agent goes from the one that it knows.
fn successions(keys: &VaultKeys, newest: u32) -> Vec<v1::KeySuccession> {
    let chain = keys.chain().into_iter().filter(|(_, public)| public.version <= newest);
    let shown = chain.map(|(made, public)| v1::KeySuccession {
        before: made.before,
        version: public.version,
        vault_public: Bytes::copy_from_slice(&public.key),
        signature: Bytes::copy_from_slice(&made.signature),
    });
    shown.collect()
}

pub(super) fn kind(number: u32) -> Result<ChunkKind> {
    u8::try_from(number).unwrap_or(u8::MAX).try_into()
}
