//! The way of a byte into a vault, on the coordinator's side.
//!
//! ```text
//!   begin ─→ session (ledger) ─→ offer: known? ──→ reach
//!                                put: digest, footer → intent (ledger) → every required
//!                                     location → stored (ledger) → index, reach
//!                                finish: signature, bounds → point, reach, segment objects
//!                                        → commit (ledger)
//! ```
//!
//! What a session has reached so far lives in memory. When this process dies, the agent begins
//! again and offers everything again; stored packs are known and nothing is sent twice.

mod assembly;
mod finish;
mod pace;
mod receive;
mod settle;
mod turns;

pub(crate) use assembly::{Assembly, Shelf};
pub(crate) use finish::{Finish, point_row};
pub(crate) use pace::Pace;
pub(crate) use receive::inline_homes;
use turns::{Turn, Turns};

use crate::house::{House, Vault};
use holdfast_common::{
    AgentId, ChunkId, ChunkKind, Code, Error, PackId, PointId, Result, RunId, SessionId, limits,
};
use holdfast_ledger::{
    Actor,
    command::{BeginSession, RenewSession},
    row::{ClosedKeys, PackHome, PackRow, PackState, SessionRow, Sharing},
};
use holdfast_repository::{ChunkNumber, Reach};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
};

/// The write sessions that this coordinator serves.
#[derive(Default)]
pub(crate) struct Sessions {
    open: Mutex<HashMap<SessionId, Arc<WriteSession>>>,
    turns: Mutex<HashMap<AgentId, Turns>>,
}

pub(crate) struct WriteSession {
    pub(crate) row: SessionRow,
    pub(crate) agent: AgentId,
    reach: Mutex<Reach>,
    /// Held by everybody who looks at a row until what he found has joined the reach.
    answers: RwLock<()>,
}

impl Sessions {
    /// Forgets the sessions that the ledger has ended.
    pub(crate) fn keep(&self, is_open: impl Fn(&SessionId) -> bool) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|id, _| is_open(id));
    }
}

impl House {
    /// Opens the session of a run that was assigned to `agent`.
    pub(crate) async fn begin(&self, agent: AgentId, run: RunId) -> Result<Arc<WriteSession>> {
        let session = SessionId::random(self.entropy.as_ref());
        let point = PointId::random(self.entropy.as_ref());
        let command = BeginSession { session, run, point };
        self.ledger.propose(Actor::Agent(agent), command).await?;
        let row = self.ledger.query().session(&session)?;
        // What another member took of this run is known here before the first offer, or is sent
        // again.
        if let Err(error) = self.vault(&row.vault)?.catalog.heard(row.begun).await {
            tracing::info!(%error, "a session begins all the same");
        }
        let session = Arc::new(WriteSession::new(row, agent));
        let mut open = self.sessions.lock();
        // A run has one session; what an interrupted attempt left behind ends here.
        open.retain(|_, old| old.row.run != Some(run));
        open.insert(session.row.id, session.clone());
        Ok(session)
    }

    /// A session of the calling agent that this coordinator serves and that has not ended.
    pub(crate) fn session(&self, agent: &AgentId, id: &SessionId) -> Result<Arc<WriteSession>> {
        let session = self.sessions.lock().get(id).cloned();
        let session = match session {
            Some(session) if session.agent == *agent => session,
            Some(_) => {
                return Err(Error::new(Code::AuthDenied, "the session belongs to another agent"));
            }
            None => {
                return Err(Error::new(
                    Code::SessionMissing,
                    "this coordinator has no such session",
                ));
            }
        };
        // It may have ended elsewhere: with its run, by its lease, by another beginning.
        match self.ledger.query().session(id) {
            Ok(row) if row.lease_until < self.ledger.now() => {
                Err(Error::new(Code::LeaseExpired, "the lease of the session has ended"))
            }
            Ok(_) => Ok(session),
            Err(error) => {
                if error.code == Code::SessionMissing {
                    self.end_session(id);
                }
                Err(error)
            }
        }
    }

