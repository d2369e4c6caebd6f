//! A session: the lease under which a run writes to a vault, or somebody reads a point.

use super::row;
use holdfast_common::{AgentId, PointId, RunId, SessionId, Timestamp, VaultId};
use minicbor::{Decode, Encode};

#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(index_only)]
pub enum SessionKind {
    #[n(1)]
    Write,
    #[n(2)]
    Read,
}

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct SessionRow {
    #[n(0)]
    pub id: SessionId,
    #[n(1)]
    pub kind: SessionKind,
    #[n(2)]
    pub vault: VaultId,
    /// Set for a write session, and for a read session that a restore grants.
    #[n(3)]
    pub run: Option<RunId>,
    #[n(4)]
    pub agent: Option<AgentId>,
    /// The log index of its beginning, or of its last checkpoint: collection compares with it.
    #[n(5)]
    pub begun: u64,
    #[n(6)]
    pub lease_until: Timestamp,
    /// The point being written, or the one being read.
    #[n(7)]
    pub point: PointId,
    #[n(8)]
    pub previous: Option<PointId>,
}

impl SessionRow {
    /// Whether it writes to this vault, and may rely on what was offered there before an entry.
    pub fn writes_since_before(&self, entry: u64, vault: &VaultId) -> bool {
        self.kind == SessionKind::Write && self.vault == *vault && self.begun < entry
    }
}

row!(SessionRow, Session, "session", |row| row.id.as_bytes());
