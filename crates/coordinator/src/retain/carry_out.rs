//! Carries out a plan, a part at a time: points of many sources in one command, and a rest after
//! each as long as it took, so that backups go on beside it.
//!
//! A command is refused as a whole. Where that is for one of its sources, since somebody began to
//! read or changed the rules, each goes alone then, and the others of them go; another error ends
//! it. What was forgotten until then stays forgotten and is told, and the next plan is for what is
//! left.

use super::plan::{Anomalies, Plan, SourcePlan};
use crate::house::House;
use holdfast_common::{Code, Error, PointId, Result, limits};
use holdfast_ledger::{
    Actor,
    command::{ForgetPoints, OutlivedPoints},
};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// The longest rest between two commands.
const REST_MAX: Duration = Duration::from_secs(1);

/// What came of a plan.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    pub(crate) forgotten: Vec<PointId>,
    /// Why not all of it was carried out: the first reason.
    pub(crate) stopped: Option<Error>,
}

pub(crate) async fn carry_out(
    house: &House,
    actor: &Actor,
    plan: &Plan,
    anomalies: Anomalies,
) -> Carried {
    let forget = move |sources: Vec<OutlivedPoints>| async move {
        let despite_anomalies = (anomalies == Anomalies::Accepted).then_some(true);
        let begun = house.clock.elapsed();
        let command = ForgetPoints { sources, despite_anomalies };
        let done = house.ledger.propose(actor.clone(), command).await.map(drop);
        tokio::time::sleep(house.clock.elapsed().saturating_sub(begun).min(REST_MAX)).await;
        done
    };
    carry_out_by(plan, forget).await
}

async fn carry_out_by<F>(plan: &Plan, forget: impl Fn(Vec<OutlivedPoints>) -> F) -> Carried
where
    F: Future<Output = Result<()>>,
{
    let mut carried = Carried { forgotten: Vec::new(), stopped: plan.suspended() };
    let mut parts = VecDeque::from(parts(plan));
    while let Some(part) = parts.pop_front() {
        match forget(part.clone()).await {
            Ok(()) => carried.forgotten.extend(part.into_iter().flat_map(|source| source.points)),
            // Of which of its sources, nobody says.
            Err(error) if is_of_source(&error) && part.len() > 1 => {
                part.into_iter().rev().for_each(|source| parts.push_front(vec![source]));
            }
            Err(error) => {
                let ends = !is_of_source(&error);
                carried.stopped.get_or_insert(error);
                if ends {
                    break;
                }
            }
        }
    }
    carried
}

/// What is about one source, and nothing that the others need.
fn is_of_source(error: &Error) -> bool {
    matches!(
        error.code,
        Code::PackMissing
            | Code::PointKept
            | Code::PointMissing
            | Code::PolicyMissing
            | Code::ResourceConflict
            | Code::VaultMissing
    )
}

/// Somebody began to read, or changed the rules: what is left comes with the next plan.
pub(super) fn is_overtaken(error: &Error) -> bool {
    is_of_source(error) && error.code != Code::PackMissing
}

/// What goes, as much of it at a time as one command forgets.
fn parts(plan: &Plan) -> Vec<Vec<OutlivedPoints>> {
    let (mut parts, mut room): (Vec<Vec<OutlivedPoints>>, usize) = (Vec::new(), 0);
    for mut source in plan.sources.iter().flat_map(outlived) {
        while !source.points.is_empty() {
            if room == 0 {
                parts.push(Vec::new());
                room = limits::POINTS_FORGOTTEN_MAX;
            }
            let rest = source.points.split_off(source.points.len().min(room));
            room -= source.points.len();
            parts.last_mut().map(|part| part.push(source.clone())).unwrap_or_default();
            source.points = rest;
        }
    }
    parts
}

