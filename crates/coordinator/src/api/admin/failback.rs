//! A region that was given up: brought back, step by step as somebody watches, or forgotten.

use super::super::{refuse, render};
use crate::{
    house::House,
    region::{self, Report, ReturnOrder},
};
use bytes::Bytes;
use holdfast_common::{Code, Error, Name, Result, limits};
use holdfast_ledger::{
    Actor,
    row::finding::{Decision, Theirs},
};
use holdfast_wire::{
    parse,
    v1::{self, failback_region_event::Event},
};
use tokio::sync::mpsc::Sender;
use tonic::Status;

type Events = Sender<Result<v1::FailbackRegionEvent, Status>>;

pub(super) async fn fail_back(
    house: &House,
    actor: Actor,
    request: v1::FailbackRegionRequest,
    events: &Events,
) {
    let hears = events.clone();
    let told = move |step: &'static str, objects, bytes| {
        let progress = v1::FailbackProgress { step: step.to_owned(), objects, bytes };
        // Whoever is slow to hear misses a figure, and holds nothing up.
        drop(hears.try_send(Ok(event(Event::Progress(progress)))));
    };
    let (name, dry_run) = (request.region.clone(), request.dry_run);
    let done = async {
        let (region, unasked) = (parse::name(&request.region)?, reason_of(&request)?);
        let found = |report: &Report| {
            let found = rendered(region.as_str(), report.clone());
            drop(events.try_send(Ok(event(Event::Found(found)))));
        };
        let order = ReturnOrder { region: region.clone(), actor, dry_run, unasked };
        region::fail_back(house, &order, &told, &found).await
    };
    let last = match done.await {
        Ok(report) => Ok(event(Event::Report(rendered(&name, report)))),
        Err(error) => Err(refuse(error)),
    };
    drop(events.send(last).await);
}

/// Why nobody of the region is asked, where an operator says so.
fn reason_of(request: &v1::FailbackRegionRequest) -> Result<Option<String>> {
    let bytes = request.reason.len();
    if bytes > limits::REASON_BYTES_MAX || request.force && bytes == 0 {
        let message =
            format!("a forced failback has a reason of 1 to {} bytes", limits::REASON_BYTES_MAX);
        return Err(Error::new(Code::UsageMalformed, message).next("--force --reason TEXT"));
    }
    Ok(request.force.then(|| request.reason.clone()))
}

/// What nobody has settled yet, by region.
pub(super) fn unsettled(house: &House) -> Result<Vec<v1::FailbackReport>> {
    let query = house.ledger.query();
    let mut regions: Vec<Name> = query.findings(None)?.into_iter().map(|row| row.region).collect();
    regions.dedup();
    let kept = regions.into_iter().filter_map(|region| {
        let kept = region::kept(&query, &region).transpose()?;
        Some(kept.map(|report| rendered(region.as_str(), report)))
    });
    kept.collect()
}

pub(super) async fn settle(
    house: &House,
    actor: Actor,
    request: v1::SettleRegionRequest,
) -> Result<v1::SettleRegionResponse> {
    let region = parse::name(&request.region)?;
    let findings = region::settle(house, actor, region).await?;
    Ok(v1::SettleRegionResponse { findings })
}

pub(super) async fn forget(
    house: &House,
    actor: Actor,
    request: v1::ForgetRegionRequest,
) -> Result<v1::ForgetRegionResponse> {
    if request.reason.len() > limits::REASON_BYTES_MAX {
        let message = format!("a reason has at most {} bytes", limits::REASON_BYTES_MAX);
        return Err(Error::new(Code::UsageMalformed, message));
    }
    let region = parse::name(&request.region)?;
    let reason = Some(request.reason).filter(|reason| !reason.is_empty());
    let epoch = region::forget(house, (actor, region), reason).await?;
    Ok(v1::ForgetRegionResponse { epoch })
}

fn event(event: Event) -> v1::FailbackRegionEvent {
    v1::FailbackRegionEvent { event: Some(event) }
}

fn rendered(region: &str, report: Report) -> v1::FailbackReport {
    let texts = |names: Vec<holdfast_common::Name>| {
        names.into_iter().map(|name| name.to_string()).collect()
    };
    let id = |point: &holdfast_common::PointId| Bytes::copy_from_slice(point.as_bytes());
    v1::FailbackReport {
        epoch: report.epoch,
        asked: texts(report.asked),
        silent: texts(report.silent),
        entries: report.entries,
        unread_from: report.unread.map(|(from, _)| from),
        unread_to: report.unread.map(|(_, to)| to),
        imported: report.imported.iter().map(id).collect(),
        left: report
            .left
            .into_iter()
            .map(|left| v1::LeftPoint { id: id(&left.point), why: left.why })
            .collect(),
        differences: report.differences.into_iter().map(difference).collect(),
        locations: texts(report.locations),
        objects: report.objects,
        bytes: report.bytes,
        left_objects: report.left_objects,
        left_object_count: report.left_object_count,
        leader: report.leader.map(|name| name.to_string()),
        voters: texts(report.voters),
        region: region.to_owned(),
        unasked_reason: report.unasked,
        untold: report.untold,
    }
}

fn difference(difference: Decision) -> v1::SideDifference {
    v1::SideDifference {
        index: difference.index,
        time_ns: difference.time.as_nanos(),
        actor: difference.actor.to_string(),
        action: difference.action,
        subject: difference.subject,
        resource: difference.theirs.map(|theirs| match theirs {
            Theirs::Location(row) => render::location(&row),
            Theirs::Vault(row) => render::vault(&row),
            Theirs::Policy(row) => render::policy(&row),
        }),
    }
}
