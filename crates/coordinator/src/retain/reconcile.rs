//! The leader's care for retention: what goes by rules that have settled, goes without being asked.
//!
//! A reconciler. It looks when something has changed that a plan depends on, and now and then since
//! time passes; what it finds is in the rows. Old runs go with it, and rows of the audit log that
//! somebody wants no longer. While nothing may be forgotten it waits, and says so where alarms are
//! told.

use super::{
    Anomalies, Carried, Wanted, carry_out, carry_out::is_overtaken, insist_on_peace, look,
    plan::Plan,
};
use crate::house::House;
use holdfast_common::{Code, Name, PointId, Result, RunId, Timestamp, limits};
use holdfast_ledger::{
    Actor, Query,
    audit::{AuditRow, AuditRule},
    command::{CutAudit, ForgetRuns},
    level::RETENTION,
    row::PointRow,
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

const TICK: Duration = Duration::from_secs(2);
/// Points grow old without anything happening.
const LOOK_INTERVAL: Duration = Duration::from_secs(600);
/// The audit log is cut so often at most, unless much of it goes.
const CUT_INTERVAL: Duration = Duration::from_secs(24 * 3600);
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
        insist_on_peace(house, &house.ledger.own_time())?;
        let sign = sign(house.ledger.query())?;
        let is_due = begun.saturating_sub(self.looked) >= LOOK_INTERVAL;
        if self.seen.as_ref() == Some(&sign) && !is_due && self.from.is_none() {
            return Ok(());
        }
        let done = self.forget(house).await;
        // Whatever became of it: what takes long is not begun at once again.
        let now = house.clock.elapsed();
        self.rests_until = now + REST_TIMES * now.saturating_sub(begun);
        done?;
        (self.looked, self.seen) = (now, Some(sign));
        Ok(())
    }

    async fn forget(&mut self, house: &Arc<House>) -> Result<()> {
        forget_runs(house).await?;
        // Whatever becomes of old rows, points are none of their business.
        if let Err(error) = cut_audit(house, self.settles).await {
            tracing::warn!(%error, "the audit log is not cut");
        }
        self.forget_points(house).await
    }

    async fn forget_points(&mut self, house: &Arc<House>) -> Result<()> {
        let (now, settles) = (house.ledger.now(), self.settles);
        let (at, wanted) = (house.clone(), Wanted::Retained(self.from.clone()));
        let make = move || {
            let query = at.ledger.query();
            let mut plan = super::plan(query, (&wanted, Anomalies::Held), now, settles)?;
            keep_settled(&mut plan, query.rules_upset()?, now, settles);
            Ok(plan)
        };
        let mut plan = house.tasks.run_blocking("retention", make).await?;
        look(house, &mut plan).await?;
        let carried = carry_out(house, &Actor::System, &plan, Anomalies::Held).await;
        let Carried { forgotten, stopped } = carried;
        if !forgotten.is_empty() {
            tracing::info!(points = forgotten.len(), "forgotten by retention");
        }
        match stopped {
            Some(error) if is_overtaken(&error) => tracing::debug!(%error, "a plan was overtaken"),
            Some(error) if error.code == Code::PackMissing => {
                tracing::warn!(%error, "retention waits for a newer point");
            }
            Some(error) => return Err(error),
            None => {}
        }
        self.from = plan.rest;
        Ok(())
    }
}

