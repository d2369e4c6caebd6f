//! `holdfast runs`: what was and is being done. `show` one, `follow` one to its end, `cancel` one.

use crate::{
    client::{Admin, Client, follow, select},
    demand::Demand,
    ending::Ending,
    output::{
        fault,
        figures::{self, json_time},
        table::Table,
    },
};
use clap::Subcommand;
use holdfast_common::{Error, Result, limits};
use holdfast_wire::v1;
use serde_json::{Value, json};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// At most so many, newest first
    #[arg(long, default_value_t = 100, value_name = "RUNS")]
    limit: u32,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show one run
    #[command(after_help = EXAMPLES)]
    Show { id: String },
    /// Wait until a run ends, showing its progress
    #[command(after_help = EXAMPLES)]
    Follow { id: String },
    /// Ask a run to stop
    #[command(after_help = EXAMPLES)]
    Cancel { id: String },
}

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    let client = demand.client().await?;
    match arguments.verb {
        None => list(&client, arguments.limit, demand).await,
        Some(Verb::Show { id }) => show(&client, &id, demand).await,
        Some(Verb::Follow { id }) => follow(&client, &id, demand).await,
        Some(Verb::Cancel { id }) => cancel(&client, &id, demand).await,
    }
}

async fn list(client: &Client, limit: u32, demand: &Demand<'_>) -> Result<Ending> {
    let limit = limit.min(limits::LIST_PAGE_ROWS as u32);
    let question = v1::ListRunsRequest { limit, id_prefix: String::new() };
    let ask = async |mut admin: Admin, question| admin.list_runs(question).await;
    let runs = client.ask(question, ask).await?.runs;
    demand.output.answer(
        || json!({ "runs": runs.iter().map(fields).collect::<Vec<_>>() }),
        || {
            let mut table = Table::new([
                "run", "kind", "state", "policy", "agent", "started", "ended", "error",
            ]);
            for run in &runs {
                table.row([
                    hex::encode(&run.id),
                    run.kind.clone(),
                    run.state.clone(),
                    run.policy.clone().unwrap_or_else(|| "-".into()),
                    agent(run).unwrap_or("-").to_owned(),
                    figures::time_if_any(run.started_ns),
                    figures::time_if_any(run.ended_ns),
                    run.error.as_ref().map(|error| error.code.clone()).unwrap_or_default(),
                ]);
            }
            table.render()
        },
    )?;
    Ok(Ending::Done)
}

async fn show(client: &Client, id: &str, demand: &Demand<'_>) -> Result<Ending> {
    let run = select::run(client, id).await?;
    demand.output.answer(|| json!({ "runs": [fields(&run)] }), || text(&run))?;
    Ok(Ending::Done)
}

async fn follow(client: &Client, id: &str, demand: &Demand<'_>) -> Result<Ending> {
    let run = select::run(client, id).await?;
    let bar = crate::progress::Bar::start(demand.output, "at work");
    let end = follow::to_the_end(client, &run.id, async |event| {
        if let Some(progress) = &event.progress {
            bar.counts(progress.entries, progress.bytes_read, None);
        }
        if demand.output.is_json() {
            return demand.output.object(event_fields(event));
        }
        Ok(())
    })
    .await?;
    bar.clear();
    if !demand.output.is_json() {
        demand.output.line(&text(&end))?;
    }
    Ok(follow::ending(&end.state))
}

async fn cancel(client: &Client, id: &str, demand: &Demand<'_>) -> Result<Ending> {
    let run = select::run(client, id).await?;
    let question = v1::CancelRunRequest { run_id: run.id.clone() };
    client
        .ask(question, async |mut admin: Admin, question| admin.cancel_run(question).await)
        .await?;
    let id = hex::encode(&run.id);
    demand.output.answer(
        || json!({ "run": id, "cancelled": true }),
        || format!("run {id} was asked to stop"),
    )?;
    Ok(Ending::Done)
}

