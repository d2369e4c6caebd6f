//! A new version of a vault's keys: it seals what begins from now on, and the older ones go on
//! opening what was sealed to them.
//!
//! Its key object lies in every required location before this is proposed. The id-key, the cutting
//! key and the coordinator key stay, so nothing is uploaded again. Sessions that are open go on
//! with the version that they began with.

use super::{Apply, Outcome, conflict};
use crate::{
    row::{ClosedKeys, ClusterRow, DestroyedKeyRow, KekRow, KeyVersionRow, VaultRow},
    tables::{Row, Table},
};
use holdfast_common::{Code, Error, Result, Timestamp, VaultId, limits, record};
use minicbor::{Decode, Encode, bytes::ByteVec};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct RotateKeys {
    #[n(0)]
    pub vault: VaultId,
    /// Has to be the vault's newest.
    #[n(1)]
    pub before: u32,
    /// Above it. Numbers that an attempt left behind in a location are left out.
    #[n(2)]
    pub version: u32,
    #[n(3)]
    pub key_object: ByteVec,
    /// Under which it is wrapped.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub kek: [u8; 16],
}

impl RotateKeys {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let vault = apply.vault(&self.vault)?;
        if vault.key_version != self.before {
            let (name, version) = (&vault.name, vault.key_version);
            let message = format!("the keys of `{name}` are at version {version} meanwhile");
            return Err(conflict(message).next("ask again, if another version is still wanted"));
        }
        if !(self.before + 1..=limits::KEY_VERSION_MAX).contains(&self.version) {
            let message = format!("{} is no version behind {}", self.version, self.before);
            return Err(Error::new(Code::LimitExceeded, message));
        }
        apply.insist_on_kek(&self.kek)?;
        let (count, made) = apply.versions_before(&vault)?;
        if count + 1 >= limits::KEY_VERSIONS_MAX {
            let message = format!("the vault `{}` has {} versions", vault.name, count + 1);
            return Err(Error::new(Code::LimitExceeded, message)
                .next("make a vault of another name for what comes"));
        }
        apply.tables.put(&KeyVersionRow {
            vault: vault.id,
            version: vault.key_version,
            key_object: vault.key_object.clone(),
            made,
            retired: apply.time,
            closed: None,
            closed_at: None,
        })?;
        apply.tables.put(&VaultRow {
            key_version: self.version,
            key_object: self.key_object.clone(),
            revision: vault.revision + 1,
            ..vault
        })?;
        Ok(Outcome::Number(self.version.into()))
    }
}

impl Apply<'_, '_> {
    /// The versions that newer ones followed, oldest first.
    pub(super) fn key_versions(&self, vault: &VaultId) -> Result<Vec<KeyVersionRow>> {
        let found =
            self.tables.scan(Table::KeyVersion, vault.as_bytes(), limits::KEY_VERSIONS_MAX)?;
        let row = |(_, value): &(_, Vec<u8>)| record::from_bytes(KeyVersionRow::WHAT, value);
        found.iter().map(row).collect()
    }

    /// How many versions the newest one followed, and when it was made. Those that were destroyed
    /// count: agents are told of them too.
    fn versions_before(&self, vault: &VaultRow) -> Result<(usize, Timestamp)> {
        let mut retired: Vec<Timestamp> =
            self.key_versions(&vault.id)?.iter().map(|row| row.retired).collect();
        retired.extend(self.destroyed_keys(&vault.id)?.iter().map(|row| row.retired));
        Ok((retired.len(), retired.into_iter().max().unwrap_or(vault.created)))
    }

    /// The versions of a vault's keys that were destroyed.
    pub(super) fn destroyed_keys(&self, vault: &VaultId) -> Result<Vec<DestroyedKeyRow>> {
        let mut rows = Vec::new();
        self.tables.look::<DestroyedKeyRow>(vault.as_bytes(), |row| rows.push(row))?;
        Ok(rows)
    }

    /// The versions that nothing new may come to rely on.
    pub(super) fn closed_keys(&self, vault: &VaultId) -> Result<ClosedKeys> {
        Ok(ClosedKeys::among(&self.key_versions(vault)?, &self.destroyed_keys(vault)?))
    }

    /// The KEK in use; none as long as it was never changed.
    pub(super) fn kek(&self) -> Result<Option<KekRow>> {
        let found = self.tables.scan(Table::Kek, &[], limits::LIST_PAGE_ROWS)?;
        for (_, value) in found {
            let row: KekRow = record::from_bytes(KekRow::WHAT, &value)?;
            if row.until.is_none() {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// Refuses what was wrapped under a KEK that another one followed meanwhile.
    pub(super) fn insist_on_kek(&self, kek: &[u8; 16]) -> Result<()> {
        match self.kek()? {
            Some(now) if now.id != *kek => {
                Err(conflict("the KEK was changed meanwhile").next("ask again in a moment"))
            }
            _ => Ok(()),
        }
    }

    /// Another KEK is in use from now on.
    pub(super) fn change_kek(
        &mut self,
        (before, kek): ([u8; 16], [u8; 16]),
        source: Option<String>,
        derivation: Option<ByteVec>,
        cluster: &ClusterRow,
    ) -> Result<()> {
        if before == kek {
            return Err(conflict("the keys are wrapped under this KEK already"));
        }
        let old = match self.kek()? {
            Some(now) if now.id != before => {
                return Err(conflict("the KEK was changed meanwhile").next("look again"));
            }
            Some(now) => now,
            None => KekRow {
                id: before,
                source: None,
                since: cluster.created,
                until: None,
                derivation: cluster.kek_derivation.clone(),
            },
        };
        let (since, until) = (self.time, Some(self.time));
        self.tables.put(&KekRow { until, ..old })?;
        self.tables.put(&KekRow { id: kek, source, since, until: None, derivation })
    }
}
