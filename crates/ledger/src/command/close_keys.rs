//! Closes a version of a vault's keys: nothing new comes to rely on it from here on, so that it can
//! be destroyed one day, when nothing that is kept needs it any more.
//!
//! ```text
//!   close at c ─→ offers: what it opens is absent        packs sealed to it are not taken
//!             └─→ every commit behind c says: compared with what closed versions open, behind c
//! ```
//!
//! No session is waited for. An answer of a member that lags, or one that was given before, may
//! have put anything into a session's reach: the whole reach is compared when a point is committed,
//! and this entry makes that the law. A session that relies on what was closed begins anew.

use super::{Apply, Outcome, conflict};
use crate::row::KeyVersionRow;
use holdfast_common::{Code, Error, PackId, Result, VaultId};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct CloseKeys {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub version: u32,
}

impl CloseKeys {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_operator()?;
        let vault = apply.vault(&self.vault)?;
        if vault.key_version == self.version {
            let (name, version) = (&vault.name, self.version);
            let message = format!("version {version} seals what is backed up into `{name}` now");
            return Err(conflict(message)
                .next(format!("make a newer one first: holdfast keys rotate {name}")));
        }
        let key = KeyVersionRow::key_of(&vault.id, self.version);
        if let Some(gone) = apply.destroyed(&vault, self.version)? {
            return Err(gone.refusal(&vault.name));
        }
        let Some(row) = apply.tables.row::<KeyVersionRow>(&key)? else {
            let message = format!("the vault `{}` has no version {}", vault.name, self.version);
            return Err(Error::new(Code::KeyVersionMissing, message));
        };
        if row.closed.is_some() {
            return Ok(Outcome::Unchanged);
        }
        let (closed, closed_at) = (Some(apply.time), Some(apply.index));
        apply.tables.put(&KeyVersionRow { closed, closed_at, ..row })?;
        Ok(Outcome::At(apply.index))
    }
}

impl Apply<'_, '_> {
    /// Whoever brings a point must have compared all that it needs with all that is closed.
    pub(super) fn insist_on_open_keys(&self, vault: &VaultId, keys_at: Option<u64>) -> Result<()> {
        let closed = self.closed_keys(vault)?;
        if closed.versions.is_empty() || keys_at.is_some_and(|at| at >= closed.at) {
            return Ok(());
        }
        let message = format!("a version of the vault's keys was closed at {}", closed.at);
        Err(Error::new(Code::VaultKeysClosed, message))
    }
}

/// What only a closed version opens is not taken in.
pub(super) fn shut(pack: &PackId) -> Error {
    let message = format!("the pack {pack} is sealed to a version of the keys that is closed");
    Error::new(Code::VaultKeysClosed, message)
}
