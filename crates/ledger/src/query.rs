//! Questions to the tables. Reads only; whoever asks has made sure that the member is up to date.

use crate::{
    StateKv,
    audit::{self, AuditHead, AuditRow, AuditRule},
    command::{NEWEST_POINT, no_point},
    kv::KeyValue,
    pages::Pages,
    row::{
        AgentRow, BundleRow, CheckRow, ClosedKeys, ClusterRow, CopyRow, DamageRow,
        DestroyRequestRow, DestroyedKeyRow, EpochRow, FindingRow, KekRow, KeyVersionRow, LevelRow,
        LocationRow, LockRow, LostHistoryRow, MemberRow, OfficeRow, OperatorRow, PackRow, PointRow,
        PolicyRow, RecoveryRow, RunRow, SeatRow, SegmentRow, SessionRow, ShippedSnapshot,
        ShreddedRow, VaultRow,
        check::{check_key, damage_prefix},
        cluster::CLUSTER_KEY,
        copies::copy_key,
        finding,
        level::LEVEL_KEY,
        member::no_member,
        office::OFFICE_KEY,
        pack::pack_key,
        point::time_key,
        recovery::SHIPPED_SNAPSHOT_KEY,
    },
    tables::{Row, Table, full_key},
};
use holdfast_common::{
    AgentId, Code, Error, Name, PackId, PointId, Result, RunId, SegmentId, SessionId, Timestamp,
    VaultId, limits, record,
};

#[derive(Clone, Copy)]
pub struct Query<'a> {
    pub(crate) kv: &'a dyn StateKv,
}

impl<'a> Query<'a> {
    pub fn over(kv: &'a dyn StateKv) -> Self {
        Self { kv }
    }

    pub fn row<R: Row>(&self, key: &[u8]) -> Result<Option<R>> {
        let bytes = self.kv.read(&full_key(R::TABLE, key))?;
        bytes.map(|bytes| record::from_bytes(R::WHAT, &bytes)).transpose()
    }

