//! How far a location is that may lack something of a vault: one that follows, or one that is
//! required and was away.
//!
//! Whoever leads brings it what it lacks and says here how far that is; every member shows it, and
//! the next leader goes on. The row of a required location is there only while it may lack what
//! was stored before the entry that opened the row.

use super::row;
use holdfast_common::{Name, Timestamp, VaultId};
use minicbor::{Decode, Encode};
use std::time::Duration;

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
    /// When it lacked nothing for the last time; none when that was never so.
    #[n(5)]
    pub whole: Option<Timestamp>,
    /// When the oldest point was committed that is not known to lie there.
    #[n(6)]
    pub oldest: Option<Timestamp>,
    /// How many such points there are.
    #[n(7)]
    pub points: u64,
    /// What is known to be missing.
    #[n(8)]
    pub bytes: u64,
    /// Why it is away, or what cannot be brought.
    #[n(9)]
    pub problem: Option<CopyProblem>,
    /// Where the location lay before it moved: what nobody else has may be there.
    #[n(10)]
    pub left: Option<String>,
    /// What was said to lie there was said of another place, and nothing is known of this one yet.
    #[n(11)]
    pub anew: Option<bool>,
    /// The epoch that took it in place of locations that were lost: what was stored before may lie
    /// in those alone.
    #[n(12)]
    pub taken: Option<u64>,
    /// Since it was taken all packs were looked for there, and those that it lacks are noted.
    #[n(13)]
    pub seen: Option<bool>,
}

/// A code, and a sentence.
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
            whole: None,
            oldest: None,
            points: 0,
            bytes: 0,
            problem: None,
            left: None,
            anew: None,
            taken: None,
            seen: None,
        }
    }

    /// The epoch before which nothing stored is known to lie there: it was taken, and was not
    /// looked through yet. Of a place that lost what it had nothing is known at all.
    pub fn unseen_before(&self) -> Option<u64> {
        let taken = self.taken.filter(|_| self.seen != Some(true))?;
        Some(if self.confirms() { taken } else { u64::MAX })
    }

    /// Whether it is known that it lacks something, or may: nothing new is learned by missing it.
    /// One that stands in for lost ones waits for them long after it was looked through.
    pub fn is_doubted(&self) -> bool {
        self.taken.is_none() || self.seen != Some(true)
    }

    /// Whether a point that is said to lie there was seen there.
    pub fn confirms(&self) -> bool {
        self.anew != Some(true)
    }

    /// How old the oldest point is that is not known to lie there; none when all do.
    pub fn lag(&self, now: Timestamp) -> Option<Duration> {
        self.oldest.map(|oldest| now.since(oldest))
    }
}

pub fn copy_key(vault: &VaultId, location: &Name) -> Vec<u8> {
    [vault.as_bytes().as_slice(), location.as_str().as_bytes()].concat()
}

row!(CopyRow, Copy, "copy", |row| copy_key(&row.vault, &row.location));
