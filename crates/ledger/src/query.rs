//! Questions to the tables. Reads only; whoever asks has made sure that the member is up to date.

use crate::{
    StateKv,
    audit::{AuditHead, AuditRow},
    row::{
        AgentRow, BundleRow, ClusterRow, LocationRow, OperatorRow, PackRow, PointRow, PolicyRow,
        RunRow, SegmentRow, SessionRow, VaultRow, cluster::CLUSTER_KEY, pack::pack_key,
    },
    tables::{Row, Table, full_key},
};
use holdfast_common::{
    AgentId, Code, Error, Name, PackId, PointId, Result, RunId, SessionId, VaultId, limits, record,
};

#[derive(Clone, Copy)]
pub struct Query<'a> {
    kv: &'a dyn StateKv,
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

    pub fn cluster(&self) -> Result<ClusterRow> {
        self.row(CLUSTER_KEY)?.ok_or_else(|| {
            Error::new(Code::ConfigMalformed, "this ledger belongs to no cluster yet")
                .next("run `holdfast cluster init` first")
        })
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
        self.rows(&[], None, limits::LIST_PAGE_ROWS)
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

    pub fn vaults(&self) -> Result<Vec<VaultRow>> {
        self.rows(&[], None, limits::LIST_PAGE_ROWS)
    }

    /// The recovery bundles that were handed out and are remembered.
    pub fn bundles(&self) -> Result<Vec<BundleRow>> {
        self.rows(&[], None, limits::LIST_PAGE_ROWS)
    }

    pub fn locations(&self) -> Result<Vec<LocationRow>> {
        self.rows(&[], None, limits::LIST_PAGE_ROWS)
    }

    pub fn policies(&self) -> Result<Vec<PolicyRow>> {
        self.rows(&[], None, limits::LIST_PAGE_ROWS)
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
        let keys = self.kv.scan(&full_key(Table::RunOpen, &[]), None, limits::LIST_PAGE_ROWS)?;
        keys.iter().filter_map(|(key, _)| self.row(&key[1..]).transpose()).collect()
    }

    /// Newest first.
    pub fn runs(&self, limit: usize) -> Result<Vec<RunRow>> {
        self.in_time_order(Table::RunTime, limit)
    }

    /// Newest first.
    pub fn points(&self, limit: usize) -> Result<Vec<PointRow>> {
        self.in_time_order(Table::PointTime, limit)
    }

    fn in_time_order<R: Row>(&self, table: Table, limit: usize) -> Result<Vec<R>> {
        let order = self.kv.scan(&full_key(table, &[]), None, limit)?;
        order.iter().filter_map(|(_, id)| self.row(id).transpose()).collect()
    }

    pub fn point(&self, id: &PointId) -> Result<PointRow> {
        self.row(id.as_bytes())?
            .ok_or_else(|| Error::new(Code::PointMissing, format!("there is no point {id}")))
    }

    pub fn session(&self, id: &SessionId) -> Result<SessionRow> {
        self.row(id.as_bytes())?
            .ok_or_else(|| Error::new(Code::SessionMissing, format!("there is no session {id}")))
    }

    pub fn sessions(&self) -> Result<Vec<SessionRow>> {
        self.rows(&[], None, limits::LIST_PAGE_ROWS)
    }

    pub fn pack(&self, vault: &VaultId, id: &PackId) -> Result<Option<PackRow>> {
        self.row(&pack_key(vault, id))
    }

    /// Packs of a vault in the order of their ids, a page at a time.
    pub fn packs(&self, vault: &VaultId, after: Option<&PackId>) -> Result<Vec<PackRow>> {
        let after = after.map(|id| pack_key(vault, id));
        self.rows(vault.as_bytes(), after.as_deref(), limits::LIST_PAGE_ROWS)
    }

    pub fn audit_head(&self) -> Result<AuditHead> {
        match self.kv.read(&full_key(Table::Meta, crate::audit::HEAD_KEY))? {
            Some(bytes) => record::from_bytes("audit head", &bytes),
            None => Ok(AuditHead::default()),
        }
    }

    /// Index segments of a vault.
    pub fn segments(&self, vault: &VaultId) -> Result<Vec<SegmentRow>> {
        self.rows(vault.as_bytes(), None, limits::LIST_PAGE_ROWS)
    }

    /// The newest time that was stamped on a command.
    pub fn audit_newest_time(&self) -> Result<Option<holdfast_common::Timestamp>> {
        let head = self.audit_head()?;
        let Some(newest) = head.rows.checked_sub(1) else { return Ok(None) };
        Ok(self.row::<AuditRow>(&newest.to_be_bytes())?.map(|row| row.time))
    }

    /// Audit rows from `from` on.
    pub fn audit(&self, from: u64, limit: usize) -> Result<Vec<AuditRow>> {
        let before = from.checked_sub(1).map(u64::to_be_bytes);
        self.rows(&[], before.as_ref().map(<[u8; 8]>::as_slice), limit)
    }
}
