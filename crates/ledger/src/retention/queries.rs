//! Questions about what is kept, what is gone and what is lost.

use super::{Rules, Ties};
use crate::{
    command::{insist_on_judged, parted},
    level::COLLECTED,
    pages::Pages,
    query::{Query, decoded},
    row::{
        ClassRow, ForgottenRow, HoldRow, PackRow, PointRow, PolicyRow, VaultRow,
        collection::inline_prefix,
        retention::{UPSET_KEY, Upset},
    },
    tables::{Table, full_key},
};
use core::time::Duration;
use holdfast_common::{HoldId, Name, PackId, PointId, Result, Timestamp, VaultId, record};

impl<'a> Query<'a> {
    /// What is left of a point that was forgotten.
    pub fn forgotten(&self, id: &PointId) -> Result<Option<ForgottenRow>> {
        self.row(id.as_bytes())
    }

    /// A point's row, of one that was forgotten too: its object may be relied on still.
    pub fn point_even_forgotten(&self, id: &PointId) -> Result<Option<PointRow>> {
        match self.row::<PointRow>(id.as_bytes())? {
            Some(point) => Ok(Some(point)),
            None => Ok(self.forgotten(id)?.map(|row| row.point)),
        }
    }

    /// Points that were forgotten and whose id, as it is printed, begins with `beginning`.
    pub fn forgotten_like(
        &self,
        beginning: &str,
    ) -> impl Iterator<Item = Result<ForgottenRow>> + use<'a> {
        self.alike(beginning, |row: &ForgottenRow| row.point.id.to_string())
    }

    /// Points that were forgotten, in the order of their ids, behind one of them.
    pub fn forgotten_after(
        &self,
        after: Option<&PointId>,
    ) -> impl Iterator<Item = Result<ForgottenRow>> + use<'a> {
        let after = after.map(|id| id.as_bytes().as_slice());
        Pages::over(self.kv, Table::Forgotten, &[], after).map(|row| decoded(row?))
    }

    /// Those that ended lately too.
    pub fn holds(&self) -> Result<Vec<HoldRow>> {
        self.every(&[])
    }

    /// The same in the order of their ids, behind one of them.
    pub fn holds_after(
        &self,
        after: Option<&HoldId>,
    ) -> impl Iterator<Item = Result<HoldRow>> + use<'a> {
        let after = after.map(|id| id.as_bytes().as_slice());
        Pages::over(self.kv, Table::Hold, &[], after).map(|row| decoded(row?))
    }

    /// When something last turned over that on which all rules of retention stand.
    pub fn rules_upset(&self) -> Result<Timestamp> {
        match self.kv.read(&full_key(Table::Meta, UPSET_KEY))? {
            Some(bytes) => Ok(record::from_bytes::<Upset>("upset", &bytes)?.when),
            None => Ok(Timestamp::ZERO),
        }
    }

    /// Packs of a vault that lie whole in no location, as far as is known.
    pub fn lost_packs(&self, vault: &VaultId) -> impl Iterator<Item = Result<PackRow>> + use<'a> {
        let query = *self;
        let keys = Pages::over(self.kv, Table::LostPack, vault.as_bytes(), None);
        keys.map(move |row| query.row(&row?.0)).filter_map(Result::transpose)
    }

    /// Packs that lie inside the object of a point. Below the level that lists them it walks over
    /// all packs of the vault.
    pub fn packs_within(&self, vault: &VaultId, point: &PointId) -> Result<Vec<PackRow>> {
        let mut within = Vec::new();
        if self.level()? >= COLLECTED {
            let prefix = inline_prefix(vault, point);
            for key in Pages::over(self.kv, Table::InlinePack, &prefix, None) {
                let (key, _) = key?;
                let id = PackId::from_slice(&key[prefix.len()..])?;
                let pack = self.pack(vault, &id)?;
                within.extend(pack.filter(|pack| pack.home.is_within(point)));
            }
            return Ok(within);
        }
        for pack in Pages::over(self.kv, Table::Pack, vault.as_bytes(), None) {
            let pack: PackRow = decoded(pack?)?;
            if pack.home.is_within(point) {
                within.push(pack);
            }
        }
        Ok(within)
    }

    /// Locations of a vault in which points lie as is said of them.
    pub fn confirming(&self, vault: &VaultRow) -> Result<Vec<Name>> {
        let mut confirming = Vec::new();
        for name in vault.holding() {
            if self.copies_in(&vault.id, name)?.is_none_or(|row| row.confirms()) {
                confirming.push(name.clone());
            }
        }
        Ok(confirming)
    }

    pub fn classes(&self) -> Result<Vec<ClassRow>> {
        self.every(&[])
    }

    /// Refuses what nobody may do while another side may have points of its own, or it is not known
    /// yet which went with one.
    pub fn insist_on_undivided(&self) -> Result<()> {
        let Some(epoch) = self.epoch()? else { return Ok(()) };
        let lost = self.members()?.into_iter().find(|member| epoch.has_lost(member));
        if lost.is_some() || !epoch.suspended.is_empty() {
            return Err(parted(lost.map(|member| member.region).as_ref()));
        }
        for copies in self.copies()? {
            insist_on_judged(&self.vault(&copies.vault)?, &copies)?;
        }
        Ok(())
    }

    /// The rules that hold for a policy.
    pub fn rules(&self, policy: &PolicyRow) -> Result<Option<Rules>> {
        let class = match &policy.class {
            Some(class) => self.row::<ClassRow>(class.as_str().as_bytes())?,
            None => None,
        };
        Ok(Rules::of(policy, class.as_ref()))
    }

    /// What keeps points beside the rules, from whoever waits so long after the end of a hold.
    pub fn ties(&self, now: Timestamp, grace: Duration) -> Result<Ties> {
        let mut ties = Ties::at(self.level()?, now);
        self.holds()?.into_iter().for_each(|hold| ties.hold(hold, now, grace));
        self.sessions()?.iter().for_each(|session| ties.session(session));
        self.open_runs()?.iter().for_each(|run| ties.open_run(run));
        for point in self.newest_points() {
            ties.newest(point?.id);
        }
        Ok(ties)
    }
}
