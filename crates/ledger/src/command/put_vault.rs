//! Makes a vault, or changes what may change of one: nothing that its keys or ids rest on.

use super::{Apply, Outcome, conflict, take_back::insist_on_current};
use crate::{
    level::{COPIES, WHOLE_ONES},
    row::{Beside, Checks, LocationRow, LockTerms, VaultRow, copies::copy_key},
    tables::Table,
};
use holdfast_common::{Code, Error, Name, Result, limits};
use minicbor::{Decode, Encode};
use std::{collections::BTreeSet, time::Duration};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct PutVault {
    /// Id, keys and creation time count only when the vault is new.
    #[n(0)]
    pub vault: VaultRow,
    /// Under which the keys of a new vault are wrapped; who proposes at a lower level says nothing.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub kek: Option<[u8; 16]>,
}

impl PutVault {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let name = self.vault.name.as_str().as_bytes();
        require_locations(apply, &self.vault.required)?;
        let beside = self.vault.beside.as_ref();
        if beside.is_some_and(|beside| !beside.returning.is_empty()) {
            return Err(conflict("whether a location is passed over is not declared"));
        }
        if let Some(beside) = beside {
            insist_on_locations(apply, &beside.following)?;
            insist_on_one_role(&self.vault)?;
            insist_on_enough(&self.vault)?;
        }
        insist_on_terms(&self.vault)?;
        insist_on_checks(&self.vault)?;
        let Some(id) = apply.tables.raw(Table::VaultName, name)? else {
            self.kek.map_or(Ok(()), |kek| apply.insist_on_kek(&kek))?;
            let id = self.vault.id.as_bytes().to_vec();
            apply.tables.put_raw(Table::VaultName, name, id)?;
            let vault = VaultRow { revision: 1, ..self.vault.clone() };
            for name in vault.following() {
                apply.open_copies_anew(&vault, name, None)?;
            }
            apply.open_locks(None, &vault)?;
            apply.tables.put(&vault)?;
            return Ok(Outcome::Done);
        };
        let old = apply.vault(&holdfast_common::VaultId::from_slice(&id)?)?;
        if (old.custody, old.sharing) != (self.vault.custody, self.vault.sharing) {
            return Err(conflict(format!(
                "custody and sharing of the vault `{}` were chosen when it was made",
                old.name
            ))
            .next("make a vault of another name"));
        }
        let wish = Wish::of(&self.vault);
        let is_same = match apply.level()? < COPIES {
            true => old.required == self.vault.required,
            false => wish.is_of(&old),
        };
        if is_same {
            return Ok(Outcome::Unchanged);
        }
        wish.put(apply, old)
    }
}

/// What whoever declares a vault wants of its locations.
struct Wish<'v> {
    required: &'v [Name],
    beside: Beside,
    lock: Option<LockTerms>,
    checks: Option<Checks>,
}

impl<'v> Wish<'v> {
    fn of(vault: &'v VaultRow) -> Self {
        let beside = vault.beside.clone().unwrap_or_default();
        let (checks, lock) = (vault.checks, vault.lock);
        Self { required: &vault.required, beside, checks, lock }
    }

    fn is_of(&self, vault: &VaultRow) -> bool {
        let beside = vault.beside.clone().unwrap_or_default();
        let settings =
            |beside: &Beside| (beside.bytes_per_second_max, beside.enough, beside.wait_secs);
        self.is_placed_as(vault)
            && settings(&self.beside) == settings(&beside)
            && self.lock == vault.lock
            && self.checks == vault.checks
    }

    /// Whether it lies where it did, whatever else is declared anew.
    fn is_placed_as(&self, vault: &VaultRow) -> bool {
        is_same(self.required.iter(), vault.required_as_declared())
            && is_same(self.beside.following.iter(), vault.following_as_declared())
    }

    /// One that is passed over goes on being so, if it is still wanted.
    fn put(&self, apply: &mut Apply<'_, '_>, old: VaultRow) -> Result<Outcome> {
        let returning: Vec<Name> =
            old.returning().iter().filter(|name| self.required.contains(name)).cloned().collect();
        let here = self.required.iter().filter(|name| !returning.contains(name));
        let required: Vec<Name> = here.cloned().collect();
        if required.is_empty() {
            return Err(conflict("all that the vault would require is away"));
        }
        self.insist_on_whole_one(apply, &old, &required)?;
        for name in required.iter().filter(|name| !old.required.contains(name)) {
            insist_on_current(apply, &old.id, name)?;
            apply.open_copies(&old, name)?;
        }
        let following: Vec<Name> =
            self.beside.following.iter().chain(&returning).cloned().collect();
        for name in following.iter().filter(|name| !old.following().contains(name)) {
            match old.required.contains(name) {
                true => apply.open_copies_behind(&old, name)?,
                // What was said of it before it was dropped may be so no more.
                false => apply.open_copies_anew(&old, name, None)?,
            }
        }
        for name in old.holding() {
            if !required.contains(name) && !following.contains(name) {
                apply.tables.remove(Table::Copy, &copy_key(&old.id, name));
                apply.forget_checks(&old.id, name)?;
            }
        }
        let beside = Beside { following, returning, ..self.beside.clone() };
        let new = old.clone().requiring(required).with_beside(beside);
        let new = VaultRow { checks: self.checks, lock: self.lock, ..new };
        apply.open_locks(Some(&old), &new)?;
        if !self.is_placed_as(&old) {
            apply.keep_as_declared(&new.id)?;
        }
        apply.tables.put(&new)?;
        Ok(Outcome::Done)
    }
}

