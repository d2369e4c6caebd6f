//! Locks what vaults keep, in locations that can: so that nobody deletes it there, whoever has the
//! coordinators' keys.
//!
//! ```text
//!   rows of locks ─→ one locker each: is a lock seen to hold there? then go through everything
//!                      keys ─→ packs ─→ reach and records of points, each lock read back
//!                    ─→ `NoteLocks`: up to this point all is locked until that day
//!   applied ─→ what was stored since ─→ the queue of each locker: locked as it comes
//!   half of it is over ─→ all of it once more, for as long again
//! ```
//!
//! Only the leader does this, by its clock when that agrees with ledger time: what is locked in the
//! strong class stays locked, whatever anybody says. What the vault gives up is not locked anew,
//! and goes when its lock has ended.

mod locker;

use crate::{
    house::House,
    raft::{Heard, Listener},
    replicate::Queue,
};
use holdfast_common::{Name, Result, VaultId};
use holdfast_ledger::{level::LOCKS, row::LockRow};
use holdfast_runtime::tasks::OnError;
use locker::Locker;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A leader that was not heard of through the ledger is noticed by then.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Runs the lockers for as long as this member leads.
pub(crate) async fn lock(house: Arc<House>, shutdown: CancellationToken) -> Result<()> {
    let mut applied = house.ledger.applied();
    let mut lockers = Lockers::default();
    loop {
        let heard = house.ledger.take_heard(Listener::Locks);
        let leads = house.ledger.leads() && house.ledger.peers().insist_on_epoch().is_ok();
        if leads && house.ledger.query().level()? >= LOCKS {
            lockers.keep(&house)?;
            lockers.tell(&house, &heard)?;
        } else {
            lockers.0.clear();
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            changed = applied.changed() => if changed.is_err() { return Ok(()) },
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
}

#[derive(Default)]
struct Lockers(BTreeMap<(VaultId, Name), Running>);

struct Running {
    opened: u64,
    queue: Arc<Queue>,
    /// Ends the locker when it goes.
    _ends: DropGuard,
}

impl Lockers {
    /// One for each row: what a row said that was opened anew is of another place.
    fn keep(&mut self, house: &Arc<House>) -> Result<()> {
        let rows = house.ledger.query().locks()?;
        self.0.retain(|(vault, location), running| {
            let is_its = |row: &LockRow| row.vault == *vault && row.location == *location;
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

fn start(house: &Arc<House>, row: LockRow) -> Running {
    let (queue, token) = (Arc::<Queue>::default(), house.tasks.token().child_token());
    let opened = row.opened;
    let locker = Locker::new(house.clone(), row, queue.clone());
    let ends = token.clone();
    house.tasks.spawn("locks", OnError::Log, async move {
        match ends.run_until_cancelled(locker.run()).await {
            Some(ended) => ended,
            None => Ok(()),
        }
    });
    Running { opened, queue, _ends: token.drop_guard() }
}
