//! Plans of retention, shown and carried out as far as they were shown; and holds.

use super::listing::{in_one_message, pages};
use crate::{
    house::House,
    retain::{self, Anomalies, Carried, Plan, Wanted, Weight},
};
use bytes::Bytes;
use holdfast_common::{Code, Error, HoldId, Name, PointId, Result, Timestamp, limits};
use holdfast_ledger::{
    Actor,
    command::{AddHold, ReleaseHold},
    retention::Verdict,
    row::{Held, HoldRow, PointRow},
};
use holdfast_wire::{parse, status::to_status, v1};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::sync::mpsc;
use tonic::Status;

type Listener = mpsc::Sender<Result<v1::RetentionEvent, Status>>;

/// Tells of every point of a plan, and at last what it frees.
pub(super) async fn plan(house: &Arc<House>, request: v1::PlanRetentionRequest, events: &Listener) {
    if let Err(error) = tell_plan(house, request, events).await {
        // Whoever asked has gone.
        let _ = events.send(Err(to_status(&error))).await;
    }
}

async fn tell_plan(
    house: &Arc<House>,
    request: v1::PlanRetentionRequest,
    events: &Listener,
) -> Result<()> {
    let leader = house.ledger.leader_time().await?;
    let (wanted, anomalies) = (wanted(house, &request.policy)?, said(request.despite_anomalies));
    let mut plan = make(house, (wanted, anomalies), leader.now).await?;
    retain::look(house, &mut plan).await?;
    let suspended = retain::insist_on_peace(house, &leader).err();
    let mut last = v1::RetentionEvent {
        suspended: suspended.as_ref().map(v1::ErrorDetail::from),
        cut: plan.cut.as_ref().map(Name::to_string).unwrap_or_default(),
        ..Default::default()
    };
    let mut weight = None;
    if request.weigh {
        match retain::weigh(house, &plan).await {
            Ok(found) => {
                last.frees_bytes = Some(found.values().sum());
                weight = Some(found);
            }
            Err(error) => last.unweighed = told(error),
        }
    }
    for points in told_points(house, &plan, weight.as_ref()) {
        let event = v1::RetentionEvent { points: points?, ..Default::default() };
        if events.send(Ok(event)).await.is_err() {
            return Ok(());
        }
    }
    // Whoever asked has gone.
    let _ = events.send(Ok(last)).await;
    Ok(())
}

type Pages<'a> = Box<dyn Iterator<Item = Result<Vec<v1::RetainedPoint>>> + Send + 'a>;

fn told_points<'a>(house: &'a House, plan: &'a Plan, weight: Option<&'a Weight>) -> Pages<'a> {
    let verdicts = plan.sources.iter().flat_map(|one| &one.verdicts);
    Box::new(pages(verdicts.filter_map(move |verdict| {
        // It may have gone since.
        let row = house.ledger.query().row::<PointRow>(verdict.id.as_bytes()).transpose()?;
        let bytes = weight.map(|weight| weight.get(&verdict.id).copied().unwrap_or(0));
        Some(row.and_then(|row| retained(house, &row, verdict, bytes)))
    })))
}

fn told(error: Error) -> String {
    error.to_string()
}

fn retained(
    house: &House,
    row: &PointRow,
    verdict: &Verdict,
    bytes: Option<u64>,
) -> Result<v1::RetainedPoint> {
    Ok(v1::RetainedPoint {
        id: Bytes::copy_from_slice(row.id.as_bytes()),
        policy: row.policy.as_ref().map(ToString::to_string).unwrap_or_default(),
        agent: house.ledger.query().agent(&row.agent)?.name.to_string(),
        source: row.source.clone(),
        time_ns: row.committed.as_nanos(),
        state: row.state.name().to_owned(),
        reasons: verdict.reasons.iter().map(|reason| reason.word().to_owned()).collect(),
        bytes,
    })
}

fn wanted(house: &House, policy: &str) -> Result<Wanted> {
    let Some(name) = parse::name_if_any(Some(policy))? else { return Ok(Wanted::Every) };
    house.ledger.query().policy(&name)?;
    Ok(Wanted::Policy(name))
}

fn said(despite_anomalies: bool) -> Anomalies {
    if despite_anomalies { Anomalies::Accepted } else { Anomalies::Held }
}

/// What goes at once, when somebody asks for it: a hold that has ended keeps nothing.
async fn make(
    house: &Arc<House>,
    (wanted, anomalies): (Wanted, Anomalies),
    now: Timestamp,
) -> Result<Plan> {
    let at = house.clone();
    let make = move || retain::plan(at.ledger.query(), (&wanted, anomalies), now, Duration::ZERO);
    house.tasks.run_blocking("retention", make).await
}

