//! What was found when a region came back: what it had done alone, and what of that people are to
//! decide. Kept before the region is back, since nobody asks for it again afterwards, and until
//! somebody says that it is settled or the region comes back another time.

use super::{LocationRow, PolicyRow, VaultRow, row};
use crate::Actor;
use holdfast_common::{Name, PointId, Timestamp};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct FindingRow {
    #[n(0)]
    pub region: Name,
    /// The place among the findings of its region; the first says how they were come by.
    #[n(1)]
    pub number: u32,
    #[n(2)]
    pub finding: Finding,
}

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
pub enum Finding {
    #[n(0)]
    Asked(#[n(0)] Asked),
    /// A point that was taken in.
    #[n(1)]
    Imported(#[n(0)] PointId),
    #[n(2)]
    Left(#[n(0)] LeftFinding),
    #[n(3)]
    Decision(#[n(0)] Box<Decision>),
}

/// Who was asked, and how much that was.
#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct Asked {
    #[n(0)]
    pub epoch: u64,
    #[n(1)]
    pub asked: Vec<Name>,
    #[n(2)]
    pub silent: Vec<Name>,
    /// How many entries the region agreed alone.
    #[n(3)]
    pub entries: u64,
    /// Of these, from where and up to where nobody has them any more.
    #[n(4)]
    pub unread_from: Option<u64>,
    #[n(5)]
    pub unread_to: Option<u64>,
    /// Why nobody was asked: then it is not known what it did alone.
    #[n(6)]
    pub unasked: Option<String>,
    /// Findings that there was no room for.
    #[n(7)]
    pub untold: u64,
}

/// A point that was not taken in.
#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct LeftFinding {
    #[n(0)]
    pub point: PointId,
    #[n(1)]
    pub why: String,
}

/// One thing that the other side decided and this one did not.
#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct Decision {
    #[n(0)]
    pub index: u64,
    #[n(1)]
    pub time: Timestamp,
    #[n(2)]
    pub actor: Actor,
    #[n(3)]
    pub action: String,
    #[n(4)]
    pub subject: String,
    /// A resource as it was there in the end.
    #[n(5)]
    pub theirs: Option<Theirs>,
}

/// A resource of the other side.
#[derive(Clone, Debug, Decode, Encode, PartialEq)]
pub enum Theirs {
    #[n(0)]
    Location(#[n(0)] LocationRow),
    #[n(1)]
    Vault(#[n(0)] VaultRow),
    #[n(2)]
    Policy(#[n(0)] PolicyRow),
}

/// Where the findings of a region begin.
pub fn prefix(region: &Name) -> Vec<u8> {
    [region.as_str().as_bytes(), &[0]].concat()
}

row!(FindingRow, Finding, "finding", |row| {
    [prefix(&row.region), row.number.to_be_bytes().to_vec()].concat()
});