    /// Up to `limit` rows whose key begins with `prefix`, after the key `after`.
    pub fn rows<R: Row>(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<R>> {
        let after = after.map(|key| full_key(R::TABLE, key));
        self.kv
            .scan(&full_key(R::TABLE, prefix), after.as_deref(), limit)?
            .iter()
            .map(|(_, value)| record::from_bytes(R::WHAT, value))
            .collect()
    }

    /// Every row whose key begins with `prefix`.
    pub(crate) fn every<R: Row>(&self, prefix: &[u8]) -> Result<Vec<R>> {
        Pages::over(self.kv, R::TABLE, prefix, None).map(|row| decoded(row?)).collect()
    }

    pub fn cluster(&self) -> Result<ClusterRow> {
        self.row(CLUSTER_KEY)?.ok_or_else(|| {
            Error::new(Code::ConfigMalformed, "this ledger belongs to no cluster yet")
                .next("run `holdfast cluster init` first")
        })
    }

    /// The versions of a vault's keys that newer ones followed, oldest first.
    pub fn key_versions(&self, vault: &VaultId) -> Result<Vec<KeyVersionRow>> {
        self.every(vault.as_bytes())
    }

    /// One of them.
    pub fn key_version(&self, vault: &VaultId, version: u32) -> Result<Option<KeyVersionRow>> {
        self.row(&KeyVersionRow::key_of(vault, version))
    }

    /// Those of them that nothing new may come to rely on.
    pub fn closed_keys(&self, vault: &VaultId) -> Result<ClosedKeys> {
        Ok(ClosedKeys::among(&self.key_versions(vault)?, &self.destroyed_keys(vault)?))
    }

    /// The versions of a vault's keys that were destroyed, oldest first.
    pub fn destroyed_keys(&self, vault: &VaultId) -> Result<Vec<DestroyedKeyRow>> {
        self.every(vault.as_bytes())
    }

    pub fn destroyed_key(&self, vault: &VaultId, version: u32) -> Result<Option<DestroyedKeyRow>> {
        self.row(&KeyVersionRow::key_of(vault, version))
    }

    /// Requests that a version be destroyed, those too that nobody agreed to in time.
    pub fn destroy_requests(&self) -> Result<Vec<DestroyRequestRow>> {
        self.every(&[])
    }

    /// What was seen of the objects of a destroyed version, location by location.
    pub fn shredded(&self, vault: &VaultId, version: u32) -> Result<Vec<ShreddedRow>> {
        self.every(&KeyVersionRow::key_of(vault, version))
    }

    /// Every KEK that there ever was; none as long as it was never changed.
    pub fn keks(&self) -> Result<Vec<KekRow>> {
        self.every(&[])
    }

    pub fn agent(&self, id: &AgentId) -> Result<AgentRow> {
        self.row(id.as_bytes())?
            .ok_or_else(|| Error::new(Code::AgentMissing, format!("there is no agent {id}")))
    }

    pub fn agent_named(&self, name: &Name) -> Result<AgentRow> {
        match self.kv.read(&full_key(Table::AgentName, name.as_str().as_bytes()))? {
            Some(id) => self.agent(&AgentId::from_slice(&id)?),
            None => Err(Error::new(Code::AgentMissing, format!("there is no agent `{name}`"))),
        }
    }

    pub fn agents(&self) -> Result<Vec<AgentRow>> {
        self.every(&[])
    }

    /// Every member that there ever was, in the order of their ids.
    pub fn members(&self) -> Result<Vec<MemberRow>> {
        self.every(&[])
    }

    pub fn member(&self, id: u64) -> Result<MemberRow> {
        self.row(&id.to_be_bytes())?.ok_or_else(|| no_member(id))
    }

    /// The member that has this name now, which a removed one has not.
    pub fn member_named(&self, name: &Name) -> Result<MemberRow> {
        match self.kv.read(&full_key(Table::MemberName, name.as_str().as_bytes()))? {
            Some(id) => self.row(&id)?.ok_or_else(|| no_member(name)),
            None => Err(no_member(name)),
        }
    }

    /// Every time that this ledger was rebuilt from a location, oldest first.
    pub fn recoveries(&self) -> Result<Vec<RecoveryRow>> {
        self.every(&[])
    }

    /// Agents that were told of what this ledger does not hold.
    pub fn lost_histories(&self) -> Result<Vec<LostHistoryRow>> {
        self.every(&[])
    }

    /// What was found when regions came back and nobody has settled yet; of one region or of all.
    pub fn findings(&self, region: Option<&Name>) -> Result<Vec<FindingRow>> {
        self.every(&region.map(finding::prefix).unwrap_or_default())
    }

    /// The newest snapshot that lies in the catalog locations.
    pub fn shipped_snapshot(&self) -> Result<Option<ShippedSnapshot>> {
        let bytes = self.kv.read(&full_key(Table::Meta, SHIPPED_SNAPSHOT_KEY))?;
        bytes.map(|bytes| record::from_bytes("shipped snapshot", &bytes)).transpose()
    }

    /// Who leads, as far as this member has applied.
    pub fn office(&self) -> Result<Option<OfficeRow>> {
        self.row(OFFICE_KEY)
    }

    /// Which commands the ledger may hold: those up to this level.
    pub fn level(&self) -> Result<u32> {
        let row = self.row::<LevelRow>(LEVEL_KEY)?;
        Ok(row.map_or(crate::level::LEVEL_FIRST, |row| row.level))
    }

    /// The newest epoch that was claimed; none in the first one.
    pub fn epoch(&self) -> Result<Option<EpochRow>> {
        Ok(self.rows(&[], None, 1)?.pop())
    }

    /// Where an agent is attached, and when it was seen; none when it never was.
    pub fn seat(&self, agent: &AgentId) -> Result<Option<SeatRow>> {
        self.row(agent.as_bytes())
    }

    /// The agents that are attached to a member.
    pub fn seats_of(&self, member: u64) -> impl Iterator<Item = Result<SeatRow>> + use<'a> {
        let seats = Pages::over(self.kv, Table::Seat, &[], None).map(|row| decoded(row?));
        seats.filter(move |seat: &Result<SeatRow>| match seat {
            Ok(seat) => seat.member == Some(member),
            Err(_) => true,
        })
    }

    /// Whoever is or was an operator, as far as that is remembered.
    pub fn operators(&self) -> Result<Vec<OperatorRow>> {
        self.every(&[])
    }

    pub fn operator(&self, name: &Name) -> Result<Option<OperatorRow>> {
        self.row(name.as_str().as_bytes())
    }

    pub fn vault(&self, id: &VaultId) -> Result<VaultRow> {
        self.row(id.as_bytes())?
            .ok_or_else(|| Error::new(Code::VaultMissing, format!("there is no vault {id}")))
    }

    pub fn vault_named(&self, name: &Name) -> Result<VaultRow> {
        match self.kv.read(&full_key(Table::VaultName, name.as_str().as_bytes()))? {
            Some(id) => self.vault(&VaultId::from_slice(&id)?),
            None => Err(Error::new(Code::VaultMissing, format!("there is no vault `{name}`"))),
        }
    }

    /// How far a location is that may lack something of a vault; none of one that lacks nothing.
    pub fn copies_in(&self, vault: &VaultId, location: &Name) -> Result<Option<CopyRow>> {
        self.row(&copy_key(vault, location))
    }

