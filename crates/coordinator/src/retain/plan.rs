//! The plan for all points, or for those of one policy: one walk over the rows, newest first.
//!
//! What is in memory has a bound. Where policies do not fit together, those that come last by name
//! wait for the next plan. Of one policy that does not fit alone the newest points are planned for,
//! which is right for each of them: nothing is left out between two of them. The plan says so.

use holdfast_common::{AgentId, Code, Error, Name, PointId, Result, Timestamp, VaultId, limits};
use holdfast_ledger::{
    Query,
    level::COPIES_KEPT,
    retention::{self, Candidate, Reason, Rules, Size, Ties, Verdict},
    row::{PointRow, point::time_key},
};
use std::{collections::BTreeMap, time::Duration};

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
}

#[derive(Clone, Debug)]
pub(crate) struct SourcePlan {
    pub(crate) policy: Option<Name>,
    pub(crate) vault: VaultId,
    pub(crate) rules: Option<Rules>,
    pub(crate) verdicts: Vec<Verdict>,
    /// How many times packs of the vault had been lost when the plan began.
    pub(crate) losses: u64,
    /// The ledger is told which points stay in which location.
    pub(crate) knows_copies: bool,
    /// Why nothing of it goes, whatever the rules say.
    pub(crate) stands_still: Option<Error>,
}

impl SourcePlan {
    /// The verdicts on what goes.
    pub(super) fn going(&self) -> impl Iterator<Item = &Verdict> {
        self.verdicts.iter().filter(|verdict| verdict.goes())
    }

    /// Nothing of it goes after all.
    pub(super) fn stand_still(&mut self, why: Error) {
        for verdict in self.verdicts.iter_mut().filter(|verdict| verdict.goes()) {
            (verdict.reasons, verdict.outlived_by) = (vec![Reason::Damaged], None);
        }
        self.stands_still = Some(why);
    }
}

impl Plan {
    /// The points that go.
    pub(crate) fn gone(&self) -> impl Iterator<Item = PointId> {
        self.sources.iter().flat_map(SourcePlan::going).map(|verdict| verdict.id)
    }

    /// The first reason for which a source stands still.
    pub(crate) fn suspended(&self) -> Option<Error> {
        self.sources.iter().find_map(|source| source.stands_still.clone())
    }
}

/// Whether it is right that a source holds far less than before, since a person said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anomalies {
    Accepted,
    Held,
}

/// The plan of whoever waits so long after the end of a hold.
pub(crate) fn plan(
    query: Query<'_>,
    (wanted, anomalies): (&Wanted, Anomalies),
    now: Timestamp,
    grace: Duration,
) -> Result<Plan> {
    let ties = query.ties(now, grace)?;
    plan_within(query, (wanted, anomalies), (now, &ties), limits::POINTS_PLANNED_MAX)
}

fn plan_within(
    query: Query<'_>,
    wanted: (&Wanted, Anomalies),
    (now, ties): (Timestamp, &Ties),
    max: usize,
) -> Result<Plan> {
    // Before anything is looked at: what is lost from here on is not in the plan.
    let losses: BTreeMap<VaultId, u64> =
        query.vaults()?.into_iter().map(|vault| (vault.id, vault.losses())).collect();
    let mut rules = BTreeMap::new();
    for policy in query.policies()? {
        if let Some(found) = query.rules(&policy)? {
            rules.insert(policy.name, found);
        }
    }
    let mut gathered = Gathered::none(wanted, max);
    for vault in query.vaults()? {
        gathered.locations.insert(vault.id, query.confirming(&vault)?);
    }
    for point in query.points(None) {
        gathered.take(&point?, &rules, ties)?;
    }
    let knows_copies = query.level()? >= COPIES_KEPT;
    let sources = gathered.sources.into_iter().map(|(source, points)| {
        let Source { policy, vault, .. } = source;
        let rules = policy.as_ref().and_then(|policy| rules.get(policy)).cloned();
        let by = rules.as_ref().map(|rules| &rules.retention);
        let verdicts = retention::plan(points.together(), by, now);
        let losses = losses.get(&vault).copied().unwrap_or(0);
        SourcePlan { policy, vault, rules, verdicts, losses, knows_copies, stands_still: None }
    });
    Ok(Plan { sources: sources.collect(), rest: gathered.rest, cut: gathered.cut })
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

/// What is known of one source.
#[derive(Default)]
struct Points {
    counted: Vec<Candidate>,
    /// Checkpoints that a newer point has outdone: nothing depends on them, and others of them may
    /// wait for the next plan.
    steps: Vec<Candidate>,
    has_complete: bool,
}

impl Points {
    fn together(mut self) -> Vec<Candidate> {
        self.counted.append(&mut self.steps);
        self.counted
    }
}

struct Gathered<'a> {
    wanted: &'a Wanted,
    anomalies: Anomalies,
    /// In which points lie as is said of them.
    locations: BTreeMap<VaultId, Vec<Name>>,
    max: usize,
    held: usize,
    steps: usize,
    sources: BTreeMap<Source, Points>,
    rest: Option<Name>,
    cut: Option<Name>,
}

