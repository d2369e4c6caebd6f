//! Versions of a vault's keys that newer ones followed, and the KEKs of the cluster.
//!
//! The newest version stands in the vault's own row. What is here opens what was sealed before, so
//! nothing goes; and a KEK that was left behind is told of as long as the cluster lives.

use super::{DestroyedKeyRow, PackRow, row};
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
    /// Since when nothing new may come to rely on it.
    #[n(5)]
    pub closed: Option<Timestamp>,
    /// The entry behind which whoever commits a point must have compared what it needs with what
    /// this version opens.
    #[n(6)]
    pub closed_at: Option<u64>,
}

impl KeyVersionRow {
    pub fn key_of(vault: &VaultId, version: u32) -> Vec<u8> {
        [vault.as_bytes(), version.to_be_bytes().as_slice()].concat()
    }
}

row!(KeyVersionRow, KeyVersion, "key version", |row| {
    KeyVersionRow::key_of(&row.vault, row.version)
});

/// The versions of a vault's keys that nothing new may come to rely on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClosedKeys {
    pub versions: Vec<u32>,
    /// The newest entry that closed something; 0 where nothing is closed.
    pub at: u64,
}

impl ClosedKeys {
    /// What was destroyed was closed, and stays so.
    pub fn among(rows: &[KeyVersionRow], destroyed: &[DestroyedKeyRow]) -> Self {
        let closed = rows.iter().filter(|row| row.closed.is_some());
        let closed = closed.map(|row| (row.version, row.closed_at));
        let destroyed = destroyed.iter().map(|row| (row.version, row.closed_at));
        let (versions, at): (Vec<_>, Vec<_>) = closed.chain(destroyed).unzip();
        Self { versions, at: at.into_iter().flatten().max().unwrap_or(0) }
    }

    /// Whether a pack that is sealed to these versions is out of bounds for what is backed up from
    /// now on. What nobody has looked into may be sealed to anything.
    pub fn shut_out(&self, sealed_to: Option<&[u32]>) -> bool {
        let is_closed = |versions: &[u32]| versions.iter().any(|one| self.versions.contains(one));
        !self.versions.is_empty() && sealed_to.is_none_or(is_closed)
    }

    pub fn shuts(&self, pack: &PackRow) -> bool {
        self.shut_out(pack.sealed_to.as_deref())
    }
}

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
    /// What it takes beside its source to have it, in the form that stands beside what it wraps.
    #[n(4)]
    pub derivation: Option<ByteVec>,
}

row!(KekRow, Kek, "KEK", |row| row.id);
