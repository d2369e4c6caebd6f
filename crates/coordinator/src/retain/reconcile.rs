//! The leader's care for retention: what goes by rules that have settled, goes without being asked.
//!
//! A reconciler. It looks when something has changed that a plan depends on, and now and then since
//! time passes; what it finds is in the rows. Old runs go with it. While nothing may be forgotten
//! it waits, and says so where alarms are told.

use super::{Wanted, carry_out, insist_on_peace, plan::Plan};
use crate::house::House;
use holdfast_common::{Code, Name, Result, RunId, Timestamp, limits};
use holdfast_ledger::{Actor, Query, command::ForgetRuns, level::RETENTION};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

const TICK: Duration = Duration::from_secs(2);
/// Points grow old without anything happening.
const LOOK_INTERVAL: Duration = Duration::from_secs(600);
/// After a plan that took long the next one waits so many times as long.
const REST_TIMES: u32 = 20;

pub(crate) async fn keep(
    house: Arc<House>,
    settles: Duration,
    shutdown: CancellationToken,
) -> Result<()> {
    let mut desk = Desk { settles, ..Desk::default() };
    loop {
        if let Err(error) = desk.look(&house).await {
            tracing::debug!(%error, "retention waits; trying again");
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// What was looked at last, and when.
#[derive(Default)]
struct Desk {
    settles: Duration,
    seen: Option<Vec<u8>>,
    looked: Duration,
    rests_until: Duration,
    /// Policies that did not fit into the last plan begin here.
    from: Option<Name>,
}

impl Desk {
    async fn look(&mut self, house: &Arc<House>) -> Result<()> {
        let begun = house.clock.elapsed();
        if !house.ledger.leads() || begun < self.rests_until {
            return Ok(());
        }
        if house.ledger.query().level()? < RETENTION {
            return Ok(());
        }
        insist_on_peace(house)?;
        let sign = sign(house.ledger.query())?;
        let is_due = begun.saturating_sub(self.looked) >= LOOK_INTERVAL;
        if self.seen.as_ref() == Some(&sign) && !is_due && self.from.is_none() {
            return Ok(());
        }
        forget_runs(house).await?;
        self.forget_points(house).await?;
        let now = house.clock.elapsed();
        (self.looked, self.rests_until) = (now, now + REST_TIMES * now.saturating_sub(begun));
        self.seen = Some(sign);
        Ok(())
    }

    async fn forget_points(&mut self, house: &Arc<House>) -> Result<()> {
        let (now, settles) = (house.ledger.now(), self.settles);
        let (at, wanted) = (house.clone(), Wanted::Retained(self.from.clone()));
        let make = move || {
            let mut plan = super::plan(at.ledger.query(), &wanted, now)?;
            keep_settled(&mut plan, now, settles);
            Ok(plan)
        };
        let plan = house.tasks.run_blocking("retention", make).await?;
        match carry_out(house, &Actor::System, &plan).await {
            Ok(forgotten) if forgotten.is_empty() => {}
            Ok(forgotten) => tracing::info!(points = forgotten.len(), "forgotten by retention"),
            // Somebody began to read, or changed the rules: what is left comes with the next plan.
            Err(error) if matches!(error.code, Code::PointKept | Code::ResourceConflict) => {
                tracing::debug!(%error, "a plan was overtaken");
            }
            Err(error) => return Err(error),
        }
        self.from = plan.rest;
        Ok(())
    }
}

/// Rules that were changed lately are shown to whoever asks, and not carried out yet.
fn keep_settled(plan: &mut Plan, now: Timestamp, settles: Duration) {
    plan.sources.retain(|source| {
        source.rules.as_ref().is_some_and(|rules| now.since(rules.since) >= settles)
    });
}

/// What differs when a plan may: the newest point, the rules, the holds.
fn sign(query: Query<'_>) -> Result<Vec<u8>> {
    let mut hasher = blake3::Hasher::new();
    if let Some(newest) = query.points(None).next() {
        hasher.update(newest?.id.as_bytes());
    }
    for policy in query.policies()? {
        hasher.update(policy.name.as_str().as_bytes()).update(&policy.revision.to_be_bytes());
    }
    for class in query.classes()? {
        hasher.update(class.name.as_str().as_bytes()).update(&class.revision.to_be_bytes());
    }
    for hold in query.holds()? {
        hasher.update(hold.id.as_bytes());
    }
    Ok(hasher.finalize().as_bytes().to_vec())
}

/// Runs that ended long ago and of which no point is left.
async fn forget_runs(house: &Arc<House>) -> Result<()> {
    let (at, now) = (house.clone(), house.ledger.now());
    let find = move || old_runs(at.ledger.query(), now);
    let runs = house.tasks.run_blocking("old runs", find).await?;
    if runs.is_empty() {
        return Ok(());
    }
    house.ledger.propose(Actor::System, ForgetRuns { runs }).await.map(drop)
}

fn old_runs(query: Query<'_>, now: Timestamp) -> Result<Vec<RunId>> {
    let mut old = Vec::new();
    let before = now.minus(Duration::from_secs(limits::RUNS_KEPT_SECS));
    for run in query.runs_before(before) {
        let run = run?;
        let mut points = run.points();
        if run.is_old(now) && points.all(|point| query.point(&point).is_err()) {
            old.push(run.id);
        }
        if old.len() == limits::RUNS_FORGOTTEN_MAX {
            break;
        }
    }
    Ok(old)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{Crowd, id, moment};
    use crate::retain::plan::SourcePlan;
    use holdfast_common::{AgentId, PointId, VaultId};
    use holdfast_ledger::{
        retention::Rules,
        row::{Retention, RunRow, RunState, SourceSpec},
    };

    #[test]
    fn rules_that_were_changed_lately_are_not_carried_out_yet() {
        let source = |number| SourcePlan {
            policy: None,
            rules: Some(Rules {
                retention: Retention::default(),
                since: moment(number),
                revision: 1,
                class_revision: None,
            }),
            verdicts: Vec::new(),
        };
        let without = SourcePlan { rules: None, ..source(1) };
        let mut plan = Plan { sources: vec![source(1), source(2), without], rest: None };
        let settles = moment(1).since(moment(0));
        keep_settled(&mut plan, moment(2), settles);
        assert_eq!(plan.sources.len(), 1);
    }

    #[test]
    fn old_runs_without_points_are_found_and_no_others() {
        let mut crowd = Crowd::default();
        for (number, made) in [(1, 1), (2, 99), (3, 3)] {
            crowd.point(number, |_| {});
            let (point, ended) = (Some(PointId::from_bytes(id(made))), moment(number));
            let source = SourceSpec::Files {
                paths: Vec::new(),
                exclude: Vec::new(),
                one_file_system: false,
                include: None,
            };
            let run = RunRow::backup(
                RunId::from_bytes(id(number)),
                AgentId::from_bytes([1; 16]),
                VaultId::from_bytes([0; 16]),
                source,
            );
            let (state, created) = (RunState::Done, moment(number));
            crowd.put(&RunRow { state, created, ended: Some(ended), point, ..run });
        }
        let late = moment(3).plus(Duration::from_secs(limits::RUNS_KEPT_SECS + 1));
        let found = crowd.ask(|query| old_runs(query, late)).unwrap();
        assert_eq!(found, [RunId::from_bytes(id(2))]);
    }
}
