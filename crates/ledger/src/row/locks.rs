//! Locks that a vault wants on its objects, and how far a location is with them.
//!
//! Whoever leads locks what lies in a location, reads every lock back, and says here what holds;
//! the next leader goes on. A row is there for each location of a vault that wants locks.

use super::{CopyProblem, PointRow, copies::copy_key, row};
use holdfast_common::{Lock, LockClass, Name, Timestamp, VaultId};
use minicbor::{Decode, Encode};
use std::time::Duration;

/// How what a vault keeps is locked, as long as it keeps it.
#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct LockTerms {
    #[n(0)]
    pub class: LockClass,
    /// How long a lock is when it is made; at half of it a new one is.
    #[n(1)]
    pub secs: u64,
}

impl LockTerms {
    pub fn from(&self, now: Timestamp) -> Lock {
        Lock { class: self.class, until: now.plus(Duration::from_secs(self.secs)) }
    }

    /// How much of a lock is left when it is made longer.
    pub fn half_life(&self) -> Duration {
        Duration::from_secs(self.secs) / 2
    }
}

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct LockRow {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub location: Name,
    /// The entry since which this place is locked in this class: what is said of an earlier time is
    /// about another one.
    #[n(2)]
    pub opened: u64,
    /// Until when everything is locked that a restore needs of the points up to `covers`; none when
    /// that is not so of any.
    #[n(3)]
    pub until: Option<Timestamp>,
    /// When the newest of those points was committed.
    #[n(4)]
    pub covers: Option<Timestamp>,
    /// How many objects were locked the last time when all were gone through.
    #[n(5)]
    pub objects: u64,
    /// Why it is no further.
    #[n(6)]
    pub problem: Option<CopyProblem>,
    /// When there was something to say last.
    #[n(7)]
    pub noted: Timestamp,
}

impl LockRow {
    pub(crate) fn opened(vault: VaultId, location: Name, index: u64, time: Timestamp) -> Self {
        Self {
            vault,
            location,
            opened: index,
            until: None,
            covers: None,
            objects: 0,
            problem: None,
            noted: time,
        }
    }

    /// Until when all of this point is locked there.
    pub fn holds(&self, point: &PointRow) -> Option<Timestamp> {
        let covers = self.covers.filter(|covers| point.committed <= *covers)?;
        self.until.filter(|_| point.vault == self.vault && covers > Timestamp::ZERO)
    }
}

row!(LockRow, Lock, "lock", |row| copy_key(&row.vault, &row.location));