/// The points of a source that go, by the ones that outlive them.
fn outlived(source: &SourcePlan) -> Vec<OutlivedPoints> {
    let (Some(policy), Some(rules)) = (&source.policy, &source.rules) else { return Vec::new() };
    let mut outlived: BTreeMap<PointId, Vec<PointId>> = BTreeMap::new();
    for verdict in source.going() {
        let Some(by) = verdict.outlived_by else { continue };
        outlived.entry(by).or_default().push(verdict.id);
    }
    let newest = source.verdicts.iter().filter(|verdict| verdict.newest_copy);
    let copies: Vec<PointId> = newest.map(|verdict| verdict.id).collect();
    let by = |(outlived_by, points)| OutlivedPoints {
        policy: policy.clone(),
        revision: rules.revision,
        class_revision: rules.class_revision,
        outlived_by,
        points,
        since: rules.since,
        losses: source.losses,
        copies: source.knows_copies.then(|| copies.clone()),
    };
    outlived.into_iter().map(by).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{VAULT, name};
    use holdfast_common::Timestamp;
    use holdfast_ledger::{
        retention::{Reason, Rules, Verdict},
        row::Retention,
    };
    use std::future::ready;

    fn point(number: usize) -> PointId {
        PointId::from_bytes((number as u128).to_be_bytes())
    }

    /// These points go, outlived by that one.
    fn source_of(numbers: impl Iterator<Item = usize>, outlived_by: usize) -> SourcePlan {
        let goes = |number| Verdict {
            id: point(number),
            committed: Timestamp::ZERO,
            reasons: Vec::new(),
            outlived_by: Some(point(outlived_by)),
            newest_copy: false,
        };
        let rules = Rules {
            retention: Retention::default(),
            since: Timestamp::ZERO,
            revision: 3,
            class_revision: Some(4),
        };
        SourcePlan {
            policy: Some(name("docs")),
            vault: VAULT,
            rules: Some(rules),
            verdicts: numbers.map(goes).collect(),
            losses: 5,
            knows_copies: true,
            stands_still: None,
        }
    }

    fn plan_of(sources: impl IntoIterator<Item = SourcePlan>) -> Plan {
        Plan { sources: sources.into_iter().collect(), ..Plan::default() }
    }

    #[test]
    fn a_command_forgets_a_bounded_part_of_many_sources() {
        let max = limits::POINTS_FORGOTTEN_MAX;
        let sources = [source_of(10..13, 1), source_of(20..20 + max, 2), source_of(900..901, 3)];
        let parts = parts(&plan_of(sources));
        let told = parts.iter().map(|part| -> Vec<(usize, PointId)> {
            part.iter().map(|one| (one.points.len(), one.outlived_by)).collect()
        });
        let (first, second) = (vec![(3, point(1)), (max - 3, point(2))], vec![(3, point(2))]);
        let second = [second, vec![(1, point(3))]].concat();
        assert_eq!(told.collect::<Vec<_>>(), [first, second]);
        let is_right = |one: &OutlivedPoints| {
            (one.revision, one.class_revision, one.losses) == (3, Some(4), 5)
        };
        assert!(parts.iter().flatten().all(is_right));
    }

    /// One point of each source goes; some are refused.
    async fn carried(plan: &Plan, refusals: &[(usize, Code)]) -> (Vec<PointId>, Option<Code>) {
        let forget = |part: Vec<OutlivedPoints>| {
            let is_in = |number: usize| part.iter().any(|one| one.points[0] == point(number));
            let refusal = refusals.iter().find(|(number, _)| is_in(*number));
            ready(refusal.map_or(Ok(()), |(_, code)| Err(Error::new(*code, "refused"))))
        };
        let carried = carry_out_by(plan, forget).await;
        (carried.forgotten, carried.stopped.map(|error| error.code))
    }

    #[tokio::test]
    async fn what_was_forgotten_is_told_whatever_became_of_the_rest() {
        let plan = plan_of((1..=3).map(|number| source_of(number..=number, 0)));
        let all = vec![point(1), point(2), point(3)];
        assert_eq!(carried(&plan, &[]).await, (all, None));
        for code in [
            Code::PointKept,
            Code::ResourceConflict,
            // The point that is to stay, or the policy, went meanwhile.
            Code::PointMissing,
            Code::PolicyMissing,
        ] {
            let told = carried(&plan, &[(2, code)]).await;
            assert_eq!(told, (vec![point(1), point(3)], Some(code)), "the others go");
        }
        let refusals = [(1, Code::PointKept), (2, Code::ClusterLeaderless)];
        let told = carried(&plan, &refusals).await;
        assert_eq!(told, (vec![], Some(Code::PointKept)));
        let told = carried(&plan, &[(3, Code::ClockDoubtful)]).await;
        assert_eq!(told, (vec![], Some(Code::ClockDoubtful)), "what is of all ends it");
    }

    #[tokio::test]
    async fn a_source_that_stands_still_keeps_no_other_from_going() {
        let mut damaged = source_of(1..=1, 0);
        damaged.stand_still(Error::new(Code::PackMissing, "a pack is lost"));
        assert_eq!(damaged.verdicts[0].reasons, [Reason::Damaged]);
        let told = carried(&plan_of([damaged, source_of(2..=2, 0)]), &[]).await;
        assert_eq!(told, (vec![point(2)], Some(Code::PackMissing)));
    }
}