    /// The epoch before which nothing stored is known to lie in all that the vault requires: one of
    /// them was taken in place of lost ones, and was not looked through yet.
    pub fn unseen_before(&self, vault: &VaultRow) -> Result<Option<u64>> {
        let mut unseen = None;
        for location in &vault.required {
            let copies = self.copies_in(&vault.id, location)?;
            unseen = unseen.max(copies.and_then(|copies| copies.unseen_before()));
        }
        Ok(unseen)
    }

    /// How far all of them are.
    pub fn copies(&self) -> Result<Vec<CopyRow>> {
        self.every(&[])
    }

    /// What is locked in the locations of vaults that want it.
    pub fn locks(&self) -> Result<Vec<LockRow>> {
        self.every(&[])
    }

    /// The same of one location; none where nothing is to be locked.
    pub fn locks_in(&self, vault: &VaultId, location: &Name) -> Result<Option<LockRow>> {
        self.row(&copy_key(vault, location))
    }

    /// What is remembered of reading a location back; none where that never began.
    pub fn check_of(&self, vault: &VaultId, location: &Name) -> Result<Option<CheckRow>> {
        self.row(&check_key(vault, location))
    }

    /// What was found damaged and not mended: in one location of a vault, or everywhere.
    pub fn damage(&self, place: Option<(&VaultId, &Name)>) -> Result<Vec<DamageRow>> {
        let prefix = place.map(|(vault, location)| damage_prefix(vault, location));
        self.every(&prefix.unwrap_or_default())
    }

    /// Some points in the order of their ids.
    pub fn points_behind(&self, after: Option<&PointId>, count: usize) -> Result<Vec<PointRow>> {
        self.rows(&[], after.map(|id| id.as_bytes().as_slice()), count)
    }

    /// Some segments of a vault in the order of their ids.
    pub fn segments_behind(
        &self,
        vault: &VaultId,
        after: Option<&SegmentId>,
        count: usize,
    ) -> Result<Vec<SegmentRow>> {
        let after = after.map(|id| [vault.as_bytes().as_slice(), id.as_bytes()].concat());
        self.rows(vault.as_bytes(), after.as_deref(), count)
    }

    pub fn vaults(&self) -> Result<Vec<VaultRow>> {
        self.every(&[])
    }

    /// The recovery bundles that were handed out and are remembered.
    pub fn bundles(&self) -> Result<Vec<BundleRow>> {
        self.every(&[])
    }

    pub fn locations(&self) -> Result<Vec<LocationRow>> {
        self.every(&[])
    }

    pub fn policies(&self) -> Result<Vec<PolicyRow>> {
        self.every(&[])
    }

    pub fn policy(&self, name: &Name) -> Result<PolicyRow> {
        self.row(name.as_str().as_bytes())?
            .ok_or_else(|| Error::new(Code::PolicyMissing, format!("there is no policy `{name}`")))
    }

    pub fn run(&self, id: &RunId) -> Result<RunRow> {
        self.row(id.as_bytes())?
            .ok_or_else(|| Error::new(Code::RunMissing, format!("there is no run {id}")))
    }

    /// Runs that have not ended.
    pub fn open_runs(&self) -> Result<Vec<RunRow>> {
        let keys = Pages::over(self.kv, Table::RunOpen, &[], None);
        let open = keys.map(|row| self.row(&row?.0)).filter_map(Result::transpose);
        open.collect()
    }

