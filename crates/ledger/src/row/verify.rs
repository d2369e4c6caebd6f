//! What a verification is of, and what came of it: the part of a run that only a verification has.
//!
//! Paths that are damaged stand here sealed to whoever may read the point; how many there are does
//! not.

use holdfast_common::PointId;
use minicbor::{Decode, Encode, bytes::ByteVec};

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct VerifyRow {
    #[n(0)]
    pub point: PointId,
    #[n(1)]
    pub counts: VerifyCounts,
    /// Sealed: what is damaged, by path, as far as it had room.
    #[n(2)]
    pub report: Option<ByteVec>,
    /// How often it was begun to read: again after each coordinator that was lost.
    #[n(3)]
    pub sessions: u32,
}

impl VerifyRow {
    pub(crate) fn read_again(self) -> Self {
        Self { sessions: self.sessions.saturating_add(1), ..self }
    }

    pub fn of(point: PointId) -> Self {
        Self { point, counts: VerifyCounts::default(), report: None, sessions: 0 }
    }
}

#[derive(Clone, Copy, Debug, Decode, Default, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct VerifyCounts {
    /// Entries that could be restored whole, and their content.
    #[n(0)]
    pub entries: u64,
    #[n(1)]
    pub bytes: u64,
    /// What a restore of the point could not bring back, or bring back whole.
    #[n(2)]
    pub damaged: u64,
}
