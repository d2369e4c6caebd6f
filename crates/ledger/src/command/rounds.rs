//! What the commands of collection share: which round is meant, and what may still be relied on.
//!
//! ```text
//!   begin ─→ condemn … ─→ seal ─→ clear ─→ spare … ─→ doom … ─→ end       bury, at any time later
//!            Marking      Sealed  Clear ◀── a point is taken in: Sealed
//! ```
//!
//! The rules are those of `docs/design/collection.md`. Nothing here goes by time.

use super::Apply;
use crate::{
    level::COLLECTED,
    row::{
        CollectionRow, GoneRow, MemberRow, MemberState, NewPointRow, PackRow, PackState, PointRow,
        Stage, pack::pack_key,
    },
    tables::Table,
};
use holdfast_common::{Code, Error, PackId, Result, SessionId, VaultId, limits};

impl Apply<'_, '_> {
    /// The newest round of a vault, over or not.
    pub(super) fn newest_round(&self, vault: &VaultId) -> Result<Option<CollectionRow>> {
        self.tables.row(vault.as_bytes())
    }

    /// The round that whoever proposes means, at the stage at which he believes it.
    pub(super) fn round_at(
        &self,
        vault: &VaultId,
        round: u64,
        stage: Stage,
    ) -> Result<CollectionRow> {
        self.insist_on_system()?;
        match self.newest_round(vault)? {
            Some(row) if row.round == round && row.stage == stage => Ok(row),
            _ => Err(over(round)),
        }
    }

    /// Remembers a point for the second mark of an open round. A point from elsewhere was in no
    /// session that the round has waited for: the round waits and marks again.
    pub(super) fn note_new_point(
        &mut self,
        point: &PointRow,
        is_from_elsewhere: bool,
    ) -> Result<()> {
        let Some(row) = self.newest_round(&point.vault)? else { return Ok(()) };
        if row.stage == Stage::Over {
            return Ok(());
        }
        self.tables.put(&NewPointRow { vault: point.vault, index: self.index, point: point.id })?;
        if is_from_elsewhere && row.stage == Stage::Clear {
            self.tables.put(&CollectionRow { stage: Stage::Sealed, ..row })?;
        }
        Ok(())
    }

    pub(super) fn forget_new_points(&mut self, vault: &VaultId) -> Result<()> {
        loop {
            let page =
                self.tables.scan(Table::NewPoint, vault.as_bytes(), limits::LIST_PAGE_ROWS)?;
            if page.is_empty() {
                return Ok(());
            }
            for (key, _) in page {
                self.tables.remove(Table::NewPoint, &key);
            }
        }
    }

    /// Whoever announces or stores a pack relies on it from there on, and is who writes it. Both
    /// take it: what was announced before this level was reached is stored after it.
    pub(super) fn owned_by(&self, session: SessionId, pack: PackRow) -> Result<PackRow> {
        if self.level()? < COLLECTED {
            return Ok(pack);
        }
        Ok(PackRow { session, ..pack.spared() })
    }

    /// What was doomed is dead for good, and so is its name.
    pub(super) fn insist_on_living_name(&self, vault: &VaultId, pack: &PackId) -> Result<()> {
        match self.tables.row::<GoneRow>(&pack_key(vault, pack))? {
            Some(_) => Err(dead(pack)),
            None => Ok(()),
        }
    }

    /// Two sides of a divided cluster may rely on what either of them believes to be garbage.
    pub(super) fn insist_on_quiet_epoch(&self) -> Result<()> {
        let Some(epoch) = self.epoch()? else { return Ok(()) };
        let mut is_quiet = epoch.suspended.is_empty();
        self.tables.look(&[], |member: MemberRow| {
            is_quiet &=
                member.state != MemberState::Superseded || epoch.regions.contains(&member.region);
        })?;
        match is_quiet {
            true => Ok(()),
            false => Err(Error::new(
                Code::CollectionPaused,
                "a region was given up, and what it did alone may rely on anything",
            )),
        }
    }
}

/// What may be stored, found or taken in.
pub(super) fn insist_on_alive(pack: &PackRow) -> Result<()> {
    if pack.state == PackState::Doomed { Err(dead(&pack.id)) } else { Ok(()) }
}

fn dead(pack: &PackId) -> Error {
    Error::new(
        Code::PackRefused,
        format!("the pack {pack} was collected, and its name is not used again"),
    )
}

pub(super) fn over(round: u64) -> Error {
    Error::new(Code::CollectionOver, format!("the round {round} is over, or at another stage"))
}
