//! The plan for all points, or for those of one policy: one walk over the rows, newest first.
//!
//! What is in memory has a bound. Where policies do not fit together, those that come last by name
//! wait for the next plan. Of one policy that does not fit alone the newest points are planned for,
//! which is right for each of them: nothing is left out between two of them. The plan says so.

use holdfast_common::{AgentId, Code, Error, Name, PointId, Result, Timestamp, VaultId, limits};
use holdfast_ledger::{
    Query,
    retention::{self, Candidate, Rules, Ties, Verdict},
    row::{PointRow, point::time_key},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Which points are planned for.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    Every,
    Policy(Name),
    /// Policies that have rules; of these, from a name on.
    Retained(Option<Name>),
}

/// What becomes of the points of each source.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) sources: Vec<SourcePlan>,
    /// The first policy that was not planned for.
    pub(crate) rest: Option<Name>,
    /// The policy of which there are older points than were planned for.
    pub(crate) cut: Option<Name>,
    /// Vaults of which some pack lies whole nowhere, where anything would go: what is the newest
    /// good point there may be none.
    pub(crate) lossy: BTreeMap<VaultId, Name>,
}

#[derive(Clone, Debug)]
pub(crate) struct SourcePlan {
    pub(crate) policy: Option<Name>,
    pub(crate) vault: VaultId,
    pub(crate) rules: Option<Rules>,
    pub(crate) verdicts: Vec<Verdict>,
}

impl Plan {
    /// The points that go.
    pub(crate) fn gone(&self) -> impl Iterator<Item = PointId> {
        let verdicts = self.sources.iter().flat_map(|source| &source.verdicts);
        verdicts.filter(|verdict| verdict.goes()).map(|verdict| verdict.id)
    }

    /// Refuses while a vault has lost packs.
    pub(super) fn insist_on_whole(&self, vault: VaultId) -> Result<()> {
        self.lossy.get(&vault).map_or(Ok(()), |name| Err(lossy(name)))
    }

    /// The first reason for which something that would go stays all the same.
    pub(crate) fn suspended(&self) -> Option<Error> {
        self.lossy.values().next().map(lossy)
    }

    fn find_lossy(&mut self, query: Query<'_>) -> Result<()> {
        let going = self.sources.iter().filter(|one| one.verdicts.iter().any(Verdict::goes));
        let vaults: BTreeSet<VaultId> = going.map(|source| source.vault).collect();
        for vault in vaults {
            if query.has_lost_packs(&vault)? {
                self.lossy.insert(vault, query.vault(&vault)?.name);
            }
        }
        Ok(())
    }
}

fn lossy(vault: &Name) -> Error {
    let message = format!("packs of the vault `{vault}` are lost: nothing of it is forgotten");
    Error::new(Code::PackMissing, message)
}

/// The plan of whoever waits so long after the end of a hold.
pub(crate) fn plan(
    query: Query<'_>,
    wanted: &Wanted,
    now: Timestamp,
    grace: Duration,
) -> Result<Plan> {
    let ties = query.ties(now, grace)?;
    plan_within(query, wanted, (now, &ties), limits::POINTS_PLANNED_MAX)
}

fn plan_within(
    query: Query<'_>,
    wanted: &Wanted,
    (now, ties): (Timestamp, &Ties),
    max: usize,
) -> Result<Plan> {
    let mut rules = BTreeMap::new();
    for policy in query.policies()? {
        if let Some(found) = query.rules(&policy)? {
            rules.insert(policy.name, found);
        }
    }
    let mut gathered = Gathered::none(wanted, max);
    for point in query.points(None) {
        gathered.take(&point?, &rules, ties)?;
    }
    let sources = gathered.sources.into_iter().map(|(source, points)| {
        let rules = source.policy.as_ref().and_then(|policy| rules.get(policy)).cloned();
        let by = rules.as_ref().map(|rules| &rules.retention);
        let verdicts = retention::plan(points, by, now);
        SourcePlan { policy: source.policy, vault: source.vault, rules, verdicts }
    });
    let (sources, lossy) = (sources.collect(), BTreeMap::new());
    let mut plan = Plan { sources, rest: gathered.rest, cut: gathered.cut, lossy };
    plan.find_lossy(query)?;
    Ok(plan)
}

/// What points have in common that are decided on together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Source {
    policy: Option<Name>,
    vault: VaultId,
    agent: AgentId,
    /// Its text is long, and there are many points.
    text: [u8; 32],
}

