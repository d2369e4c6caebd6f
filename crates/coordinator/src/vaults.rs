//! Making vaults: keys first, their objects in every location, then the ledger.

use crate::{
    house::House,
    places::{Place, Shared, show},
};
use bytes::Bytes;
use holdfast_common::{Code, Error, Name, Result, VaultId, limits};
use holdfast_keyring::{Custody as KeyCustody, Kek, KeyObject, VaultKeys};
use holdfast_ledger::{
    Actor, Query,
    command::{Outcome, PutVault},
    level::KEYS,
    row::{Beside, Checks, Custody, LockTerms, Sharing, VaultRow},
};
use holdfast_repository::{
    ChunkParameters, VaultObject,
    layout::{self, Object},
};
use holdfast_storage::placement::put_required;

const FIRST_KEK_VERSION: u32 = 1;

/// What whoever declares a vault says of it.
pub(crate) struct Settings {
    pub(crate) sharing: Sharing,
    pub(crate) custody: Custody,
    pub(crate) lying: Lying,
}

/// Where its objects are to lie.
pub(crate) struct Lying {
    pub(crate) required: Vec<Name>,
    pub(crate) beside: Option<Beside>,
    /// How what it keeps is locked there.
    pub(crate) lock: Option<LockTerms>,
    /// How it is read back there.
    pub(crate) checks: Option<Checks>,
}

/// Makes a vault, or changes what may change of one.
pub(crate) async fn put(
    house: &House,
    actor: Actor,
    name: Name,
    settings: Settings,
) -> Result<Outcome> {
    let Settings { sharing, custody, lying } = settings;
    insist_on_distinct(&lying.required)?;
    if let Ok(old) = house.ledger.query().vault_named(&name) {
        let Lying { required, beside, checks, lock } = lying;
        let vault = VaultRow { sharing, custody, required, beside, checks, lock, ..old.clone() };
        welcome(house, &old, &vault).await?;
        return house.ledger.propose(actor, PutVault { vault, kek: None }).await;
    }
    if custody == Custody::Operator {
        return Err(Error::new(
            Code::KeyCustodyRefused,
            "the keys of a vault in operator custody are made with the operator's key",
        )
        .next("run `holdfast cluster init --custody operator`"));
    }
    make(house, actor, name, (sharing, lying), None).await
}

/// Makes a new vault; `operator` is the operator's KEK for operator custody.
pub(crate) async fn make(
    house: &House,
    actor: Actor,
    name: Name,
    (sharing, Lying { required, beside, checks, lock }): (Sharing, Lying),
    operator: Option<&Kek>,
) -> Result<Outcome> {
    let entropy = house.entropy.as_ref();
    let keys = VaultKeys::generate(VaultId::random(entropy), entropy);
    let version = keys.newest();
    let kek = &house.kek()?;
    let object = KeyObject::wrap(&keys, version, kek, FIRST_KEK_VERSION, operator, entropy)?;
    let vault = VaultRow {
        id: keys.vault(),
        name,
        sharing,
        custody: match object.custody() {
            KeyCustody::Coordinator => Custody::Coordinator,
            KeyCustody::Operator => Custody::Operator,
        },
        required,
        key_version: version,
        key_object: object.to_bytes().into(),
        created: house.ledger.now(),
        revision: 0,
        next_number: 0,
        packs: 0,
        grown: None,
        beside,
        lock,
        checks,
        losses: None,
    };
    write_objects(house, &vault, &object).await?;
    // Whoever changes the KEK meanwhile knows nothing of this vault.
    let kek = (house.ledger.query().level()? >= KEYS).then_some(*kek.id.as_bytes());
    house.ledger.propose(actor, PutVault { vault, kek }).await
}

/// Locations that come to hold a vault show whose they are before anything is copied there. One
/// that comes to be required must be a fence, too.
async fn welcome(house: &House, old: &VaultRow, vault: &VaultRow) -> Result<()> {
    for name in vault.following().iter().filter(|name| !old.holding().any(|held| held == *name)) {
        let place = (name.clone(), house.places.location(name).await?);
        house.places.insist_on_grounds_of(vault)?;
        give(house, vault, &place).await?;
    }
    for name in vault.required.iter().filter(|name| old.following().contains(name)) {
        if !old.returning().contains(name) {
            house.places.prove(old, name).await?;
        }
    }
    Ok(())
}

