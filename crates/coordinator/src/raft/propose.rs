//! Commands and reads, from whichever member they come through.
//!
//! ```text
//!   propose ─→ do I lead? ─ yes ─→ stamp, log, quorum, apply ───────────┐
//!                  └────── no ──→ the leader does; wait until applied here ┴─→ outcome
//!   catch up ─→ the leader's read index ─→ wait until applied here ─→ read the tables
//! ```
//!
//! What did not get through is tried again under the same key, so that it is applied once; after a
//! while the caller is told that nobody leads. A reply is given when this member has applied it
//! too: whoever asked reads here what he wrote.

use super::{LeaderTime, Ledger, Proposal};
use bytes::Bytes;
use holdfast_common::{Code, Error, Result, limits, record};
use holdfast_ledger::{
    Actor, Command, Envelope, Outcome, Reply, command::NoteKind, envelope::ENVELOPE_VERSION,
    row::epoch::FIRST_EPOCH,
};
use openraft::{
    ReadPolicy,
    errors::{ClientWriteError, RaftError},
};
use std::time::Duration;
use tokio::time::Instant;

/// How long a caller waits for somebody who leads.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one attempt may take: an isolated leader agrees with nobody.
const ATTEMPT: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(15);
const PAUSE_MAX: Duration = Duration::from_millis(200);

impl Ledger {
    /// Proposes a command and waits until it was applied; a refusal comes back as its error.
    pub(crate) async fn propose(
        &self,
        actor: Actor,
        command: impl Into<Command>,
    ) -> Result<Outcome> {
        self.propose_as(self.entropy.array(), actor, command).await
    }

    /// The same under a key of the caller's: however often it is proposed, it is applied once.
    pub(crate) async fn propose_as(
        &self,
        key: [u8; 16],
        actor: Actor,
        command: impl Into<Command>,
    ) -> Result<Outcome> {
        let command = command.into();
        self.peers.insist_on_epoch()?;
        self.hope_for_level(&command).await?;
        match self.insist(Wish::Agree(key, &actor, &command)).await? {
            Some(reply) => reply.into_result(),
            None => Err(Error::new(Code::InternalBug, "a command came to nothing")),
        }
    }

    /// Makes sure that what is read next is not older than this call.
    pub(crate) async fn catch_up(&self) -> Result<()> {
        if self.peers.insist_on_epoch().is_err() {
            // What it has is all it will have; whoever reads it is told that it is old.
            return Ok(());
        }
        self.insist(Wish::Read).await.map(drop)
    }

    /// On the leader: has a quorum agree to a command that some member has authorised. The room
    /// that counts is the leader's: it writes first, whatever becomes of the others.
    pub(crate) async fn agree(
        &self,
        key: [u8; 16],
        actor: &Actor,
        command: &Command,
    ) -> Result<(u64, Reply)> {
        self.insist_on_level(command)?;
        self.room.admit(command)?;
        let epoch = self.insist_on_claimed(command)?;
        self.insist_on_time(command)?;
        if matches!(command, Command::Note(note) if note.kind == NoteKind::ClockConfirmed) {
            if let Actor::Operator(name) = actor
                && self.query().operator(name)?.is_some_and(|row| row.revoked)
            {
                let message = format!("the operator `{name}` was revoked");
                return Err(Error::new(Code::OperatorRevoked, message));
            }
            // Time is the leader's: all others follow what it stamps.
            self.time.confirm();
        }
        let envelope = Envelope {
            version: ENVELOPE_VERSION,
            key,
            actor: actor.clone(),
            time: self.time.now(),
            epoch,
            traceparent: None,
            command: command.clone(),
        };
        let bytes = record::to_bytes(&envelope);
        if bytes.len() > limits::LEDGER_COMMAND_BYTES_MAX {
            return Err(Error::new(Code::LimitExceeded, "the command is too large"));
        }
        let written = self.raft.client_write(Proposal(Bytes::from(bytes)));
        let answer = written.await.map_err(|error| match error {
            RaftError::Fatal(fatal) => self.stopped(&fatal),
            RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => leaderless(),
            error => Error::new(Code::ClusterLeaderless, "not agreed").cause(error),
        })?;
        let reply = record::from_bytes("reply", &answer.data.0)?;
        Ok((answer.log_id.index, reply))
    }

    /// Nothing goes by its age while nobody knows what time it is: the leader stamps it.
    fn insist_on_time(&self, command: &Command) -> Result<()> {
        if goes_by_time(command) {
            return self.own_time().insist_on_clock();
        }
        Ok(())
    }

    /// Ledger time as whoever leads has it, and whether that one doubts its clock: what the clock
    /// of this member says counts for nothing.
    pub(crate) async fn leader_time(&self) -> Result<LeaderTime> {
        if self.peers.insist_on_epoch().is_err() {
            return Ok(self.own_time());
        }
        let leader = self.current_leader().ok_or_else(leaderless)?;
        match leader == self.me {
            true => Ok(self.own_time()),
            false => Ok(self.peers.leader_time(leader).await?.unwrap_or_else(|| self.own_time())),
        }
    }

    /// What this member would stamp.
    pub(crate) fn own_time(&self) -> LeaderTime {
        let wall = self.time.jump().map(|jump| jump.wall);
        LeaderTime { now: self.time.now(), wall }
    }

