//! Reads back what lies in the locations, by itself and for ever: what nobody asked for in years is
//! still there, or somebody hears of it while another copy is whole.
//!
//! ```text
//!   vaults × locations ─▶ one scrubber each: objects in the order of their names, at an even pace
//!        ├─ whole ───────▶ the next one, when its time comes
//!        └─ not whole ───▶ as `verify` does it: healed from elsewhere, or the points are named
//!   memory (ledger): how far, since when, when the pass before began; what is not mended
//! ```
//!
//! Only the leader does this, from the tables and the locations alone; the next one goes on where
//! the ledger says. No key of data is needed. What is read is bounded by the vault's budget, and
//! nothing that a backup or a restore does waits for it.

mod course;
mod homes;
mod look;
mod memory;
mod needs;
mod own;
mod schedule;
mod scrubber;
#[cfg(test)]
mod tests;

use crate::house::House;
pub(crate) use course::thousandths;
use holdfast_common::{Name, Result, VaultId};
use holdfast_runtime::tasks::OnError;
pub(crate) use look::{Found, Seen};
pub(crate) use memory::{Reading, tell};
pub(crate) use own::look_at_all_own;
use scrubber::Scrubber;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A vault or a location that came or went is noticed by then.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Runs the scrubbers for as long as this member leads.
pub(crate) async fn scrub(house: Arc<House>, shutdown: CancellationToken) -> Result<()> {
    let mut scrubbers: BTreeMap<(VaultId, Name), DropGuard> = BTreeMap::new();
    loop {
        if house.ledger.leads() && house.ledger.peers().insist_on_epoch().is_ok() {
            let mut held = BTreeSet::new();
            for vault in house.ledger.query().vaults()? {
                held.extend(vault.holding().map(|name| (vault.id, name.clone())));
            }
            scrubbers.retain(|key, _| held.contains(key));
            for key in held {
                scrubbers.entry(key.clone()).or_insert_with(|| start(&house, key));
            }
        } else {
            scrubbers.clear();
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
}

/// Ends when the guard goes, whatever it was doing: all of it can be done again.
fn start(house: &Arc<House>, (vault, location): (VaultId, Name)) -> DropGuard {
    let token = house.tasks.token().child_token();
    let scrubber = Scrubber::new(house.clone(), vault, location);
    let ends = token.clone();
    house.tasks.spawn("scrub", OnError::Log, async move {
        match ends.run_until_cancelled(Box::pin(scrubber.run())).await {
            Some(ended) => ended,
            None => Ok(()),
        }
    });
    token.drop_guard()
}
