//! That this ledger was once rebuilt from what lay in a location, and what it lacks since.
//!
//! A recovery reaches as far as what was shipped. Its own first entry stands far behind that, so
//! that no position in the log is ever of two histories: what lies between the two is lost. Whoever
//! was told of something in between says so when it comes back.

use super::row;
use crate::audit::AuditHead;
use holdfast_common::{AgentId, Timestamp};
use minicbor::{Decode, Encode};

/// A place in the ledger's history: which entry of which epoch, and the audit chain there.
#[derive(Clone, Copy, Debug, Decode, Default, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct Position {
    #[n(0)]
    pub epoch: u64,
    #[n(1)]
    pub index: u64,
    #[n(2)]
    pub audit: AuditHead,
    /// Ledger time of the newest command there.
    #[n(3)]
    pub time: Timestamp,
}

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct RecoveryRow {
    /// The entry with which the recovered side begins.
    #[n(0)]
    pub base: u64,
    /// How far what was shipped reaches.
    #[n(1)]
    pub reached: Position,
    #[n(2)]
    pub when: Timestamp,
    /// Why it was done although entries were missing; absent when none were.
    #[n(3)]
    pub reason: Option<String>,
    /// The first entry that is missing and the last that is known to be, when some are.
    #[n(4)]
    pub missing: Option<(u64, u64)>,
}

row!(RecoveryRow, Recovery, "recovery", |row| row.base.to_be_bytes());

/// An agent was told of a history that this ledger does not hold.
#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct LostHistoryRow {
    #[n(0)]
    pub agent: AgentId,
    /// What it was told last.
    #[n(1)]
    pub told: Position,
    #[n(2)]
    pub noticed: Timestamp,
}

row!(LostHistoryRow, LostHistory, "lost history", |row| row.agent.as_bytes());

/// The newest snapshot of the ledger that lies whole in every catalog location.
#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct ShippedSnapshot {
    #[n(0)]
    pub index: u64,
    #[n(1)]
    pub when: Timestamp,
}

pub(crate) const SHIPPED_SNAPSHOT_KEY: &[u8] = b"snapshot-shipped";
