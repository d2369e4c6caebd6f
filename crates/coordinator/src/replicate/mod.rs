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
mod lost;
mod queue;
mod taken;

use crate::{errands::Errand, house::House, raft::Listener};
use copier::Copier;
pub(crate) use figures::Figures;
use holdfast_common::{Name, Result, VaultId};
use holdfast_ledger::row::CopyRow;
pub(crate) use queue::Queue;
use std::sync::Arc;

impl Errand for CopyRow {
    const NAME: &'static str = "copies";
    const LISTENER: Listener = Listener::Copies;

    fn all(house: &House) -> Result<Vec<Self>> {
        let query = house.ledger.query();
        let mut rows = query.copies()?;
        let is_held = |row: &Self| {
            let vault = query.vault(&row.vault);
            vault.is_ok_and(|vault| vault.holding().any(|name| *name == row.location))
        };
        rows.retain(is_held);
        Ok(rows)
    }

    fn place(&self) -> (VaultId, Name) {
        (self.vault, self.location.clone())
    }

    fn opened(&self) -> u64 {
        self.opened
    }

    async fn run(self, house: Arc<House>, queue: Arc<Queue>) -> Result<()> {
        Copier::new(house, self, queue).run().await
    }
}
