//! A point read through the cluster: an open read session, and chunks over several calls at once.
//!
//! The one-time key is made here and dies with the reader; keys of chunks arrive sealed to it, one
//! by one. A session that a coordinator forgot, or a coordinator that is gone, is replaced by a new
//! session over the same point; what was not told yet is asked for again, and so is what the
//! cluster's index does not know yet: a chunk that may come is not missing. However many read, one
//! of them opens the new session, and the others hear what came of it.

use super::point::{PointKeys, PointReader};
use super::renewal::Renewal;
use super::source::{ChunkSource, FetchedFrame};
use crate::line::{Backoff, Line};
use bytes::Bytes;
use holdfast_common::{
    ChunkId, ChunkKind, Code, Entropy, Error, PointId, Result, RunId, Secret, limits,
};
use holdfast_keyring::{GrantReceiver, IdKey, IdentityPublicKey, OneTimeKey};
use holdfast_wire::v1::{self, restore_client::RestoreClient};
use holdfast_wire::{parse, status::from_status};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tonic::Status;
use tonic::transport::Channel;

/// A point's chunks, as the cluster gives them. Closes its session when dropped.
pub struct OnlinePoint {
    line: Arc<Line>,
    handle: Handle,
    entropy: Arc<dyn Entropy>,
    point: PointId,
    purpose: String,
    /// The restore that grants the reading, where one is needed.
    run: Option<RunId>,
    session: Renewal<Session>,
}

struct Session {
    id: Bytes,
    grant: GrantReceiver,
}

/// Opens a read session over a point and checks whose it is. `purpose` is audited; an agent names
/// the run that grants it the reading. Blocks; must not be called on a thread of the runtime.
pub fn open_online(
    line: Arc<Line>,
    handle: Handle,
    entropy: Arc<dyn Entropy>,
    point: PointId,
    purpose: &str,
    run: Option<RunId>,
) -> Result<PointReader> {
    Ok(open_apart(line, handle, entropy, point, purpose, run)?.0)
}

/// The same, with the session beside the reader for whoever says more in it.
pub(super) fn open_apart(
    line: Arc<Line>,
    handle: Handle,
    entropy: Arc<dyn Entropy>,
    point: PointId,
    purpose: &str,
    run: Option<RunId>,
) -> Result<(PointReader, Arc<OnlinePoint>)> {
    let (session, opened) = handle.block_on(open(&line, &*entropy, point, (purpose, run)))?;
    let signature = parse::array("the signature", &opened.signature)?;
    let id_key = session.grant.unmask(&ID_KEY_NAME, &opened.id_key)?;
    let keys = PointKeys {
        identity: IdentityPublicKey::from_slice(&opened.identity_public)?,
        ids: IdKey::from_secret(Secret::take(&mut { *id_key.expose() })),
    };
    let source = Arc::new(OnlinePoint {
        line,
        handle,
        entropy,
        point,
        purpose: purpose.to_owned(),
        run,
        session: Renewal::new(session),
    });
    let shared = Arc::clone(&source);
    let reader = PointReader::open(shared, point, &opened.record, &signature, keys)?;
    Ok((reader, source))
}

async fn open(
    line: &Line,
    entropy: &dyn Entropy,
    point: PointId,
    (purpose, run): (&str, Option<RunId>),
) -> Result<(Session, v1::OpenPointResponse)> {
    let one_time = OneTimeKey::generate(entropy);
    let request = v1::OpenPointRequest {
        point_id: Bytes::copy_from_slice(point.as_bytes()),
        one_time_public: Bytes::copy_from_slice(&one_time.public()),
        purpose: purpose.to_owned(),
        run_id: run.map(|run| Bytes::copy_from_slice(run.as_bytes())),
    };
    let opened = line
        .call(PATIENCE, |channel| {
            let request = request.clone();
            async move { Ok(client(channel).open(request).await?.into_inner()) }
        })
        .await?;
    let grant = one_time.receive(GRANT_CONTEXT, &opened.grant)?;
    Ok((Session { id: opened.read_session.clone(), grant }, opened))
}

