//! Turns run rows into orders: whoever holds the agent's line sends what the ledger says.
//!
//! A reconciler: no input of its own, woken whenever something was applied and by a timer, and safe
//! to run at any moment. It also ends runs whose agent is gone: their lease says when.

use crate::house::House;
use holdfast_common::{Result, Timestamp};
use holdfast_ledger::{
    Actor,
    command::{EndRun, EndSession},
    envelope::Refusal,
    row::{RunRow, RunState, SourceSpec},
};
use holdfast_wire::v1;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

const TICK: Duration = Duration::from_secs(5);
/// How long a running backup may be without its agent and without a session before it is over.
const ORPHAN_AFTER: Duration = Duration::from_secs(60);

pub(crate) async fn dispatch(house: Arc<House>, shutdown: CancellationToken) -> Result<()> {
    let mut applied = house.ledger.applied();
    loop {
        if let Err(error) = reconcile(&house).await {
            tracing::warn!(%error, "dispatch could not look at the runs");
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            changed = applied.changed() => if changed.is_err() { return Ok(()) },
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

pub(crate) async fn reconcile(house: &House) -> Result<()> {
    let now = house.ledger.now();
    for run in house.ledger.query().open_runs()? {
        send_orders(house, &run)?;
        if is_orphan(house, &run, now)? {
            end_orphan(house, &run).await?;
        }
    }
    for session in house.ledger.query().sessions()? {
        if session.lease_until < now {
            house.ledger.propose(Actor::System, EndSession { session: session.id }).await?;
        }
    }
    // Asked one by one: a session enters these maps after its row was applied.
    let query = house.ledger.query();
    house.sessions.keep(|id| query.session(id).is_ok());
    house.reads.keep(|id| query.session(id).is_ok());
    Ok(())
}

fn send_orders(house: &House, run: &RunRow) -> Result<()> {
    if run.cancelled {
        let order = v1::agent_order::Order::CancelRun(v1::CancelRun { run_id: id(run) });
        house.hub.send(&run.agent, run.id, true, v1::AgentOrder { order: Some(order) });
    } else if house.hub.is_attached(&run.agent) {
        let vault = house.ledger.query().vault(&run.vault)?;
        let order = v1::agent_order::Order::StartBackup(v1::StartBackup {
            run_id: id(run),
            policy: run.policy.as_ref().map(ToString::to_string),
            vault: vault.name.to_string(),
            source: Some(source_to_wire(&run.source)),
            options: Some(v1::BackupOptions {
                level: run.level,
                bytes_per_second_max: run.bytes_per_second_max,
                full: run.full,
            }),
        });
        house.hub.send(&run.agent, run.id, false, v1::AgentOrder { order: Some(order) });
    }
    Ok(())
}

fn id(run: &RunRow) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(run.id.as_bytes())
}

/// A run that was started, whose session is gone and whose agent was not heard of for a while.
fn is_orphan(house: &House, run: &RunRow, now: Timestamp) -> Result<bool> {
    if run.state != RunState::Running || house.hub.is_attached(&run.agent) {
        return Ok(false);
    }
    let heard = house.hub.last_seen(&run.agent).or(run.started).unwrap_or(now);
    if now.since(heard) < ORPHAN_AFTER {
        return Ok(false);
    }
    let sessions = house.ledger.query().sessions()?;
    Ok(!sessions.iter().any(|s| s.run == Some(run.id) && s.lease_until >= now))
}

async fn end_orphan(house: &House, run: &RunRow) -> Result<()> {
    let error = Some(Refusal {
        code: holdfast_common::Code::RunInterrupted.name().to_owned(),
        message: "the agent went away during the run".to_owned(),
        next: None,
    });
    let command = EndRun { run: run.id, state: RunState::Interrupted, error };
    house.ledger.propose(Actor::System, command).await.map(drop)
}

pub(crate) fn source_to_wire(source: &SourceSpec) -> v1::SourceSpec {
    let SourceSpec::Files { paths, exclude, one_file_system } = source;
    v1::SourceSpec {
        source: Some(v1::source_spec::Source::Files(v1::FilesSource {
            paths: paths.iter().map(|path| bytes::Bytes::copy_from_slice(path)).collect(),
            exclude: exclude.clone(),
            one_file_system: *one_file_system,
        })),
    }
}
