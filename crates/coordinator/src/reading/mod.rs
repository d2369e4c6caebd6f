//! The way back: a read session over one point.
//!
//! ```text
//!   open ─▶ objects: record and reach, by the hashes of the ledger ─▶ session ─▶ chunks, with keys
//! ```
//!
//! What a session was granted lasts as long as its run, its lease and its caller's rights.

mod chunks;
mod objects;
pub(crate) mod reader;
pub(crate) mod restoring;
pub(crate) mod verifying;

pub(crate) use chunks::Given;

use crate::{
    house::House,
    keys::custody::{id_key, insist_on_custody},
};
use bytes::Bytes;
use holdfast_common::{ChunkId, Code, Error, PackId, PointId, Result, RunId, SessionId, limits};
use holdfast_keyring::{ChunkKey, GrantSender};
use holdfast_ledger::{
    Actor,
    command::{BeginRead, EndSession, RenewSession, VERIFY_SESSIONS_MAX},
    row::{AgentState, PointRow, RunKind, RunRow, VerifyRow},
};
use holdfast_repository::Reach;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use verifying::Proof;

const GRANT_CONTEXT: &[u8] = b"holdfast restore v1";
const RENEW_AFTER_SECS: u64 = limits::SESSION_LEASE_SECS / 3;

#[derive(Default)]
pub(crate) struct Reads {
    open: Mutex<HashMap<SessionId, Arc<ReadSession>>>,
}

pub(crate) struct ReadSession {
    pub(crate) id: SessionId,
    /// The restore that grants the reading.
    run: Option<RunId>,
    pub(crate) point: PointRow,
    actor: Actor,
    reach: Reach,
    grant: GrantSender,
    headers: Mutex<HashMap<PackId, Arc<[Bytes]>>>,
    /// When its lease was renewed last, and how far it was then.
    renewed: Mutex<(holdfast_common::Timestamp, u64)>,
    /// Of a verification.
    proof: Option<Mutex<Proof>>,
}

/// What the caller of `Open` gets.
pub(crate) struct Opened {
    pub(crate) session: Arc<ReadSession>,
    pub(crate) record: Bytes,
    pub(crate) signature: [u8; 64],
    pub(crate) identity: [u8; 32],
    pub(crate) opening: Vec<u8>,
    pub(crate) id_key: Vec<u8>,
}

impl House {
    pub(crate) async fn open_point(
        &self,
        actor: Actor,
        point: PointId,
        run: Option<RunId>,
        one_time_public: &[u8; 32],
        purpose: &str,
    ) -> Result<Opened> {
        self.ledger.catch_up().await?;
        let row = self.ledger.query().point(&point)?;
        let vault = self.vault(&row.vault)?;
        insist_on_custody(&vault.row)?;
        if self.reads.lock().len() >= limits::READ_SESSIONS_MAX {
            return Err(Error::new(Code::ClusterBusy, "as many points are open as may be"));
        }
        let id = SessionId::random(self.entropy.as_ref());
        let begin = BeginRead { session: id, point, purpose: purpose.to_owned(), run };
        // A location that is away uses up none of a run's beginnings. What the ledger will refuse
        // is refused before anything is read, and noted.
        let begins_late = self.is_granted(&actor, &point, run.as_ref());
        if !begins_late {
            self.ledger.propose(actor.clone(), begin.clone()).await?;
        }
        let reach = self.read_reach(&vault, &row).await?;
        let object = self.read_point(&vault, &row).await?;
        if begins_late {
            self.ledger.propose(actor.clone(), begin).await?;
        }
        let agent = self.ledger.query().agent(&row.agent)?;
        let (grant, opening) =
            GrantSender::open_to(one_time_public, GRANT_CONTEXT, self.entropy.as_ref())?;
        let (key, _) = id_key(&vault.custody, &vault.row, &row.agent);
        // The id-key travels like a chunk key, under a name that no chunk has.
        let key = ChunkKey::from_slice(key.secret().expose())?;
        let granting = run.as_ref().map(|run| self.ledger.query().run(run)).transpose()?;
        let verifies = granting.is_some_and(|run| run.kind == RunKind::Verify);
        let id_key = grant.mask(&ChunkId::from_bytes([0; 32]), &key, self.entropy.as_ref());
        let session = Arc::new(ReadSession {
            id,
            run,
            point: row,
            actor,
            reach,
            grant,
            headers: Mutex::default(),
            renewed: Mutex::new((self.ledger.now(), 0)),
            proof: verifies.then(Mutex::default),
        });
        self.reads.lock().insert(id, session.clone());
        Ok(Opened {
            session,
            record: object.record_bytes().clone(),
            signature: *object.signature(),
            identity: agent.identity_public,
            opening,
            id_key,
        })
    }

    /// Whether the reading will be granted, as far as it is known here.
    fn is_granted(&self, actor: &Actor, point: &PointId, run: Option<&RunId>) -> bool {
        match run {
            None => matches!(actor, Actor::Operator(_)),
            Some(run) => self.ledger.query().run(run).is_ok_and(|run| grants(&run, actor, point)),
        }
    }

