//! A recovery point that was committed. Immutable, but for the list of locations that hold it.

use super::row;
use holdfast_common::{AgentId, ChunkId, Name, PointId, RunId, Timestamp, VaultId};
use minicbor::{Decode, Encode};

#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(index_only)]
pub enum PointState {
    #[n(1)]
    Complete,
    /// Restorable by run id only.
    #[n(2)]
    Checkpoint,
    /// Some entries were skipped; they are named in the point.
    #[n(3)]
    Partial,
    /// Made by a restore of what it was about to overwrite; outside of every schedule.
    #[n(4)]
    Safety,
}

impl PointState {
    pub fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Checkpoint => "checkpoint",
            Self::Partial => "partial",
            Self::Safety => "safety",
        }
    }

    /// Whether it can be the newest of its source: a backup that went to its end.
    pub fn is_scheduled(self) -> bool {
        matches!(self, Self::Complete | Self::Partial)
    }
}

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct PointRow {
    #[n(0)]
    pub id: PointId,
    #[n(1)]
    pub vault: VaultId,
    #[n(2)]
    pub agent: AgentId,
    #[n(3)]
    pub run: RunId,
    #[n(4)]
    pub policy: Option<Name>,
    #[n(5)]
    pub source: String,
    #[n(6)]
    pub started: Timestamp,
    /// Ledger time of its commit; retention goes by this, never by what the agent said.
    #[n(7)]
    pub committed: Timestamp,
    #[n(8)]
    pub state: PointState,
    #[n(9)]
    pub entries: u64,
    #[n(10)]
    pub bytes: u64,
    #[n(11)]
    pub skipped: u64,
    #[n(12)]
    pub previous: Option<PointId>,
    /// BLAKE3 of the point object and of the reach object: what verification compares with.
    #[cbor(n(13), with = "minicbor::bytes")]
    pub object_hash: [u8; 32],
    #[cbor(n(14), with = "minicbor::bytes")]
    pub reach_hash: [u8; 32],
    /// The locations that held everything when it was committed, and those that were filled up with
    /// it since.
    #[n(15)]
    pub locations: Vec<Name>,
    #[n(16)]
    pub id_scope: u8,
    /// It was found in a location without its commit, and taken in from there.
    #[n(17)]
    pub recovered: Option<bool>,
    /// The root page of its manifest: two points of one source with the same root hold the same.
    /// Absent where it was committed before anybody asked.
    #[n(18)]
    pub root: Option<ChunkId>,
    /// Since when its record or its reach is known to lie whole in no location.
    #[n(19)]
    pub lost: Option<Timestamp>,
    /// That a verifier opened every chunk of it; none after one found damage.
    #[n(20)]
    pub verified: Option<Verified>,
}

#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct Verified {
    #[n(0)]
    pub when: Timestamp,
    #[n(1)]
    pub agent: AgentId,
    #[n(2)]
    pub run: RunId,
}

row!(PointRow, Point, "point", |row| row.id.as_bytes());

/// Newest first: the key of the time order.
pub fn time_key(committed: Timestamp, id: &[u8; 16]) -> Vec<u8> {
    let back = u64::MAX - u64::try_from(committed.as_nanos()).unwrap_or(0);
    [back.to_be_bytes().as_slice(), id].concat()
}
