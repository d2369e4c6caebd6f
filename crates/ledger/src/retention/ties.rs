//! What keeps a point beside the rules: holds, readers, and whoever goes on from it.
//!
//! Made of rows, by whoever plans and again when a plan is carried out.

use super::Reason;
use crate::level::COLLECTED;
use crate::row::{Held, HoldRow, PointRow, RunRow, SessionKind, SessionRow};
use core::time::Duration;
use holdfast_common::{AgentId, Name, PointId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// All of them at one moment of ledger time.
#[derive(Clone, Debug, Default)]
pub struct Ties {
    points: BTreeMap<PointId, String>,
    policies: BTreeMap<Name, String>,
    agents: BTreeMap<AgentId, String>,
    used: BTreeSet<PointId>,
    newest: BTreeSet<PointId>,
    /// Set below the level of collection: sessions hold as long as their leases last then.
    leases_at: Option<Timestamp>,
}

/// One of them, and what is to be said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tie {
    pub reason: Reason,
    pub why: String,
}

impl Ties {
    /// Of a ledger at a level.
    pub fn at(level: u32, now: Timestamp) -> Self {
        Self { leases_at: (level < COLLECTED).then_some(now), ..Self::default() }
    }

    pub fn hold(&mut self, hold: HoldRow, now: Timestamp, grace: Duration) {
        if !hold.keeps(now, grace) {
            return;
        }
        match hold.what {
            Held::Agent(agent) => self.agents.insert(agent, hold.reason),
            Held::Point(point) => self.points.insert(point, hold.reason),
            Held::Policy(policy) => self.policies.insert(policy, hold.reason),
        };
    }

    /// A session holds what it reads, and what it goes on from, until an entry ends it. That its
    /// lease ran out says nothing: another leader's clock may be behind, and renew it.
    pub fn session(&mut self, session: &SessionRow) {
        if self.leases_at.is_some_and(|now| session.lease_until < now) {
            return;
        }
        match session.kind {
            SessionKind::Read => self.used.insert(session.point),
            SessionKind::Write => session.previous.is_some_and(|point| self.used.insert(point)),
        };
    }

    /// A run that has not ended holds what it reads, and its newest checkpoint: what its session
    /// was told before that is in no other reach.
    pub fn open_run(&mut self, run: &RunRow) {
        if self.leases_at.is_none() {
            self.used.extend(run.checkpoint);
        }
        self.used.extend(run.granted());
    }

    /// What the next backup of a source goes on from.
    pub fn newest(&mut self, point: PointId) {
        self.newest.insert(point);
    }

    pub fn of(&self, point: &PointRow) -> Vec<Tie> {
        let policy = point.policy.as_ref().and_then(|policy| self.policies.get(policy));
        let held = [self.points.get(&point.id), policy, self.agents.get(&point.agent)];
        let held = held.into_iter().flatten().map(|why| tie(Reason::Held, why));
        let used = self.used.contains(&point.id).then(|| tie(Reason::InUse, "it is being read"));
        let newest = self.newest.contains(&point.id);
        let newest = newest.then(|| tie(Reason::Newest, "the next backup goes on from it"));
        held.chain(used).chain(newest).collect()
    }
}

fn tie(reason: Reason, why: &str) -> Tie {
    Tie { reason, why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::SourceSpec;
    use holdfast_common::{RunId, SessionId, VaultId};

    fn session(kind: SessionKind) -> SessionRow {
        SessionRow {
            id: SessionId::from_bytes([1; 16]),
            kind,
            vault: VaultId::from_bytes([2; 16]),
            run: None,
            agent: None,
            begun: 1,
            lease_until: Timestamp::ZERO,
            point: PointId::from_bytes([3; 16]),
            previous: Some(PointId::from_bytes([4; 16])),
        }
    }

    #[test]
    fn a_backup_that_goes_on_uses_its_newest_checkpoint() {
        let id = [7; 16];
        let source = SourceSpec::Files {
            paths: Vec::new(),
            exclude: Vec::new(),
            one_file_system: false,
            include: None,
        };
        let (run, agent) = (RunId::from_bytes(id), AgentId::from_bytes(id));
        let run = RunRow::backup(run, agent, VaultId::from_bytes(id), source);
        let mut ties = Ties::default();
        ties.open_run(&RunRow { checkpoint: Some(PointId::from_bytes(id)), ..run });
        assert_eq!(Vec::from_iter(ties.used), [PointId::from_bytes(id)]);
    }

    #[test]
    fn a_reader_uses_its_point_and_a_backup_what_it_goes_on_from_whatever_its_lease_says() {
        for (kind, used) in [(SessionKind::Read, 3), (SessionKind::Write, 4)] {
            let mut ties = Ties::at(COLLECTED, Timestamp::from_nanos(10));
            ties.session(&session(kind));
            assert_eq!(Vec::from_iter(ties.used), [PointId::from_bytes([used; 16])]);
            // Members of an older level compute it so.
            let mut ties = Ties::at(COLLECTED - 1, Timestamp::from_nanos(10));
            ties.session(&session(kind));
            assert!(ties.used.is_empty());
        }
    }
}
