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
use crate::{house::House, places::Place};
use bytes::Bytes;
use holdfast_common::{Code, Error, Name, Result, limits};
use holdfast_keyring::KeyObject;
use holdfast_ledger::row::VaultRow;
use holdfast_repository::layout::{self, Object};
use holdfast_storage::ObjectName;

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

/// What was put where something was not as it must be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mended {
    /// The location that has the same, or [`LEDGER`].
    pub(crate) from: Name,
    /// Where other keys lie now that lay there.
    pub(crate) aside: Option<ObjectName>,
}

/// Where keys are said to come from that no other location has.
const LEDGER: &str = "ledger";

/// It opens, and somewhere is something else: of two nobody knows which is right.
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
                _ => filling.kind_of_damage(own).await,
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
        Object::Log { .. } => filling.ledger.claimed_end(&bytes),
        _ => None,
    };
    Ok(OwnState::Whole { read: length, upto })
}

/// Puts a whole copy there from another location, if one has it, or the keys that the ledger has.
/// An extent of the log may have to go up to some entry.
pub(crate) async fn mend_own(
    house: &House,
    vault: &VaultRow,
    (from, to): (&[Place], &Place),
    (own, problem): (&Own, &str),
    upto: Option<u64>,
) -> Result<Option<Mended>> {
    let insist = || house.ledger.peers().insist_on_epoch();
    let filling = Filling::of(house, vault, Way::at_once(house, from, to), &|_| {}, &insist)?;
    filling.mend(own, problem, upto).await
}

/// Refuses a place that has keys which neither the ledger nor another place has: points may be
/// sealed to them.
pub(crate) async fn insist_on_known_keys(
    house: &House,
    vault: &VaultRow,
    others: &[Place],
    place: &Place,
) -> Result<()> {
    let insist = || Ok(());
    let way = Way::at_once(house, others, place);
    Filling::of(house, vault, way, &|_| {}, &insist)?.insist_on_known_keys().await
}

impl Filling<'_> {
    pub(super) async fn mend(
        &self,
        own: &Own,
        problem: &str,
        upto: Option<u64>,
    ) -> Result<Option<Mended>> {
        let held = self.look(&own.name).await?;
        // Somebody may have looked for it before it was destroyed.
        if let Object::Keys { version, .. } = held.object
            && self.is_destroyed(version)?
        {
            return Ok(None);
        }
        if let Object::Keys { version, kek_version } = held.object
            && let Some(bytes) = self.ledger.known(self.vault, (version, kek_version))
        {
            return self.mend_known(&own.name, &held, bytes).await.map(Some);
        }
        match self.ledger.is_unproven(self.vault, held.object) {
            true => {
                let others = held.copies.iter().flatten().count();
                let is_outvoted = others > 1 || problem != DIFFERS;
                if !is_outvoted || !self.agree(&held).await? {
                    return Ok(None);
                }
            }
            false if problem == DIFFERS => return Ok(None),
            false => {}
        }
        for (place, length) in self.from.iter().zip(&held.copies) {
            let Some(length) = *length else { continue };
            let Copy::Whole(bytes, _share) = self.read(place, &held, length).await? else {
                continue;
            };
            if upto.is_some() && self.ledger.claimed_end(&bytes) < upto {
                continue;
            }
            (self.insist)()?;
            self.to.1.replace(&held.name, bytes).await?;
            return Ok(Some(Mended { from: place.0.clone(), aside: None }));
        }
        Ok(None)
    }

    /// The ledger has what must lie there, whether or not another location has it too.
    async fn mend_known(
        &self,
        name: &layout::ObjectName,
        held: &Held,
        bytes: &[u8],
    ) -> Result<Mended> {
        let mut from: Name = LEDGER.parse()?;
        for (place, length) in self.from.iter().zip(&held.copies) {
            let Some(length) = *length else { continue };
            if let Ok(Copy::Whole(..)) = self.read(place, held, length).await {
                from = place.0.clone();
                break;
            }
        }
        let put = self.put_known(name, bytes).await?;
        Ok(Mended { from, aside: put.and_then(|put| put.aside) })
    }

    pub(super) async fn insist_on_known_keys(&self) -> Result<()> {
        let mut walk = Walk::behind(&[], self.to, "keys/", None)?;
        while let Some(held) = walk.next().await? {
            if !matches!(held.object, Object::Keys { .. }) {
                continue;
            }
            let bytes = match self.to.1.get(&held.name, limits::KEY_OBJECT_BYTES_MAX).await {
                // No key is that long.
                Err(error) if error.code == Code::LimitExceeded => continue,
                found => found?,
            };
            let is_strange = self.ledger.are_strange(self.vault, &bytes);
            if is_strange && !self.lies_in_a_source(&held, &bytes).await? {
                let (name, location, vault) = (&held.name, &self.to.0, &self.vault.name);
                let message = format!(
                    "`{location}` has {name}, keys of the vault `{vault}` that were made on the \
                     side that was given up, and this side has others or none of that version"
                );
                return Err(Error::new(Code::ObjectConflict, message).next(
                    "copy that object to a safe place, since points of that side may open with \
                     nothing else; take it out of the location, then type it again",
                ));
            }
        }
        Ok(())
    }

    /// What an attempt left behind lies everywhere, and nothing is sealed to it.
    async fn lies_in_a_source(&self, held: &Held, bytes: &Bytes) -> Result<bool> {
        for (_, store) in self.from {
            match store.get(&held.name, limits::KEY_OBJECT_BYTES_MAX).await {
                Ok(there) if there == bytes => return Ok(true),
                Err(error) if error.code != Code::ObjectMissing => return Err(error),
                _ => {}
            }
        }
        Ok(false)
    }

    /// Whole, and not what it must be: it came back old, or it was made on another side.
    async fn kind_of_damage(&self, own: &Own) -> &'static str {
        let read = async {
            let name = own.name.as_str().parse()?;
            let bytes: Bytes = self.to.1.get(&name, limits::OBJECT_BYTES_MAX).await?;
            Ok::<_, Error>(bytes)
        };
        let Ok(bytes) = read.await else { return "unreadable" };
        let is_whole = match own.name.object() {
            Object::Keys { .. } if self.ledger.are_strange(self.vault, &bytes) => return DIFFERS,
            Object::Keys { .. } => {
                let keys = KeyObject::from_bytes(&bytes);
                keys.is_ok_and(|keys| keys.insist_on_vault(&self.vault.id).is_ok())
            }
            Object::Log { .. } => self.ledger.claimed_end(&bytes).is_some(),
            _ => false,
        };
        if is_whole { "stale" } else { "hash" }
    }

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