/// The row of a run that was just asked for. It was begun, also where its row cannot be had now.
pub async fn begun(client: &Client, id: &[u8]) -> v1::Run {
    select::run(client, &hex::encode(id)).await.unwrap_or_else(|error| {
        tracing::debug!(%error, "the row of the run was not read");
        let state = "queued".to_owned();
        v1::Run { id: bytes::Bytes::copy_from_slice(id), state, ..Default::default() }
    })
}

/// What `runs` shows of a run, and with it the figures that its own command has at its end.
pub fn begun_fields(run: &v1::Run, figures: Value) -> Value {
    let mut told = fields(run);
    if let (Value::Object(told), Value::Object(figures)) = (&mut told, figures) {
        told.insert("run".to_owned(), hex::encode(&run.id).into());
        for (name, value) in figures {
            told.entry(name).or_insert(value);
        }
    }
    told
}

fn event_fields(event: &v1::RunEvent) -> Value {
    let progress = event.progress.clone().unwrap_or_default();
    json!({
        "run": event.run.as_ref().map(fields),
        "entries": progress.entries,
        "bytes_read": progress.bytes_read,
        "bytes_new": progress.bytes_new,
        "bytes_stored": progress.bytes_stored,
        "skipped": progress.skipped,
    })
}

fn fields(run: &v1::Run) -> Value {
    let error = run.error.clone().map(Error::from);
    json!({
        "id": hex::encode(&run.id),
        "kind": run.kind,
        "state": run.state,
        "policy": run.policy,
        "agent": agent(run),
        "vault": run.vault,
        "point": run.point.as_deref().map(hex::encode),
        "created": json_time(Some(run.created_ns)),
        "started": json_time(run.started_ns),
        "ended": json_time(run.ended_ns),
        "error": error.as_ref().map(fault::fields),
        "restored": run.restored.as_ref().map(|restored| json!({
            "entries": restored.entries,
            "bytes_written": restored.bytes_written,
            "bytes_reused": restored.bytes_reused,
            "skipped_count": restored.skipped,
            "safety_point": restored.safety_point.as_deref().map(hex::encode),
        })),
        "verified": run.verified.as_ref().map(|verified| json!({
            "entries": verified.entries,
            "bytes": verified.bytes,
            "damaged_count": verified.damaged,
        })),
    })
}

/// Who does it; nobody where whoever asked restores by himself.
fn agent(run: &v1::Run) -> Option<&str> {
    Some(run.agent.as_str()).filter(|agent| !agent.is_empty())
}

fn text(run: &v1::Run) -> String {
    let mut lines = vec![
        format!("run      {}", hex::encode(&run.id)),
        format!("kind     {}", run.kind),
        format!("state    {}", run.state),
        format!("policy   {}", run.policy.as_deref().unwrap_or("-")),
        format!("agent    {}", agent(run).unwrap_or("-")),
        format!("vault    {}", run.vault),
        format!("started  {}", figures::time_if_any(run.started_ns)),
        format!("ended    {}", figures::time_if_any(run.ended_ns)),
    ];
    if let Some(restored) = &run.restored {
        lines.push(format!(
            "restored {} entries, {} written, {} were there, {} skipped",
            restored.entries,
            figures::size(restored.bytes_written),
            figures::size(restored.bytes_reused),
            restored.skipped
        ));
        if let Some(point) = &restored.safety_point {
            lines.push(format!("safety   {}", hex::encode(point)));
        }
    } else if let Some(counts) = &run.counts {
        lines.push(format!(
            "read     {} in {} entries, {} skipped",
            figures::size(counts.bytes_read),
            counts.entries,
            counts.skipped
        ));
        lines.push(format!("stored   {}", figures::size(counts.bytes_stored)));
    }
    if let Some(point) = &run.point {
        lines.push(format!("point    {}", hex::encode(point)));
    }
    if let Some(error) = run.error.clone().map(Error::from) {
        lines.push(format!("error    {error}\nnext     {}", error.advice()));
    }
    lines.join("\n")
}

pub const EXAMPLES: &str = "\
Examples:
  holdfast runs
  holdfast runs show 1f0c2a9b
  holdfast runs follow 1f0c2a9b
  holdfast runs cancel 1f0c2a9b";
