//! A restore as a run, from the asker's side: begun, stopped, and its end told.
//!
//! Whoever restores by himself tells the end himself; when he cannot, his lease runs out and the
//! cluster calls the run interrupted. An agent's restore goes on without whoever asked for it.

use super::{Admin, Client};
use core::time::Duration;
use holdfast_agent::restore::{RestoreReport, RestoreRequest};
use holdfast_common::{Code, Error, Name, Result, RunId};
use holdfast_wire::{
    status::{bare, from_status},
    v1,
};
use std::os::unix::ffi::OsStrExt;

/// How long a command that is being stopped waits for somebody to hear it.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// What is asked of an agent beside the request itself.
pub struct ByAgent {
    pub agent: Name,
    pub sealed_paths: Vec<u8>,
    pub safety_point: bool,
}

/// Writes the run down, and with it who may read the point.
pub async fn start(
    client: &Client,
    run: &RunId,
    point: &v1::Point,
    request: &RestoreRequest,
    by_agent: Option<&ByAgent>,
) -> Result<()> {
    let spec = v1::RestoreSpec {
        target: bytes::Bytes::copy_from_slice(request.directory().as_os_str().as_bytes()),
        in_place: request.in_place,
        force: request.force,
        delete: request.delete,
        dry_run: request.dry_run,
        verify: request.verify,
        numeric_ids: request.numeric_ids,
        safety_point: by_agent.is_some_and(|by| by.safety_point),
        sealed_paths: by_agent.map(|by| by.sealed_paths.clone()).unwrap_or_default().into(),
    };
    let question = v1::StartRestoreRequest {
        run_id: id(run),
        point_id: point.id.clone(),
        agent: by_agent.map(|by| by.agent.to_string()).unwrap_or_default(),
        spec: Some(spec),
    };
    let ask = async |mut admin: Admin, question| admin.start_restore(question).await;
    client.ask(question, ask).await.map(drop)
}

/// Tells how a restore ended that was done here. That nobody hears it changes nothing about what
/// was restored.
pub async fn end(client: &Client, run: &RunId, ended: &Result<RestoreReport>) -> bool {
    let failure = match ended {
        Ok(report) => report.failure(),
        Err(error) => Some(error.clone()),
    };
    let question = v1::EndRestoreRequest {
        run_id: id(run),
        restored: Some(ended.as_ref().map(restored).unwrap_or_default()),
        error: failure.as_ref().map(bare),
    };
    let told = async {
        let mut restore = client.restore();
        restore.end(question).await.map(drop).map_err(|status| from_status(&status))
    };
    heard(told).await
}

/// Asks for the end of a run, since whoever asked for it is being stopped; whether it was heard.
pub async fn stop(client: &Client, run: &RunId) -> bool {
    let question = v1::CancelRunRequest { run_id: id(run) };
    let ask = async |mut admin: Admin, question| admin.cancel_run(question).await;
    heard(async { client.ask_once(question, ask).await.map(drop) }).await
}

/// The end of a restore here that is being stopped.
pub async fn abandon(client: &Client, run: &RunId) -> bool {
    end(client, run, &Err(Error::new(Code::RunCancelled, "the restore was stopped"))).await
}

async fn heard(telling: impl Future<Output = Result<()>>) -> bool {
    let told = tokio::time::timeout(STOP_PATIENCE, telling).await;
    let told = told.unwrap_or_else(|_| {
        Err(Error::new(Code::ClusterUnreachable, "the cluster did not answer in time"))
    });
    if let Err(error) = &told {
        tracing::warn!(%error, "the end of the restore was not heard; its lease will end it");
    }
    told.is_ok()
}

fn restored(report: &RestoreReport) -> v1::Restored {
    v1::Restored {
        entries: report.entries,
        bytes_written: report.bytes_written,
        bytes_reused: report.bytes_reused,
        removed: report.removed,
        verified: report.verified,
        skipped: report.reasons.count(),
        ..Default::default()
    }
}

/// The counts of a run's end, to which a sealed report adds what was skipped.
pub fn report_of(told: &v1::Restored) -> RestoreReport {
    RestoreReport {
        entries: told.entries,
        bytes_written: told.bytes_written,
        bytes_reused: told.bytes_reused,
        verified: told.verified,
        removed: told.removed,
        ..RestoreReport::default()
    }
}

fn id(run: &RunId) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(run.as_bytes())
}
