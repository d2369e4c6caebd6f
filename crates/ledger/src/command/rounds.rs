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
    envelope::Refusal,
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
        if row.noted >= limits::COLLECT_POINTS_NOTED_MAX {
            return self.end_crowded(row);
        }
        self.tables.put(&NewPointRow { vault: point.vault, index: self.index, point: point.id })?;
        let stage = match row.stage {
            Stage::Clear if is_from_elsewhere => Stage::Sealed,
            stage => stage,
        };
        self.tables.put(&CollectionRow { stage, noted: row.noted + 1, ..row })
    }

    /// No round survives a new epoch, nor a total loss.
    pub(super) fn end_rounds(&mut self) -> Result<()> {
        let now = self.time;
        self.tables.rewrite(|row: CollectionRow| {
            let ended = row.ended.or(Some(now));
            Some(CollectionRow { stage: Stage::Over, ended, ..row })
        })
    }

    /// A round that can note nothing more knows less than it must, and gives nothing up.
    fn end_crowded(&mut self, row: CollectionRow) -> Result<()> {
        let message =
            format!("{} points came while it was open, and more are not noted", row.noted);
        let code = Code::CollectionEarly.name().to_owned();
        let problem = Some(Refusal { code, message, next: None });
        let ended = Some(self.time);
        self.tables.put(&CollectionRow { stage: Stage::Over, ended, problem, ..row })
    }

    /// Some of the points that were noted; more go with later entries. Those that an ended round
    /// left are older than the next one, and none of its own.
    pub(super) fn forget_new_points(&mut self, vault: &VaultId) -> Result<usize> {
        let rows_max = limits::POINTS_CLEARED_MAX;
        let page = self.tables.scan(Table::NewPoint, vault.as_bytes(), rows_max)?;
        for (key, _) in &page {
            self.tables.remove(Table::NewPoint, key);
        }
        Ok(page.len())
    }

    /// Whoever announces or stores a pack relies on it from there on, and is who writes it. Both
    /// take it: what was announced before this level was reached is stored after it.
    pub(super) fn owned_by(&self, session: SessionId, pack: PackRow) -> Result<PackRow> {
        if self.level()? < COLLECTED {
            return Ok(pack);
        }
        Ok(PackRow { session, ..pack.spared() })
    }

    /// A second line: whoever says how far he compared must have seen all that was doomed.
    pub(super) fn insist_on_whole(&self, vault: &VaultId, whole_at: Option<u64>) -> Result<()> {
        let doomed_at = self.newest_round(vault)?.map_or(0, |row| row.doomed_at);
        match whole_at {
            Some(at) if at < doomed_at => Err(Error::new(
                Code::VaultCollected,
                format!("packs were doomed at {doomed_at}, and the reach was compared at {at}"),
            )),
            _ => Ok(()),
        }
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