/// Puts the vault's own object into a place that is empty; one that has it already is left alone.
pub(crate) async fn give(house: &House, vault: &VaultRow, place: &Place) -> Result<()> {
    let (name, store) = place;
    let own = layout::ObjectName::vault().as_str().parse()?;
    if store.head(&own).await?.is_some() {
        return show(vault, place).await;
    }
    insist_on_own_or_empty(house, vault, place).await?;
    store.put_new(&own, description(vault)).await.map(drop).map_err(|error| {
        let message =
            format!("the location `{name}` cannot be given to the vault `{}`", vault.name);
        Error { message, ..error.clone().cause(error) }
    })
}

/// What lies in a place that does not say whose it is may be somebody else's.
async fn insist_on_own_or_empty(
    house: &House,
    vault: &VaultRow,
    (name, store): &Place,
) -> Result<()> {
    let query = house.ledger.query();
    for meta in store.list(&"".parse()?, None, LOOKED_AT).await? {
        let object = layout::ObjectName::parse(meta.name.as_str())?;
        let is_known = is_known(query, &vault.id, object)?;
        if !is_known {
            let message =
                format!("the location `{name}` belongs to no vault and holds {}", meta.name);
            return Err(Error::new(Code::ObjectConflict, message).next("choose an empty location"));
        }
    }
    Ok(())
}

fn is_known(query: Query<'_>, vault: &VaultId, object: Object) -> Result<bool> {
    Ok(match object {
        Object::Pack(id) => query.pack(vault, &id)?.is_some(),
        // Of one that was forgotten too: its objects stay.
        Object::Point(id) | Object::Reach(id) => {
            query.point_even_forgotten(&id)?.is_some_and(|row| row.vault == *vault)
        }
        _ => true,
    })
}

/// How many names are looked at to see that a place is empty.
const LOOKED_AT: usize = 1000;

/// A location that is named twice holds one copy.
fn insist_on_distinct(required: &[Name]) -> Result<()> {
    let twice = required.iter().enumerate().find(|(at, name)| required[..*at].contains(name));
    let Some((_, name)) = twice else { return Ok(()) };
    Err(Shared(name.clone(), name.clone()).error())
}

/// A location belongs to one vault: its `vault` object says to which.
async fn write_objects(house: &House, vault: &VaultRow, keys: &KeyObject) -> Result<()> {
    let places = house.places.open_all(vault).await?;
    house.places.insist_on_grounds_of(vault)?;
    house.places.insist_on_fences(vault).await?;
    for (name, store) in &places {
        if store.head(&layout::ObjectName::vault().as_str().parse()?).await?.is_some() {
            return Err(Error::new(
                Code::ObjectConflict,
                format!("the location `{name}` already holds a vault"),
            )
            .next("choose an empty location"));
        }
    }
    let key_name = layout::ObjectName::keys(keys.version(), keys.kek_version())?;
    put_required(&places, &key_name.as_str().parse()?, Bytes::from(keys.to_bytes())).await?;
    let name = layout::ObjectName::vault();
    debug_assert!(ChunkParameters::default().bytes_max as usize == limits::CDC_BYTES_MAX);
    put_required(&places, &name.as_str().parse()?, description(vault)).await.map(drop)
}

fn description(vault: &VaultRow) -> Bytes {
    let (id, created, chunks) = (vault.id, vault.created, ChunkParameters::default());
    Bytes::from(VaultObject { id, created, chunks }.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{self, Crowd, VAULT, id};
    use holdfast_common::PointId;

    #[test]
    fn what_was_forgotten_is_known_still_where_a_location_says_nothing_of_itself() {
        let mut crowd = Crowd::default();
        crowd.point(1, |_| ());
        crowd.put(&crowd::forgotten(2));
        let point = |number| PointId::from_bytes(id(number));
        crowd.ask(|query| {
            for (number, known) in [(1, true), (2, true), (3, false)] {
                for object in [Object::Point(point(number)), Object::Reach(point(number))] {
                    assert_eq!(is_known(query, &VAULT, object).unwrap(), known, "{object:?}");
                }
            }
            let other = VaultId::from_bytes([1; 16]);
            assert!(!is_known(query, &other, Object::Point(point(2))).unwrap());
        });
    }
}
