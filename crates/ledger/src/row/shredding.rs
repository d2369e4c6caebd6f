//! Versions of a vault's keys that are to be destroyed, and what is left of those that were.
//!
//! Whoever asks says what is lost with it, so that whoever agrees agrees to that. What is left of a
//! version opens nothing: the public half and the signature by which the older key vouched for it,
//! or an agent that knows an older version could not follow to the newest. Where its key objects
//! lay, a row for each location says whether they were seen gone.

use super::{CopyProblem, KeyVersionRow, row};
use holdfast_common::{Code, Error, Name, PointId, RequestId, Timestamp, VaultId, limits};
use minicbor::{Decode, Encode, bytes::ByteVec};
use std::time::Duration;

/// Somebody wants a version destroyed, and waits for a second person.
#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct DestroyRequestRow {
    #[n(0)]
    pub id: RequestId,
    #[n(1)]
    pub vault: VaultId,
    #[n(2)]
    pub version: u32,
    /// Stamped by the ledger, like the time.
    #[n(3)]
    pub by: Name,
    #[n(4)]
    pub asked: Timestamp,
    /// What nobody can read any more once it is destroyed, in the order of their ids.
    #[n(5)]
    pub points: Vec<PointId>,
}

impl DestroyRequestRow {
    pub fn ends(&self) -> Timestamp {
        self.asked.plus(Duration::from_secs(limits::KEY_REQUEST_SECS))
    }

    /// Nobody agrees to what was asked for long ago.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        now < self.ends()
    }
}

row!(DestroyRequestRow, DestroyRequest, "request to destroy", |row| row.id.as_bytes());

/// A version that was destroyed. It takes the place of the row that held its keys.
#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct DestroyedKeyRow {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub version: u32,
    /// Public halves, and how the version before vouched for it: the keyring's record of that.
    #[n(2)]
    pub remains: ByteVec,
    #[n(3)]
    pub made: Timestamp,
    #[n(4)]
    pub retired: Timestamp,
    #[n(5)]
    pub destroyed: Timestamp,
    #[n(6)]
    pub asked_by: Name,
    #[n(7)]
    pub agreed_by: Name,
    /// How many points went with it.
    #[n(8)]
    pub points: u64,
    /// Since which entry nothing new relies on it.
    #[n(9)]
    pub closed_at: Option<u64>,
    /// The entry that destroyed it: before it lies in the locations nothing is deleted there.
    #[n(10)]
    pub at: u64,
}

row!(DestroyedKeyRow, DestroyedKey, "destroyed key version", |row| {
    KeyVersionRow::key_of(&row.vault, row.version)
});

impl DestroyedKeyRow {
    /// What is said to whoever asks for it: when it went, and by whom.
    pub fn refusal(&self, vault: &Name) -> Error {
        let Self { version, destroyed, asked_by, agreed_by, .. } = self;
        let message = format!(
            "version {version} of the keys of `{vault}` was destroyed at {destroyed}: `{asked_by}` \
             asked for it, and `{agreed_by}` agreed"
        );
        Error::new(Code::KeyDestroyed, message)
    }

    /// What is said of a bundle whose keys were read before, and which is not handed out yet.
    pub fn overtakes_bundle(&self, vault: &Name) -> Error {
        let version = self.version;
        let message = format!(
            "version {version} of the keys of `{vault}` was destroyed while this bundle was made"
        );
        Error::new(Code::ResourceConflict, message)
            .next("make another one: holdfast keys export --to FILE")
    }
}

/// What was seen of a destroyed version's key objects in one location; without a row nothing was.
#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct ShreddedRow {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub version: u32,
    #[n(2)]
    pub location: Name,
    /// Of the location: where it moves to, something may lie again.
    #[n(3)]
    pub revision: u64,
    /// Since when none of them is there.
    #[n(4)]
    pub gone: Option<Timestamp>,
    /// Why they are not gone yet; of a lock it says until when.
    #[n(5)]
    pub problem: Option<CopyProblem>,
    /// Stamped by the ledger.
    #[n(6)]
    pub noted: Timestamp,
}

/// Found by vault, then version, then location.
pub fn shredded_key(vault: &VaultId, version: u32, location: &Name) -> Vec<u8> {
    [&KeyVersionRow::key_of(vault, version)[..], location.as_str().as_bytes()].concat()
}

row!(ShreddedRow, Shredded, "shredded location", |row| {
    shredded_key(&row.vault, row.version, &row.location)
});
