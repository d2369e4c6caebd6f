//! Carries out a plan: the points of a source that the same point outlives, a part at a time.
//!
//! What the ledger refuses meanwhile, since somebody began to read or changed the rules, ends it
//! for that source, and another error for all of them: what was forgotten until then stays
//! forgotten and is told, and the next plan is for what is left.

use super::plan::{Plan, SourcePlan};
use crate::house::House;
use holdfast_common::{Code, Error, PointId, Result, limits};
use holdfast_ledger::{Actor, command::ForgetPoints};

/// What came of a plan.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    pub(crate) forgotten: Vec<PointId>,
    /// Why not all of it was carried out: the first reason.
    pub(crate) stopped: Option<Error>,
}

pub(crate) async fn carry_out(house: &House, actor: &Actor, plan: &Plan) -> Carried {
    let forget = move |command: ForgetPoints| async move {
        house.ledger.propose(actor.clone(), command).await.map(drop)
    };
    carry_out_by(plan, forget).await
}

async fn carry_out_by<F>(plan: &Plan, forget: impl Fn(ForgetPoints) -> F) -> Carried
where
    F: Future<Output = Result<()>>,
{
    let mut carried = Carried::default();
    for source in &plan.sources {
        let Err(error) = carry_out_source(plan, source, &forget, &mut carried.forgotten).await
        else {
            continue;
        };
        let is_of_source = is_overtaken(&error) || error.code == Code::PackMissing;
        carried.stopped.get_or_insert(error);
        if !is_of_source {
            break;
        }
    }
    carried
}

async fn carry_out_source<F>(
    plan: &Plan,
    source: &SourcePlan,
    forget: &impl Fn(ForgetPoints) -> F,
    forgotten: &mut Vec<PointId>,
) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    let commands = commands(source);
    if !commands.is_empty() {
        plan.insist_on_whole(source.vault)?;
    }
    for command in commands {
        let points = command.points.clone();
        forget(command).await?;
        forgotten.extend(points);
    }
    Ok(())
}

/// Somebody began to read, or changed the rules: what is left comes with the next plan.
pub(super) fn is_overtaken(error: &Error) -> bool {
    matches!(error.code, Code::PointKept | Code::ResourceConflict)
}

fn commands(source: &SourcePlan) -> Vec<ForgetPoints> {
    let (Some(policy), Some(rules)) = (&source.policy, &source.rules) else { return Vec::new() };
    let mut commands: Vec<ForgetPoints> = Vec::new();
    for verdict in source.verdicts.iter().filter(|verdict| verdict.goes()) {
        let Some(outlived_by) = verdict.outlived_by else { continue };
        match commands.last_mut() {
            Some(last)
                if last.outlived_by == outlived_by
                    && last.points.len() < limits::POINTS_FORGOTTEN_MAX =>
            {
                last.points.push(verdict.id);
            }
            _ => commands.push(ForgetPoints {
                policy: policy.clone(),
                revision: rules.revision,
                class_revision: rules.class_revision,
                outlived_by,
                points: vec![verdict.id],
                since: rules.since,
            }),
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{VAULT, name};
    use holdfast_common::{Timestamp, VaultId};
    use holdfast_ledger::{
        retention::{Reason, Rules, Verdict},
        row::Retention,
    };
    use std::future::ready;

    fn point(number: usize) -> PointId {
        PointId::from_bytes((number as u128).to_be_bytes())
    }

    #[test]
    fn a_command_forgets_a_bounded_part_of_what_one_point_outlives() {
        let verdict = |number: usize, outlived_by: usize, reasons: &[Reason]| Verdict {
            id: point(number),
            committed: Timestamp::ZERO,
            reasons: reasons.to_vec(),
            outlived_by: Some(point(outlived_by)),
        };
        let max = limits::POINTS_FORGOTTEN_MAX;
        let mut verdicts = vec![verdict(0, 0, &[Reason::Newest]), verdict(1, 0, &[])];
        verdicts.extend((2..max + 12).map(|number| verdict(number, 7, &[])));
        let rules = Rules {
            retention: Retention::default(),
            since: Timestamp::ZERO,
            revision: 3,
            class_revision: Some(4),
        };
        let (policy, rules) = (Some(name("docs")), Some(rules));
        let commands = commands(&SourcePlan { policy, vault: VAULT, rules, verdicts });
        let told: Vec<_> = commands.iter().map(|one| (one.points.len(), one.outlived_by)).collect();
        assert_eq!(told, [(1, point(0)), (max, point(7)), (10, point(7))]);
        assert!(commands.iter().all(|one| one.revision == 3 && one.class_revision == Some(4)));
    }

    /// One point of each source goes, outlived by the first.
    fn source(number: usize) -> SourcePlan {
        let verdict = Verdict {
            id: point(number),
            committed: Timestamp::ZERO,
            reasons: Vec::new(),
            outlived_by: Some(point(0)),
        };
        let rules = Rules {
            retention: Retention::default(),
            since: Timestamp::ZERO,
            revision: 1,
            class_revision: None,
        };
        let (policy, verdicts) = (Some(name("docs")), vec![verdict]);
        SourcePlan { policy, vault: VAULT, rules: Some(rules), verdicts }
    }

    async fn carried(plan: &Plan, refusals: &[(usize, Code)]) -> (Vec<PointId>, Option<Code>) {
        let forget = |command: ForgetPoints| {
            let refusal = refusals.iter().find(|(number, _)| command.points[0] == point(*number));
            ready(refusal.map_or(Ok(()), |(_, code)| Err(Error::new(*code, "refused"))))
        };
        let carried = carry_out_by(plan, forget).await;
        (carried.forgotten, carried.stopped.map(|error| error.code))
    }

    #[tokio::test]
    async fn what_was_forgotten_is_told_whatever_became_of_the_rest() {
        let plan = Plan { sources: (1..=3).map(source).collect(), ..Plan::default() };
        let all = vec![point(1), point(2), point(3)];
        assert_eq!(carried(&plan, &[]).await, (all, None));
        for code in [Code::PointKept, Code::ResourceConflict] {
            let told = carried(&plan, &[(2, code)]).await;
            assert_eq!(told, (vec![point(1), point(3)], Some(code)), "the others go");
        }
        let told = carried(&plan, &[(1, Code::PointKept), (2, Code::ClusterLeaderless)]).await;
        assert_eq!(told, (vec![], Some(Code::PointKept)));
        let told = carried(&plan, &[(3, Code::ClockDoubtful)]).await;
        assert_eq!(told, (vec![point(1), point(2)], Some(Code::ClockDoubtful)));
    }

    #[tokio::test]
    async fn nothing_is_forgotten_in_a_vault_that_has_lost_packs() {
        let lossy = [(VAULT, name("main"))].into();
        let other = SourcePlan { vault: VaultId::from_bytes([1; 16]), ..source(2) };
        let plan = Plan { sources: vec![source(1), other], lossy, ..Plan::default() };
        assert_eq!(carried(&plan, &[]).await, (vec![point(2)], Some(Code::PackMissing)));
    }
}