impl<'a> Gathered<'a> {
    fn none((wanted, anomalies): (&'a Wanted, Anomalies), max: usize) -> Self {
        let (locations, sources, rest, cut) = Default::default();
        Self { wanted, anomalies, max, locations, held: 0, steps: 0, sources, rest, cut }
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
        let locations = self.locations.get(&point.vault);
        let held = locations.map(Vec::as_slice).unwrap_or_default();
        let mut candidate = Candidate::of(point, ties, held);
        if self.anomalies == Anomalies::Accepted {
            candidate.size = Size::default();
        }
        let points = self.sources.entry(source).or_default();
        if candidate.step && points.has_complete {
            if self.steps < limits::STEPS_PLANNED_MAX {
                points.steps.push(candidate);
                self.steps += 1;
            }
            return Ok(());
        }
        points.has_complete |= candidate.is_complete();
        points.counted.push(candidate);
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
        self.held = self.sources.values().map(|points| points.counted.len()).sum();
        self.steps = self.sources.values().map(|points| points.steps.len()).sum();
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
        let last = |points: &Points| {
            points.counted.last().map(|it| time_key(it.committed, it.id.as_bytes()))
        };
        if let Some(points) = self.sources.values_mut().max_by_key(|points| last(points)) {
            points.counted.pop();
            self.held -= 1;
        }
        self.sources.retain(|_, points| !points.counted.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{Crowd, id, moment, name};
    use holdfast_ledger::row::{PointState, PolicyRow, Retention, SourceSpec, VaultRow};

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
        crowd.ask(|query| plan_within(query, (wanted, Anomalies::Held), moment, max))
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
    fn a_plan_says_how_many_losses_it_knew_of_and_holds_what_may_be_the_last_that_is_good() {
        let crowd = |losses| {
            let mut crowd = Crowd::default();
            crowd.put(&VaultRow { losses, ..crate::crowd::vault() });
            crowd.put(&policy("a"));
            for (number, entries) in [(1, 100), (2, 100), (3, 0)] {
                crowd.point(number, |row| {
                    (row.policy, row.entries) = (Some(name("a")), entries);
                });
            }
            crowd
        };
        let plan = planned(crowd(Some(4)), &Wanted::Every, 9).unwrap();
        assert_eq!((plan.sources[0].losses, plan.gone().count()), (4, 0));
        let at = (moment(100), &Ties::default());
        let wanted = (&Wanted::Every, Anomalies::Accepted);
        let plan = crowd(None).ask(|query| plan_within(query, wanted, at, 9)).unwrap();
        assert_eq!(plan.gone().collect::<Vec<_>>(), points(&[2, 1]));
        assert_eq!(plan.sources[0].losses, 0);
    }

    #[test]
    fn checkpoints_that_were_outdone_take_no_room_from_the_points_of_a_plan() {
        let mut crowd = Crowd::default();
        crowd.put(&policy("a"));
        for number in 1..=20 {
            crowd.point(number, |row| {
                row.policy = Some(name("a"));
                if number % 10 != 0 {
                    row.state = PointState::Checkpoint;
                }
            });
        }
        let plan = planned(crowd, &Wanted::Every, 2).unwrap();
        assert_eq!((plan.gone().count(), plan.cut), (19, None));
    }
}
