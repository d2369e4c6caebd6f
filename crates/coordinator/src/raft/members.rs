//! From the members that are wanted to the membership that is: one step at a time.
//!
//! ```text
//!   rows (wanted) ─┐
//!                  ├─→ next step ─→ openraft, until there is none
//!   membership ────┘
//! ```
//!
//! Pure but for the last arrow. Nobody becomes a voter who lacks more than a little of the log, and
//! a vote is taken away before a member is dropped.

use super::{
    Ledger,
    types::{Member, Types},
};
use crate::house::is_dialable;
use holdfast_common::{Code, Error, Result};
use holdfast_ledger::row::{Duty, MemberRole, MemberRow, MemberState};
use openraft::{ChangeMembers, async_runtime::WatchReceiver};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// So much of the log may a learner lack, and so long may it be silent, to be made a voter.
pub(crate) const LAG_MAX: u64 = 1_000;
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(3);

/// The membership as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) voters: BTreeSet<u64>,
    pub(crate) nodes: BTreeMap<u64, Member>,
    /// Learners that have the log, or nearly.
    pub(crate) ready: BTreeSet<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Add(u64, Member),
    Demote(BTreeSet<u64>),
    Drop(BTreeSet<u64>),
    Move(u64, Member),
    Promote(BTreeSet<u64>),
}

/// What is to be done next, if anything can be.
pub(crate) fn next_step(wanted: &[MemberRow], now: &Standing) -> Option<Step> {
    let live = || wanted.iter().filter(|row| row.state == MemberState::Joined);
    // One that is to choose its port has not been started yet.
    let is_new = |row: &&MemberRow| !now.nodes.contains_key(&row.id) && is_dialable(&row.address);
    if let Some(row) = live().find(is_new) {
        return Some(Step::Add(row.id, member_of(row)));
    }
    let has_moved =
        |row: &&MemberRow| now.nodes.get(&row.id).is_some_and(|node| *node != member_of(row));
    if let Some(row) = live().find(has_moved) {
        return Some(Step::Move(row.id, member_of(row)));
    }
    let promoted: BTreeSet<u64> = live()
        .filter(|row| row.role == MemberRole::Voter)
        .map(|row| row.id)
        .filter(|id| now.ready.contains(id) && !now.voters.contains(id))
        .collect();
    if !promoted.is_empty() {
        return Some(Step::Promote(promoted));
    }
    let keeps_vote = |id: &u64| live().any(|row| row.id == *id && row.role == MemberRole::Voter);
    let (kept, demoted): (BTreeSet<u64>, BTreeSet<u64>) =
        now.voters.iter().copied().partition(keeps_vote);
    let is_witness = |id: &u64| wanted.iter().any(|row| row.id == *id && row.duty == Duty::Witness);
    // Not before those who are to vote do: a cluster always has somebody to agree, and data.
    if !demoted.is_empty() && kept.iter().any(|id| !is_witness(id)) {
        return Some(Step::Demote(demoted));
    }
    let is_live = |id: &u64| live().any(|row| row.id == *id);
    let dropped: BTreeSet<u64> =
        now.nodes.keys().copied().filter(|id| !is_live(id) && !now.voters.contains(id)).collect();
    (!dropped.is_empty()).then_some(Step::Drop(dropped))
}

/// Candidates to be made voters: as many as leave an odd number of them, since one more voter in an
/// even number is only one more that can fail.
pub(crate) fn electable(wanted: &[MemberRow], now: &Standing) -> BTreeSet<u64> {
    let live = |role| {
        wanted.iter().filter(move |row| row.state == MemberState::Joined && row.role == role)
    };
    let voters = live(MemberRole::Voter).count();
    let mut ready: Vec<u64> =
        live(MemberRole::Candidate).map(|row| row.id).filter(|id| now.ready.contains(id)).collect();
    if (voters + ready.len()).is_multiple_of(2) {
        ready.pop();
    }
    ready.into_iter().collect()
}

