//! What coordinators alone write into a location, opened before it goes into another one: keys,
//! claimed epochs, extents of the log, parts of snapshots.
//!
//! What is sealed under the cluster's recovery key shows by itself that it is whole and under its
//! own name. Keys that are wrapped under a KEK of another time open to nobody here: they are looked
//! at as far as their form goes, and where two locations disagree nobody chooses.

use crate::{
    region::Claim,
    shipped::{
        extent,
        snapshot::{self, PartHead},
    },
};
use holdfast_common::{ClusterId, Code, Error, Result, Secret};
use holdfast_keyring::{ClusterKeyObject, ClusterRecoveryKey, KeyObject, VaultPublicKey};
use holdfast_ledger::row::{KeyVersionRow, VaultRow};
use holdfast_repository::layout::Object;

/// Opens what belongs to the ledger of one cluster.
pub(super) struct LedgerKeys {
    cluster: ClusterId,
    epoch: Secret<32>,
    log: Secret<32>,
    snapshot: Secret<32>,
    /// Objects of the vault's keys that newer versions followed.
    older: Vec<KeyVersionRow>,
    /// Those of them that were destroyed.
    destroyed: Vec<VaultPublicKey>,
}

impl LedgerKeys {
    pub(super) fn new(
        cluster: ClusterId,
        recovery: &ClusterRecoveryKey,
        (older, destroyed): (Vec<KeyVersionRow>, Vec<VaultPublicKey>),
    ) -> Self {
        let (epoch, log) = (recovery.epoch_key(), recovery.log_key());
        Self { cluster, epoch, log, snapshot: recovery.snapshot_key(), older, destroyed }
    }

    /// Refuses bytes that cannot be what their name says.
    pub(super) fn insist(&self, vault: &VaultRow, object: Object, bytes: &[u8]) -> Result<()> {
        match object {
            Object::ClusterKey(kek) => {
                let key = ClusterKeyObject::from_bytes(bytes)?;
                insist_on_name(key.cluster == self.cluster && *key.kek.as_bytes() == kek)
            }
            Object::Epoch(number) => {
                let claim = Claim::open(bytes, &self.cluster, &self.epoch)?;
                insist_on_name(claim.epoch.number == number)
            }
            Object::Keys { version, kek_version } => {
                let keys = KeyObject::from_bytes(bytes)?;
                keys.insist_on_vault(&vault.id)?;
                let named = (version, kek_version);
                insist_on_name((keys.version(), keys.kek_version()) == named)?;
                insist_on_name(self.known(vault, named).is_none_or(|known| known == bytes))
            }
            Object::Log { epoch, from } => {
                let claim = extent::Claim { cluster: self.cluster, epoch: epoch.into(), from };
                extent::open(&self.log, &claim, bytes).map(drop)
            }
            Object::Snapshot { epoch, index, part } => {
                let (head, _) = snapshot::open(&self.snapshot, bytes)?;
                let (cluster, parts) = (self.cluster, head.parts);
                let named = PartHead { cluster, epoch: epoch.into(), index, part, parts };
                insist_on_name(head == named)
            }
            _ => Ok(()),
        }
    }

    /// Up to which entry an extent goes.
    pub(super) fn claimed_end(&self, bytes: &[u8]) -> Option<u64> {
        extent::claimed_end(bytes, &self.cluster)
    }

    /// Nothing that is known here tells a right object of this kind from a forged one.
    pub(super) fn is_unproven(&self, vault: &VaultRow, object: Object) -> bool {
        match object {
            Object::ClusterKey(_) => true,
            Object::Keys { version, kek_version } => {
                self.known(vault, (version, kek_version)).is_none()
            }
            _ => false,
        }
    }

    /// Whether these are keys that the ledger does not have: of a version that it does not know, or
    /// of another pair than it has in that version.
    pub(super) fn are_strange(&self, vault: &VaultRow, bytes: &[u8]) -> bool {
        let Some(found) = keys_of(vault, bytes) else { return false };
        if self.destroyed.contains(&found.public()) {
            return false;
        }
        let mut here = self.objects(vault).filter_map(|bytes| keys_of(vault, bytes));
        let same = here.find(|here| here.version() == found.version());
        same.is_none_or(|here| is_another_pair(&here, &found))
    }

    /// What the ledger itself has as the keys of this name.
    pub(super) fn known<'a>(&'a self, vault: &'a VaultRow, named: (u32, u32)) -> Option<&'a [u8]> {
        self.objects(vault).find(|bytes| {
            KeyObject::from_bytes(bytes)
                .is_ok_and(|keys| (keys.version(), keys.kek_version()) == named)
        })
    }

    /// The objects that open all versions.
    pub(super) fn objects<'a>(&'a self, vault: &'a VaultRow) -> impl Iterator<Item = &'a [u8]> {
        let older = self.older.iter().map(|row| &row.key_object[..]);
        older.chain([&vault.key_object[..]])
    }
}

fn keys_of(vault: &VaultRow, bytes: &[u8]) -> Option<KeyObject> {
    KeyObject::from_bytes(bytes).ok().filter(|keys| keys.vault() == vault.id)
}

/// Both halves of it, so that it was made, and is not the same pair with a byte that rotted.
fn is_another_pair(one: &KeyObject, other: &KeyObject) -> bool {
    one.public().key != other.public().key && one.index_public() != other.index_public()
}

/// Keys of this vault where others are to lie, and not those wrapped anew: whatever was sealed to
/// them, nobody else may have them.
pub(super) fn are_other_keys(vault: &VaultRow, there: &[u8], others: &[u8]) -> bool {
    let (there, others) = (keys_of(vault, there), keys_of(vault, others));
    there.zip(others).is_some_and(|(there, others)| is_another_pair(&there, &others))
}

fn insist_on_name(is_named: bool) -> Result<()> {
    match is_named {
        true => Ok(()),
        false => Err(Error::new(Code::ObjectDamaged, "it is another object than its name says")),
    }
}