struct Gathered<'a> {
    wanted: &'a Wanted,
    max: usize,
    held: usize,
    sources: BTreeMap<Source, Vec<Candidate>>,
    rest: Option<Name>,
    cut: Option<Name>,
}

impl<'a> Gathered<'a> {
    fn none(wanted: &'a Wanted, max: usize) -> Self {
        Self { wanted, max, held: 0, sources: BTreeMap::new(), rest: None, cut: None }
    }

    fn take(&mut self, point: &PointRow, rules: &BTreeMap<Name, Rules>, ties: &Ties) -> Result<()> {
        if !self.wants(point, rules) {
            return Ok(());
        }
        let source = Source {
            policy: point.policy.clone(),
            vault: point.vault,
            agent: point.agent,
            text: *blake3::hash(point.source.as_bytes()).as_bytes(),
        };
        let ties = ties.of(point).into_iter().map(|tie| tie.reason).collect();
        self.sources.entry(source).or_default().push(Candidate::of(point, ties));
        self.held += 1;
        match self.held > self.max {
            true => self.make_room(),
            false => Ok(()),
        }
    }

    fn wants(&self, point: &PointRow, rules: &BTreeMap<Name, Rules>) -> bool {
        if self.cut.is_some() && self.cut == point.policy {
            return false;
        }
        match self.wanted {
            Wanted::Every => true,
            Wanted::Policy(policy) => point.policy.as_ref() == Some(policy),
            Wanted::Retained(from) => point.policy.as_ref().is_some_and(|policy| {
                rules.contains_key(policy)
                    && from.as_ref().is_none_or(|from| policy >= from)
                    && self.rest.as_ref().is_none_or(|rest| policy < rest)
            }),
        }
    }

    /// Leaves the last policy for another time; of the only one, whatever is older.
    fn make_room(&mut self) -> Result<()> {
        if matches!(self.wanted, Wanted::Every) {
            let message = format!("there are more than {} points to plan for", self.max);
            return Err(Error::new(Code::LimitExceeded, message).next("name a policy"));
        }
        let policies = || self.sources.keys().map(|source| &source.policy);
        if policies().next() == policies().next_back() {
            self.cut_off();
            return Ok(());
        }
        let last = policies().next_back().cloned().flatten();
        self.sources.retain(|source, _| source.policy != last);
        self.held = self.sources.values().map(Vec::len).sum();
        if self.cut == last {
            self.cut = None;
        }
        self.rest = last;
        Ok(())
    }