impl Wish<'_> {
    /// One of those that were required and lack nothing stays required. Where there is none,
    /// nothing is dropped: what is being copied may lie there alone.
    fn insist_on_whole_one(
        &self,
        apply: &Apply<'_, '_>,
        old: &VaultRow,
        required: &[Name],
    ) -> Result<()> {
        if apply.level()? < WHOLE_ONES {
            return Ok(());
        }
        let mut leaves = None;
        for name in &old.required {
            let is_whole = apply.is_whole(&old.id, name)?;
            match (is_whole, required.contains(name)) {
                (true, true) => return Ok(()),
                (true, false) => leaves = Some(name),
                (false, _) => {}
            }
        }
        let is_held =
            |name: &&Name| self.required.contains(name) || self.beside.following.contains(name);
        let Some(name) = leaves.or_else(|| old.holding().find(|name| !is_held(name))) else {
            return Ok(());
        };
        let message = format!("no other required location is known to have what `{name}` has");
        Err(conflict(message).next(format!(
            "drop it when another required one is among the copies of `holdfast location list` no \
             more; if what it stands on is gone: holdfast location replace {name} URL --empty \
             --old-is-gone"
        )))
    }
}

fn is_same<'n>(one: impl Iterator<Item = &'n Name>, other: impl Iterator<Item = &'n Name>) -> bool {
    one.collect::<BTreeSet<_>>() == other.collect::<BTreeSet<_>>()
}

/// A location is required or follows, and not both.
fn insist_on_one_role(vault: &VaultRow) -> Result<()> {
    let mut seen = BTreeSet::new();
    match vault.holding().find(|name| !seen.insert(*name)) {
        None => Ok(()),
        Some(name) => {
            let message = format!("`{name}` is named twice: it is required, or it follows");
            Err(Error::new(Code::ResourceMalformed, message))
        }
    }
}

/// What is too slow or too far apart to be a check is no setting.
fn insist_on_checks(vault: &VaultRow) -> Result<()> {
    let Checks { storage_bytes_per_day, storage_every_hours } = vault.checks.unwrap_or_default();
    let least = limits::CHECK_BYTES_PER_DAY_MIN;
    if storage_bytes_per_day.is_some_and(|bytes| bytes != 0 && bytes < least) {
        let message = format!("`storage_bytes_per_day` is at least {least}, or 0 for nothing");
        return Err(Error::new(Code::ResourceMalformed, message));
    }
    let most = limits::CHECK_EVERY_HOURS_MAX;
    if storage_every_hours.is_some_and(|hours| hours > most) {
        let message = format!("`storage_every_hours` is at most {most}");
        return Err(Error::new(Code::ResourceMalformed, message));
    }
    Ok(())
}

/// Somebody who must wait for more than there are would wait for ever.
fn insist_on_enough(vault: &VaultRow) -> Result<()> {
    if vault.wait() > Duration::from_secs(limits::LOCATION_WAIT_SECS_MAX) {
        let message = format!("`wait_secs` is at most {}", limits::LOCATION_WAIT_SECS_MAX);
        return Err(Error::new(Code::ResourceMalformed, message));
    }
    let enough = vault.beside.as_ref().and_then(|beside| beside.enough);
    let count = vault.required.len();
    if enough.is_none_or(|enough| (1..=count).contains(&(enough as usize))) {
        return Ok(());
    }
    let message = format!("`enough` is at least 1, and at most the {count} required locations");
    Err(Error::new(Code::ResourceMalformed, message))
}

/// What nobody can take back must not be typed by mistake.
fn insist_on_terms(vault: &VaultRow) -> Result<()> {
    let bounds = limits::LOCK_SECS_MIN..=limits::LOCK_SECS_MAX;
    if vault.lock.is_none_or(|lock| bounds.contains(&lock.secs)) {
        return Ok(());
    }
    let (least, most) = (limits::LOCK_SECS_MIN, limits::LOCK_SECS_MAX / 86_400);
    let message = format!("a lock is at least {least} seconds and at most {most} days long");
    Err(Error::new(Code::ResourceMalformed, message))
}

pub(super) fn require_locations(apply: &Apply<'_, '_>, names: &[Name]) -> Result<()> {
    if names.is_empty() {
        return Err(Error::new(Code::ResourceMalformed, "at least one location is required"));
    }
    insist_on_locations(apply, names)
}

fn insist_on_locations(apply: &Apply<'_, '_>, names: &[Name]) -> Result<()> {
    for name in names {
        if apply.tables.row::<LocationRow>(name.as_str().as_bytes())?.is_none() {
            return Err(Error::new(
                Code::LocationMissing,
                format!("there is no location `{name}`"),
            ));
        }
    }
    Ok(())
}
