//! What a restore was asked for, and what came of it: the part of a run that only a restore has.
//!
//! Names of what was backed up do not stand here in the clear: the wanted paths and the report of
//! what was skipped are sealed to whoever may read the point. The target is an operator's word.

use holdfast_common::PointId;
use minicbor::{Decode, Encode, bytes::ByteVec};

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct RestoreRow {
    #[n(0)]
    pub point: PointId,
    /// The directory on the restoring host; `/` for where things were.
    #[n(1)]
    pub target: ByteVec,
    #[n(2)]
    pub options: RestoreOptions,
    /// Sealed; absent for the whole point, and where the asker restores by itself.
    #[n(3)]
    pub paths: Option<ByteVec>,
    /// The point that the agent made of what was about to be overwritten.
    #[n(4)]
    pub safety_point: Option<PointId>,
    #[n(5)]
    pub counts: RestoreCounts,
    /// Sealed: what was skipped, by path, as far as it had room.
    #[n(6)]
    pub report: Option<ByteVec>,
}

#[derive(Clone, Copy, Debug, Decode, Default, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct RestoreOptions {
    #[n(0)]
    pub in_place: bool,
    #[n(1)]
    pub force: bool,
    #[n(2)]
    pub delete: bool,
    #[n(3)]
    pub dry_run: bool,
    #[n(4)]
    pub verify: bool,
    #[n(5)]
    pub numeric_ids: bool,
    /// Save first what would be overwritten or removed.
    #[n(6)]
    pub safety: bool,
}

#[derive(Clone, Debug, Decode, Default, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct RestoreCounts {
    #[n(0)]
    pub entries: u64,
    #[n(1)]
    pub bytes_written: u64,
    #[n(2)]
    pub bytes_reused: u64,
    #[n(3)]
    pub removed: u64,
    #[n(4)]
    pub verified: u64,
    #[n(5)]
    pub skipped: u64,
}

impl RestoreOptions {
    /// Whether it may change what lies there; in place or not is only where that is.
    pub fn may_overwrite(&self) -> bool {
        !self.dry_run && (self.force || self.delete)
    }
}
