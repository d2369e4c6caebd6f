//! One execution of something, from queued to its end.

use super::{RestoreRow, SourceSpec, VerifyRow, row};
use crate::envelope::Refusal;
use holdfast_common::{AgentId, Name, PointId, RunId, Timestamp, VaultId};
use minicbor::{Decode, Encode};

#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(index_only)]
pub enum RunKind {
    #[n(1)]
    Backup,
    #[n(2)]
    Restore,
    #[n(3)]
    Verify,
}

impl RunKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Verify => "verify",
        }
    }
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
    /// Who does it. Absent for a restore that its asker does by himself.
    #[n(4)]
    pub agent: Option<AgentId>,
    #[n(5)]
    pub vault: VaultId,
    /// What is read; for a restore, what its point was made of.
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
    /// Set for a restore.
    #[n(18)]
    pub restore: Option<RestoreRow>,
    /// Set for a verification.
    #[n(19)]
    pub verify: Option<VerifyRow>,
}

impl RunRow {
    /// A backup that waits for its agent. When it was queued the ledger stamps.
    pub fn backup(id: RunId, agent: AgentId, vault: VaultId, source: SourceSpec) -> Self {
        Self {
            id,
            kind: RunKind::Backup,
            state: RunState::Queued,
            policy: None,
            agent: Some(agent),
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
            restore: None,
            verify: None,
        }
    }

    /// A restore that waits for its agent, or for its asker when there is none.
    pub fn restore(
        id: RunId,
        agent: Option<AgentId>,
        vault: VaultId,
        source: SourceSpec,
        restore: RestoreRow,
    ) -> Self {
        let (kind, restore) = (RunKind::Restore, Some(restore));
        Self {
            kind,
            agent,
            restore,
            ..Self::backup(id, AgentId::from_bytes([0; 16]), vault, source)
        }
    }

    /// A verification that waits for its verifier. The source is what its point was made of.
    pub fn verification(
        id: RunId,
        agent: AgentId,
        vault: VaultId,
        source: SourceSpec,
        point: PointId,
    ) -> Self {
        let (kind, verify) = (RunKind::Verify, Some(VerifyRow::of(point)));
        Self { kind, verify, ..Self::backup(id, agent, vault, source) }
    }

    /// The point that whoever does it may read.
    pub fn granted(&self) -> Option<PointId> {
        let restored = self.restore.as_ref().map(|restore| restore.point);
        restored.or(self.verify.as_ref().map(|verify| verify.point))
    }

    /// Whether every commit of it is refused from here on, whoever goes on with it.
    pub fn commits_nothing(&self) -> bool {
        self.cancelled || self.state.is_end()
    }

    /// What the source of a point that this run makes is called. A safety point is of no source
    /// that a later backup goes on from, and nothing beneath a path of it may be removed.
    pub fn source_text(&self) -> String {
        match &self.restore {
            Some(restore) => format!("safety:{}", restore.point),
            None => self.source.describe(),
        }
    }
}

row!(RunRow, Run, "run", |row| row.id.as_bytes());
