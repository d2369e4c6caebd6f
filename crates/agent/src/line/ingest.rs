//! The calls of a backup session, each of which may be repeated after a lost connection.
//!
//! `Offer` and `Renew` change nothing by being asked twice; a pack is named by its content; a
//! session knows its run and `Finish` its point. So a run goes on over a lost coordinator and sends
//! again only what was not yet acknowledged.

use super::Line;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use holdfast_common::{ChunkId, ChunkKind, Code, Error, PackId, Result, RunId, SessionId, limits};
use holdfast_wire::v1::{self, ingest_client::IngestClient, put_request::Part};
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::Channel;

/// A session's calls over a line.
pub(crate) struct Ingest {
    line: Arc<Line>,
    session: Bytes,
    patience: Duration,
}

/// How long `Begin` may take until some coordinator answers.
const BEGIN_PATIENCE: Duration = Duration::from_secs(120);

impl Ingest {
    pub(crate) async fn begin(line: &Line, run: RunId) -> Result<v1::BeginResponse> {
        let request = v1::BeginRequest { run_id: Bytes::copy_from_slice(run.as_bytes()) };
        line.call(BEGIN_PATIENCE, |channel| {
            let request = request.clone();
            async move { Ok(client(channel).begin(request).await?.into_inner()) }
        })
        .await
    }

    /// Patience is the lease: after it the session is gone anyway.
    pub(crate) fn new(line: Arc<Line>, session: SessionId, lease: Duration) -> Self {
        Self { line, session: Bytes::copy_from_slice(session.as_bytes()), patience: lease }
    }

    /// Positions of the chunks to send.
    pub(crate) async fn offer(&self, kind: ChunkKind, ids: &[ChunkId]) -> Result<Vec<usize>> {
        let ids: Bytes = ids.iter().flat_map(|id| *id.as_bytes()).collect();
        let count = ids.len() / ChunkId::LEN;
        let answer = self
            .line
            .call(self.patience, |channel| {
                let request = v1::OfferRequest {
                    session_id: self.session.clone(),
                    kind: kind as u32,
                    ids: ids.clone(),
                };
                async move { Ok(client(channel).offer(request).await?.into_inner()) }
            })
            .await?;
        let wanted: Vec<usize> = answer.wanted.iter().map(|position| *position as usize).collect();
        if wanted.is_sorted_by(|a, b| a < b) && wanted.last().is_none_or(|last| *last < count) {
            Ok(wanted)
        } else {
            Err(Error::new(Code::InternalBug, "an offer was answered with positions beyond it"))
        }
    }

    /// Sends a pack; `pace` says how long to hold each frame back.
    pub(crate) async fn put<P>(&self, id: PackId, pack: &Bytes, pace: P) -> Result<()>
    where
        P: Fn(usize) -> Duration + Clone + Send + 'static,
    {
        self.line
            .call(self.patience, |channel| {
                let frames = frames(&self.session, id, pack, pace.clone());
                async move { client(channel).put(frames).await.map(|_| ()) }
            })
            .await
    }

    /// Whether the run was cancelled.
    pub(crate) async fn renew(&self) -> Result<bool> {
        self.line
            .call(self.patience, |channel| {
                let request = v1::RenewSessionRequest { session_id: self.session.clone() };
                async move { Ok(client(channel).renew(request).await?.into_inner().cancelled) }
            })
            .await
    }

    pub(crate) async fn checkpoint(
        &self,
        request: v1::FinishRequest,
    ) -> Result<v1::FinishResponse> {
        self.line
            .call(self.patience, |channel| {
                let request = request.clone();
                async move { Ok(client(channel).checkpoint(request).await?.into_inner()) }
            })
            .await
    }

    pub(crate) async fn finish(&self, request: v1::FinishRequest) -> Result<v1::FinishResponse> {
        self.line
            .call(self.patience, |channel| {
                let request = request.clone();
                async move { Ok(client(channel).finish(request).await?.into_inner()) }
            })
            .await
    }

    pub(crate) fn session(&self) -> Bytes {
        self.session.clone()
    }
}

fn client(channel: Channel) -> IngestClient<Channel> {
    IngestClient::new(channel)
        .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
        .max_encoding_message_size(limits::MESSAGE_BYTES_MAX)
}

/// The header, then the pack in frames; slices share the pack's one buffer.
fn frames<P>(
    session: &Bytes,
    id: PackId,
    pack: &Bytes,
    pace: P,
) -> impl Stream<Item = v1::PutRequest> + Send + 'static + use<P>
where
    P: Fn(usize) -> Duration + Send + 'static,
{
    let header = v1::PutHeader {
        session_id: session.clone(),
        pack_id: Bytes::copy_from_slice(id.as_bytes()),
        length: pack.len() as u32,
    };
    let pack = pack.clone();
    let starts = (0..pack.len()).step_by(limits::STREAM_FRAME_BYTES);
    let data = stream::iter(starts).then(move |start| {
        let end = (start + limits::STREAM_FRAME_BYTES).min(pack.len());
        let frame = pack.slice(start..end);
        let pause = pace(frame.len());
        async move {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            v1::PutRequest { part: Some(Part::Data(frame)) }
        }
    });
    stream::iter([v1::PutRequest { part: Some(Part::Header(header)) }]).chain(data)
}
