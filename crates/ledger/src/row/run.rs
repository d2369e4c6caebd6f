//! One execution of something, from queued to its end.

use super::{SourceSpec, row};
use crate::envelope::Refusal;
use holdfast_common::{AgentId, Name, PointId, RunId, Timestamp, VaultId};
use minicbor::{Decode, Encode};

#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(index_only)]
pub enum RunKind {
    #[n(1)]
    Backup,
}

#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(index_only)]
pub enum RunState {
    #[n(1)]
    Queued,
    #[n(2)]
    Running,
    #[n(3)]
    Done,
    #[n(4)]
    Partial,
    #[n(5)]
    Failed,
    #[n(6)]
    Interrupted,
    #[n(7)]
    Cancelled,
}

impl RunState {
    pub fn is_end(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Cancelled => "cancelled",
        }
    }
}

#[derive(Clone, Debug, Decode, Default, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct RunCounts {
    #[n(0)]
    pub entries: u64,
    #[n(1)]
    pub bytes_read: u64,
    #[n(2)]
    pub bytes_new: u64,
    #[n(3)]
    pub bytes_stored: u64,
    #[n(4)]
    pub chunks_new: u64,
    #[n(5)]
    pub chunks_reused: u64,
    #[n(6)]
    pub skipped: u64,
}

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct RunRow {
    #[n(0)]
    pub id: RunId,
    #[n(1)]
    pub kind: RunKind,
    #[n(2)]
    pub state: RunState,
    #[n(3)]
    pub policy: Option<Name>,
    #[n(4)]
    pub agent: AgentId,
    #[n(5)]
    pub vault: VaultId,
    #[n(6)]
    pub source: SourceSpec,
    #[n(7)]
    pub level: i32,
    #[n(8)]
    pub bytes_per_second_max: u64,
    #[n(9)]
    pub full: bool,
    #[n(10)]
    pub created: Timestamp,
    #[n(11)]
    pub started: Option<Timestamp>,
    #[n(12)]
    pub ended: Option<Timestamp>,
    #[n(13)]
    pub point: Option<PointId>,
    #[n(14)]
    pub checkpoint: Option<PointId>,
    #[n(15)]
    pub counts: RunCounts,
    #[n(16)]
    pub error: Option<Refusal>,
    /// Somebody asked for its end.
    #[n(17)]
    pub cancelled: bool,
}

impl RunRow {
    /// A backup that waits for its agent. When it was queued the ledger stamps.
    pub fn backup(id: RunId, agent: AgentId, vault: VaultId, source: SourceSpec) -> Self {
        Self {
            id,
            kind: RunKind::Backup,
            state: RunState::Queued,
            policy: None,
            agent,
            vault,
            source,
            level: 0,
            bytes_per_second_max: 0,
            full: false,
            created: Timestamp::ZERO,
            started: None,
            ended: None,
            point: None,
            checkpoint: None,
            counts: RunCounts::default(),
            error: None,
            cancelled: false,
        }
    }
}

row!(RunRow, Run, "run", |row| row.id.as_bytes());
