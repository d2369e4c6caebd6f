//! A recovery bundle that was handed out: what it opens, and whether somebody proved that it does.

use super::row;
use holdfast_common::{Timestamp, VaultId};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct BundleRow {
    /// BLAKE3 of the sealed bundle.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub hash: [u8; 32],
    #[n(1)]
    pub exported: Timestamp,
    /// When somebody last opened it and said so.
    #[n(2)]
    pub verified: Option<Timestamp>,
    #[n(3)]
    pub keys: Vec<BundledKey>,
}

/// A vault, and the newest version of its key that the bundle holds.
#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct BundledKey {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub version: u32,
}

row!(BundleRow, Bundle, "bundle", |row| row.hash);
