//! Lists that spare whoever deletes a walk over everything: packs that were doomed, points whose
//! objects are to go, and what lies inside the objects of points.
//!
//! They are kept from the level on that collects. What was there before is listed when that level
//! is reached.

use super::Apply;
use crate::{
    level::COLLECTED,
    row::{
        ForgottenRow, GonePointRow, LeavingRow, PackHome, PackRow, PackState, PointRow,
        collection::{inline_key, leaving_key},
    },
    tables::{Row, Table},
};
use holdfast_common::{PackId, PointId, Result, VaultId};

impl Apply<'_, '_> {
    /// A pack as it is from now on, in the lists that it belongs to.
    pub(super) fn put_pack(&mut self, pack: &PackRow) -> Result<()> {
        self.tables.put(pack)?;
        if let PackHome::Point(home, _) = pack.home
            && self.level()? >= COLLECTED
        {
            self.tables.put_raw(
                Table::InlinePack,
                &inline_key(&pack.vault, &home, &pack.id),
                Vec::new(),
            )?;
        }
        match pack.state {
            PackState::Doomed => self.list_doomed(pack),
            _ => Ok(()),
        }
    }

    /// With it goes the object of a point that never came to be: nobody can commit that any more.
    fn list_doomed(&mut self, pack: &PackRow) -> Result<()> {
        self.tables.put_raw(Table::DoomedPack, &pack.key(), Vec::new())?;
        let PackHome::Point(home, _) = pack.home else { return Ok(()) };
        let is_known = self.tables.row::<PointRow>(home.as_bytes())?.is_some()
            || self.is_point_given_up(&home)?;
        match is_known {
            true => Ok(()),
            false => self.list_leaving(&pack.vault, &home),
        }
    }

    /// The objects of a point are to go.
    pub(super) fn list_leaving(&mut self, vault: &VaultId, point: &PointId) -> Result<()> {
        if self.level()? < COLLECTED {
            return Ok(());
        }
        self.tables.put(&LeavingRow { vault: *vault, point: *point, since: self.time })
    }

    /// Whether a point was forgotten, or its objects went without it ever having come to be.
    pub(super) fn is_point_given_up(&self, point: &PointId) -> Result<bool> {
        Ok(self.tables.raw(Table::Forgotten, point.as_bytes())?.is_some()
            || self.tables.raw(Table::GonePoint, point.as_bytes())?.is_some())
    }

    /// The same, or its objects may go at any moment: what lay in them was given up before it came
    /// to be.
    pub(super) fn is_point_leaving(&self, vault: &VaultId, point: &PointId) -> Result<bool> {
        let leaving = self.tables.raw(Table::Leaving, &leaving_key(vault, point))?;
        Ok(leaving.is_some() || self.is_point_given_up(point)?)
    }

    /// Nothing is left of a pack.
    pub(super) fn unlist_pack(&mut self, pack: &PackRow) {
        self.tables.remove(Table::DoomedPack, &pack.key());
        if let PackHome::Point(home, _) = pack.home {
            self.tables.remove(Table::InlinePack, &inline_key(&pack.vault, &home, &pack.id));
        }
    }

    /// The objects of a point were seen gone; whether they were there to go.
    pub(super) fn bury_point(&mut self, vault: &VaultId, point: &PointId) -> Result<bool> {
        let key = leaving_key(vault, point);
        let is_leaving = self.tables.raw(Table::Leaving, &key)?.is_some();
        let when = self.time;
        match self.tables.row::<ForgottenRow>(point.as_bytes())? {
            Some(row) if row.point.vault == *vault && row.gone.is_none() => {
                self.tables.put(&ForgottenRow { gone: Some(when), ..row })?;
            }
            None if is_leaving => {
                self.tables.put(&GonePointRow { vault: *vault, point: *point, when })?;
            }
            _ => return Ok(false),
        }
        self.tables.remove(Table::Leaving, &key);
        Ok(true)
    }

    /// What there is to list when the level is reached. It walks over all packs and all that was
    /// forgotten once in the life of a ledger.
    pub(super) fn list_all_leaving(&mut self) -> Result<()> {
        let (mut inline, mut leaving) = (Vec::<(VaultId, PointId, PackId)>::new(), Vec::new());
        self.tables.look::<PackRow>(&[], |pack| {
            if let PackHome::Point(home, _) = pack.home {
                inline.push((pack.vault, home, pack.id));
            }
        })?;
        self.tables.look::<ForgottenRow>(&[], |row| {
            leaving.push((row.point.vault, row.point.id));
        })?;
        for (vault, home, pack) in inline {
            let key = inline_key(&vault, &home, &pack);
            self.tables.put_raw(Table::InlinePack, &key, Vec::new())?;
        }
        leaving.iter().try_for_each(|(vault, point)| self.list_leaving(vault, point))
    }
}