pub(crate) fn member_of(row: &MemberRow) -> Member {
    Member {
        name: row.name.to_string(),
        region: row.region.to_string(),
        address: row.address.clone(),
    }
}

impl Ledger {
    /// The membership as this member, which leads, sees it.
    pub(crate) fn standing(&self) -> Result<Standing> {
        let view = self.overview()?;
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let is_ready = |member: &&holdfast_wire::v1::PeerView| is_ready(member, view.last).is_ok();
        Ok(Standing {
            voters: membership.voter_ids().collect(),
            nodes: membership.nodes().map(|(id, node)| (*id, node.clone())).collect(),
            ready: view.members.iter().filter(is_ready).map(|member| member.id).collect(),
        })
    }

    pub(crate) async fn take_step(&self, step: Step) -> Result<()> {
        let change: ChangeMembers<u64, Member> = match step {
            Step::Add(id, member) => ChangeMembers::AddNodes([(id, member)].into()),
            Step::Move(id, member) => ChangeMembers::SetNodes([(id, member)].into()),
            Step::Promote(ids) => ChangeMembers::AddVoterIds(ids),
            Step::Demote(ids) => {
                return self.change(ChangeMembers::RemoveVoters(ids), true).await;
            }
            Step::Drop(ids) => ChangeMembers::RemoveNodes(ids),
        };
        self.change(change, true).await
    }

    async fn change(&self, change: ChangeMembers<u64, Member>, retain: bool) -> Result<()> {
        let changed = self.raft.change_membership(change, retain).await;
        changed.map(drop).map_err(|error: openraft::errors::RaftError<Types, _>| {
            Error::new(Code::ClusterLeaderless, "the membership was not changed").cause(error)
        })
    }
}

