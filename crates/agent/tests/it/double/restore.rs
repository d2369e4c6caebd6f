//! The read side, custodian included.

use super::{CHUNKS, Double};
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use holdfast_common::{ChunkId, ChunkKind, Code, Error, Result, SessionId, SystemEntropy, limits};
use holdfast_keyring::{ChunkKey, GrantSender};
use holdfast_wire::v1;
use holdfast_wire::{parse, status::to_status};
use std::sync::Arc;
use tonic::{Request, Response, Status};

pub(crate) struct Service(pub(crate) Arc<Double>);

#[tonic::async_trait]
impl v1::restore_server::Restore for Service {
    type FetchStream = BoxStream<'static, Result<v1::FetchResponse, Status>>;

    async fn open(
        &self,
        request: Request<v1::OpenPointRequest>,
    ) -> Result<Response<v1::OpenPointResponse>, Status> {
        self.opened(request.get_ref()).map(Response::new).map_err(|error| to_status(&error))
    }

    async fn fetch(
        &self,
        request: Request<v1::FetchRequest>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        let answers = self.fetched(request.get_ref()).map_err(|error| to_status(&error))?;
        Ok(Response::new(stream::iter(answers).boxed()))
    }

    async fn close(
        &self,
        request: Request<v1::ClosePointRequest>,
    ) -> Result<Response<v1::ClosePointResponse>, Status> {
        let id = parse::session_id(&request.get_ref().read_session).unwrap();
        let mut inner = self.0.inner();
        assert!(inner.reads.remove(&id).is_some());
        inner.reads_closed += 1;
        Ok(Response::new(v1::ClosePointResponse {}))
    }

    async fn keep(
        &self,
        request: Request<v1::KeepPointRequest>,
    ) -> Result<Response<v1::KeepPointResponse>, Status> {
        let id = parse::session_id(&request.get_ref().read_session).unwrap();
        assert!(self.0.inner().reads.contains_key(&id));
        Ok(Response::new(v1::KeepPointResponse {}))
    }

    async fn end(
        &self,
        _: Request<v1::EndRestoreRequest>,
    ) -> Result<Response<v1::EndRestoreResponse>, Status> {
        Err(to_status(&Error::new(Code::AuthDenied, "an agent tells its end on its line")))
    }

    async fn unread(
        &self,
        _: Request<v1::UnreadRequest>,
    ) -> Result<Response<v1::UnreadResponse>, Status> {
        Err(to_status(&Error::new(Code::AuthDenied, "the session is of no verification")))
    }

    async fn conclude(
        &self,
        _: Request<v1::ConcludeRequest>,
    ) -> Result<Response<v1::ConcludeResponse>, Status> {
        Err(to_status(&Error::new(Code::AuthDenied, "the session is of no verification")))
    }
}

impl Service {
    fn opened(&self, request: &v1::OpenPointRequest) -> Result<v1::OpenPointResponse> {
        let point = parse::point_id(&request.point_id)?;
        let public = parse::array("the key", &request.one_time_public)?;
        let mut inner = self.0.inner();
        let committed = inner.points.iter().find(|committed| committed.point == point).cloned();
        let committed =
            committed.ok_or_else(|| Error::new(Code::PointMissing, format!("no point {point}")))?;
        let (grant, opening) =
            GrantSender::open_to(&public, b"holdfast restore v1", &SystemEntropy)?;
        let key = ChunkKey::from_slice(self.0.ids().secret().expose())?;
        let id_key = grant.mask(&ChunkId::from_bytes([0; 32]), &key, &SystemEntropy);
        let id = SessionId::random(&SystemEntropy);
        inner.reads.insert(id, Arc::new(grant));
        Ok(v1::OpenPointResponse {
            read_session: Bytes::copy_from_slice(id.as_bytes()),
            record: committed.record,
            signature: committed.signature,
            identity_public: Bytes::copy_from_slice(self.0.identity().as_bytes()),
            grant: opening.into(),
            id_key: id_key.into(),
            chunks: Some(CHUNKS),
        })
    }

    fn fetched(
        &self,
        request: &v1::FetchRequest,
    ) -> Result<Vec<Result<v1::FetchResponse, Status>>> {
        let id = parse::session_id(&request.read_session)?;
        let kind = ChunkKind::try_from(request.kind as u8)?;
        let ids = parse::chunk_ids(&request.ids, limits::FETCH_CHUNKS_MAX)?;
        let mut inner = self.0.inner();
        let grant = inner.reads.get(&id).cloned();
        let grant =
            grant.ok_or_else(|| Error::new(Code::SessionMissing, "no such read session"))?;
        let wrong_keys = inner.faults.wrong_keys;
        // Backwards: the order of answers is nobody's promise.
        let mut answers: Vec<_> = (0u32..).zip(&ids).collect();
        answers.reverse();
        let cut = inner.faults.cut_fetches > 0 && answers.len() > 1;
        if cut {
            inner.faults.cut_fetches -= 1;
            answers.truncate(answers.len() / 2);
        }
        let is_loading = kind == ChunkKind::Data && inner.faults.loading_fetches > 0;
        inner.faults.loading_fetches -= usize::from(is_loading);
        let mut out: Vec<_> = answers
            .into_iter()
            .map(|(position, id)| {
                let stored = inner.chunks.get(&(kind, *id)).cloned();
                let chunk = match stored {
                    _ if is_loading && position % 2 == 0 => {
                        let mut error = Error::new(Code::IndexLoading, "the index is not whole");
                        error.cause = inner.faults.loading_cause.map(str::to_owned);
                        v1::FetchedChunk {
                            position,
                            error: Some((&error).into()),
                            ..Default::default()
                        }
                    }
                    _ if inner.faults.copies_away && request.copy > 0 => {
                        // One pack in two locations: the second one does not answer.
                        let error = match request.copy {
                            1 => Error::new(Code::PackDamaged, "the first location"),
                            2 => Error::new(Code::LocationIoFailed, "the location is away"),
                            _ => Error::new(Code::ChunkMissing, "there is no other copy"),
                        };
                        v1::FetchedChunk {
                            position,
                            error: Some((&error).into()),
                            ..Default::default()
                        }
                    }
                    Some(stored) => {
                        let key = self.0.data_key(&stored.capsule).chunk_key(
                            kind,
                            &if wrong_keys { ChunkId::from_bytes([9; 32]) } else { *id },
                        );
                        let key = grant.mask(id, &key, &SystemEntropy).into();
                        v1::FetchedChunk { position, frame: stored.frame, key, error: None }
                    }
                    None => {
                        let error = Error::new(Code::ChunkMissing, "the chunk is in no location");
                        v1::FetchedChunk {
                            position,
                            error: Some((&error).into()),
                            ..Default::default()
                        }
                    }
                };
                Ok(v1::FetchResponse { chunks: vec![chunk] })
            })
            .collect();
        if cut {
            out.push(Err(Status::unavailable("the line was cut")));
        }
        Ok(out)
    }
}
