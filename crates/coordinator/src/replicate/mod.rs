//! Brings locations what they lack: those that follow, and required ones that were away.
//!
//! ```text
//!   rows of copies ─→ one copier each: look through both listings, bring what is not there
//!                       └─ a required location: it lacks nothing, its row goes
//!                       └─ one that follows: bring what is applied from now on, in its order
//!   applied ─→ packs, segments, points ─→ the queue of each copier ─┘
//! ```
//!
//! Only the leader does this, from the tables and the locations alone: the next one begins by
//! looking, and nothing is copied twice. Objects go as they are, sealed; a point is said to lie in
//! a location when its every object was put there, which the stores check, or read back where a
//! place does not check by itself. Nothing that a backup does waits for any of it.

mod copier;
mod figures;
mod found;
mod queue;

use crate::{
    house::House,
    raft::{Heard, Listener},
};
use copier::Copier;
pub(crate) use figures::Figures;
use holdfast_common::{Name, Result, VaultId};
use holdfast_ledger::row::CopyRow;
use holdfast_runtime::tasks::OnError;
pub(crate) use queue::Queue;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A leader that was not heard of through the ledger is noticed by then.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Runs the copiers for as long as this member leads.
pub(crate) async fn replicate(house: Arc<House>, shutdown: CancellationToken) -> Result<()> {
    let mut applied = house.ledger.applied();
    let mut copiers = Copiers::default();
    loop {
        let heard = house.ledger.take_heard(Listener::Copies);
        if house.ledger.leads() && house.ledger.peers().insist_on_epoch().is_ok() {
            copiers.keep(&house)?;
            copiers.tell(&house, &heard)?;
        } else {
            copiers.0.clear();
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            changed = applied.changed() => if changed.is_err() { return Ok(()) },
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
}

#[derive(Default)]
struct Copiers(BTreeMap<(VaultId, Name), Running>);

struct Running {
    opened: u64,
    queue: Arc<Queue>,
    /// Ends the copier when it goes.
    _ends: DropGuard,
}

impl Copiers {
    /// One for each row: what a row said that was opened anew is of another place.
    fn keep(&mut self, house: &Arc<House>) -> Result<()> {
        let query = house.ledger.query();
        let mut rows = query.copies()?;
        let is_held = |row: &CopyRow| {
            let vault = query.vault(&row.vault);
            vault.is_ok_and(|vault| vault.holding().any(|name| *name == row.location))
        };
        rows.retain(is_held);
        self.0.retain(|(vault, location), running| {
            let is_its = |row: &CopyRow| row.vault == *vault && row.location == *location;
            rows.iter().any(|row| is_its(row) && row.opened == running.opened)
        });
        for row in rows {
            let key = (row.vault, row.location.clone());
            self.0.entry(key).or_insert_with(|| start(house, row));
        }
        Ok(())
    }

    fn tell(&self, house: &House, heard: &Heard) -> Result<()> {
        for ((vault, _), running) in &self.0 {
            running.queue.hear(house.ledger.query(), vault, heard)?;
        }
        Ok(())
    }
}

fn start(house: &Arc<House>, row: CopyRow) -> Running {
    let (queue, token) = (Arc::<Queue>::default(), house.tasks.token().child_token());
    let opened = row.opened;
    let copier = Copier::new(house.clone(), row, queue.clone());
    let ends = token.clone();
    house.tasks.spawn("copies", OnError::Log, async move {
        match ends.run_until_cancelled(copier.run()).await {
            Some(ended) => ended,
            None => Ok(()),
        }
    });
    Running { opened, queue, _ends: token.drop_guard() }
}
