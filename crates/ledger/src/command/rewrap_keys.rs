//! Everything that the ledger keeps under the coordinators' KEK, under another one: the way back
//! when the old one is lost and a bundle was kept.
//!
//! All of it in one command, or none: a cluster whose authority opens with one key and whose vaults
//! with another could not start with either.

use super::{Apply, Outcome, conflict};
use crate::{
    row::{ClusterRow, KeyVersionRow, VaultRow, cluster::CLUSTER_KEY},
    tables::{Row, Table},
};
use holdfast_common::{Result, VaultId, limits, record};
use minicbor::{Decode, Encode, bytes::ByteVec};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct RewrapKeys {
    /// The id of the new KEK.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub kek: [u8; 16],
    #[n(1)]
    pub ca_key_wrapped: ByteVec,
    #[n(2)]
    pub recovery_key_wrapped: ByteVec,
    /// What it takes beside its source to have the new KEK: a passphrase's, or a sealed KEK.
    #[n(3)]
    pub kek_derivation: Option<ByteVec>,
    /// One for every version of every vault there is.
    #[n(4)]
    pub vaults: Vec<RewrappedVault>,
    /// What becomes of the KEK before, where the ledger keeps account of KEKs.
    #[n(5)]
    pub change: Option<KekChange>,
}

/// From which KEK to this one, and where coordinators find it.
#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct KekChange {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub before: [u8; 16],
    #[n(1)]
    pub source: String,
}

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct RewrappedVault {
    #[n(0)]
    pub vault: VaultId,
    /// The vault's newest, or one that it followed.
    #[n(1)]
    pub version: u32,
    #[n(2)]
    pub key_object: ByteVec,
}

impl RewrapKeys {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let Some(cluster) = apply.tables.row::<ClusterRow>(CLUSTER_KEY)? else {
            return Err(conflict("this ledger belongs to no cluster yet"));
        };
        for new in &self.vaults {
            apply.insist_on_not_destroyed(new)?;
        }
        let (mut rewrapped, mut older) = (Vec::new(), Vec::new());
        for (_, value) in apply.tables.scan(Table::Vault, &[], limits::LIST_PAGE_ROWS)? {
            let old: VaultRow = record::from_bytes(VaultRow::WHAT, &value)?;
            for row in apply.key_versions(&old.id)? {
                let key_object = self.new_object(&old, row.version)?;
                older.push(KeyVersionRow { key_object, ..row });
            }
            rewrapped.push(VaultRow {
                key_object: self.new_object(&old, old.key_version)?,
                revision: old.revision + 1,
                ..old
            });
        }
        if let Some(KekChange { before, source }) = &self.change {
            let (keks, derivation) = ((*before, self.kek), self.kek_derivation.clone());
            apply.change_kek(keks, Some(source.clone()), derivation, &cluster)?;
        }
        for row in &rewrapped {
            apply.tables.put(row)?;
        }
        for row in &older {
            apply.tables.put(row)?;
        }
        apply.tables.put(&ClusterRow {
            ca_key_wrapped: self.ca_key_wrapped.clone(),
            recovery_key_wrapped: self.recovery_key_wrapped.clone(),
            kek_derivation: self.kek_derivation.clone(),
            ..cluster
        })?;
        Ok(Outcome::Done)
    }

    fn new_object(&self, vault: &VaultRow, version: u32) -> Result<ByteVec> {
        let is_it = |new: &&RewrappedVault| (new.vault, new.version) == (vault.id, version);
        let found = self.vaults.iter().find(is_it).map(|new| new.key_object.clone());
        found.ok_or_else(|| {
            let name = &vault.name;
            conflict(format!(
                "version {version} of the keys of the vault `{name}` is not among the new ones"
            ))
            .next("use a bundle that was exported after that version was made")
        })
    }
}

impl Apply<'_, '_> {
    /// What was destroyed while others were wrapped anew does not come under the new KEK.
    fn insist_on_not_destroyed(&self, new: &RewrappedVault) -> Result<()> {
        let Ok(vault) = self.vault(&new.vault) else { return Ok(()) };
        match self.destroyed(&vault, new.version)? {
            Some(gone) => Err(gone.refusal(&vault.name).next("run it again, without that version")),
            None => Ok(()),
        }
    }
}
