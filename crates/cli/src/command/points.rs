//! `holdfast points`: the points, newest first. With `--from-location` they are read from a
//! location and the keys alone.

use crate::{
    client::{
        Client,
        select::{self, Filter},
    },
    demand::Demand,
    ending::Ending,
    offline::{self, OfflineArguments, points::Proof},
    output::{
        figures::{self, json_time},
        table::Table,
    },
};
use holdfast_common::{Name, Result, Timestamp};
use holdfast_wire::v1;
use serde_json::{Value, json};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only points of this policy
    #[arg(long)]
    policy: Option<Name>,
    /// Only points that this agent made
    #[arg(long)]
    agent: Option<Name>,
    /// Only points older than this, as 2026-11-21T10:00:00Z
    #[arg(long, value_name = "TIME")]
    before: Option<Timestamp>,
    /// Only the newest
    #[arg(long)]
    latest: bool,
    /// Checkpoints of unfinished runs too
    #[arg(long)]
    checkpoints: bool,
    /// What is left of points that were forgotten: when, by whom and why
    #[arg(long, conflicts_with_all = ["latest", "from_location"])]
    forgotten: bool,
    #[command(flatten)]
    offline: OfflineArguments,
}

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    let filter = Filter {
        policy: arguments.policy.map(|name| name.to_string()),
        agent: arguments.agent.map(|name| name.to_string()),
        before: arguments.before,
        checkpoints: arguments.checkpoints,
        scheduled: arguments.latest,
        limit: if arguments.latest { 1 } else { usize::MAX },
    };
    let Some(choice) = arguments.offline.choice()? else {
        if arguments.forgotten {
            return tell_forgotten(&demand.client().await?, &filter, demand).await;
        }
        let points = select::list(&demand.client().await?, &filter).await?;
        return tell(&points, fields, demand);
    };
    let offline = offline::open(&choice, demand).await?;
    let points = match arguments.latest {
        true => offline.latest(filter.policy.as_deref())?,
        false => offline.points(),
    };
    let proven = |point: &v1::Point| {
        let mut object = fields(point);
        object["signature"] = offline.proof(&point.id).map(Proof::word).into();
        object
    };
    tell(&filter.apply(points), proven, demand)
}

fn tell(
    points: &[v1::Point],
    fields: impl Fn(&v1::Point) -> Value,
    demand: &Demand<'_>,
) -> Result<Ending> {
    demand.output.answer(
        || json!({ "points": points.iter().map(fields).collect::<Vec<_>>() }),
        || text(points),
    )?;
    Ok(Ending::Done)
}

async fn tell_forgotten(client: &Client, filter: &Filter, demand: &Demand<'_>) -> Result<Ending> {
    let rows = select::forgotten(client, filter).await?;
    let fields = |row: &v1::ForgottenPoint| {
        let mut object = fields(row.point.as_ref().unwrap_or(&v1::Point::default()));
        object["forgotten"] =
            json!({ "time": json_time(Some(row.when_ns)), "by": row.by, "why": row.why });
        object
    };
    demand.output.answer(
        || json!({ "points": rows.iter().map(fields).collect::<Vec<_>>() }),
        || text_of_forgotten(&rows),
    )?;
    Ok(Ending::Done)
}

fn text_of_forgotten(rows: &[v1::ForgottenPoint]) -> String {
    let mut table = Table::new(["point", "time", "agent", "forgotten", "by", "why", "source"]);
    for row in rows {
        let point = row.point.clone().unwrap_or_default();
        table.row([
            hex::encode(&point.id),
            figures::time(Timestamp::from_nanos(point.time_ns)),
            point.agent,
            figures::time(Timestamp::from_nanos(row.when_ns)),
            row.by.clone(),
            row.why.clone(),
            point.source,
        ]);
    }
    table.render()
}

fn fields(point: &v1::Point) -> Value {
    // A partial point is complete in itself: what it skipped is in its run. So is a safety point.
    let state = if point.state == "checkpoint" { "checkpoint" } else { "complete" };
    json!({
        "id": hex::encode(&point.id),
        "policy": point.policy,
        "agent": point.agent,
        "vault": point.vault,
        "source": point.source,
        "time": json_time(Some(point.time_ns)),
        "state": state,
        "safety": point.state == "safety",
        "skipped": point.skipped,
        "entries": point.entries,
        "bytes": point.bytes,
        "run": hex::encode(&point.run_id),
        "verified": json_time(point.verified_ns),
        "verified_by": point.verified_by,
        "locations": point.locations.iter().map(|location| json!({
            "name": location.name,
            "confirmed": location.confirmed,
            "locked_until": json_time(location.locked_until_ns),
        })).collect::<Vec<_>>(),
    })
}

fn text(points: &[v1::Point]) -> String {
    let mut table = Table::new([
        "point",
        "time",
        "policy",
        "agent",
        "state",
        ">entries",
        ">size",
        "locations",
        "source",
    ]);
    for point in points {
        let held = point.locations.iter().map(|location| {
            let until = location.locked_until_ns.map(Timestamp::from_nanos);
            let lock = until.map(|until| format!(" (locked until {})", figures::time(until)));
            let doubt = if location.confirmed { "" } else { "?" };
            format!("{}{doubt}{}", location.name, lock.unwrap_or_default())
        });
        table.row([
            hex::encode(&point.id),
            figures::time(Timestamp::from_nanos(point.time_ns)),
            point.policy.clone().unwrap_or_else(|| "-".into()),
            point.agent.clone(),
            point.state.clone(),
            point.entries.to_string(),
            figures::size(point.bytes),
            held.collect::<Vec<_>>().join(","),
            point.source.clone(),
        ]);
    }
    table.render()
}

pub const EXAMPLES: &str = "\
Examples:
  holdfast points
  holdfast points --policy nightly --latest
  holdfast points --forgotten
  holdfast points --from-location local:/srv/vault --bundle bundle.hfbd";
