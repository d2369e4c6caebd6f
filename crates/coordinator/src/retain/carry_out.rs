//! Carries out a plan: the points of a source that the same point outlives, a part at a time.
//!
//! What the ledger refuses meanwhile, since somebody began to read or changed the rules, ends it:
//! what was forgotten until then stays forgotten, and the next plan is for what is left.

use super::plan::{Plan, SourcePlan};
use crate::house::House;
use holdfast_common::{PointId, Result, limits};
use holdfast_ledger::{Actor, command::ForgetPoints};

/// The points that were forgotten.
pub(crate) async fn carry_out(house: &House, actor: &Actor, plan: &Plan) -> Result<Vec<PointId>> {
    let mut forgotten = Vec::new();
    for command in plan.sources.iter().flat_map(commands) {
        let points = command.points.clone();
        house.ledger.propose(actor.clone(), command).await?;
        forgotten.extend(points);
    }
    Ok(forgotten)
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
            }),
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::name;
    use holdfast_common::Timestamp;
    use holdfast_ledger::{
        retention::{Reason, Rules, Verdict},
        row::Retention,
    };

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
        let source = SourcePlan { policy: Some(name("docs")), rules: Some(rules), verdicts };
        let commands = commands(&source);
        let told: Vec<_> = commands.iter().map(|one| (one.points.len(), one.outlived_by)).collect();
        assert_eq!(told, [(1, point(0)), (max, point(7)), (10, point(7))]);
        assert!(commands.iter().all(|one| one.revision == 3 && one.class_revision == Some(4)));
    }
}
