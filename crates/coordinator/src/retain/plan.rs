//! The plan for all points, or for those of one policy: one walk over the rows, newest first.
//!
//! What is in memory has a bound. Where policies do not fit together, those that come last by name
//! wait for the next plan. Of one policy that does not fit alone the newest points are planned for,
//! which is right for each of them.

use holdfast_common::{AgentId, Code, Error, Name, PointId, Result, Timestamp, VaultId, limits};
use holdfast_ledger::{
    Query,
    retention::{self, Candidate, Rules, Ties, Verdict},
    row::PointRow,
};
use std::collections::BTreeMap;

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
}

#[derive(Debug)]
pub(crate) struct SourcePlan {
    pub(crate) policy: Option<Name>,
    pub(crate) rules: Option<Rules>,
    pub(crate) verdicts: Vec<Verdict>,
}

impl Plan {
    /// The points that go.
    pub(crate) fn gone(&self) -> impl Iterator<Item = PointId> {
        let verdicts = self.sources.iter().flat_map(|source| &source.verdicts);
        verdicts.filter(|verdict| verdict.goes()).map(|verdict| verdict.id)
    }
}

pub(crate) fn plan(query: Query<'_>, wanted: &Wanted, now: Timestamp) -> Result<Plan> {
    plan_within(query, wanted, now, limits::POINTS_PLANNED_MAX)
}

fn plan_within(query: Query<'_>, wanted: &Wanted, now: Timestamp, max: usize) -> Result<Plan> {
    let mut rules = BTreeMap::new();
    for policy in query.policies()? {
        if let Some(found) = query.rules(&policy)? {
            rules.insert(policy.name, found);
        }
    }
    let ties = query.ties(now)?;
    let mut gathered = Gathered { wanted, max, held: 0, sources: BTreeMap::new(), rest: None };
    for point in query.points(None) {
        gathered.take(&point?, &rules, &ties)?;
    }
    let sources = gathered.sources.into_iter().map(|(source, points)| {
        let rules = source.policy.as_ref().and_then(|policy| rules.get(policy)).cloned();
        let by = rules.as_ref().map(|rules| &rules.retention);
        let verdicts = retention::plan(points, by, now);
        SourcePlan { policy: source.policy, rules, verdicts }
    });
    Ok(Plan { sources: sources.collect(), rest: gathered.rest })
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
}

impl Gathered<'_> {
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

    /// Leaves the last policy for another time; of the only one, its oldest point.
    fn make_room(&mut self) -> Result<()> {
        if matches!(self.wanted, Wanted::Every) {
            let message = format!("there are more than {} points to plan for", self.max);
            return Err(Error::new(Code::LimitExceeded, message).next("name a policy"));
        }
        let policies = || self.sources.keys().map(|source| &source.policy);
        if policies().next() == policies().next_back() {
            self.drop_oldest();
            return Ok(());
        }
        let last = policies().next_back().cloned().flatten();
        self.sources.retain(|source, _| source.policy != last);
        self.held = self.sources.values().map(Vec::len).sum();
        self.rest = last;
        Ok(())
    }

    /// Points come newest first: what was taken last is the oldest.
    fn drop_oldest(&mut self) {
        let oldest = self
            .sources
            .values_mut()
            .min_by_key(|points| points.last().map(|point| point.committed));
        if let Some(points) = oldest {
            points.pop();
            self.held -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{Crowd, id, moment, name};
    use holdfast_ledger::row::{PolicyRow, Retention, SourceSpec};

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
        let plan = crowd().ask(|query| plan_within(query, wanted, moment(100), max)).unwrap();
        let mut gone: Vec<PointId> = plan.gone().collect();
        gone.sort_unstable();
        (gone, plan.rest)
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
        let error = crowd().ask(|query| plan_within(query, &Wanted::Every, moment(100), 8));
        assert_eq!(error.unwrap_err().code, Code::LimitExceeded);
    }
}