    /// Nothing is agreed to in a new epoch before the ledger has it. Its number.
    fn insist_on_claimed(&self, command: &Command) -> Result<u64> {
        self.peers.insist_on_epoch()?;
        let epoch = self.peers.standing().epoch.number;
        if epoch == FIRST_EPOCH || matches!(command, Command::ClaimEpoch(_)) {
            return Ok(epoch);
        }
        match self.query().epoch()? {
            Some(row) if row.number >= epoch => Ok(row.number),
            _ => Err(leaderless()),
        }
    }

    /// On the leader: what must be applied before a read that began before this call.
    pub(crate) async fn read_index(&self) -> Result<u64> {
        let read = self.raft.ensure_linearizable(ReadPolicy::ReadIndex).await;
        let read =
            read.map_err(|error| Error::new(Code::ClusterLeaderless, "cannot read").cause(error))?;
        Ok(read.log_id().index)
    }

    /// The same from whoever leads.
    pub(crate) async fn leaders_index(&self) -> Result<u64> {
        match self.current_leader().ok_or_else(leaderless)? {
            leader if leader == self.me => self.read_index().await,
            leader => self.peers.read_index(leader).await,
        }
    }

    /// Whether this member is of a side that can agree to something.
    pub(crate) async fn is_led(&self) -> bool {
        tokio::time::timeout(PATIENCE, self.heard_index()).await.is_ok_and(|index| index.is_some())
    }

    /// The index as soon as somebody leads and says so, which takes a moment after a start or while
    /// somebody is elected; whoever asks bounds it. None in an epoch that is over.
    pub(crate) async fn heard_index(&self) -> Option<u64> {
        while self.peers.insist_on_epoch().is_ok() && !self.has_stopped() {
            if let Ok(Ok(index)) = tokio::time::timeout(ATTEMPT, self.leaders_index()).await {
                return Some(index);
            }
            tokio::time::sleep(PAUSE_MAX).await;
        }
        None
    }

    pub(crate) async fn applied_at_least(&self, index: u64) -> Result<()> {
        let mut applied = self.applied();
        applied.wait_for(|at| *at >= index).await.map(drop).map_err(|_| {
            Error::new(Code::ClusterLeaderless, "the ledger of this member has stopped")
        })
    }

    /// Tries until somebody agrees, and waits until what was agreed is applied here.
    async fn insist(&self, wish: Wish<'_>) -> Result<Option<Reply>> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = PAUSE;
        loop {
            self.peers.insist_on_epoch()?;
            self.peers.insist_on_open_log()?;
            let error = match tokio::time::timeout(ATTEMPT, self.attempt(wish)).await {
                Ok(Err(error)) if error.code == Code::ClusterUnreachable => {
                    leaderless().cause(error)
                }
                Ok(Err(error)) if error.code == Code::ClusterLeaderless => error,
                Ok(ended) => return ended,
                Err(_) => Error::new(Code::ClusterLeaderless, "a quorum did not answer in time"),
            };
            if Instant::now() + pause > deadline || self.has_stopped() {
                return Err(error.next("look with `holdfast cluster status`; this may be repeated"));
            }
            let part = u32::from(self.entropy.array::<1>()[0]);
            tokio::time::sleep(pause / 2 + pause * part / 512).await;
            pause = (2 * pause).min(PAUSE_MAX);
        }
    }

    async fn attempt(&self, wish: Wish<'_>) -> Result<Option<Reply>> {
        let leader = self.current_leader().ok_or_else(leaderless)?;
        let is_ours = leader == self.me;
        let (index, reply) = match wish {
            Wish::Agree(key, actor, command) if is_ours => {
                self.agree(key, actor, command).await.map(|(at, reply)| (at, Some(reply)))?
            }
            Wish::Agree(key, actor, command) => {
                let agreed = self.peers.propose(leader, key, actor, command).await;
                agreed.map(|(at, reply)| (at, Some(reply)))?
            }
            Wish::Read => (self.leaders_index().await?, None),
        };
        self.applied_at_least(index).await?;
        Ok(reply)
    }
}

/// Whether it takes away what was kept for long enough, or asked for at a time.
fn goes_by_time(command: &Command) -> bool {
    let forgets = matches!(command, Command::ForgetPoints(_) | Command::ForgetRuns(_));
    let collects = matches!(
        command,
        Command::BeginCollection(_) | Command::DoomPacks(_) | Command::RepackPacks(_)
    );
    let destroys = matches!(command, Command::AskDestroy(_) | Command::DestroyKeys(_));
    forgets || collects || destroys
}

/// What is wanted of whoever leads.
#[derive(Clone, Copy)]
enum Wish<'a> {
    Agree([u8; 16], &'a Actor, &'a Command),
    Read,
}

fn leaderless() -> Error {
    Error::new(Code::ClusterLeaderless, "nobody leads at the moment")
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::{RequestId, VaultId};
    use holdfast_ledger::command::{AskDestroy, DestroyKeys, WithdrawDestroy};

    #[test]
    fn nobody_asks_or_agrees_to_destroy_keys_while_nobody_knows_what_time_it_is() {
        let (id, vault) = (RequestId::from_bytes([1; 16]), VaultId::from_bytes([2; 16]));
        let ask = AskDestroy { id, vault, version: 1, points: Vec::new() };
        let (points, remains) = (Vec::new(), vec![1].into());
        let agree = DestroyKeys { id, vault, version: 1, points, remains };
        assert!(goes_by_time(&ask.into()));
        assert!(goes_by_time(&agree.into()));
        assert!(!goes_by_time(&WithdrawDestroy { id }.into()), "that takes nothing away");
    }
}
