//! Notes to which versions of the keys packs are sealed that were stored before anybody said so.
//!
//! What was read in a whole pack counts more than what a location showed of its front: the name of
//! a pack vouches for all of it, and for nothing less. So the second never takes the place of the
//! first, nor of itself. What was counted before a pack turned out to need a further version is not
//! agreed to any more.

use super::{Apply, Outcome, condemn_packs::insist_on_bound};
use crate::row::{DestroyedKeyRow, KeyVersionRow, PackRow, pack::pack_key};
use holdfast_common::{Code, Error, PackId, Result, VaultId, limits};
use minicbor::{Decode, Encode};
use std::collections::BTreeSet;

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct NoteSealed {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub packs: Vec<SealedPack>,
    /// They were read whole, and are what their names say.
    #[n(2)]
    pub whole: bool,
}

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct SealedPack {
    #[n(0)]
    pub id: PackId,
    /// Ascending.
    #[n(1)]
    pub versions: Vec<u32>,
}

impl NoteSealed {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_system()?;
        insist_on_bound(&self.packs.iter().map(|pack| pack.id).collect::<Vec<_>>())?;
        let (mut noted, closed) = (0, apply.closed_keys(&self.vault)?);
        let mut further = BTreeSet::<u32>::new();
        for pack in &self.packs {
            insist_on_versions(pack)?;
            let key = pack_key(&self.vault, &pack.id);
            let Some(row) = apply.tables.row::<PackRow>(&key)? else { continue };
            let is_said = row.sealed_to.is_some() && !self.whole;
            let is_same = row.sealed_to.as_ref() == Some(&pack.versions);
            if is_said || is_same {
                continue;
            }
            if let Some(said) = &row.sealed_to {
                further.extend(pack.versions.iter().filter(|version| !said.contains(version)));
            }
            let was_open = !closed.shuts(&row);
            let row = PackRow { sealed_to: Some(pack.versions.clone()), ..row };
            apply.tables.put(&row)?;
            noted += 1;
            if was_open && closed.shuts(&row) {
                self.compare_anew(apply)?;
            }
        }
        apply
            .drop_requests(|asked| asked.vault == self.vault && further.contains(&asked.version))?;
        Ok(Outcome::Number(noted))
    }

    /// It was counted on until now: what is under way was compared with less than is closed.
    fn compare_anew(&self, apply: &mut Apply<'_, '_>) -> Result<()> {
        for row in apply.destroyed_keys(&self.vault)? {
            apply.tables.put(&DestroyedKeyRow { closed_at: Some(apply.index), ..row })?;
        }
        for row in apply.key_versions(&self.vault)? {
            if row.closed.is_some() {
                apply.tables.put(&KeyVersionRow { closed_at: Some(apply.index), ..row })?;
            }
        }
        Ok(())
    }
}

fn insist_on_versions(pack: &SealedPack) -> Result<()> {
    let is_ascending = pack.versions.is_sorted_by(|one, next| one < next);
    let count = pack.versions.len();
    if is_ascending && (1..=limits::KEY_VERSIONS_MAX).contains(&count) {
        return Ok(());
    }
    let message = format!("the pack {} is said to be sealed to {count} versions", pack.id);
    Err(Error::new(Code::LimitExceeded, message))
}