    /// All runs, newest first.
    pub fn runs(&self) -> impl Iterator<Item = Result<RunRow>> + use<'a> {
        self.newest_first(Table::RunTime, None)
    }

    /// Runs that were queued before a time, newest first.
    pub fn runs_before(&self, before: Timestamp) -> impl Iterator<Item = Result<RunRow>> + use<'a> {
        self.newest_first(Table::RunTime, Some(before))
    }

    /// Runs whose id, as it is printed, begins with `beginning`; in the order of their ids.
    pub fn runs_like(&self, beginning: &str) -> impl Iterator<Item = Result<RunRow>> + use<'a> {
        self.alike(beginning, |run: &RunRow| run.id.to_string())
    }

    /// All points that were committed before a time, newest first.
    pub fn points(
        &self,
        before: Option<Timestamp>,
    ) -> impl Iterator<Item = Result<PointRow>> + use<'a> {
        self.newest_first(Table::PointTime, before)
    }

    /// Points whose id, as it is printed, begins with `beginning`; in the order of their ids.
    pub fn points_like(&self, beginning: &str) -> impl Iterator<Item = Result<PointRow>> + use<'a> {
        self.alike(beginning, |point: &PointRow| point.id.to_string())
    }

    /// The newest point of every source that has one, which is found without looking at others.
    pub fn newest_points(&self) -> impl Iterator<Item = Result<PointRow>> + use<'a> {
        let query = *self;
        let newest = Pages::over(self.kv, Table::Meta, NEWEST_POINT, None);
        newest.map(move |row| query.row(&row?.1)).filter_map(Result::transpose)
    }

    fn newest_first<R: Row>(
        &self,
        table: Table,
        before: Option<Timestamp>,
    ) -> impl Iterator<Item = Result<R>> + use<'a, R> {
        let query = *self;
        // The last key that a row of that very time could have.
        let after = before.map(|before| time_key(before, &[0xff; 16]));
        let order = Pages::over(self.kv, table, &[], after.as_deref());
        order.map(move |row| query.row(&row?.1)).filter_map(Result::transpose)
    }

    /// Rows whose key is an id that begins like this: a range of the table, never all of it.
    pub(crate) fn alike<R: Row>(
        self,
        beginning: &str,
        id: fn(&R) -> String,
    ) -> impl Iterator<Item = Result<R>> + use<'a, R> {
        let beginning = beginning.to_owned();
        // Whole bytes are looked up; half of one is left to the filter. No id: no row.
        let lowest = format!("{beginning:0<width$}", width = 2 * PointId::LEN).parse::<PointId>();
        let rows = lowest.ok().map(|lowest| {
            let prefix = &lowest.as_bytes()[..beginning.len() / 2];
            Pages::over(self.kv, R::TABLE, prefix, None).map(|row| decoded(row?))
        });
        rows.into_iter().flatten().filter(move |row| match row {
            Ok(row) => id(row).starts_with(&beginning),
            Err(_) => true,
        })
    }

    pub fn point(&self, id: &PointId) -> Result<PointRow> {
        match self.row(id.as_bytes())? {
            Some(point) => Ok(point),
            None => Err(no_point(id, self.forgotten(id)?.as_ref())),
        }
    }

    pub fn session(&self, id: &SessionId) -> Result<SessionRow> {
        self.row(id.as_bytes())?
            .ok_or_else(|| Error::new(Code::SessionMissing, format!("there is no session {id}")))
    }

    pub fn sessions(&self) -> Result<Vec<SessionRow>> {
        self.every(&[])
    }

    pub fn pack(&self, vault: &VaultId, id: &PackId) -> Result<Option<PackRow>> {
        self.row(&pack_key(vault, id))
    }

    /// Packs of a vault in the order of their ids, a page at a time.
    pub fn packs(&self, vault: &VaultId, after: Option<&PackId>) -> Result<Vec<PackRow>> {
        self.packs_behind(vault, after, limits::PACK_PAGE_ROWS)
    }

    /// Some of them.
    pub fn packs_behind(
        &self,
        vault: &VaultId,
        after: Option<&PackId>,
        count: usize,
    ) -> Result<Vec<PackRow>> {
        let after = after.map(|id| pack_key(vault, id));
        self.rows(vault.as_bytes(), after.as_deref(), count)
    }

    pub fn audit_head(&self) -> Result<AuditHead> {
        audit::meta(self.kv.read(&full_key(Table::Meta, audit::HEAD_KEY))?)
    }

    /// Where the audit chain was cut: how many rows went, and the hash of the last one.
    pub fn audit_cut(&self) -> Result<AuditHead> {
        audit::meta(self.kv.read(&full_key(Table::Meta, audit::CUT_KEY))?)
    }

    /// How long rows of the audit log are kept.
    pub fn audit_rule(&self) -> Result<AuditRule> {
        audit::meta(self.kv.read(&full_key(Table::Meta, audit::RULE_KEY))?)
    }

    /// Index segments of a vault.
    pub fn segments(&self, vault: &VaultId) -> Result<Vec<SegmentRow>> {
        self.every(vault.as_bytes())
    }

    /// The newest time that was stamped on a command.
    pub fn audit_newest_time(&self) -> Result<Option<Timestamp>> {
        let head = self.audit_head()?;
        let Some(newest) = head.rows.checked_sub(1) else { return Ok(None) };
        Ok(self.row::<AuditRow>(&newest.to_be_bytes())?.map(|row| row.time))
    }

    /// The whole audit chain, from the first row that was not cut off.
    pub fn audit_chain(&self) -> impl Iterator<Item = Result<AuditRow>> + use<'a> {
        Pages::over(self.kv, Table::Audit, &[], None).map(|row| decoded(row?))
    }

    /// Audit rows from `from` on.
    pub fn audit(&self, from: u64, limit: usize) -> Result<Vec<AuditRow>> {
        let before = from.checked_sub(1).map(u64::to_be_bytes);
        self.rows(&[], before.as_ref().map(<[u8; 8]>::as_slice), limit)
    }
}

pub(crate) fn decoded<R: Row>((_, value): KeyValue) -> Result<R> {
    record::from_bytes(R::WHAT, &value)
}
