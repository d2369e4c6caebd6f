//! Versions of a vault's keys that newer ones followed, and the KEKs of the cluster.
//!
//! The newest version stands in the vault's own row. What is here opens what was sealed before, so
//! nothing goes; and a KEK that was left behind is told of as long as the cluster lives.

use super::row;
use holdfast_common::{Timestamp, VaultId};
use minicbor::{Decode, Encode, bytes::ByteVec};

/// A version that seals nothing new.
#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct KeyVersionRow {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub version: u32,
    /// As it lies in every location, under the KEK of now.
    #[n(2)]
    pub key_object: ByteVec,
    #[n(3)]
    pub made: Timestamp,
    /// When the next one followed.
    #[n(4)]
    pub retired: Timestamp,
}

impl KeyVersionRow {
    pub fn key_of(vault: &VaultId, version: u32) -> Vec<u8> {
        [vault.as_bytes(), version.to_be_bytes().as_slice()].concat()
    }
}

row!(KeyVersionRow, KeyVersion, "key version", |row| {
    KeyVersionRow::key_of(&row.vault, row.version)
});

/// A key that wraps, or wrapped, everything that the coordinators keep secret.
#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct KekRow {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub id: [u8; 16],
    /// Where coordinators find it, as they were told; not known of the first one.
    #[n(1)]
    pub source: Option<String>,
    #[n(2)]
    pub since: Timestamp,
    /// When another one followed; none while it is the one in use.
    #[n(3)]
    pub until: Option<Timestamp>,
}

row!(KekRow, Kek, "KEK", |row| row.id);
