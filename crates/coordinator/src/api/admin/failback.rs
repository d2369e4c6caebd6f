//! A region that was given up: brought back, step by step as somebody watches, or forgotten.

use super::super::{refuse, render};
use crate::{
    house::House,
    region::{self, Difference, Report, ReturnOrder, Theirs},
};
use bytes::Bytes;
use holdfast_common::{Code, Error, Result, limits};
use holdfast_ledger::Actor;
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
    let done = async {
        let region = parse::name(&request.region)?;
        let order = ReturnOrder { region, actor, dry_run: request.dry_run };
        region::fail_back(house, &order, &told).await
    };
    let last = match done.await {
        Ok(report) => Ok(event(Event::Report(rendered(report)))),
        Err(error) => Err(refuse(error)),
    };
    drop(events.send(last).await);
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

fn rendered(report: Report) -> v1::FailbackReport {
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
    }
}

fn difference(difference: Difference) -> v1::SideDifference {
    v1::SideDifference {
        index: difference.index,
        time_ns: difference.time.as_nanos(),
        actor: difference.actor.to_string(),
        action: difference.action.to_owned(),
        subject: difference.subject,
        resource: difference.theirs.map(|theirs| match theirs {
            Theirs::Location(row) => render::location(&row),
            Theirs::Vault(row) => render::vault(&row),
            Theirs::Policy(row) => render::policy(&row),
        }),
    }
}
