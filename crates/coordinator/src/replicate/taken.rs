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
    places::Place,
    region::awaited,
    verify::find_again,
};
use holdfast_common::{Code, Error, Name, Result};
use holdfast_ledger::row::VaultRow;
use std::time::Duration;

/// How often it is looked whether the lost locations are back.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How often before it is looked through again, while other locations are away.
const LOOKS_MAX: u32 = 60;

impl Copier {
    /// Before anything that takes long: backups send everything until it is known what is there.
    /// What it had and lost since is looked for like what it never had.
    pub(super) async fn note_absent(&self, vault: &VaultRow, place: &Place) -> Result<()> {
        let row = self.house.ledger.query().copies_in(&self.row.vault, &self.row.location)?;
        let Some(row) = row.filter(|row| row.opened == self.row.opened) else { return Ok(()) };
        // What one lacks that only follows is where it must be.
        if !vault.required.contains(&row.location) {
            return Ok(());
        }
        if row.unseen_before().is_none() && !self.stands_in(vault)? {
            return Ok(());
        }
        let count = fill::note_absent(&self.house, vault, &row, place).await?;
        if count > 0 {
            let location = &row.location;
            tracing::warn!(%location, count, "packs lie only where nobody reaches them");
        }
        Ok(())
    }

    /// It was taken in place of locations that are lost still, and goes on being required.
    pub(super) fn stands_in(&self, vault: &VaultRow) -> Result<bool> {
        Ok(self.was_taken(vault) && !awaited(&self.house.ledger.query(), vault)?.is_empty())
    }

    /// Whoever declares it to follow brings it what the others have, and waits for nothing.
    fn was_taken(&self, vault: &VaultRow) -> bool {
        self.row.taken.is_some() && vault.required.contains(&self.row.location)
    }

    /// What another location had of that, and was brought, or came late.
    pub(super) async fn find_again(&self, vault: &VaultRow) -> Result<()> {
        if self.was_taken(vault) {
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
        if !self.was_taken(vault) || lost.is_empty() {
            return Ok(());
        }
        let noted = query.lost_packs(&vault.id).count() as u64;
        if noted + lacking.count == 0 {
            return Ok(());
        }
        let error = only_there(&found.to.0, noted + lacking.count, &lost);
        self.be_away(&error).await;
        let mut looks = 0;
        loop {
            let vault = self.vault()?;
            if !self.was_taken(&vault) || awaited(&self.house.ledger.query(), &vault)? != lost {
                break;
            }
            // Others that are away may have it, and come back.
            if !found.is_all && looks == LOOKS_MAX {
                break;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
            looks += 1;
        }
        Err(error)
    }
}

pub(super) fn only_there(location: &Name, count: u64, lost: &[Name]) -> Error {
    let names: Vec<String> = lost.iter().map(|name| format!("`{name}`")).collect();
    let message =
        format!("`{location}` lacks {count} objects or more that lie only in {}", names.join(", "));
    Error::new(Code::LocationBehind, message)
        .next("bring the lost region back: `holdfast region failback`; see docs/lose-a-region.md")
}
