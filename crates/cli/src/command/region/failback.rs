//! `holdfast region failback | forget`: what becomes of a region that was given up.
//!
//! What the region did alone is shown before anything is changed, and kept until somebody says that
//! it is settled. Asked of a coordinator of the side that leads, and watched until its end; typed
//! again it goes on where it was.

use super::weight;
use crate::{
    client::sides::{Side, sides},
    confirm::confirm,
    demand::Demand,
    ending::Ending,
    output::figures::{self, json_time},
    progress::Bar,
    resource,
};
use holdfast_common::{Code, Error, Name, Result, Timestamp};
use holdfast_wire::{
    status::from_status,
    v1::{self, failback_region_event::Event},
};
use serde_json::{Value, json};

pub(super) async fn fail_back(
    order: v1::FailbackRegionRequest,
    demand: &Demand<'_>,
) -> Result<Ending> {
    let mut side = leading(demand).await?;
    let (region, dry_run) = (order.region.clone(), order.dry_run);
    if dry_run || !demand.yes {
        let look = v1::FailbackRegionRequest { dry_run: true, ..order.clone() };
        let found = ask(&mut side, look, demand).await?;
        if dry_run {
            demand.output.answer(|| fields(&found), || found_text(&found))?;
            return Ok(Ending::Done);
        }
        demand.output.remark(&found_text(&found));
    }
    confirm(demand, &format!("bring `{region}` back, with what this side has, and have it lead"))?;
    let done = ask(&mut side, order, demand).await?;
    demand.output.answer(|| fields(&done), || done_text(&done))?;
    Ok(Ending::Done)
}

pub(super) async fn settle(region: &Name, demand: &Demand<'_>) -> Result<Ending> {
    let mut side = leading(demand).await?;
    confirm(demand, &format!("forget what was found when `{region}` came back: it is settled"))?;
    let question = v1::SettleRegionRequest { region: region.to_string() };
    let answer = side.admin.settle_region(question).await;
    let count = answer.map_err(|status| from_status(&status))?.into_inner().findings;
    demand.output.answer(
        || json!({ "region": region.as_str(), "findings": count }),
        || match count {
            0 => format!("nothing of `{region}` was open"),
            _ => format!("what `{region}` did alone is settled"),
        },
    )?;
    Ok(Ending::Done)
}

pub(super) async fn forget(
    region: &Name,
    reason: Option<String>,
    demand: &Demand<'_>,
) -> Result<Ending> {
    let mut side = leading(demand).await?;
    confirm(
        demand,
        &format!("remove the members of `{region}`, and never fill its locations again"),
    )?;
    let question =
        v1::ForgetRegionRequest { region: region.to_string(), reason: reason.unwrap_or_default() };
    let answer = side.admin.forget_region(question).await;
    let epoch = answer.map_err(|status| from_status(&status))?.into_inner().epoch;
    demand.output.answer(
        || json!({ "region": region.as_str(), "epoch": epoch }),
        || format!("`{region}` is forgotten; what lies in its locations stays there"),
    )?;
    Ok(Ending::Done)
}

/// A coordinator of the side whose epoch is in force.
async fn leading(demand: &Demand<'_>) -> Result<Side> {
    let sides = sides(demand.context()?).await?.into_iter();
    sides.filter(|side| !side.view.superseded).max_by_key(weight).ok_or_else(|| {
        let message = "no coordinator of the side that leads answers";
        Error::new(Code::ClusterUnreachable, message)
            .next("name one of its endpoints in the context file, and check that it runs")
    })
}

async fn ask(
    side: &mut Side,
    question: v1::FailbackRegionRequest,
    demand: &Demand<'_>,
) -> Result<v1::FailbackReport> {
    let bar = Bar::start(demand.output, "asking the region's members");
    let answer = side.admin.failback_region(question).await;
    let mut events = answer.map_err(|status| from_status(&status))?.into_inner();
    while let Some(told) = events.message().await.map_err(|status| from_status(&status))? {
        match told.event {
            Some(Event::Progress(progress)) => bar.step(&progress.step, progress.bytes),
            // Whoever did not look before sees it before anything is returned.
            Some(Event::Found(found)) if demand.yes => {
                demand.output.remark(&found_text(&found));
            }
            Some(Event::Found(_)) => {}
            Some(Event::Report(report)) => return Ok(report),
            None => {}
        }
    }
    Err(Error::new(Code::ClusterUnreachable, "the coordinator stopped before the end")
        .next("type it again: it goes on where it was"))
}

