//! Questions about what is collected, what is to go and what went.

use crate::{
    level::CANCELLED_UNWAITED,
    pages::Pages,
    query::{Query, decoded},
    row::{
        CollectionRow, GonePointRow, GoneRow, LeavingRow, NewPointRow, PackRow, PackState, RunRow,
        SessionRow,
        collection::{leaving_key, new_point_key},
        pack::pack_key,
    },
    tables::Table,
};
use holdfast_common::{PackId, PointId, Result, VaultId};
use std::collections::HashSet;

impl<'a> Query<'a> {
    /// The newest round of collection in a vault, over or not.
    pub fn collection(&self, vault: &VaultId) -> Result<Option<CollectionRow>> {
        self.row(vault.as_bytes())
    }

    /// Backups that a round of a vault waits for: they began before it was sealed, have made no
    /// checkpoint since, and may still commit something.
    pub fn waited_for(&self, vault: &VaultId, sealed: u64) -> Result<Vec<SessionRow>> {
        let is_level_there = self.level()? >= CANCELLED_UNWAITED;
        let mut waited_for = self.sessions()?;
        waited_for.retain(|session| session.writes_since_before(sealed, vault));
        if !is_level_there {
            return Ok(waited_for);
        }
        let mut hopeless = HashSet::new();
        for id in waited_for.iter().filter_map(|session| session.run) {
            if self.row::<RunRow>(id.as_bytes())?.is_some_and(|run| run.commits_nothing()) {
                hopeless.insert(id);
            }
        }
        waited_for.retain(|session| !session.run.is_some_and(|run| hopeless.contains(&run)));
        Ok(waited_for)
    }

    /// Points that came into a vault since a round began, as far as they are noted.
    pub fn new_points(&self, vault: &VaultId, round: u64) -> Result<Vec<PointId>> {
        let after = new_point_key(vault, round);
        let rows = Pages::over(self.kv, Table::NewPoint, vault.as_bytes(), Some(&after));
        rows.map(|row| Ok(decoded::<NewPointRow>(row?)?.point)).collect()
    }

    /// Whether points are noted in a vault, for whichever round.
    pub fn has_new_points(&self, vault: &VaultId) -> Result<bool> {
        Ok(!self.rows::<NewPointRow>(vault.as_bytes(), None, 1)?.is_empty())
    }

    /// Whether a pack was given up for good: nobody brings it back anywhere.
    pub fn is_collected(&self, vault: &VaultId, pack: &PackId) -> Result<bool> {
        match self.pack(vault, pack)? {
            Some(row) => Ok(row.state == PackState::Doomed),
            None => self.is_gone(vault, pack),
        }
    }

    /// Whether the objects of a forgotten point were seen gone: nobody brings them back either.
    pub fn is_point_gone(&self, point: &PointId) -> Result<bool> {
        Ok(self.forgotten(point)?.is_some_and(|row| row.gone.is_some())
            || self.row::<GonePointRow>(point.as_bytes())?.is_some())
    }

    /// Packs of a vault that were doomed and are not gone, behind one of them.
    pub fn doomed_packs(
        &self,
        vault: &VaultId,
        after: Option<&PackId>,
    ) -> impl Iterator<Item = Result<PackRow>> + use<'a> {
        let (query, after) = (*self, after.map(|id| pack_key(vault, id)));
        let keys = Pages::over(self.kv, Table::DoomedPack, vault.as_bytes(), after.as_deref());
        keys.map(move |row| query.row(&row?.0)).filter_map(Result::transpose)
    }

    /// Points of a vault whose objects are to go, behind one of them.
    pub fn leaving_points(
        &self,
        vault: &VaultId,
        after: Option<&PointId>,
    ) -> impl Iterator<Item = Result<LeavingRow>> + use<'a> {
        let after = after.map(|id| leaving_key(vault, id));
        let rows = Pages::over(self.kv, Table::Leaving, vault.as_bytes(), after.as_deref());
        rows.map(|row| decoded(row?))
    }

    /// Whether a pack was collected, and lies nowhere any more.
    pub fn is_gone(&self, vault: &VaultId, pack: &PackId) -> Result<bool> {
        Ok(self.gone_pack(vault, pack)?.is_some())
    }

    /// What is left of a pack that was seen gone from everywhere.
    pub fn gone_pack(&self, vault: &VaultId, pack: &PackId) -> Result<Option<GoneRow>> {
        self.row(&pack_key(vault, pack))
    }
}