/// Forgets what was shown to go, as far as it goes still.
pub(super) async fn forget(
    house: &Arc<House>,
    actor: Actor,
    request: v1::ForgetPointsRequest,
) -> Result<v1::ForgetPointsResponse> {
    if request.points.len() > limits::POINTS_ASKED_MAX {
        return Err(Error::new(Code::LimitExceeded, "too many points to forget at once"));
    }
    let asked = request.points.iter().map(|id| parse::point_id(id));
    let asked: BTreeSet<PointId> = asked.collect::<Result<_>>()?;
    house.ledger.catch_up().await?;
    house.ledger.query().insist_on_undivided()?;
    let now = house.ledger.leader_time().await?.now;
    let (wanted, anomalies) = (wanted(house, &request.policy)?, said(request.despite_anomalies));
    let mut plan = make(house, (wanted, anomalies), now).await?;
    for source in &mut plan.sources {
        // What stays is told with it: the newest of each location.
        source.verdicts.retain(|verdict| !verdict.goes() || asked.contains(&verdict.id));
    }
    retain::look(house, &mut plan).await?;
    let carried = retain::carry_out(house, &actor, &plan, anomalies).await;
    let Carried { forgotten, stopped } = carried;
    match stopped {
        Some(error) if forgotten.is_empty() => Err(error),
        stopped => Ok(v1::ForgetPointsResponse {
            forgotten: forgotten.iter().map(|id| Bytes::copy_from_slice(id.as_bytes())).collect(),
            stopped: stopped.as_ref().map(v1::ErrorDetail::from),
        }),
    }
}

pub(super) async fn add_hold(
    house: &House,
    actor: Actor,
    request: v1::AddHoldRequest,
) -> Result<v1::AddHoldResponse> {
    let policy = parse::name_if_any(Some(&request.policy))?;
    let what = match (policy, request.point.is_empty()) {
        (Some(policy), true) => Held::Policy(policy),
        (None, false) => Held::Point(parse::point_id(&request.point)?),
        _ => return Err(Error::new(Code::UsageMalformed, "a hold is on a point or on a policy")),
    };
    house.ledger.catch_up().await?;
    let until = match (request.until_ns, request.for_ms) {
        (Some(_), Some(_)) => {
            let message = "a hold ends at a time or after a span, not both";
            return Err(Error::new(Code::UsageMalformed, message));
        }
        (Some(until_ns), None) => Some(Timestamp::from_nanos(until_ns)),
        (None, Some(ms)) => {
            Some(house.ledger.leader_time().await?.now.plus(Duration::from_millis(ms)))
        }
        (None, None) => None,
    };
    let hold = HoldRow {
        id: HoldId::random(house.entropy.as_ref()),
        what,
        reason: parse::text("a reason", request.reason)?,
        by: actor.clone(),
        since: Timestamp::ZERO,
        until,
        released: None,
    };
    let id = hold.id;
    house.ledger.propose(actor, AddHold { hold }).await?;
    let row: Option<HoldRow> = house.ledger.query().row(id.as_bytes())?;
    let hold = row.map(|row| shown(house, &row)).transpose()?;
    Ok(v1::AddHoldResponse { hold })
}

/// Those that are in force, and those that ended so lately that nothing goes by itself yet; in the
/// order of their ids, as many as one message carries.
pub(super) fn holds(
    house: &House,
    request: &v1::ListHoldsRequest,
) -> Result<v1::ListHoldsResponse> {
    let after = match &request.after[..] {
        [] => None,
        id => Some(parse::hold_id(id)?),
    };
    let (now, settles) = (house.ledger.now(), house.retention_settles);
    let is_shown = |row: &Result<HoldRow>| match row {
        Ok(row) => row.keeps(now, settles) && row.id.to_string().starts_with(&request.id_prefix),
        Err(_) => true,
    };
    let rows = house.ledger.query().holds_after(after.as_ref()).filter(is_shown);
    let holds = in_one_message(rows.map(|row| shown(house, &row?)))?;
    Ok(v1::ListHoldsResponse { holds })
}

pub(super) async fn release_hold(
    house: &House,
    actor: Actor,
    request: v1::ReleaseHoldRequest,
) -> Result<v1::ReleaseHoldResponse> {
    let reason = Some(parse::text("a reason", request.reason)?).filter(|text| !text.is_empty());
    let hold = parse::hold_id(&request.hold)?;
    house.ledger.catch_up().await?;
    let Some(row) = house.ledger.query().row::<HoldRow>(hold.as_bytes())? else {
        return Err(Error::new(Code::HoldMissing, format!("there is no hold {hold}")));
    };
    house.ledger.propose(actor, ReleaseHold { hold, reason, what: row.what }).await?;
    Ok(v1::ReleaseHoldResponse {})
}

fn shown(house: &House, row: &HoldRow) -> Result<v1::Hold> {
    let mut hold = v1::Hold {
        id: Bytes::copy_from_slice(row.id.as_bytes()),
        reason: row.reason.clone(),
        by: row.by.to_string(),
        since_ns: row.since.as_nanos(),
        until_ns: row.until.map(Timestamp::as_nanos),
        ended_ns: row.ends().filter(|ends| *ends <= house.ledger.now()).map(Timestamp::as_nanos),
        ..Default::default()
    };
    match &row.what {
        Held::Agent(agent) => hold.agent = house.ledger.query().agent(agent)?.name.to_string(),
        Held::Point(point) => hold.point = Bytes::copy_from_slice(point.as_bytes()),
        Held::Policy(policy) => hold.policy = Name::to_string(policy),
    }
    Ok(hold)
}
