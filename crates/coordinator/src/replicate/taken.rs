//! A location that was taken in place of lost ones: what it lacks lies in those alone, and comes
//! back with them.
//!
//! ```text
//!   taken ─→ nothing stored before is relied on ─→ listing: what it lacks is noted ─→ the rest is
//!         ─→ others that follow may have it: brought, found again
//!         ─→ what is still missing waits for the lost locations: nobody says that it is lost
//! ```

use super::{copier::Copier, found::Found};
use crate::{
    fill::{self, Lacking},
    region::awaited,
    verify::find_again,
};
use holdfast_common::{Code, Error, Name, Result};
use holdfast_ledger::row::VaultRow;
use std::time::Duration;

/// How often it is looked whether the lost locations are back.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

impl Copier {
    /// Before anything that takes long: backups send everything until it is known what is there.
    pub(super) async fn note_absent(&mut self, found: &Found) -> Result<()> {
        let row = self.house.ledger.query().copies_in(&self.row.vault, &self.row.location)?;
        let row = row.filter(|row| row.opened == self.row.opened && row.unseen_before().is_some());
        let Some(row) = row else { return Ok(()) };
        let count = fill::note_absent(&self.house, &row, &found.to).await?;
        tracing::warn!(location = %row.location, count, "packs lie only where nobody reaches them");
        Ok(())
    }

    /// What another location had of that, and was brought.
    pub(super) async fn find_again(&mut self, found: &Found) -> Result<()> {
        if self.row.taken.is_some() && !found.from.is_empty() {
            find_again(&self.house, self.row.vault).await?;
        }
        Ok(())
    }

    /// While something is missing that the lost locations may have, it is not looked for anywhere
    /// else, and nobody gives it up. Ends with an error when they are back, or forgotten.
    pub(super) async fn await_lost(
        &mut self,
        vault: &VaultRow,
        found: &Found,
        lacking: &Lacking,
    ) -> Result<()> {
        let query = self.house.ledger.query();
        let lost = awaited(&query, vault)?;
        if self.row.taken.is_none() || lost.is_empty() {
            return Ok(());
        }
        let noted = query.lost_packs(&vault.id).count() as u64;
        if noted + lacking.count == 0 {
            return Ok(());
        }
        let error = only_there(&found.to.0, noted + lacking.count, &lost);
        self.be_away(&error).await;
        while awaited(&self.house.ledger.query(), &self.vault()?)? == lost {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Err(error)
    }
}

fn only_there(location: &Name, count: u64, lost: &[Name]) -> Error {
    let names: Vec<String> = lost.iter().map(|name| format!("`{name}`")).collect();
    let message =
        format!("`{location}` lacks {count} objects or more that lie only in {}", names.join(", "));
    Error::new(Code::LocationBehind, message)
        .next("bring the lost region back: `holdfast region failback`; see docs/lose-a-region.md")
}