impl ChunkSource for OnlinePoint {
    fn fetch(
        &self,
        kind: ChunkKind,
        ids: &[ChunkId],
        each: &mut dyn FnMut(usize, Result<FetchedFrame>),
    ) -> Result<()> {
        let mut left: Vec<usize> = (0..ids.len()).collect();
        let (mut attempt, mut backoff) = (1, Backoff::default());
        while !left.is_empty() {
            let session = self.session.current();
            let before = left.len();
            let answer = self.ask_for_rest(&session, kind, ids, &mut left, each);
            match answer {
                Ok(()) if left.is_empty() => {}
                Ok(()) => {
                    let untold = std::mem::take(&mut left);
                    untold.into_iter().for_each(|at| each(at, Err(untold_chunk(&ids[at]))));
                }
                Err(error) if left.len() == before && attempt >= attempts_max(&error) => {
                    return Err(error);
                }
                Err(error) => {
                    let is_passing = is_passing(&error);
                    self.recover(&session, error)?;
                    if left.len() < before {
                        (attempt, backoff) = (1, Backoff::default());
                    } else {
                        attempt += 1;
                    }
                    if is_passing {
                        self.pause(&mut backoff);
                    }
                }
            }
        }
        Ok(())
    }

    fn keep(&self) -> Result<()> {
        let session = self.session.current();
        let kept = self.handle.block_on(self.line.call(PATIENCE, |channel| {
            let request = v1::KeepPointRequest { read_session: session.id.clone() };
            async move { client(channel).keep(request).await.map(drop) }
        }));
        kept.or_else(|error| self.recover(&session, error))
    }

    fn another(&self, kind: ChunkKind, id: &ChunkId, copy: u32) -> Result<FetchedFrame> {
        let (mut attempt, mut backoff) = (1, Backoff::default());
        loop {
            let session = self.session.current();
            let mut found = Err(untold_chunk(id));
            let mut hear = |_: usize, chunk| found = chunk;
            self.handle.block_on(self.ask(&session, kind, (&[*id], copy), &mut hear))?;
            match found {
                Err(error) if is_loading(&error) && attempt < attempts_max(&error) => {
                    attempt += 1;
                    self.pause(&mut backoff);
                }
                found => return found,
            }
        }
    }
}

impl OnlinePoint {
    async fn ask(
        &self,
        session: &Session,
        kind: ChunkKind,
        (ids, copy): (&[ChunkId], u32),
        each: &mut dyn FnMut(usize, Result<FetchedFrame>),
    ) -> Result<()> {
        let request = v1::FetchRequest {
            read_session: session.id.clone(),
            kind: kind as u32,
            ids: ids.iter().flat_map(|id| *id.as_bytes()).collect(),
            copy,
        };
        let mut answers = self
            .line
            .call(PATIENCE, |channel| {
                let request = request.clone();
                async move { Ok(client(channel).fetch(request).await?.into_inner()) }
            })
            .await?;
        while let Some(answer) = answers.message().await.map_err(|status| from_status(&status))? {
            for chunk in answer.chunks {
                let at = chunk.position as usize;
                let Some(id) = ids.get(at) else { continue };
                each(at, fetched(&session.grant, id, chunk));
            }
        }
        Ok(())
    }

    /// Asks once for what is left; what may come later stays.
    fn ask_for_rest(
        &self,
        session: &Session,
        kind: ChunkKind,
        ids: &[ChunkId],
        left: &mut Vec<usize>,
        each: &mut dyn FnMut(usize, Result<FetchedFrame>),
    ) -> Result<()> {
        let asked: Vec<ChunkId> = left.iter().map(|at| ids[*at]).collect();
        let (mut told, mut later) = (vec![false; left.len()], None);
        let mut hear = |at: usize, chunk: Result<FetchedFrame>| {
            if let Err(error) = &chunk
                && is_loading(error)
            {
                later = Some(error.clone());
            } else if let Some(told) = told.get_mut(at)
                && !std::mem::replace(told, true)
            {
                each(left[at], chunk);
            }
        };
        let answer = self.handle.block_on(self.ask(session, kind, (&asked, 0), &mut hear));
        let mut told = told.into_iter();
        left.retain(|_| !told.next().unwrap_or(false));
        answer.and_then(|()| later.map_or(Ok(()), Err))
    }

    /// What of all that the point reaches was not given in the session as it is now.
    pub(super) fn unread(&self, after: &Bytes) -> Result<v1::UnreadResponse> {
        self.patiently(|channel, read_session| {
            let request = v1::UnreadRequest { read_session, after: after.clone() };
            async move { Ok(client(channel).unread(request).await?.into_inner()) }
        })
    }