    /// A place among the packs that an agent may be sending at once, on whatever many connections.
    pub(crate) async fn turn_to_send(&self, agent: AgentId) -> Result<Turn> {
        let turns = {
            let mut turns = self.sessions.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.entry(agent).or_default().clone()
        };
        turns.take().await
    }

    pub(crate) fn end_session(&self, id: &SessionId) {
        self.sessions.lock().remove(id);
    }

    /// Keeps the lease; true when somebody asked for the end of the run.
    pub(crate) async fn renew(&self, session: &WriteSession) -> Result<bool> {
        let command = RenewSession { session: session.row.id };
        self.ledger.propose(Actor::Agent(session.agent), command).await?;
        let run = session.row.run.map(|run| self.ledger.query().run(&run)).transpose()?;
        Ok(run.is_some_and(|run| run.commits_nothing()))
    }

    /// A pack that is known already may be sent again by those who may rely on it, and to where it
    /// was announced for: its numbers join the sender's reach.
    fn insist_on_own(
        &self,
        session: &WriteSession,
        vault: &Vault,
        pack: &PackId,
        home: &PackHome,
    ) -> Result<()> {
        let Some(row) = self.ledger.query().pack(&vault.row.id, pack)? else { return Ok(()) };
        if vault.row.sharing != Sharing::Vault && row.writer != session.agent {
            return Err(Error::new(Code::PackRefused, "the pack was written by another agent"));
        }
        if row.state != PackState::Stored && row.home != *home {
            return Err(Error::new(Code::PackRefused, "the pack was announced for another place"));
        }
        Ok(())
    }

    /// Positions of the chunks that are not held within the agent's trust group. The others join
    /// the session's reach.
    pub(crate) fn offer(
        &self,
        session: &WriteSession,
        kind: ChunkKind,
        ids: &[ChunkId],
    ) -> Result<Vec<u32>> {
        let vault = self.vault(&session.row.vault)?;
        let _under_way = session.answer();
        let closed = self.ledger.query().closed_keys(&vault.row.id)?;
        let unseen = self.ledger.query().unseen_before(&vault.row)?;
        let known = HashMap::new();
        let mut trusted = Trusted { house: self, vault: &vault, session, closed, unseen, known };
        let mut wanted = Vec::new();
        for (position, id) in (0u32..).zip(ids) {
            let held = trusted.held(kind, id)?;
            if held.is_empty() {
                wanted.push(position);
            }
            for number in held {
                session.reached().insert(number);
            }
        }
        Ok(wanted)
    }
}

impl Sessions {
    /// Whether an agent has a session with this member.
    pub(crate) fn are_of(&self, agent: &AgentId) -> bool {
        self.lock().values().any(|session| session.agent == *agent)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<WriteSession>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WriteSession {
    fn new(row: SessionRow, agent: AgentId) -> Self {
        Self { row, agent, reach: Mutex::new(Reach::new()), answers: RwLock::new(()) }
    }

    /// For as long as this is held, nobody copies the reach.
    fn answer(&self) -> RwLockReadGuard<'_, ()> {
        self.answers.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reach with all that any answer has found so far. Whoever copies it for a checkpoint
    /// notes what is applied *before*: what is not in the copy was found in tables that were no
    /// older, and collection waits for nothing else.
    fn copied_reach(&self) -> Reach {
        let _none_under_way = self.answers.write().unwrap_or_else(PoisonError::into_inner);
        self.reached().clone()
    }

    pub(crate) fn reached(&self) -> std::sync::MutexGuard<'_, Reach> {
        self.reach.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn actor(&self) -> Actor {
        Actor::Agent(self.agent)
    }
}

/// Looks chunks up in the packs that the session's agent may rely on.
struct Trusted<'a> {
    house: &'a House,
    vault: &'a Vault,
    session: &'a WriteSession,
    closed: ClosedKeys,
    /// What was stored before this epoch may lie in lost locations alone.
    unseen: Option<u64>,
    known: HashMap<PackId, Option<Writer>>,
}

/// Who wrote a pack that the agent may rely on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writer {
    Another,
    Itself,
}

