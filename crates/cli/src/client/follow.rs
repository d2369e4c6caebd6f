//! Following a run to its end. A stream that breaks is opened again, at another endpoint if need
//! be: the run does not depend on who watches it.

use super::Client;
use crate::{ending::Ending, output::Output};
use core::time::Duration;
use holdfast_common::{Code, Error, Result, RunId};
use holdfast_wire::{status::from_status, v1};
use serde_json::json;
use std::ops::AsyncFnMut;

/// Breaks in a row, without one event between, after which the cluster counts as unreachable.
const BREAKS_MAX: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);

/// Gives every event to `seen` and returns the run in its end state.
pub async fn to_the_end(
    client: &Client,
    run_id: &bytes::Bytes,
    mut seen: impl AsyncFnMut(&v1::RunEvent) -> Result<()>,
) -> Result<v1::Run> {
    let mut breaks = 0;
    loop {
        let broken = match watch(client, run_id, &mut seen, &mut breaks).await {
            Ok(Some(run)) => return Ok(run),
            Ok(None) => Error::new(Code::ClusterUnreachable, "the coordinator stopped answering"),
            Err(error) if error.code.exit() == holdfast_common::codes::Exit::Unreachable => error,
            Err(error) => return Err(error),
        };
        breaks += 1;
        if breaks > BREAKS_MAX {
            return Err(broken.next(format!(
                "the run goes on; follow it with `holdfast runs follow {}`",
                hex::encode(run_id)
            )));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn watch(
    client: &Client,
    run_id: &bytes::Bytes,
    seen: &mut impl AsyncFnMut(&v1::RunEvent) -> Result<()>,
    breaks: &mut u32,
) -> Result<Option<v1::Run>> {
    let question = v1::FollowRunRequest { run_id: run_id.clone() };
    let ask = async |mut admin: super::Admin, question| admin.follow_run(question).await;
    let mut events = client.ask(question, ask).await?;
    while let Some(event) = events.message().await.map_err(|status| from_status(&status))? {
        *breaks = 0;
        seen(&event).await?;
        if let Some(run) = event.run.filter(|run| is_end(&run.state)) {
            return Ok(Some(run));
        }
    }
    Ok(None)
}

/// What becomes of a run whose command was stopped, and what can be done about it.
pub fn tell_left(output: &Output, run: &RunId, fate: &str) {
    if output.is_json() {
        let next = format!("holdfast runs show {run}");
        let told = json!({ "run": run.to_string(), "fate": fate, "next": next });
        return output.remark(&told.to_string());
    }
    output.remark(&format!("run {run} {fate}"));
    for verb in ["show", "follow", "cancel"] {
        output.remark(&format!("  holdfast runs {verb} {run}"));
    }
}

/// Why a run did not do what it was asked for.
pub fn failure(run: &v1::Run) -> Error {
    let id = hex::encode(&run.id);
    match run.error.clone().map(Error::from) {
        Some(error) => error,
        None if run.state == "cancelled" => {
            Error::new(Code::RunCancelled, format!("run {id} was cancelled"))
        }
        None => Error::new(Code::RunInterrupted, format!("run {id} ended {}", run.state)),
    }
}

/// From its beginning, or from when it was asked for, to its end.
pub fn duration(run: &v1::Run) -> Duration {
    let started = run.started_ns.unwrap_or(run.created_ns);
    let ended = run.ended_ns.unwrap_or(started);
    Duration::from_nanos(u64::try_from(ended - started).unwrap_or(0))
}

pub fn is_end(state: &str) -> bool {
    !matches!(state, "queued" | "running")
}

pub fn ending(state: &str) -> Ending {
    match state {
        "done" => Ending::Done,
        "partial" => Ending::Partial,
        _ => Ending::Failed,
    }
}
