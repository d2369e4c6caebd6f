//! Feature levels on this member: what it knows, what it met beyond that, what the ledger is at.
//!
//! A member that meets what it does not know stops, and says why; it applies nothing of it. What
//! some member may not know yet is refused here, before it is proposed.

use super::Ledger;
use holdfast_common::{Code, Error, Result};
use holdfast_ledger::{
    Command, Envelope, LEVEL,
    level::{LEVEL_FIRST, insist_on_known},
};
use std::sync::OnceLock;

#[derive(Debug)]
pub(super) struct Knowledge {
    level_max: u32,
    /// Why this member cannot go on.
    met: OnceLock<Error>,
}

impl Default for Knowledge {
    fn default() -> Self {
        Self::up_to(LEVEL)
    }
}

impl Knowledge {
    pub(super) fn up_to(level_max: u32) -> Self {
        Self { level_max, met: OnceLock::new() }
    }

    pub(super) fn read(&self, bytes: &[u8]) -> Result<Envelope> {
        self.remember(Envelope::read(bytes, self.level_max))
    }

    pub(super) fn insist_on(&self, level: u32) -> Result<()> {
        self.remember(insist_on_known(level, self.level_max))
    }

    pub(super) fn met(&self) -> Option<Error> {
        self.met.get().cloned()
    }

    fn remember<T>(&self, known: Result<T>) -> Result<T> {
        known.inspect_err(|error| {
            if error.code == Code::LevelUnknown {
                // What came first is what it stopped at.
                drop(self.met.set(error.clone()));
            }
        })
    }
}

impl Ledger {
    /// The highest level that this member knows.
    pub(crate) fn level_max(&self) -> u32 {
        self.knowledge.level_max
    }

    /// Refuses what some member may not know yet.
    pub(super) fn insist_on_level(&self, command: &Command) -> Result<()> {
        let (level, at) = (command.level(), self.level_for(command)?);
        if level <= at {
            return Ok(());
        }
        let message = format!("this needs level {level}, and the cluster is at level {at}");
        Err(Error::new(Code::LevelLow, message))
    }

    /// The same, where the ledger may have gone up through another member a moment ago.
    pub(super) async fn hope_for_level(&self, command: &Command) -> Result<()> {
        if self.insist_on_level(command).is_ok() {
            return Ok(());
        }
        self.catch_up().await?;
        self.insist_on_level(command)
    }

