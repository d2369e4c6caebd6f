//! How long points are kept: the rules of a policy, or of the class that it names.
//!
//! Each rule keeps points; a point goes when no rule keeps it. A class is one place where policies
//! of a kind of data have their rules.

use super::row;
use core::time::Duration;
use holdfast_common::{Name, Timestamp, limits};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Default, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct Retention {
    #[n(0)]
    pub last: Option<u32>,
    #[n(1)]
    pub hourly: Option<u32>,
    #[n(2)]
    pub daily: Option<u32>,
    #[n(3)]
    pub weekly: Option<u32>,
    #[n(4)]
    pub monthly: Option<u32>,
    #[n(5)]
    pub yearly: Option<u32>,
    #[n(6)]
    pub within_secs: Option<u64>,
    /// So many states of the source that differ from each other in turn.
    #[n(7)]
    pub versions: Option<u32>,
    /// Nothing goes before it is so old, whatever the rules say.
    #[n(8)]
    pub protect_secs: Option<u64>,
}

impl Retention {
    /// Whether any rule keeps any point. Rules that keep nothing are a mistake, not a wish.
    pub fn keeps(&self) -> bool {
        let counts = [
            self.last,
            self.hourly,
            self.daily,
            self.weekly,
            self.monthly,
            self.yearly,
            self.versions,
        ];
        counts.into_iter().any(|count| count.is_some_and(|count| count > 0))
            || self.within_secs.is_some_and(|span| span > 0)
    }

    /// Whether it says no more than how old everything must be that goes.
    pub fn only_protects(&self) -> bool {
        let protect_secs = self.protect_secs;
        protect_secs.is_some() && *self == Self { protect_secs, ..Self::default() }
    }

    pub fn within(&self) -> Option<Duration> {
        self.within_secs.map(Duration::from_secs)
    }

    pub fn protect_for(&self) -> Duration {
        Duration::from_secs(self.protect_secs.unwrap_or(limits::PROTECT_SECS))
    }
}

/// A class of data: what policies that name it have in common.
#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct ClassRow {
    #[n(0)]
    pub name: Name,
    #[n(1)]
    pub retention: Option<Retention>,
    #[n(2)]
    pub revision: u64,
    /// Since when its rules are these; stamped by the ledger.
    #[n(3)]
    pub retained_since: Timestamp,
}

/// When something last turned over that on which all rules stand.
#[derive(Clone, Copy, Debug, Decode, Default, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct Upset {
    #[n(0)]
    pub when: Timestamp,
}

pub(crate) const UPSET_KEY: &[u8] = b"retention-upset";

row!(ClassRow, Class, "class", |row| row.name.as_str().as_bytes());