/// Rules that were changed lately, or that something was turned over under, are shown to whoever
/// asks, and not carried out yet.
fn keep_settled(plan: &mut Plan, upset: Timestamp, now: Timestamp, settles: Duration) {
    plan.sources.retain(|source| {
        let rules = source.rules.as_ref();
        rules.is_some_and(|rules| now.since(rules.since.max(upset)) >= settles)
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
        let ends = hold.ends().map_or(0, Timestamp::as_nanos);
        hasher.update(hold.id.as_bytes()).update(&ends.to_be_bytes());
    }
    hasher.update(&query.rules_upset()?.as_nanos().to_be_bytes());
    hasher.update(&query.audit_rule()?.since.as_nanos().to_be_bytes());
    Ok(hasher.finalize().as_bytes().to_vec())
}

/// Runs that ended long ago and of which no point is left.
async fn forget_runs(house: &Arc<House>) -> Result<()> {
    let (at, now) = (house.clone(), house.ledger.now());
    let find = move || old_runs(at.ledger.query(), now);
    let runs = house.tasks.run_blocking("old runs", find).await?;
    for runs in runs.chunks(limits::RUNS_FORGOTTEN_MAX) {
        let runs = runs.to_vec();
        house.ledger.propose(Actor::System, ForgetRuns { runs }).await?;
    }
    Ok(())
}

/// Rows of the audit log that are older than somebody wants them, by a rule that has settled.
async fn cut_audit(house: &Arc<House>, settles: Duration) -> Result<()> {
    let (at, now) = (house.clone(), house.ledger.now());
    let find = move || old_audit(at.ledger.query(), now, settles);
    for before in house.tasks.run_blocking("old audit rows", find).await? {
        house.ledger.propose(Actor::System, CutAudit { before }).await?;
    }
    Ok(())
}

fn old_audit(query: Query<'_>, now: Timestamp, settles: Duration) -> Result<Vec<u64>> {
    let (rule, upset) = (query.audit_rule()?, query.rules_upset()?);
    match is_settled(&rule, upset, now, settles) {
        true => cuts(query.audit_chain(), query.audit_cut()?.rows, (&rule, upset), now),
        false => Ok(Vec::new()),
    }
}

/// Whether people had the time to look at it.
fn is_settled(rule: &AuditRule, upset: Timestamp, now: Timestamp, settles: Duration) -> bool {
    rule.kept_secs.is_some() && now.since(rule.since.max(upset)) >= settles
}

/// The row that comes first after each command that cuts some off. So many went before.
fn cuts(
    rows: impl Iterator<Item = Result<AuditRow>>,
    cut: u64,
    (rule, upset): (&AuditRule, Timestamp),
    now: Timestamp,
) -> Result<Vec<u64>> {
    let each = limits::AUDIT_ROWS_CUT_MAX;
    let (mut first, most) = (cut, cut + each * limits::AUDIT_CUTS_PER_LOOK);
    let mut is_due = false;
    for row in rows {
        let row = row?;
        if first == most || !rule.lets_go(&row, upset, now) {
            break;
        }
        // Each cut is a row itself: a few wait for more.
        is_due |= rule.lets_go(&row, upset, now.minus(CUT_INTERVAL)) || first - cut >= each;
        first = row.number + 1;
    }
    if !is_due {
        return Ok(Vec::new());
    }
    let parts = (1..).map(|part| cut + part * each).take_while(|end| *end < first);
    Ok(parts.chain((first > cut).then_some(first)).collect())
}

fn old_runs(query: Query<'_>, now: Timestamp) -> Result<Vec<RunId>> {
    let mut old = BTreeSet::new();
    let before = now.minus(Duration::from_secs(limits::RUNS_KEPT_SECS));
    for run in query.runs_before(before) {
        let run = run?;
        let is_left = |point: PointId| query.row::<PointRow>(point.as_bytes());
        let mut points = run.points().map(is_left).filter_map(Result::transpose);
        match points.next().transpose()? {
            None if run.is_old(now) => drop(old.insert(run.id)),
            _ => {}
        }
        if old.len() == limits::RUNS_LOOKED_AT_MAX {
            break;
        }
    }
    // A run names its last ones; a checkpoint before those may be held, and what a location gave
    // back is of a run that does not know of it.
    let mut points = query.points(None);
    while let Some(point) = points.next().filter(|_| !old.is_empty()) {
        old.remove(&point?.run);
    }
    Ok(old.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{Crowd, VAULT, id, moment};
    use crate::retain::plan::SourcePlan;
    use holdfast_common::{AgentId, PointId, VaultId};
    use holdfast_ledger::{
        retention::Rules,
        row::{Retention, RunRow, RunState, SourceSpec},
    };

    #[test]
    fn rules_that_were_changed_or_brought_back_lately_are_not_carried_out_yet() {
        let source = |number| SourcePlan {
            policy: None,
            vault: VAULT,
            rules: Some(Rules {
                retention: Retention::default(),
                since: moment(number),
                revision: 1,
                class_revision: None,
            }),
            verdicts: Vec::new(),
            losses: 0,
            knows_copies: false,
            stands_still: None,
        };
        let without = SourcePlan { rules: None, ..source(1) };
        let sources = || vec![source(1), source(2), without.clone()];
        let settles = moment(1).since(moment(0));
        let settled = |upset| {
            let mut plan = Plan { sources: sources(), ..Plan::default() };
            keep_settled(&mut plan, upset, moment(2), settles);
            plan.sources.len()
        };
        assert_eq!(settled(Timestamp::ZERO), 1);
        assert_eq!(settled(moment(1)), 1);
        // However old they are themselves.
        assert_eq!(settled(moment(2)), 0);
    }

    #[test]
    fn audit_rows_go_in_parts_when_they_are_old_by_a_rule_that_has_settled() {
        let (most, kept) = (limits::AUDIT_ROWS_CUT_MAX, limits::AUDIT_KEPT_SECS_MIN);
        let rule = AuditRule { kept_secs: Some(kept), since: moment(7), by: None };
        let day = Duration::from_secs(24 * 3600);
        let row = |number| AuditRow {
            number,
            time: moment(number),
            actor: Actor::System,
            action: "note".to_owned(),
            subject: String::new(),
            result: "ok".to_owned(),
            previous: [0; 32],
        };
        // One second apart, so long after the last of so many has become old.
        let found = |old: u64, cut: u64, (rule, upset): (&AuditRule, u64), later: Duration| {
            let rows = (cut..3 * most).map(|number| Ok(row(number)));
            let now = moment(old + kept).plus(later);
            cuts(rows, cut, (rule, moment(upset)), now).unwrap()
        };
        let at_once = Duration::ZERO;
        assert_eq!(found(most + 7, 0, (&rule, 0), at_once), [most, most + 7]);
        assert_eq!(found(2 * most + 1, 0, (&rule, 0), at_once), [most, 2 * most, 2 * most + 1]);
        // Few of them wait a day for more.
        assert_eq!(found(most + 9, most + 7, (&rule, 0), at_once), [0; 0]);
        assert_eq!(found(3 * most, most + 7, (&rule, 0), day)[0], 2 * most + 7);
        assert_eq!(found(0, 0, (&rule, 0), at_once), [0; 0]);
        // Since the clock was confirmed all of them are young.
        assert_eq!(found(2 * most, 0, (&rule, 2 * most), at_once), [0; 0]);
        let ever = AuditRule { kept_secs: None, ..rule.clone() };
        assert_eq!(found(most, 0, (&ever, 0), day), [0; 0]);
        let is_settled =
            |rule: &AuditRule, upset, now| super::is_settled(rule, upset, moment(7).plus(now), day);
        assert!(is_settled(&rule, moment(0), day));
        assert!(!is_settled(&rule, moment(0), day / 2));
        assert!(!is_settled(&rule, moment(8), day), "what it stands on was turned over since");
        assert!(!is_settled(&ever, moment(0), day));
    }

    #[test]
    fn old_runs_without_points_are_found_and_no_others() {
        let mut crowd = Crowd::default();
        // The last one names a point that is gone, and another one is of it.
        for (number, made) in [(1, 1), (2, 99), (3, 3), (4, 98)] {
            crowd.point(number, |row| {
                if number == 2 {
                    row.run = RunId::from_bytes(id(77));
                }
            });
            crowd.put(&run(number, made));
        }
        let late = moment(4).plus(Duration::from_secs(limits::RUNS_KEPT_SECS + 1));
        let found = crowd.ask(|query| old_runs(query, late)).unwrap();
        assert_eq!(found, [RunId::from_bytes(id(2))]);
    }
    /// One that is done, and names a point.
    fn run(number: u64, made: u64) -> RunRow {
        let (paths, exclude) = (Vec::new(), Vec::new());
        let source = SourceSpec::Files { paths, exclude, one_file_system: false, include: None };
        let (agent, vault) = (AgentId::from_bytes([1; 16]), VaultId::from_bytes([0; 16]));
        let run = RunRow::backup(RunId::from_bytes(id(number)), agent, vault, source);
        let (point, ended) = (Some(PointId::from_bytes(id(made))), Some(moment(number)));
        RunRow { state: RunState::Done, created: moment(number), ended, point, ..run }
    }

    #[test]
    fn all_old_runs_that_were_found_go_and_not_only_as_many_as_one_command_forgets() {
        let mut crowd = Crowd::default();
        let count = limits::RUNS_FORGOTTEN_MAX as u64 + 44;
        for number in 1..=count {
            crowd.point(number, |row| row.run = RunId::from_bytes(id(9_999)));
            crowd.put(&run(number, 7_777));
        }
        let late = moment(count).plus(Duration::from_secs(limits::RUNS_KEPT_SECS + 1));
        assert_eq!(crowd.ask(|query| old_runs(query, late)).unwrap().len(), 300);
    }
}