    /// Says how a verification ended, in the session as it is now.
    pub(super) fn conclude(&self, verified: &v1::Verified) -> Result<()> {
        self.patiently(|channel, read_session| {
            let request = v1::ConcludeRequest { read_session, verified: Some(verified.clone()) };
            async move { client(channel).conclude(request).await.map(drop) }
        })
    }

    /// Asks until there is an answer; in a new session where the old one was lost.
    fn patiently<T, F>(&self, ask: impl Fn(Channel, Bytes) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let (mut attempt, mut backoff) = (1, Backoff::default());
        loop {
            let session = self.session.current();
            let asked = self.line.call(PATIENCE, |channel| ask(channel, session.id.clone()));
            match self.handle.block_on(asked) {
                Err(error) if attempt < attempts_max(&error) => {
                    let is_passing = is_passing(&error);
                    self.recover(&session, error)?;
                    attempt += 1;
                    if is_passing {
                        self.pause(&mut backoff);
                    }
                }
                answer => return answer,
            }
        }
    }

    /// After a failure that a new session may mend; any other is the answer.
    fn recover(&self, failed: &Arc<Session>, error: Error) -> Result<()> {
        if is_passing(&error) {
            return Ok(());
        }
        let lost = matches!(
            error.code,
            Code::SessionMissing | Code::LeaseExpired | Code::ClusterUnreachable
        );
        if !lost {
            return Err(error);
        }
        self.session.renew(failed, || {
            let why = (self.purpose.as_str(), self.run);
            let opened = open(&self.line, &*self.entropy, self.point, why);
            Ok(self.handle.block_on(opened)?.0)
        })
    }

    fn pause(&self, backoff: &mut Backoff) {
        let pause = backoff.next(&*self.entropy);
        self.handle.block_on(async { tokio::time::sleep(pause).await });
    }
}

/// The session stands; a part of the answer had no room, or is not known yet.
fn is_passing(error: &Error) -> bool {
    error.code == Code::ClusterBusy || is_loading(error)
}

fn is_loading(error: &Error) -> bool {
    error.code == Code::IndexLoading
}

/// An index that nothing holds up comes to its end; one that names a cause may not.
fn attempts_max(error: &Error) -> u32 {
    if is_loading(error) && error.cause.is_none() { LOADING_ATTEMPTS_MAX } else { ATTEMPTS_MAX }
}

impl Drop for OnlinePoint {
    fn drop(&mut self) {
        let session = self.session.current().id.clone();
        let line = Arc::clone(&self.line);
        let close = async move {
            line.call(Duration::ZERO, |channel| {
                let request = v1::ClosePointRequest { read_session: session.clone() };
                async move { client(channel).close(request).await.map(|_| ()) }
            })
            .await
        };
        // From a thread of its own, since this one may be driving the runtime. A session that is
        // not closed ends with its lease.
        let handle = self.handle.clone();
        let closing = std::thread::spawn(move || {
            handle.block_on(async { tokio::time::timeout(CLOSE_PATIENCE, close).await })
        });
        if !matches!(closing.join(), Ok(Ok(Ok(())))) {
            tracing::debug!("a read session was left to its lease");
        }
    }
}

fn client(channel: Channel) -> RestoreClient<Channel> {
    RestoreClient::new(channel)
        .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
        .max_encoding_message_size(limits::MESSAGE_BYTES_MAX)
}

fn fetched(grant: &GrantReceiver, id: &ChunkId, chunk: v1::FetchedChunk) -> Result<FetchedFrame> {
    if let Some(detail) = chunk.error {
        return Err(detail.into());
    }
    let key = grant.unmask(id, &chunk.key).map_err(|error| {
        Error::new(Code::ChunkDamaged, format!("the key of chunk {id} does not open")).cause(error)
    })?;
    Ok(FetchedFrame { frame: chunk.frame, key })
}

fn untold_chunk(id: &ChunkId) -> Error {
    Error::new(Code::ChunkMissing, format!("chunk {id} was not answered"))
}

/// What both sides bind a grant to.
const GRANT_CONTEXT: &[u8] = b"holdfast restore v1";
/// The id-key travels like the key of a chunk that does not exist.
const ID_KEY_NAME: ChunkId = ChunkId::from_bytes([0; 32]);
const PATIENCE: Duration = Duration::from_secs(60);
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);
/// Fetches in a row that told nothing.
const ATTEMPTS_MAX: u32 = 4;
/// The same while an index is loaded: for each the cluster waits `limits::INDEX_WAIT_SECS`.
const LOADING_ATTEMPTS_MAX: u32 = 30;
