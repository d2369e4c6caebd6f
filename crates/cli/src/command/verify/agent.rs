//! Full verification by a verifier: asked for, followed to its end, told as if it were done here.
//!
//! One point is one run. What is damaged comes back sealed to the vault: it is opened here, by
//! whoever asked.

use super::{Found, is_damage, name_problems, problem_of};
use crate::{
    client::{Admin, Client, follow, restoring},
    demand::Demand,
    opening::{Opened, open_online},
    progress::Bar,
};
use holdfast_agent::restore::{RestoreReport, open_report};
use holdfast_common::{Code, Error, Result, RunId, SystemEntropy};
use holdfast_runtime::Tasks;
use holdfast_wire::v1;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// By which verifier: one of a name, or any that may.
pub(super) struct ByAgent {
    name: String,
    /// What it does now.
    running: Mutex<Option<RunId>>,
}

/// The word for whichever may.
const ANY: &str = "any";

impl ByAgent {
    pub(super) fn new(name: String) -> Self {
        Self { name, running: Mutex::default() }
    }

    /// The command is being stopped, and with it what it asked for.
    pub(super) async fn stop(&self, demand: &Demand<'_>) {
        let Some(run) = *self.running() else { return };
        let is_heard = match demand.client().await {
            Ok(client) => restoring::stop(&client, &run).await,
            Err(_) => false,
        };
        let fate = match is_heard {
            true => "was asked to stop",
            false => "goes on, if it has begun: nobody heard that it is to stop",
        };
        follow::tell_left(demand.output, &run, fate);
    }

    fn running(&self) -> MutexGuard<'_, Option<RunId>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has a point verified.
pub(super) async fn verify(
    (client, by): (&Client, &ByAgent),
    point: &v1::Point,
    bar: &Bar,
    found: &mut Found,
) -> Result<()> {
    let run = RunId::random(&SystemEntropy);
    *by.running() = Some(run);
    let ended = in_run((client, by), &run, point, bar, found).await;
    *by.running() = None;
    note(client, &run, point, &ended?, found).await
}

async fn in_run(
    (client, by): (&Client, &ByAgent),
    run: &RunId,
    point: &v1::Point,
    bar: &Bar,
    found: &mut Found,
) -> Result<v1::Run> {
    let run_id = bytes::Bytes::copy_from_slice(run.as_bytes());
    let agent = if by.name == ANY { String::new() } else { by.name.clone() };
    let question =
        v1::StartVerifyRequest { run_id: run_id.clone(), point_id: point.id.clone(), agent };
    let ask = async |mut admin: Admin, question| admin.start_verify(question).await;
    let begun = client.ask(question, ask).await?;
    found.agents.insert(begun.agent);
    follow::to_the_end(client, &run_id, async |event| {
        if let Some(progress) = &event.progress {
            bar.counts(progress.entries, progress.bytes_read, Some(point.bytes));
        }
        Ok(())
    })
    .await
}

/// Damage is told; whatever else the run ended with is no word on the point.
async fn note(
    client: &Client,
    run: &RunId,
    point: &v1::Point,
    ended: &v1::Run,
    found: &mut Found,
) -> Result<()> {
    if ended.state == "done" {
        return Ok(());
    }
    let failure = follow::failure(ended);
    let told = ended.verified.clone().unwrap_or_default();
    if told.damaged == 0 && !is_damage(&failure) {
        return Err(failure);
    }
    let mut problems: BTreeMap<&str, BTreeSet<Vec<u8>>> = BTreeMap::new();
    // Without the point's key, or its record, the damage is told without its paths.
    let named = match open_online(client, point.clone(), "verify").await {
        Ok(opened) => names(opened, *run, &told).await.unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    let count = named.len() as u64;
    for (path, code) in named {
        problems.entry(problem_of(code)).or_default().insert(path);
    }
    let is_all = count > 0 && count >= told.damaged;
    name_problems(point, problems, (!is_all).then_some(failure), found);
    Ok(())
}

async fn names(opened: Opened, run: RunId, told: &v1::Verified) -> Result<Vec<(Vec<u8>, Code)>> {
    let sealed = told.sealed_report.clone();
    let open = move || {
        let mut report = RestoreReport::default();
        open_report(&opened.reader, &run, &sealed, &mut report)?;
        Ok(report.skipped)
    };
    Tasks::new("report").run_blocking("report", open).await
}

/// What of the arguments does not go together with a verifier.
pub(super) fn refuse(is_full: bool, is_offline: bool) -> Result<()> {
    match (is_full, is_offline) {
        (_, true) => Err(Error::new(Code::UsageMalformed, "an agent verifies through its cluster")
            .next("leave out --agent, or --from-location")),
        (false, _) => Err(Error::new(Code::UsageMalformed, "an agent opens what it verifies")
            .next("add --level full; the other levels are done by the coordinators")),
        (true, false) => Ok(()),
    }
}