    pub(crate) fn read_session(&self, actor: &Actor, id: &SessionId) -> Result<Arc<ReadSession>> {
        let session = match self.reads.lock().get(id) {
            Some(session) if session.actor == *actor => session.clone(),
            Some(_) => {
                return Err(Error::new(Code::AuthDenied, "the session belongs to somebody else"));
            }
            None => {
                return Err(Error::new(
                    Code::SessionMissing,
                    "this coordinator has no such session",
                ));
            }
        };
        self.insist_on_standing(&session)?;
        Ok(session)
    }

    /// What was granted lasts as long as its run, its session and its agent's rights. Asked of the
    /// ledger for every call, and for every piece of a long one.
    fn insist_on_standing(&self, session: &ReadSession) -> Result<()> {
        let query = self.ledger.query();
        if let Some(run) = &session.run {
            let run = query.run(run)?;
            if run.state.is_end() || run.cancelled {
                return Err(Error::new(Code::RunCancelled, format!("run {} has ended", run.id)));
            }
        }
        if let Actor::Agent(agent) = &session.actor
            && query.agent(agent)?.state == AgentState::Revoked
        {
            return Err(Error::new(Code::AgentRevoked, "the agent was revoked while it read"));
        }
        query.session(&session.id).map(drop)
    }

    pub(crate) async fn close_point(&self, actor: &Actor, id: &SessionId) -> Result<()> {
        let closed = self.read_session(actor, id);
        if closed.as_ref().is_err_and(|error| error.code == Code::AuthDenied) {
            return closed.map(drop);
        }
        self.reads.lock().remove(id);
        let end = EndSession { session: closed?.id };
        self.ledger.propose(actor.clone(), end).await.map(drop)
    }

    /// Keeps the lease of a session that is being used. A verifier that got nothing new since the
    /// last time does not keep its own: it would hold the point for ever.
    pub(crate) async fn keep_reading(&self, session: &ReadSession) -> Result<()> {
        let now = self.ledger.now();
        let due = {
            let mut renewed = session.renewed.lock().unwrap_or_else(PoisonError::into_inner);
            let progress = session.progress();
            let is_idle = session.proof.is_some() && progress == renewed.1;
            let due = now.since(renewed.0).as_secs() >= RENEW_AFTER_SECS && !is_idle;
            if due {
                *renewed = (now, progress);
            }
            due
        };
        if due {
            let renew = RenewSession { session: session.id };
            self.ledger.propose(session.actor.clone(), renew).await?;
        }
        Ok(())
    }
}

/// Whether a run grants the reading of a point to whoever asks, as the ledger decides it.
fn grants(run: &RunRow, actor: &Actor, point: &PointId) -> bool {
    let is_own = match (actor, &run.agent) {
        (Actor::Agent(actor), Some(agent)) => actor == agent,
        (Actor::Operator(_), None) => true,
        _ => false,
    };
    let is_used_up = |verify: &VerifyRow| verify.sessions >= VERIFY_SESSIONS_MAX;
    let may_begin = !run.commits_nothing() && !run.verify.as_ref().is_some_and(is_used_up);
    is_own && may_begin && run.granted() == Some(*point)
}

impl ReadSession {
    fn progress(&self) -> u64 {
        let proof = self.proof.as_ref();
        let proof = proof.map(|proof| proof.lock().unwrap_or_else(PoisonError::into_inner));
        proof.map_or(0, |proof| proof.progress(&self.reach, self.point.bytes))
    }
}

impl Reads {
    /// Forgets the sessions that the ledger has ended.
    pub(crate) fn keep(&self, is_open: impl Fn(&SessionId) -> bool) {
        self.lock().retain(|id, _| is_open(id));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, Arc<ReadSession>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::AgentId;
    use holdfast_ledger::row::SourceSpec;

    #[test]
    fn what_the_ledger_will_refuse_is_not_read_first() {
        let (agent, point) = (AgentId::from_bytes([1; 16]), PointId::from_bytes([2; 16]));
        let (paths, exclude, include) = Default::default();
        let source = SourceSpec::Files { paths, exclude, include, one_file_system: false };
        let id = RunId::from_bytes([3; 16]);
        let run = RunRow::verification(id, agent, crate::crowd::VAULT, source, point);
        let begun = |sessions| {
            let verify = Some(VerifyRow { sessions, ..VerifyRow::of(point) });
            RunRow { verify, ..run.clone() }
        };
        let actor = Actor::Agent(agent);
        assert!(grants(&begun(VERIFY_SESSIONS_MAX - 1), &actor, &point));
        assert!(!grants(&begun(VERIFY_SESSIONS_MAX), &actor, &point), "it was begun too often");
        assert!(!grants(&begun(0), &actor, &PointId::from_bytes([4; 16])));
        assert!(!grants(&begun(0), &Actor::Agent(AgentId::from_bytes([5; 16])), &point));
        assert!(!grants(&RunRow { cancelled: true, ..begun(0) }, &actor, &point));
    }
}