impl Trusted<'_> {
    /// A copy that the agent wrote itself, or else those of the others: which of theirs is junk
    /// only whoever opens them can tell, and then tries the next.
    fn held(&mut self, kind: ChunkKind, id: &ChunkId) -> Result<Vec<ChunkNumber>> {
        let mut others = Vec::new();
        for place in self.vault.catalog.find(id)? {
            match self.writer(kind, &place.pack)? {
                Some(Writer::Itself) => return Ok(vec![place.number()?]),
                Some(Writer::Another) if others.len() < limits::CHUNK_COPIES_MAX => {
                    others.push(place.number()?);
                }
                Some(Writer::Another) | None => {}
            }
        }
        Ok(others)
    }

    /// Of a pack that is stored and that collection leaves alone, that opens without any version of
    /// the keys that is closed, of this kind, and by somebody of the trust group. It is the row
    /// that counts, as this member has it: never older than the session's beginning.
    fn writer(&mut self, kind: ChunkKind, pack: &PackId) -> Result<Option<Writer>> {
        if let Some(known) = self.known.get(pack) {
            return Ok(*known);
        }
        let row = self.house.ledger.query().pack(&self.vault.row.id, pack)?;
        let (closed, unseen) = (&self.closed, self.unseen);
        let is_seen = |row: &PackRow| unseen.is_none_or(|epoch| !row.is_before(epoch));
        let stored =
            |row: &PackRow| row.is_offered() && !closed.shuts(row) && row.kind == kind as u8;
        let writer = row.filter(stored).filter(is_seen).and_then(|row| {
            let shares = self.vault.row.sharing == Sharing::Vault;
            match row.writer == self.session.agent {
                true => Some(Writer::Itself),
                false => shares.then_some(Writer::Another),
            }
        });
        self.known.insert(*pack, writer);
        Ok(writer)
    }
}

/// The distinct chunk ids of a request, bounded.
pub(crate) fn insist_on_bounds(ids: &[ChunkId]) -> Result<()> {
    let distinct: HashSet<_> = ids.iter().collect();
    if ids.is_empty() || distinct.len() != ids.len() || ids.len() > limits::OFFER_CHUNKS_MAX {
        return Err(Error::new(Code::UsageMalformed, "an offer names 1 to 1,024 distinct chunks"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::{Timestamp, VaultId};
    use holdfast_ledger::row::SessionKind;

    #[test]
    fn a_copy_of_the_reach_waits_for_the_answers_that_are_under_way() {
        let row = SessionRow {
            id: SessionId::from_bytes([1; 16]),
            kind: SessionKind::Write,
            vault: VaultId::from_bytes([2; 16]),
            run: None,
            agent: None,
            begun: 1,
            lease_until: Timestamp::ZERO,
            point: PointId::from_bytes([3; 16]),
            previous: None,
        };
        let session = WriteSession::new(row, AgentId::from_bytes([4; 16]));
        let number = ChunkNumber::from_u64(7);
        let under_way = session.answer();
        let (begins, begun) = std::sync::mpsc::sync_channel(1);
        std::thread::scope(|scope| {
            let (begins, session) = (begins, &session);
            let copy = scope.spawn(move || {
                begins.send(()).unwrap();
                session.copied_reach()
            });
            begun.recv().unwrap();
            // Long enough for one that does not wait; one that waits is never done by then.
            for _ in 0..10_000 {
                std::thread::yield_now();
            }
            session.reached().insert(number);
            drop(under_way);
            assert!(copy.join().unwrap().contains(number));
        });
    }
}
