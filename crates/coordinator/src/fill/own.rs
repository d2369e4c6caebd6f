//! What coordinators write by themselves (keys, epochs, the ledger's log and snapshots), looked at
//! where it lies and mended from elsewhere.
//!
//! The ledger has no hash of these. What there must be, the listings of all the vault's locations
//! say together; what an object must be, its own form and seal say, and the ledger of the keys that
//! are in use. What opens and is not what it must be came back old.

use super::{
    Way,
    filling::Filling,
    listing::{Held, Walk},
    object::Copy,
};
use crate::{house::House, places::Place, shipped::extent};
use bytes::Bytes;
use holdfast_common::{Name, Result, limits};
use holdfast_keyring::KeyObject;
use holdfast_ledger::row::VaultRow;
use holdfast_repository::layout::{self, Object};

/// A name that coordinators gave, somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) name: layout::ObjectName,
    /// How long it is in the location that is looked at.
    pub(crate) there: Option<u64>,
}

/// What the location has under a name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum OwnState {
    Bad {
        problem: &'static str,
        read: u64,
    },
    /// And up to which entry it goes, if it is of the log.
    Whole {
        read: u64,
        upto: Option<u64>,
    },
}

/// It opens, and another location has something else: of two nobody knows which is right.
const DIFFERS: &str = "differs";

/// Some names with this beginning behind one, in their order, wherever they lie.
pub(crate) async fn own_behind(
    (from, to): (&[Place], &Place),
    prefix: &str,
    after: Option<&layout::ObjectName>,
    count: usize,
) -> Result<Vec<Own>> {
    let after = after.map(|name| name.as_str().parse()).transpose()?;
    let mut walk = Walk::behind(from, to, prefix, after)?;
    let mut found = Vec::with_capacity(count);
    while found.len() < count {
        let Some(held) = walk.next().await? else { break };
        if held.object != Object::Unknown {
            found.push(Own { name: held.name.as_str().parse()?, there: held.there });
        }
    }
    Ok(found)
}

/// Looks at one of them where it lies.
pub(crate) async fn look_at_own(
    house: &House,
    vault: &VaultRow,
    (from, to): (&[Place], &Place),
    own: &Own,
) -> Result<OwnState> {
    let Some(length) = own.there else {
        return Ok(OwnState::Bad { problem: "missing", read: 0 });
    };
    let insist = || house.ledger.peers().insist_on_epoch();
    let filling = Filling::of(house, vault, Way::at_once(house, from, to), &|_| {}, &insist)?;
    let held = filling.look(&own.name).await?;
    let bytes = match filling.read(to, &held, length).await? {
        Copy::Whole(bytes, _share) => bytes,
        Copy::Bad(problem) => {
            let problem = match problem.as_str() {
                "missing" => "missing",
                "truncated" => "truncated",
                "unreadable" => "unreadable",
                _ => kind_of_damage(house, vault, to, own).await,
            };
            return Ok(OwnState::Bad { problem, read: length });
        }
    };
    if filling.ledger.is_unproven(vault, held.object)
        && filling.is_contradicted(&held, &bytes).await?
    {
        return Ok(OwnState::Bad { problem: DIFFERS, read: length });
    }
    let upto = match held.object {
        Object::Log { .. } => extent::claimed_end(&bytes, &house.cluster),
        _ => None,
    };
    Ok(OwnState::Whole { read: length, upto })
}

/// Whole, and not what it must be: it came back old.
async fn kind_of_damage(house: &House, vault: &VaultRow, to: &Place, own: &Own) -> &'static str {
    let read = async {
        let name = own.name.as_str().parse()?;
        let bytes: Bytes = to.1.get(&name, limits::OBJECT_BYTES_MAX).await?;
        Ok::<_, holdfast_common::Error>(bytes)
    };
    let Ok(bytes) = read.await else { return "unreadable" };
    let is_whole = match own.name.object() {
        Object::Keys { .. } => {
            let keys = KeyObject::from_bytes(&bytes);
            keys.is_ok_and(|keys| keys.insist_on_vault(&vault.id).is_ok())
        }
        Object::Log { .. } => extent::claimed_end(&bytes, &house.cluster).is_some(),
        _ => false,
    };
    if is_whole { "stale" } else { "hash" }
}

/// Puts a whole copy there from another location, if one has it; which one that was. An extent of
/// the log may have to go up to some entry.
pub(crate) async fn mend_own(
    house: &House,
    vault: &VaultRow,
    (from, to): (&[Place], &Place),
    (own, problem): (&Own, &str),
    upto: Option<u64>,
) -> Result<Option<Name>> {
    let insist = || house.ledger.peers().insist_on_epoch();
    let filling = Filling::of(house, vault, Way::at_once(house, from, to), &|_| {}, &insist)?;
    let held = filling.look(&own.name).await?;
    if filling.ledger.is_unproven(vault, held.object) {
        let others = held.copies.iter().flatten().count();
        let is_outvoted = others > 1 || problem != DIFFERS;
        if !is_outvoted || !filling.agree(&held).await? {
            return Ok(None);
        }
    }
    for (place, length) in from.iter().zip(&held.copies) {
        let Some(length) = *length else { continue };
        let Copy::Whole(bytes, _share) = filling.read(place, &held, length).await? else {
            continue;
        };
        if upto.is_some() && extent::claimed_end(&bytes, &house.cluster) < upto {
            continue;
        }
        insist()?;
        let name = own.name.as_str().parse()?;
        to.1.replace(&name, bytes).await?;
        return Ok(Some(place.0.clone()));
    }
    Ok(None)
}

impl Filling<'_> {
    /// All sources that have it say the same.
    async fn agree(&self, held: &Held) -> Result<bool> {
        let (name, object, copies) = (held.name.clone(), held.object, held.copies.clone());
        let alone = Held { name, object, there: None, copies };
        Ok(self.disagreement(&alone).await?.is_none())
    }

    /// A source has something else that is whole by its form.
    async fn is_contradicted(&self, held: &Held, bytes: &Bytes) -> Result<bool> {
        for (place, length) in self.from.iter().zip(&held.copies) {
            let Some(length) = *length else { continue };
            if let Copy::Whole(other, _share) = self.read(place, held, length).await?
                && other != *bytes
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