    fn level_for(&self, command: &Command) -> Result<u32> {
        match command {
            // The step itself: whoever takes it must know where it leads.
            Command::RaiseLevel(_) => Ok(self.level_max()),
            command if command.level() <= LEVEL_FIRST => Ok(LEVEL_FIRST),
            _ => self.query().level(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::{
        Machine, Proposal,
        machine::meta_of,
        snapshot::{self, SnapshotHead},
        tests::{founded, location, open_knowing},
        time::LedgerTime,
        types::StoredMembers,
    };
    use crate::store::Overlay;
    use holdfast_common::{SystemClock, Timestamp, record};
    use holdfast_ledger::{
        Actor, Batch, MemoryKv, StateKv,
        command::{CertifyMember, RaiseLevel},
        envelope::ENVELOPE_VERSION,
    };
    use openraft::storage::RaftStateMachine;
    use std::{path::Path, sync::Arc, time::Duration};
    use tokio::sync::watch;
    use tokio_util::sync::CancellationToken;

    fn raise() -> RaiseLevel {
        RaiseLevel { level: LEVEL, members: Vec::new() }
    }

    fn certify() -> CertifyMember {
        CertifyMember { member: 9, serial: 1, not_after: Timestamp::ZERO }
    }

    async fn code_of(ledger: &Ledger, command: impl Into<Command>) -> Option<Code> {
        ledger.propose(Actor::System, command).await.err().map(|error| error.code)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_some_member_may_not_know_is_refused_before_it_is_proposed() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = founded(directory.path()).await;
        let rows = ledger.query().audit_head().unwrap().rows;
        assert_eq!(code_of(&ledger, certify()).await, Some(Code::LevelLow));
        // As another member would have it proposed here.
        let agreed = ledger.agree([1; 16], &Actor::System, &certify().into()).await;
        assert_eq!(agreed.unwrap_err().code, Code::LevelLow);
        assert_eq!(ledger.query().audit_head().unwrap().rows, rows, "nothing came of it");
        assert_eq!(code_of(&ledger, raise()).await, None);
        assert_eq!(code_of(&ledger, certify()).await, Some(Code::MemberMissing));
        ledger.close().await.await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nobody_leads_to_where_he_cannot_follow() {
        let directory = tempfile::tempdir().unwrap();
        founded(directory.path()).await.close().await.await;
        let ledger = open_knowing(directory.path(), LEVEL - 1).await.unwrap();
        ledger.wait_for_leader().await.unwrap();
        assert_eq!(code_of(&ledger, raise()).await, Some(Code::LevelLow));
        ledger.close().await.await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_member_stops_at_what_it_does_not_know_and_a_newer_one_goes_on_there() {
        let directory = tempfile::tempdir().unwrap();
        founded(directory.path()).await.close().await.await;
        let ledger = open_knowing(directory.path(), LEVEL - 1).await.unwrap();
        ledger.wait_for_leader().await.unwrap();
        assert_eq!(code_of(&ledger, location(1)).await, None);
        // As a leader that knows more would have it agreed.
        let (time, command) = (ledger.now(), raise().into());
        let envelope = Envelope {
            version: ENVELOPE_VERSION,
            key: [7; 16],
            actor: Actor::System,
            time,
            epoch: 1,
            traceparent: None,
            command,
        };
        let proposal = Proposal(record::to_bytes(&envelope).into());
        assert!(ledger.raft.client_write(proposal).await.is_err());
        let stopped = end_of(&ledger).await;
        assert_eq!(stopped.code, Code::LevelUnknown, "{stopped}");
        assert_eq!(ledger.query().level().unwrap(), LEVEL_FIRST, "nothing of it is applied");
        ledger.close().await.await;
        // Nor does it get past it by starting anew, whether the log says it or the tables.
        assert_eq!(end_of_an_older_one(directory.path()).await, Code::LevelUnknown);
        let ledger = open_when_free(directory.path()).await;
        ledger.wait_for_leader().await.unwrap();
        ledger.catch_up().await.unwrap();
        assert_eq!(ledger.query().level().unwrap(), LEVEL);
        assert_eq!(code_of(&ledger, location(2)).await, None);
        ledger.close().await.await;
        assert_eq!(end_of_an_older_one(directory.path()).await, Code::LevelUnknown);
    }

    /// Why a ledger stopped; one that does not is a failure.
    async fn end_of(ledger: &Ledger) -> Error {
        let keeping = ledger.clone().keep(CancellationToken::new());
        tokio::time::timeout(Duration::from_secs(20), keeping).await.unwrap().unwrap_err()
    }

    /// Why it does not start, or does not go on.
    async fn end_of_an_older_one(directory: &Path) -> Code {
        let ledger = match open_knowing(directory, LEVEL - 1).await {
            Ok(ledger) => ledger,
            Err(error) => return error.code,
        };
        drop(ledger.wait_for_leader().await);
        let stopped = end_of(&ledger).await;
        ledger.close().await.await;
        stopped.code
    }

    /// The directory of a member that could not start is free again a moment later.
    async fn open_when_free(directory: &Path) -> Ledger {
        let mut tried = Vec::new();
        for _ in 0..500 {
            match open_knowing(directory, LEVEL).await {
                Ok(ledger) => return ledger,
                Err(error) => tried.push(error),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{:?}", tried.last());
    }

    async fn install(directory: &Path, known: u32) -> (Arc<dyn StateKv>, bool) {
        let (rows, tables) = (MemoryKv::default(), Arc::<MemoryKv>::default());
        rows.write(Batch { changes: [(vec![9], Some(vec![1]))].into() }).unwrap();
        let level = Some(LEVEL);
        let head = SnapshotHead { applied: None, members: StoredMembers::default(), level };
        let path = snapshot::write(directory, &head, &rows).unwrap();
        let clock = Arc::new(SystemClock::start());
        let time = Arc::new(LedgerTime::new(clock, None, directory.join("time")));
        let tables: Arc<dyn StateKv> = tables;
        let (sender, _applied) = watch::channel(0);
        let overlay = Overlay::without_settler(tables.clone(), 1);
        let mut machine = Machine::new(overlay, directory.to_owned(), (1, time), sender)
            .knowing(Arc::new(Knowledge::up_to(known)));
        let meta = meta_of(&head).unwrap();
        let installed = machine.install_snapshot(&meta, path).await.is_ok();
        (tables, installed)
    }

    #[tokio::test]
    async fn a_snapshot_of_a_level_that_is_not_known_is_not_taken_in() {
        let directory = tempfile::tempdir().unwrap();
        let (tables, installed) = install(directory.path(), LEVEL - 1).await;
        assert!(!installed && tables.scan(&[], None, 9).unwrap().is_empty());
        let (tables, installed) = install(directory.path(), LEVEL).await;
        assert!(installed && tables.scan(&[], None, 9).unwrap().len() == 1);
    }
}
