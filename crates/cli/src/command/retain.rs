//! `holdfast retain [POLICY]`: which points stay and why, which go, and what that frees; without
//! `--dry-run` the latter are forgotten after a question.
//!
//! What is forgotten is what was shown: the coordinator looks once more, and forgets none beside.
//! No object is deleted by it.

use crate::{
    client::{Admin, Client},
    confirm::confirm,
    demand::Demand,
    ending::Ending,
    output::{
        fault,
        figures::{self, json_time},
        table::Table,
    },
};
use holdfast_common::{Error, Name, Result, Timestamp, limits};
use holdfast_wire::{status::from_status, v1};
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only points of this policy
    policy: Option<Name>,
    /// Say what stays and what goes, and forget nothing
    #[arg(long)]
    dry_run: bool,
    /// Let points go although the newest of their source holds far less: it is no junk
    #[arg(long)]
    despite_anomalies: bool,
}

/// Which plan is asked for.
#[derive(Clone)]
struct Asked {
    policy: String,
    weigh: bool,
    despite_anomalies: bool,
}

/// A plan as it was shown.
#[derive(Default)]
struct Shown {
    points: Vec<v1::RetainedPoint>,
    frees_bytes: Option<u64>,
    unweighed: String,
    /// Why nothing is forgotten now.
    suspended: Option<Error>,
    cut: String,
}

/// What came of it.
#[derive(Default)]
struct Forgotten {
    points: BTreeSet<bytes::Bytes>,
    /// Why not all of it went.
    stopped: Option<Error>,
}

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    let Arguments { policy, dry_run, despite_anomalies } = arguments;
    let asked = Asked {
        policy: policy.map(|name| name.to_string()).unwrap_or_default(),
        // Nobody reads it, where nobody is asked.
        weigh: dry_run || !demand.yes || demand.output.is_json(),
        despite_anomalies,
    };
    let client = demand.client().await?;
    let shown = plan(&client, &asked).await?;
    let going: Vec<_> = shown.points.iter().filter(|point| goes(point)).collect();
    let mut forgotten = Forgotten::default();
    if !dry_run && !going.is_empty() {
        // Before anybody thinks about it.
        if let Some(error) = &shown.suspended {
            return Err(error.clone());
        }
        if !demand.yes {
            demand.output.remark(&text(&shown));
        }
        let what = match going.len() {
            1 => "forget 1 point".to_owned(),
            count => format!("forget {count} points"),
        };
        confirm(demand, &format!("{what}, which cannot be restored any more then"))?;
        forgotten = forget(&client, &asked, &going).await;
    }
    if forgotten.points.is_empty()
        && let Some(error) = forgotten.stopped
    {
        return Err(error);
    }
    demand.output.answer(
        || fields(&shown, &forgotten, dry_run),
        || match dry_run {
            true => format!("{}\n(dry run: nothing was forgotten)", text(&shown)),
            false => format!("{}\n{}", text(&shown), said(forgotten.points.len())),
        },
    )?;
    Ok(match &forgotten.stopped {
        None => Ending::Done,
        // It is said beside what was done until then.
        Some(error) => {
            let (code, message, next) = (error.code, &error.message, error.advice());
            demand.output.remark(&format!("the others stay: {code}: {message}\n  next: {next}"));
            Ending::Found(code.exit())
        }
    })
}

/// What was shown to go, a part at a time. What went before something went wrong is told all the
/// same.
async fn forget(client: &Client, asked: &Asked, going: &[&v1::RetainedPoint]) -> Forgotten {
    let mut forgotten = Forgotten::default();
    for part in going.chunks(limits::POINTS_ASKED_MAX) {
        let points = part.iter().map(|point| point.id.clone()).collect();
        let Asked { policy, despite_anomalies, .. } = asked.clone();
        let question = v1::ForgetPointsRequest { policy, points, despite_anomalies };
        let ask = async |mut admin: Admin, question| admin.forget_points(question).await;
        match client.ask_once(question, ask).await {
            Ok(done) => {
                forgotten.points.extend(done.forgotten);
                forgotten.stopped = forgotten.stopped.or(done.stopped.map(Error::from));
            }
            Err(error) => {
                forgotten.stopped.get_or_insert(error);
                break;
            }
        }
    }
    forgotten
}

