//! Everything that the ledger keeps under the coordinators' KEK, under another one: the way back
//! when the old one is lost and a bundle was kept.
//!
//! All of it in one command, or none: a cluster whose authority opens with one key and whose vaults
//! with another could not start with either.

use super::{Apply, Outcome, conflict};
use crate::{
    row::{ClusterRow, VaultRow, cluster::CLUSTER_KEY},
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
    /// How the new KEK follows from a passphrase, when it does.
    #[n(3)]
    pub kek_derivation: Option<ByteVec>,
    /// One for every vault there is.
    #[n(4)]
    pub vaults: Vec<RewrappedVault>,
}

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct RewrappedVault {
    #[n(0)]
    pub vault: VaultId,
    /// Has to be the vault's newest.
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
        let mut rewrapped = Vec::new();
        for (_, value) in apply.tables.scan(Table::Vault, &[], limits::LIST_PAGE_ROWS)? {
            let old: VaultRow = record::from_bytes(VaultRow::WHAT, &value)?;
            let is_its_own =
                |new: &&RewrappedVault| (new.vault, new.version) == (old.id, old.key_version);
            let Some(new) = self.vaults.iter().find(is_its_own) else {
                let (name, version) = (&old.name, old.key_version);
                return Err(conflict(format!(
                    "version {version} of the keys of the vault `{name}` is not among the new ones"
                ))
                .next("use a bundle that was exported after that version was made"));
            };
            rewrapped.push(VaultRow {
                key_object: new.key_object.clone(),
                revision: old.revision + 1,
                ..old
            });
        }
        for row in &rewrapped {
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
}
