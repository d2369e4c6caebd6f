//! A round of collection in a vault, what came into the vault since it began, and the names of
//! packs that went.
//!
//! A vault has one row of its newest round, which stays when the round is over: its watermark says
//! when something was doomed last. Names of packs stay taken: a delete may be late, and must never
//! hit anything that was stored anew under the same name.

use super::row;
use holdfast_common::{PackId, PointId, Timestamp, VaultId};
use minicbor::{Decode, Encode};

/// How far a round is.
#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(index_only)]
pub enum Stage {
    /// What no point needs is condemned.
    #[n(1)]
    Marking,
    /// Nothing more is condemned; sessions that began before are waited for.
    #[n(2)]
    Sealed,
    /// They are gone; what came since the beginning is marked too, and the rest is doomed.
    #[n(3)]
    Clear,
    #[n(4)]
    Over,
}

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct CollectionRow {
    #[n(0)]
    pub vault: VaultId,
    /// The index of its first entry, by which rounds are told apart.
    #[n(1)]
    pub round: u64,
    #[n(2)]
    pub begun: Timestamp,
    #[n(3)]
    pub stage: Stage,
    /// Packs that were announced before it have numbers below this.
    #[n(4)]
    pub below: u64,
    /// The index at which it was sealed; 0 before.
    #[n(5)]
    pub sealed: u64,
    #[n(6)]
    pub condemned: u64,
    #[n(7)]
    pub spared: u64,
    #[n(8)]
    pub doomed: u64,
    #[n(9)]
    pub doomed_bytes: u64,
    /// The index at which something was last doomed in this vault, by whatever round; 0 for never.
    #[n(10)]
    pub doomed_at: u64,
}

row!(CollectionRow, Collection, "collection", |row| row.vault.as_bytes());

/// A point that came while a round was open.
#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct NewPointRow {
    #[n(0)]
    pub vault: VaultId,
    /// The entry that brought it.
    #[n(1)]
    pub index: u64,
    #[n(2)]
    pub point: PointId,
}

row!(NewPointRow, NewPoint, "new point", |row| [
    row.vault.as_bytes().as_slice(),
    &row.index.to_be_bytes()
]
.concat());

/// A pack that lies nowhere any more. Its name is not given again.
#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct GoneRow {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub pack: PackId,
    #[n(2)]
    pub when: Timestamp,
}

row!(GoneRow, Gone, "gone pack", |row| super::pack::pack_key(&row.vault, &row.pack));