pub(super) fn fields(report: &v1::FailbackReport) -> Value {
    let left = |left: &v1::LeftPoint| json!({ "id": hex::encode(&left.id), "why": left.why });
    let difference = |other: &v1::SideDifference| {
        let theirs = other.resource.as_ref().and_then(|theirs| resource::document(theirs).ok());
        json!({
            "entry": other.index,
            "time": json_time(Some(other.time_ns)),
            "actor": other.actor,
            "action": other.action,
            "subject": other.subject,
            "resource": theirs.map(|theirs| resource::file::json(&theirs)),
        })
    };
    json!({
        "region": report.region,
        "epoch": report.epoch,
        "entries": report.entries,
        "asked": report.asked,
        "silent": report.silent,
        "unread": report.unread_from.zip(report.unread_to)
            .map(|(from, to)| json!({ "from": from, "to": to })),
        "imported": report.imported.iter().map(hex::encode).collect::<Vec<_>>(),
        "left": report.left.iter().map(left).collect::<Vec<_>>(),
        "differences": report.differences.iter().map(difference).collect::<Vec<_>>(),
        "locations": report.locations,
        "objects": report.objects,
        "bytes": report.bytes,
        "left_objects": report.left_objects,
        "left_object_count": report.left_object_count,
        "leader": report.leader,
        "voters": report.voters,
        "unasked_reason": report.unasked_reason,
        "untold": report.untold,
    })
}

/// What is still open of a region that came back.
pub(super) fn unsettled_text(report: &v1::FailbackReport) -> String {
    let region = &report.region;
    let mut lines = vec![format!(
        "`{region}` came back to epoch {} with {} entries that it had agreed alone, {} points of \
         it taken in",
        report.epoch,
        report.entries,
        report.imported.len()
    )];
    lines.extend(remains(report));
    lines.push(format!("  when it is settled: holdfast region settle {region}"));
    lines.join("\n")
}

/// What would be done, and what has to be decided.
fn found_text(report: &v1::FailbackReport) -> String {
    let region = &report.region;
    let mut lines = vec![
        format!("`{region}` agreed {} entries alone", report.entries),
        format!("points to be taken in: {}", report.imported.len()),
        format!("locations to be filled: {}", list(&report.locations)),
    ];
    lines.extend(remains(report));
    lines.join("\n")
}

fn done_text(report: &v1::FailbackReport) -> String {
    let region = &report.region;
    let leader = report.leader.as_deref().unwrap_or("nobody");
    let (objects, bytes) = (report.objects, figures::size(report.bytes));
    let mut lines = vec![
        format!("`{region}` is back; `{leader}` leads, and {} vote", list(&report.voters)),
        format!("{} points taken in; {objects} objects copied, {bytes}", report.imported.len()),
    ];
    lines.extend(remains(report));
    lines.push(format!("`holdfast region status` shows it until `region settle {region}`"));
    lines.join("\n")
}

/// What is not carried over by itself.
fn remains(report: &v1::FailbackReport) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(reason) = &report.unasked_reason {
        lines.push(format!("NOT KNOWN what it did alone, since nobody of it was asked: {reason}"));
    }
    if !report.silent.is_empty() {
        lines.push(format!("did not answer: {}", list(&report.silent)));
    }
    if let (Some(from), Some(to)) = (report.unread_from, report.unread_to) {
        lines.push(format!("entries {from} to {to} that it agreed alone are nowhere any more"));
    }
    for left in &report.left {
        lines.push(format!("NOT TAKEN IN {}: {}", hex::encode(&left.id), left.why));
    }
    lines.extend(report.left_objects.iter().map(|left| format!("NOT COPIED {left}")));
    let untold = report.left_object_count.saturating_sub(report.left_objects.len() as u64);
    if untold > 0 {
        lines.push(format!("NOT COPIED: {untold} more; the coordinator's log names them"));
    }
    for other in &report.differences {
        let time = figures::time(Timestamp::from_nanos(other.time_ns));
        let (action, subject) = (&other.action, &other.subject);
        lines.push(format!("TO DECIDE {action} {subject}, by {} at {time}", other.actor));
        let theirs = other.resource.as_ref().and_then(|theirs| resource::document(theirs).ok());
        if let Some(theirs) = theirs {
            lines.extend(resource::file::toml(&theirs).lines().map(|line| format!("    {line}")));
        }
    }
    if report.untold > 0 {
        lines
            .push(format!("{} more were found, and there was no room to keep them", report.untold));
    }
    if !report.differences.is_empty() {
        lines.push("what is to be decided was done there and not here; do again what holds".into());
    }
    lines
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
