//! Turns run rows into orders: whoever holds the agent's line sends what the ledger says.
//!
//! A reconciler: no input of its own, woken whenever something was applied and by a timer, and safe
//! to run at any moment. It also ends runs whose agent is gone (their lease says when) or was
//! revoked.

use crate::{
    agents::{presence, verifiers},
    house::House,
    reading::{restoring, verifying},
};
use holdfast_common::{Code, Result, Timestamp};
use holdfast_ledger::{
    Actor,
    command::{EndRun, EndSession},
    envelope::Refusal,
    level::SILENCE,
    row::{AgentState, RunKind, RunRow, RunState, SessionRow, SourceSpec},
};
use holdfast_wire::v1::{self, agent_order::Order};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

const TICK: Duration = Duration::from_secs(5);
/// How long a running backup may be without its agent and without a session before it is over.
pub(crate) const ORPHAN_AFTER: Duration = Duration::from_secs(60);

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
    for run in house.ledger.query().open_runs()? {
        send_orders(house, &run)?;
    }
    if house.ledger.leads() && has_abandoned(house)? {
        // A leader that was cut off takes itself for one, and its tables for new, until it has
        // asked the others.
        house.ledger.catch_up().await?;
        end_abandoned(house).await?;
    }
    // Asked one by one: a session enters these maps after its row was applied.
    let query = house.ledger.query();
    house.sessions.keep(|id| query.session(id).is_ok());
    house.reads.keep(|id| query.session(id).is_ok());
    Ok(())
}

/// Whether anything looks as if nobody did it any more.
fn has_abandoned(house: &House) -> Result<bool> {
    let now = house.ledger.now();
    for run in house.ledger.query().open_runs()? {
        let is_abandoned = is_of_revoked(house, &run)?
            || verifiers::stuck(house, &run, now)?.is_some()
            || silent_since(house, &run, now)?.is_some();
        if is_abandoned {
            return Ok(true);
        }
    }
    Ok(house.ledger.query().sessions()?.iter().any(|session| session.lease_until < now))
}

async fn end_abandoned(house: &House) -> Result<()> {
    let now = house.ledger.now();
    if !house.ledger.leads() {
        return Ok(());
    }
    for run in house.ledger.query().open_runs()? {
        if is_of_revoked(house, &run)? {
            end_revoked(house, &run).await?;
        } else if let Some(error) = verifiers::stuck(house, &run, now)? {
            verifiers::end_stuck(house, &run, &error).await?;
        } else if let Some(since) = silent_since(house, &run, now)? {
            end_orphan(house, &run, since).await?;
        }
    }
    for session in house.ledger.query().sessions()? {
        if session.lease_until < now {
            house.ledger.propose(Actor::System, EndSession { session: session.id }).await?;
        }
    }
    Ok(())
}

fn send_orders(house: &House, run: &RunRow) -> Result<()> {
    let Some(agent) = &run.agent else { return Ok(()) };
    let order = match &run.restore {
        _ if run.cancelled => Order::CancelRun(v1::CancelRun { run_id: id(run) }),
        _ if !house.hub.is_attached(agent) => return Ok(()),
        Some(restore) => Order::StartRestore(restoring::order(run, restore)),
        None if run.kind == RunKind::Verify => match &run.verify {
            // An older one would pass the order over, and nothing would come of it.
            Some(verify) if house.hub.verifies(agent) => {
                Order::StartVerify(verifying::order(run, &verify.point))
            }
            _ => return Ok(()),
        },
        None => Order::StartBackup(v1::StartBackup {
            run_id: id(run),
            policy: run.policy.as_ref().map(ToString::to_string),
            vault: house.ledger.query().vault(&run.vault)?.name.to_string(),
            source: Some(source_to_wire(&run.source)),
            options: Some(v1::BackupOptions {
                level: run.level,
                bytes_per_second_max: run.bytes_per_second_max,
                full: run.full,
            }),
        }),
    };
    house.hub.send(agent, run.id, run.cancelled, v1::AgentOrder { order: Some(order) });
    Ok(())
}

fn id(run: &RunRow) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(run.id.as_bytes())
}

/// Whoever was revoked does nothing any more, begun or not.
fn is_of_revoked(house: &House, run: &RunRow) -> Result<bool> {
    let Some(agent) = &run.agent else { return Ok(false) };
    Ok(house.ledger.query().agent(agent)?.state == AgentState::Revoked)
}

