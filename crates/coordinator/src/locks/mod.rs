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
mod wanted;

use crate::{errands::Errand, house::House, raft::Listener, replicate::Queue};
use holdfast_common::{Name, Result, VaultId};
use holdfast_ledger::{level::LOCKS, row::LockRow};
use locker::Locker;
use std::sync::Arc;

impl Errand for LockRow {
    const NAME: &'static str = "locks";
    const LISTENER: Listener = Listener::Locks;

    fn all(house: &House) -> Result<Vec<Self>> {
        let query = house.ledger.query();
        if query.level()? < LOCKS {
            return Ok(Vec::new());
        }
        query.locks()
    }

    fn place(&self) -> (VaultId, Name) {
        (self.vault, self.location.clone())
    }

    fn opened(&self) -> u64 {
        self.opened
    }

    async fn run(self, house: Arc<House>, queue: Arc<Queue>) -> Result<()> {
        Locker::new(house, self, queue).run().await
    }
}