/// Whether a member has nearly all of the log, or why it is not known to.
pub(crate) fn is_ready(member: &holdfast_wire::v1::PeerView, last: u64) -> Result<()> {
    let lagging = |what: String| {
        Err(Error::new(Code::MemberLagging, what)
            .next("wait until `holdfast cluster status` shows that it has caught up"))
    };
    match (member.silent_ms, member.matched) {
        (Some(silent), _) if u128::from(silent) > SILENCE_MAX.as_millis() => {
            lagging(format!("the member has not answered for {} s", silent / 1000))
        }
        (None, _) | (_, None) => lagging("the member has not answered yet".to_owned()),
        (Some(_), Some(matched)) if last.saturating_sub(matched) > LAG_MAX => {
            lagging(format!("the member lacks {} entries of the log", last - matched))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::Timestamp;

    fn row(id: u64, role: MemberRole) -> MemberRow {
        MemberRow {
            id,
            name: format!("n{id}").parse().unwrap(),
            region: "eu".parse().unwrap(),
            address: format!("h{id}:1"),
            duty: Duty::Data,
            role,
            state: MemberState::Joined,
            joined: Timestamp::ZERO,
            identity_public: [0; 32],
            keeps_key: None,
        }
    }

    fn removed(id: u64, role: MemberRole) -> MemberRow {
        MemberRow { state: MemberState::Removed, ..row(id, role) }
    }

    fn standing(voters: &[u64], learners: &[u64], rows: &[MemberRow]) -> Standing {
        let all = voters.iter().chain(learners);
        let node = |id: &u64| {
            (*id, rows.iter().find(|row| row.id == *id).map(member_of).unwrap_or_default())
        };
        Standing {
            voters: voters.iter().copied().collect(),
            nodes: all.clone().map(node).collect(),
            ready: all.copied().collect(),
        }
    }

    fn set(ids: &[u64]) -> BTreeSet<u64> {
        ids.iter().copied().collect()
    }

    const V: MemberRole = MemberRole::Voter;
    const L: MemberRole = MemberRole::Learner;
    const C: MemberRole = MemberRole::Candidate;

    #[test]
    fn whoever_joined_learns_first_and_votes_when_it_has_the_log() {
        let rows = [row(1, V), row(2, V)];
        let alone = standing(&[1], &[], &rows);
        let mut portless = rows.clone();
        portless[1].address = "h2:0".to_owned();
        assert_eq!(next_step(&portless, &alone), None, "it has not been started yet");
        assert_eq!(next_step(&rows, &alone), Some(Step::Add(2, member_of(&rows[1]))));
        let mut learning = standing(&[1], &[2], &rows);
        learning.ready.remove(&2);
        assert_eq!(next_step(&rows, &learning), None);
        learning.ready.insert(2);
        assert_eq!(next_step(&rows, &learning), Some(Step::Promote(set(&[2]))));
        assert_eq!(next_step(&rows, &standing(&[1, 2], &[], &rows)), None);
    }

    #[test]
    fn whoever_leaves_gives_its_vote_away_before_it_is_dropped() {
        let rows = [row(1, V), row(2, L), removed(3, V)];
        let three = standing(&[1, 2, 3], &[], &rows[..2]);
        assert_eq!(next_step(&rows, &three), Some(Step::Demote(set(&[2, 3]))));
        let one = standing(&[1], &[2, 3], &rows);
        assert_eq!(next_step(&rows, &one), Some(Step::Drop(set(&[3]))));
        assert_eq!(next_step(&rows, &standing(&[1], &[2], &rows)), None);
    }

    #[test]
    fn the_last_who_vote_are_not_all_sent_away() {
        let rows = [row(1, L), row(2, V)];
        let mut now = standing(&[1], &[2], &rows);
        now.ready.clear();
        assert_eq!(next_step(&rows, &now), None, "the one to come does not have the log yet");
        now.ready.insert(2);
        assert_eq!(next_step(&rows, &now), Some(Step::Promote(set(&[2]))));
        let both = standing(&[1, 2], &[], &rows);
        assert_eq!(next_step(&rows, &both), Some(Step::Demote(set(&[1]))));
    }

    #[test]
    fn a_vote_is_not_taken_while_only_witnesses_would_keep_theirs() {
        let witness = |id| MemberRow { duty: Duty::Witness, ..row(id, V) };
        let rows = [row(1, L), row(2, V), witness(3)];
        let mut now = standing(&[1, 3], &[2], &rows);
        now.ready.remove(&2);
        assert_eq!(next_step(&rows, &now), None, "who is to vote with data does not yet");
        let both = standing(&[1, 2, 3], &[], &rows);
        assert_eq!(next_step(&rows, &both), Some(Step::Demote(set(&[1]))));
    }

    #[test]
    fn a_member_that_moved_is_found_where_it_is() {
        let rows = [row(1, V), row(2, V)];
        let mut now = standing(&[1, 2], &[], &rows);
        now.nodes.insert(2, Member::default());
        assert_eq!(next_step(&rows, &now), Some(Step::Move(2, member_of(&rows[1]))));
    }

    #[test]
    fn candidates_are_made_voters_in_odd_numbers() {
        let rows = [row(1, V), row(2, C), row(3, C), row(4, C), row(5, L)];
        let of = |rows: &[MemberRow], learners: &[u64]| {
            electable(rows, &standing(&[1], learners, rows)).len()
        };
        assert_eq!(of(&rows[..2], &[2]), 0, "two voters survive nothing more than one");
        assert_eq!(of(&rows[..3], &[2, 3]), 2);
        assert_eq!(of(&rows[..3], &[2]), 0, "the third does not have the log yet");
        assert_eq!(of(&rows, &[2, 3, 4, 5]), 2, "a learner stays one");
        let two = [row(1, V), row(2, V), row(3, C)];
        assert_eq!(electable(&two, &standing(&[1, 2], &[3], &two)), set(&[3]));
    }
}