async fn end_revoked(house: &House, run: &RunRow) -> Result<()> {
    let code = Code::AgentRevoked;
    let error = Some(Refusal {
        code: code.name().to_owned(),
        message: "the agent of the run was revoked".to_owned(),
        next: Some(code.advice().to_owned()),
    });
    let command = EndRun { run: run.id, state: RunState::Failed, error, silent_since: None };
    house.ledger.propose(Actor::System, command).await.map(drop)
}

/// A run whose doer went away: an agent that is not on its line, or somebody who restores by
/// himself and was last heard of when he began. Since when nothing was heard.
fn silent_since(house: &House, run: &RunRow, now: Timestamp) -> Result<Option<Timestamp>> {
    let heard = match &run.agent {
        Some(agent) if run.state != RunState::Running || house.hub.is_attached(agent) => {
            return Ok(None);
        }
        Some(agent) => match house.ledger.query().seat(agent)? {
            // Told anew only now and then while it is there.
            Some(seat) if seat.member.is_some() => seat.seen.plus(2 * presence::REFRESH),
            Some(seat) => seat.seen,
            None => run.started.unwrap_or(now),
        },
        None => run.started.unwrap_or(run.created),
    };
    let abandoned = is_abandoned(run, heard, &house.ledger.query().sessions()?, now);
    Ok(abandoned.then_some(heard))
}

/// Nothing was heard for a while, and no session of the run has a lease.
fn is_abandoned(run: &RunRow, heard: Timestamp, sessions: &[SessionRow], now: Timestamp) -> bool {
    now.since(heard) >= ORPHAN_AFTER
        && !sessions.iter().any(|s| s.run == Some(run.id) && s.lease_until >= now)
}

async fn end_orphan(house: &House, run: &RunRow, since: Timestamp) -> Result<()> {
    let error = Some(Refusal {
        code: Code::RunInterrupted.name().to_owned(),
        message: match run.agent {
            Some(_) => "the agent went away during the run".to_owned(),
            None => "whoever restored went away during the run".to_owned(),
        },
        next: None,
    });
    let silent_since = (house.ledger.query().level()? >= SILENCE).then_some(since);
    let command = EndRun { run: run.id, state: RunState::Interrupted, error, silent_since };
    match house.ledger.propose(Actor::System, command).await {
        // Somebody does it after all.
        Err(error) if error.code == Code::ResourceConflict => Ok(()),
        ended => ended.map(drop),
    }
}

pub(crate) fn source_to_wire(source: &SourceSpec) -> v1::SourceSpec {
    let SourceSpec::Files { paths, exclude, one_file_system, include } = source;
    v1::SourceSpec {
        source: Some(v1::source_spec::Source::Files(v1::FilesSource {
            paths: paths.iter().map(|path| bytes::Bytes::copy_from_slice(path)).collect(),
            exclude: exclude.clone(),
            one_file_system: *one_file_system,
            include: include.clone().unwrap_or_default(),
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::{AgentId, PointId, RunId, SessionId, VaultId};
    use holdfast_ledger::row::SessionKind;

    #[test]
    fn a_restore_whose_asker_crashed_is_over_when_its_lease_is() {
        let (run, vault) = (RunId::from_bytes([1; 16]), VaultId::from_bytes([2; 16]));
        let begun = Timestamp::from_nanos(1_800_000_000_000_000_000);
        let lease_until = begun.plus(Duration::from_secs(900));
        let session = |run| SessionRow {
            id: SessionId::from_bytes([3; 16]),
            kind: SessionKind::Read,
            vault,
            run: Some(run),
            agent: None,
            begun: 1,
            lease_until,
            point: PointId::from_bytes([4; 16]),
            previous: None,
        };
        let (paths, exclude) = (vec![], vec![]);
        let files = SourceSpec::Files { paths, exclude, one_file_system: false, include: None };
        let row = RunRow::backup(run, AgentId::from_bytes([5; 16]), vault, files);
        let abandoned = |sessions: &[SessionRow], now| is_abandoned(&row, begun, sessions, now);
        let soon = begun.plus(Duration::from_secs(61));
        assert!(!abandoned(&[session(run)], soon), "the lease is alive");
        assert!(!abandoned(&[session(run)], lease_until));
        assert!(abandoned(&[session(run)], lease_until.plus(Duration::from_secs(1))));
        assert!(!abandoned(&[], begun.plus(Duration::from_secs(59))), "it has not begun to read");
        assert!(abandoned(&[], soon));
        assert!(abandoned(&[session(RunId::from_bytes([9; 16]))], soon), "another's lease");
    }
}