async fn plan(client: &Client, asked: &Asked) -> Result<Shown> {
    let Asked { policy, weigh, despite_anomalies } = asked.clone();
    let question = v1::PlanRetentionRequest { policy, weigh, despite_anomalies };
    let ask = async |mut admin: Admin, question| admin.plan_retention(question).await;
    let mut events = client.ask(question, ask).await?;
    let mut shown = Shown::default();
    while let Some(event) = events.message().await.map_err(|status| from_status(&status))? {
        shown.points.extend(event.points);
        shown.frees_bytes = event.frees_bytes;
        shown.unweighed = event.unweighed;
        shown.suspended = event.suspended.map(Error::from);
        shown.cut = event.cut;
    }
    Ok(shown)
}

fn goes(point: &v1::RetainedPoint) -> bool {
    point.reasons.is_empty()
}

fn verdict(point: &v1::RetainedPoint) -> &'static str {
    if goes(point) { "forget" } else { "keep" }
}

fn fields(shown: &Shown, forgotten: &Forgotten, dry_run: bool) -> Value {
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    let point = |point: &v1::RetainedPoint| {
        json!({
            "id": hex::encode(&point.id),
            "policy": some(&point.policy),
            "agent": point.agent,
            "source": point.source,
            "time": json_time(Some(point.time_ns)),
            "state": point.state,
            "verdict": verdict(point),
            "reasons": point.reasons,
            "bytes": point.bytes,
        })
    };
    json!({
        "dry_run": dry_run,
        "points": shown.points.iter().map(point).collect::<Vec<_>>(),
        "forgotten": forgotten.points.iter().map(hex::encode).collect::<Vec<_>>(),
        "stopped": forgotten.stopped.as_ref().map(fault::fields),
        "frees_bytes": shown.frees_bytes,
        "unweighed": some(&shown.unweighed),
        "suspended": shown.suspended.as_ref().map(Error::to_string),
        "cut": some(&shown.cut),
    })
}

fn text(shown: &Shown) -> String {
    let columns = ["point", "time", "policy", "agent", "verdict", "why", ">frees", "source"];
    let mut table = Table::new(columns);
    for point in &shown.points {
        let frees = match (goes(point), shown.frees_bytes) {
            (true, Some(_)) => figures::size(point.bytes.unwrap_or(0)),
            _ => "-".to_owned(),
        };
        let policy = if point.policy.is_empty() { "-" } else { &point.policy };
        table.row([
            hex::encode(&point.id),
            figures::time(Timestamp::from_nanos(point.time_ns)),
            policy.to_owned(),
            point.agent.clone(),
            verdict(point).to_owned(),
            point.reasons.join(" "),
            frees,
            point.source.clone(),
        ]);
    }
    let going = shown.points.iter().filter(|point| goes(point)).count();
    let frees = match shown.frees_bytes {
        Some(bytes) => format!("frees about {} when it is collected", figures::size(bytes)),
        None if shown.unweighed.is_empty() => "what that frees was not asked for".to_owned(),
        None => format!("what that frees is not known: {}", shown.unweighed),
    };
    let mut lines = vec![table.render(), String::new()];
    lines.push(format!("{going} of {} points go; {frees}", shown.points.len()));
    if !shown.cut.is_empty() {
        let policy = &shown.cut;
        lines
            .push(format!("only the newest points of `{policy}` are shown: ask again after these"));
    }
    let stays_for =
        |word: &str| shown.points.iter().any(|point| point.reasons.iter().any(|why| why == word));
    if stays_for("anomaly") {
        let line = "anomaly: the newest point holds far less. Where that is right, say \
                    --despite-anomalies";
        lines.push(line.to_owned());
    }
    if stays_for("damaged") {
        let line = "damaged: what would be left needs a pack that is lost. Back it up once more";
        lines.push(line.to_owned());
    }
    if let Some(error) = &shown.suspended {
        lines.push(format!("nothing is forgotten now: {error}"));
    }
    lines.join("\n")
}

fn said(forgotten: usize) -> String {
    match forgotten {
        0 => "nothing was forgotten".to_owned(),
        1 => "1 point forgotten; its objects stay until collection".to_owned(),
        count => format!("{count} points forgotten; their objects stay until collection"),
    }
}

pub const EXAMPLES: &str = "\
Examples:
  holdfast retain --dry-run
  holdfast retain nightly --dry-run --output json
  holdfast retain nightly --yes
  holdfast retain nightly --despite-anomalies --dry-run";
