//! `holdfast region failback | forget`: what becomes of a region that was given up.
//!
//! What the region did alone is shown before anything is changed. Asked of a coordinator of the
//! side that leads, and watched until its end; typed again it goes on where it was.

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

pub(super) async fn fail_back(region: &Name, dry_run: bool, demand: &Demand<'_>) -> Result<Ending> {
    let mut side = leading(demand).await?;
    if dry_run || !demand.yes {
        let found = ask(&mut side, region, true, demand).await?;
        if dry_run {
            demand.output.answer(|| fields(region, &found), || found_text(region, &found))?;
            return Ok(Ending::Done);
        }
        demand.output.remark(&found_text(region, &found));
    }
    confirm(demand, &format!("bring `{region}` back, with what this side has, and have it lead"))?;
    let done = ask(&mut side, region, false, demand).await?;
    demand.output.answer(|| fields(region, &done), || done_text(region, &done))?;
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
    region: &Name,
    dry_run: bool,
    demand: &Demand<'_>,
) -> Result<v1::FailbackReport> {
    let bar = Bar::start(demand.output, "asking the region's members");
    let question = v1::FailbackRegionRequest { region: region.to_string(), dry_run };
    let answer = side.admin.failback_region(question).await;
    let mut events = answer.map_err(|status| from_status(&status))?.into_inner();
    while let Some(told) = events.message().await.map_err(|status| from_status(&status))? {
        match told.event {
            Some(Event::Progress(progress)) => bar.step(&progress.step, progress.bytes),
            Some(Event::Report(report)) => return Ok(report),
            None => {}
        }
    }
    Err(Error::new(Code::ClusterUnreachable, "the coordinator stopped before the end")
        .next("type it again: it goes on where it was"))
}

fn fields(region: &Name, report: &v1::FailbackReport) -> Value {
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
        "region": region.as_str(),
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
    })
}

/// What would be done, and what has to be decided.
fn found_text(region: &Name, report: &v1::FailbackReport) -> String {
    let mut lines = vec![
        format!("`{region}` agreed {} entries alone", report.entries),
        format!("points to be taken in: {}", report.imported.len()),
        format!("locations to be filled: {}", list(&report.locations)),
    ];
    lines.extend(remains(report));
    lines.join("\n")
}

fn done_text(region: &Name, report: &v1::FailbackReport) -> String {
    let leader = report.leader.as_deref().unwrap_or("nobody");
    let (objects, bytes) = (report.objects, figures::size(report.bytes));
    let mut lines = vec![
        format!("`{region}` is back; `{leader}` leads, and {} vote", list(&report.voters)),
        format!("{} points taken in; {objects} objects copied, {bytes}", report.imported.len()),
    ];
    lines.extend(remains(report));
    lines.join("\n")
}

/// What is not carried over by itself.
fn remains(report: &v1::FailbackReport) -> Vec<String> {
    let mut lines = Vec::new();
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
    if !report.differences.is_empty() {
        lines.push("what is to be decided was done there and not here; do again what holds".into());
    }
    lines
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
