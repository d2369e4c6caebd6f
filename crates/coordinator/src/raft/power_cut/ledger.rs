//! The whole ledger under power cuts: log and tables together, first start and rebuild included.
//!
//! The workload proposes groups of locations and acknowledges each group when its proposals came
//! back; in between it snapshots and purges. Command `n` makes the location `place-n` and one row
//! of the audit chain, so a command that was applied by half shows.

use super::{
    super::tests::{founded, location, open},
    Cut, Recording, Workplace,
    disk::Syncs,
    rounds,
};
use crate::raft::Ledger;
use holdfast_ledger::{
    Actor,
    audit::{self, AuditHead},
};
use openraft::async_runtime::WatchReceiver;
use std::{fs, path::Path, time::Duration};

const GROUP: usize = 3;
const GROUPS: usize = 12;
/// Longer than a loaded machine needs, far below a hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// Proposes, and now and then snapshots and purges.
pub(super) fn work(workplace: Workplace) {
    work_until(workplace, || {});
}

fn work_until(mut workplace: Workplace, before_close: impl FnOnce()) {
    runtime().block_on(async {
        let ledger = founded(&workplace.directory.join("ledger")).await;
        workplace.acknowledge(0);
        for group in 0..GROUPS {
            propose(&ledger, group * GROUP).await;
            workplace.acknowledge((group + 1) * GROUP);
            match group % 5 {
                2 => snapshot_and_purge(&ledger).await,
                4 => ledger.tables.flush().unwrap(),
                _ => {}
            }
        }
        before_close();
        ledger.close().await.await;
    });
}

/// Opens a ledger whose tables are damaged, and goes on proposing.
pub(super) fn rebuild(mut workplace: Workplace) {
    runtime().block_on(async {
        workplace.acknowledge(GROUPS * GROUP);
        let ledger = open(&workplace.directory.join("ledger")).await.unwrap();
        ledger.wait_for_leader().await.unwrap();
        ledger.catch_up().await.unwrap();
        propose(&ledger, GROUPS * GROUP).await;
        workplace.acknowledge((GROUPS + 1) * GROUP);
        ledger.close().await.await;
    });
}

/// A ledger in which the workload ran to its end; `before_close` sees it still running.
pub(super) fn worked_until(directory: &Path, before_close: impl FnOnce()) {
    let acknowledgements = tempfile::tempfile().unwrap();
    work_until(Workplace { directory: directory.to_owned(), acknowledgements }, before_close);
}

async fn propose(ledger: &Ledger, from: usize) {
    let group = (from..from + GROUP).map(|n| ledger.propose(Actor::System, location(n)));
    for outcome in futures::future::join_all(group).await {
        outcome.unwrap();
    }
}

async fn snapshot_and_purge(ledger: &Ledger) {
    let applied = ledger.raft.metrics().borrow_watched().last_applied.unwrap();
    let wait = || ledger.raft.wait(Some(PATIENCE));
    ledger.raft.trigger().snapshot().await.unwrap();
    wait().metrics(|metrics| metrics.snapshot >= Some(applied), "a snapshot").await.unwrap();
    ledger.raft.trigger().purge_log(applied.index).await.unwrap();
    wait().metrics(|metrics| metrics.purged >= Some(applied), "a purge").await.unwrap();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// What is wrong with the ledger a cut left; `Ok` if nothing is.
fn check(cut: &Cut) -> Result<(), String> {
    let directory = cut.directory.path().join("ledger");
    let runtime = runtime();
    let checked = runtime.block_on(async {
        let Some(acknowledged) = cut.acknowledged else {
            // Nothing was promised: it may refuse, it may not fall over.
            if let Ok(Ok(ledger)) = tokio::time::timeout(PATIENCE, open(&directory)).await {
                ledger.close().await.await;
            }
            return Ok(());
        };
        let found = tokio::time::timeout(PATIENCE, compare(&directory, acknowledged)).await;
        found.unwrap_or_else(|_| Err("it hangs".to_owned()))
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    checked.map_err(|error| format!("{}: {error}", cut.story))
}

/// Compares the ledger with what the workload was told, and proposes once more.
pub(super) async fn compare(directory: &Path, acknowledged: usize) -> Result<(), String> {
    let text = |error: holdfast_common::Error| format!("refused: {error}");
    let ledger = open(directory).await.map_err(text)?;
    let compared = async {
        ledger.wait_for_leader().await.map_err(text)?;
        ledger.catch_up().await.map_err(text)?;
        let found = ledger.query().locations().map_err(text)?;
        for number in 0..acknowledged {
            let wanted = location(number).location;
            let row = found.iter().find(|row| row.name == wanted.name);
            let row = row.ok_or_else(|| format!("lost {number} of {acknowledged}"))?;
            if row.url != wanted.url || row.revision != 1 {
                return Err(format!("wrong: {row:?}"));
            }
        }
        if found.len() > acknowledged + GROUP {
            return Err(format!("{} locations, {acknowledged} acknowledged", found.len()));
        }
        let head = ledger.query().audit_head().map_err(text)?;
        let rows = ledger.query().audit(0, 1000).map_err(text)?;
        let rows = rows.into_iter().map(Ok);
        audit::verify(rows, &AuditHead::default(), &head).map_err(text)?;
        if head.rows != found.len() as u64 {
            return Err(format!("wrong: {} audit rows, {} locations", head.rows, found.len()));
        }
        ledger.propose(Actor::System, location(1000)).await.map_err(text)?;
        let more = ledger.query().locations().map_err(text)?.len();
        if more == found.len() + 1 { Ok(()) } else { Err("wrong: a new row is missing".to_owned()) }
    };
    let compared = compared.await;
    ledger.close().await.await;
    compared
}

fn failures(recording: &Recording, count: usize, syncs: Syncs) -> Vec<String> {
    let mut failures = Vec::new();
    recording.cut(count, syncs, |cut| failures.extend(check(cut).err()));
    failures
}

#[test]
fn every_acknowledged_command_survives_a_power_cut() {
    let recording = Recording::of("ledger", |_| {});
    let failures = failures(&recording, rounds(40), Syncs::All);
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn a_power_cut_while_the_tables_are_rebuilt_loses_nothing() {
    let recording = Recording::of("rebuild", |directory| {
        worked_until(directory, || {});
        fs::write(directory.join("ledger/tables/conf"), b"damaged").unwrap();
    });
    let failures = failures(&recording, rounds(20), Syncs::All);
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn a_disk_that_lies_about_syncs_loses_commands_and_the_check_sees_it() {
    let recording = Recording::of("ledger", |_| {});
    let failures = failures(&recording, 10, Syncs::NotOfData);
    assert!(!failures.is_empty(), "ten cuts on a lying disk and nothing was missed");
}
