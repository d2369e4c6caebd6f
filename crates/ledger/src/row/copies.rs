//! How far a location is that may lack something of a vault: one that follows, or one that is
//! required and was away.
//!
//! Whoever leads brings it what it lacks and says here how far that is; every member shows it, and
//! the next leader goes on. The row of a required location is there only while it may lack what
//! was stored before the entry that opened the row.

use super::row;
use holdfast_common::{Name, Timestamp, VaultId};
use minicbor::{Decode, Encode};

#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(index_only)]
pub enum CopyState {
    /// What it lacks is not known yet.
    #[n(1)]
    Looking,
    /// It is brought what it lacks.
    #[n(2)]
    Copying,
    /// It lacks nothing.
    #[n(3)]
    Current,
    /// It cannot be brought anything now.
    #[n(4)]
    Away,
}

impl CopyState {
    pub fn name(self) -> &'static str {
        match self {
            Self::Looking => "looking",
            Self::Copying => "copying",
            Self::Current => "current",
            Self::Away => "away",
        }
    }
}

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct CopyRow {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub location: Name,
    /// The entry since which it is brought what it lacks: what is said of an earlier time is not
    /// about this place.
    #[n(2)]
    pub opened: u64,
    #[n(3)]
    pub state: CopyState,
    /// Since when it is in this state.
    #[n(4)]
    pub since: Timestamp,
    /// Everything that was committed by then lies there; none when that was never so.
    #[n(5)]
    pub upto: Option<Timestamp>,
    /// Committed points that are not known to lie there.
    #[n(6)]
    pub points: u64,
    /// What is known to be missing.
    #[n(7)]
    pub bytes: u64,
    /// Why it is away: a code, and a sentence.
    #[n(8)]
    pub problem: Option<CopyProblem>,
    /// Where the location lay before it moved: what nobody else has may be there.
    #[n(9)]
    pub left: Option<String>,
    /// What was said to lie there was said of another place, and nothing is known of this one yet.
    #[n(10)]
    pub anew: Option<bool>,
}

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct CopyProblem {
    #[n(0)]
    pub code: String,
    #[n(1)]
    pub message: String,
}

impl CopyRow {
    /// Of a location that may lack anything.
    pub(crate) fn opened(vault: VaultId, location: Name, index: u64, time: Timestamp) -> Self {
        Self {
            vault,
            location,
            opened: index,
            state: CopyState::Looking,
            since: time,
            upto: None,
            points: 0,
            bytes: 0,
            problem: None,
            left: None,
            anew: None,
        }
    }

    /// Whether a point that is said to lie there was seen there.
    pub fn confirms(&self) -> bool {
        self.anew != Some(true)
    }

    /// How long ago something was committed that does not lie there yet, at most; none when it
    /// lacks nothing, or nothing was ever known of it.
    pub fn lag(&self, now: Timestamp) -> Option<core::time::Duration> {
        match (self.state, self.upto) {
            (CopyState::Current, _) | (_, None) => None,
            (_, Some(upto)) => Some(now.since(upto)),
        }
    }
}

pub fn copy_key(vault: &VaultId, location: &Name) -> Vec<u8> {
    [vault.as_bytes().as_slice(), location.as_str().as_bytes()].concat()
}

row!(CopyRow, Copy, "copy", |row| copy_key(&row.vault, &row.location));
