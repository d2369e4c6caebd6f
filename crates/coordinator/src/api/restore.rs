//! Streams out of a vault: parsed here, decided in [`crate::reading`].

use super::{caller, ingest::kind, refuse, render};
use crate::{
    house::House,
    reading::Given,
    reading::reader::{Batch, Reader},
    reading::restoring,
};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use holdfast_common::{Code, Error, PackId, Result, limits};
use holdfast_ledger::Actor;
use holdfast_runtime::{
    tasks::{OnError, Tasks},
    tls::ConnectInfo,
};
use holdfast_wire::{
    parse,
    v1::{self, restore_server::Restore},
};
use std::{pin::Pin, sync::Arc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Frames are gathered into messages of about this size.
const ANSWER_BYTES: usize = 256 * limits::KIB;

pub(crate) struct RestoreService {
    pub(crate) house: Arc<House>,
    pub(crate) tasks: Tasks,
}

type Answers = Pin<Box<dyn Stream<Item = Result<v1::FetchResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Restore for RestoreService {
    type FetchStream = Answers;

    async fn open(
        &self,
        request: Request<v1::OpenPointRequest>,
    ) -> Result<Response<v1::OpenPointResponse>, Status> {
        let actor = caller(&request).actor();
        self.opened(actor, request.into_inner()).await.map(Response::new).map_err(refuse)
    }

    async fn fetch(&self, request: Request<v1::FetchRequest>) -> Result<Response<Answers>, Status> {
        let actor = caller(&request).actor();
        let line = request.extensions().get::<ConnectInfo>().cloned();
        self.fetched(&actor, line, &request.into_inner()).await.map(Response::new).map_err(refuse)
    }

    async fn close(
        &self,
        request: Request<v1::ClosePointRequest>,
    ) -> Result<Response<v1::ClosePointResponse>, Status> {
        let actor = caller(&request).actor();
        let id = parse::session_id(&request.get_ref().read_session).map_err(refuse)?;
        self.house.close_point(&actor, &id).await.map_err(refuse)?;
        Ok(Response::new(v1::ClosePointResponse {}))
    }

    async fn keep(
        &self,
        request: Request<v1::KeepPointRequest>,
    ) -> Result<Response<v1::KeepPointResponse>, Status> {
        let actor = caller(&request).actor();
        let kept = async {
            let id = parse::session_id(&request.get_ref().read_session)?;
            let session = self.house.read_session(&actor, &id)?;
            self.house.keep_reading(&session).await
        };
        kept.await.map_err(refuse)?;
        Ok(Response::new(v1::KeepPointResponse {}))
    }

    async fn end(
        &self,
        request: Request<v1::EndRestoreRequest>,
    ) -> Result<Response<v1::EndRestoreResponse>, Status> {
        let actor = caller(&request).actor();
        let request = request.into_inner();
        let ended = async {
            let run = parse::run_id(&request.run_id)?;
            let restored = request.restored.unwrap_or_default();
            let error = request.error.map(Error::from);
            restoring::end(&self.house, actor, run, restored, error).await
        };
        ended.await.map_err(refuse)?;
        Ok(Response::new(v1::EndRestoreResponse {}))
    }

    async fn unread(
        &self,
        request: Request<v1::UnreadRequest>,
    ) -> Result<Response<v1::UnreadResponse>, Status> {
        let actor = caller(&request).actor();
        let request = request.into_inner();
        let unread = async {
            let id = parse::session_id(&request.read_session)?;
            let after = (!request.after.is_empty()).then(|| PackId::from_slice(&request.after));
            let session = self.house.read_session(&actor, &id)?;
            self.house.keep_reading(&session).await?;
            let (packs, next) = self.house.unread(&session, after.transpose()?).await?;
            let packs = packs.into_iter().map(Into::into).collect();
            let next = next.map(|pack| Bytes::copy_from_slice(pack.as_bytes()));
            Ok(v1::UnreadResponse { packs, next: next.unwrap_or_default() })
        };
        unread.await.map(Response::new).map_err(refuse)
    }

    async fn conclude(
        &self,
        request: Request<v1::ConcludeRequest>,
    ) -> Result<Response<v1::ConcludeResponse>, Status> {
        let actor = caller(&request).actor();
        let request = request.into_inner();
        let concluded = async {
            let id = parse::session_id(&request.read_session)?;
            let verified = parse::required("what was verified", request.verified)?;
            self.house.conclude(&actor, &id, verified).await
        };
        concluded.await.map_err(refuse)?;
        Ok(Response::new(v1::ConcludeResponse {}))
    }
}

impl RestoreService {
    async fn opened(
        &self,
        actor: Actor,
        request: v1::OpenPointRequest,
    ) -> Result<v1::OpenPointResponse> {
        let point = parse::point_id(&request.point_id)?;
        let public = parse::array("the one-time key", &request.one_time_public)?;
        let purpose = parse::text("the purpose", request.purpose)?;
        let run = request.run_id.as_deref().map(parse::run_id).transpose()?;
        let opened = self.house.open_point(actor, point, run, &public, &purpose).await?;
        Ok(v1::OpenPointResponse {
            read_session: Bytes::copy_from_slice(opened.session.id.as_bytes()),
            record: opened.record,
            signature: Bytes::copy_from_slice(&opened.signature),
            identity_public: Bytes::copy_from_slice(&opened.identity),
            grant: opened.opening.into(),
            id_key: opened.id_key.into(),
            chunks: Some(render::chunk_parameters()),
        })
    }

    async fn fetched(
        &self,
        actor: &Actor,
        line: Option<ConnectInfo>,
        request: &v1::FetchRequest,
    ) -> Result<Answers> {
        let id = parse::session_id(&request.read_session)?;
        let session = self.house.read_session(actor, &id)?;
        let kind = kind(request.kind)?;
        let ids = parse::chunk_ids(&request.ids, limits::FETCH_CHUNKS_MAX)?;
        if ids.is_empty() {
            return Err(Error::new(Code::UsageMalformed, "nothing was asked for"));
        }
        let copy = request.copy as usize;
        self.house.keep_reading(&session).await?;
        let (reader, batches) = Reader::new(move || {
            let Some(line) = &line else { return };
            tracing::info!(remote = %line.remote, "connection closed: nobody reads at its end");
            line.close();
        });
        let house = self.house.clone();
        let token = self.tasks.token().clone();
        self.tasks.spawn("fetch", OnError::Log, async move {
            let fetched = tokio::select! {
                () = token.cancelled() => Ok(()),
                fetched = house.fetch(&session, kind, &ids, copy, &reader) => fetched,
            };
            if let Err(error) = fetched {
                reader.fail(error);
            }
            Ok(())
        });
        Ok(Box::pin(ReceiverStream::new(batches).flat_map(|batch| {
            match batch {
                Ok(Batch { chunks, hold }) => stream::iter(gather(chunks))
                    .map(move |message| {
                        hold.moved();
                        Ok(message)
                    })
                    .left_stream(),
                Err(error) => stream::iter([Err(refuse(error))]).right_stream(),
            }
        })))
    }
}

/// Messages of about [`ANSWER_BYTES`] each.
fn gather(given: Vec<Given>) -> Vec<v1::FetchResponse> {
    let mut messages = vec![v1::FetchResponse::default()];
    let mut bytes = 0;
    for one in given {
        let position = one.position;
        let chunk = match one.chunk {
            Ok((frame, key)) => v1::FetchedChunk { position, frame, key: key.into(), error: None },
            Err(error) => {
                v1::FetchedChunk { position, error: Some((&error).into()), ..Default::default() }
            }
        };
        if bytes > 0 && bytes + chunk.frame.len() > ANSWER_BYTES {
            messages.push(v1::FetchResponse::default());
            bytes = 0;
        }
        bytes += chunk.frame.len();
        if let Some(message) = messages.last_mut() {
            message.chunks.push(chunk);
        }
    }
    messages
}