    /// Points come newest first: what was taken last is the oldest of all, and from here on none of
    /// the policy is taken any more.
    fn cut_off(&mut self) {
        self.cut = self.sources.keys().next().and_then(|source| source.policy.clone());
        let last =
            |points: &[Candidate]| points.last().map(|it| time_key(it.committed, it.id.as_bytes()));
        if let Some(points) = self.sources.values_mut().max_by_key(|points| last(points)) {
            points.pop();
            self.held -= 1;
        }
        self.sources.retain(|_, points| !points.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{Crowd, VAULT, id, moment, name, pack};
    use holdfast_ledger::row::{PackRow, PackState, PolicyRow, Retention, SourceSpec};

    fn policy(text: &str) -> PolicyRow {
        let (paths, exclude) = (vec![b"/srv".to_vec().into()], Vec::new());
        PolicyRow {
            name: name(text),
            agent: name("local"),
            vault: name("main"),
            source: SourceSpec::Files { paths, exclude, one_file_system: false, include: None },
            required: Vec::new(),
            level: 3,
            bytes_per_second_max: 0,
            revision: 1,
            retention: Some(Retention {
                last: Some(1),
                protect_secs: Some(0),
                ..Retention::default()
            }),
            class: None,
            retained_since: None,
        }
    }

    /// Three policies that take turns, four points each, and one of none.
    fn crowd() -> Crowd {
        let mut crowd = Crowd::default();
        for text in ["a", "b", "c"] {
            crowd.put(&policy(text));
        }
        for number in 0..12 {
            let of = ["a", "b", "c"][number as usize % 3];
            crowd.point(number + 1, |row| row.policy = Some(name(of)));
        }
        crowd.point(50, |_| {});
        crowd
    }

    fn gone(wanted: &Wanted, max: usize) -> (Vec<PointId>, Option<Name>) {
        let plan = planned(crowd(), wanted, max).unwrap();
        let mut gone: Vec<PointId> = plan.gone().collect();
        gone.sort_unstable();
        (gone, plan.rest)
    }

    fn planned(crowd: Crowd, wanted: &Wanted, max: usize) -> Result<Plan> {
        let moment = (moment(100), &Ties::default());
        crowd.ask(|query| plan_within(query, wanted, moment, max))
    }

    fn points(numbers: &[u64]) -> Vec<PointId> {
        numbers.iter().map(|number| PointId::from_bytes(id(*number))).collect()
    }

    #[test]
    fn each_policy_keeps_its_own_last_point_and_none_counts_for_another() {
        let all = points(&[1, 2, 3, 4, 5, 6, 7, 8, 9]);
        for wanted in [Wanted::Every, Wanted::Retained(None)] {
            assert_eq!(gone(&wanted, 100), (all.clone(), None), "{wanted:?}");
        }
        assert_eq!(gone(&Wanted::Policy(name("b")), 100), (points(&[2, 5, 8]), None));
    }

    #[test]
    fn policies_that_do_not_fit_wait_for_the_next_plan() {
        assert_eq!(
            gone(&Wanted::Retained(None), 8),
            (points(&[1, 2, 4, 5, 7, 8]), Some(name("c")))
        );
        assert_eq!(gone(&Wanted::Retained(Some(name("c"))), 8), (points(&[3, 6, 9]), None));
        assert_eq!(gone(&Wanted::Retained(None), 5), (points(&[1, 4, 7]), Some(name("b"))));
        // One that does not fit alone: its newest points are planned for.
        assert_eq!(gone(&Wanted::Retained(Some(name("b"))), 3), (points(&[5, 8]), Some(name("c"))));
        let error = planned(crowd(), &Wanted::Every, 8).unwrap_err();
        assert_eq!(error.code, Code::LimitExceeded);
    }

    #[test]
    fn a_plan_that_is_cut_says_so_and_leaves_nothing_out_between_two_points() {
        let (mine, yours) = (AgentId::from_bytes([1; 16]), AgentId::from_bytes([2; 16]));
        // The newest of one source are older than most of the other.
        let agents = [mine, yours, mine, yours, mine, mine, mine, yours];
        let crowd = || {
            let mut crowd = Crowd::default();
            crowd.put(&policy("b"));
            for (number, agent) in (1..).zip(agents) {
                crowd.point(number, |row| {
                    row.policy = Some(name("b"));
                    row.agent = agent;
                });
            }
            crowd
        };
        for max in 1..agents.len() {
            for wanted in [Wanted::Policy(name("b")), Wanted::Retained(None)] {
                let plan = planned(crowd(), &wanted, max).unwrap();
                assert_eq!(plan.cut, Some(name("b")), "{max}");
                let verdicts = plan.sources.iter().flat_map(|source| &source.verdicts);
                let mut taken: Vec<PointId> = verdicts.map(|verdict| verdict.id).collect();
                taken.sort_unstable();
                let newest = agents.len() - max + 1..=agents.len();
                let newest: Vec<u64> = newest.map(|number| number as u64).collect();
                assert_eq!(taken, points(&newest), "{max}");
            }
        }
        let whole = planned(crowd(), &Wanted::Retained(None), agents.len()).unwrap();
        assert_eq!(whole.cut, None);
    }

    #[test]
    fn a_policy_that_was_cut_makes_room_for_one_that_comes_before_it() {
        let mut crowd = Crowd::default();
        crowd.put(&policy("a"));
        crowd.put(&policy("b"));
        for number in 1..=8 {
            let of = if number <= 2 { "a" } else { "b" };
            crowd.point(number, |row| row.policy = Some(name(of)));
        }
        let plan = planned(crowd, &Wanted::Retained(None), 4).unwrap();
        assert_eq!(plan.gone().collect::<Vec<_>>(), points(&[1]));
        assert_eq!((plan.rest, plan.cut), (Some(name("b")), None));
    }

    #[test]
    fn a_vault_that_has_lost_packs_is_told_where_anything_of_it_would_go() {
        for (state, lossy) in [(PackState::Stored, false), (PackState::Lost, true)] {
            let mut crowd = crowd();
            crowd.put(&crate::crowd::vault());
            crowd.put(&PackRow { state, ..pack([3; 32]) });
            let plan = planned(crowd, &Wanted::Every, 100).unwrap();
            assert_eq!(plan.suspended().is_some(), lossy, "{state:?}");
            assert_eq!(plan.insist_on_whole(VAULT).is_err(), lossy, "{state:?}");
        }
    }
}
