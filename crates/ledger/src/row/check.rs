//! What was read back of a vault in one of its locations, and when: the memory of verification.
//!
//! The objects of a location are looked at in the order of their names, round and round. So a name,
//! behind which nothing was looked at in this pass, and when this pass and the one before it began
//! are enough to know how old the oldest check is, however many objects there are. What was found
//! damaged and could not be mended has a row of its own, until it is seen whole.

use super::row;
use holdfast_common::{Name, PointId, Timestamp, VaultId};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct CheckRow {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub location: Name,
    /// The entry that opened this memory: what is said of an earlier one is about another place.
    /// Whoever opens it says 0.
    #[n(2)]
    pub opened: u64,
    /// When this memory begins: what lay there before was not looked at by then.
    #[n(3)]
    pub since: Timestamp,
    /// The pass that goes on.
    #[n(4)]
    pub pass: Option<CheckPass>,
    /// The last name that it looked at.
    #[n(5)]
    pub cursor: Option<String>,
    /// The newest pass that came to its end.
    #[n(6)]
    pub last: Option<CheckPass>,
    /// What was read so far is paid for until then.
    #[n(7)]
    pub paid: Timestamp,
}

/// Once over everything that a location holds of a vault.
#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct CheckPass {
    #[n(0)]
    pub began: Timestamp,
    #[n(1)]
    pub ended: Option<Timestamp>,
    #[n(2)]
    pub objects: u64,
    #[n(3)]
    pub bytes: u64,
    /// Objects that were not as they must be, and how many of them are whole again.
    #[n(4)]
    pub damaged: u64,
    #[n(5)]
    pub healed: u64,
}

impl CheckPass {
    pub fn begun(at: Timestamp) -> Self {
        Self { began: at, ended: None, objects: 0, bytes: 0, damaged: 0, healed: 0 }
    }
}

impl CheckRow {
    /// Of a location that nobody has looked at.
    pub fn new(vault: VaultId, location: Name, now: Timestamp) -> Self {
        let (pass, cursor, last) = (None, None, None);
        Self { vault, location, opened: 0, since: now, pass, cursor, last, paid: now }
    }

    /// Nothing that lay there before this was left out since.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.last.map(|last| last.began)
    }
}

/// An object that is not as it must be, and that nobody could mend.
#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct DamageRow {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub location: Name,
    #[n(2)]
    pub object: String,
    /// `missing`, `truncated`, `hash`, `stale`, `unreadable`.
    #[n(3)]
    pub problem: String,
    /// When it was seen first.
    #[n(4)]
    pub since: Timestamp,
    /// Points that need it: the first of them, and how many there are.
    #[n(5)]
    pub points: Vec<PointId>,
    #[n(6)]
    pub points_count: u64,
}

pub fn check_key(vault: &VaultId, location: &Name) -> Vec<u8> {
    [vault.as_bytes().as_slice(), location.as_str().as_bytes()].concat()
}

/// Where the damage of a location begins; no name has a zero in it.
pub fn damage_prefix(vault: &VaultId, location: &Name) -> Vec<u8> {
    [&check_key(vault, location)[..], &[0]].concat()
}

pub fn damage_key(vault: &VaultId, location: &Name, object: &str) -> Vec<u8> {
    [&damage_prefix(vault, location)[..], object.as_bytes()].concat()
}

row!(CheckRow, Check, "check", |row| check_key(&row.vault, &row.location));
row!(DamageRow, Damage, "damage", |row| damage_key(&row.vault, &row.location, &row.object));
