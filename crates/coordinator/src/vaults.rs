//! Making vaults: keys first, their objects in every required location, then the ledger.

use crate::{house::House, places::Shared};
use bytes::Bytes;
use holdfast_common::{Code, Error, Name, Result, VaultId, limits};
use holdfast_keyring::{Custody as KeyCustody, Kek, KeyObject, VaultKeys};
use holdfast_ledger::{
    Actor,
    command::{Outcome, PutVault},
    row::{Custody, Sharing, VaultRow},
};
use holdfast_repository::{ChunkParameters, VaultObject, layout};
use holdfast_storage::placement::put_required;

const FIRST_KEK_VERSION: u32 = 1;

/// Makes a vault, or changes what may change of one.
pub(crate) async fn put(
    house: &House,
    actor: Actor,
    name: Name,
    (sharing, custody, required): (Sharing, Custody, Vec<Name>),
) -> Result<Outcome> {
    insist_on_distinct(&required)?;
    if let Ok(old) = house.ledger.query().vault_named(&name) {
        let vault = VaultRow { sharing, custody, required, ..old };
        return house.ledger.propose(actor, PutVault { vault }).await;
    }
    if custody == Custody::Operator {
        return Err(Error::new(
            Code::KeyCustodyRefused,
            "the keys of a vault in operator custody are made with the operator's key",
        )
        .next("run `holdfast cluster init --custody operator`"));
    }
    make(house, actor, name, sharing, required, None).await
}

/// Makes a new vault; `operator` is the operator's KEK for operator custody.
pub(crate) async fn make(
    house: &House,
    actor: Actor,
    name: Name,
    sharing: Sharing,
    required: Vec<Name>,
    operator: Option<&Kek>,
) -> Result<Outcome> {
    let entropy = house.entropy.as_ref();
    let keys = VaultKeys::generate(VaultId::random(entropy), entropy);
    let version = keys.newest();
    let kek = house.keys()?.custodian.kek();
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
        beside: None,
    };
    write_objects(house, &vault, &object).await?;
    house.ledger.propose(actor, PutVault { vault }).await
}

/// A location that is named twice holds one copy.
fn insist_on_distinct(required: &[Name]) -> Result<()> {
    let twice = required.iter().enumerate().find(|(at, name)| required[..*at].contains(name));
    let Some((_, name)) = twice else { return Ok(()) };
    Err(Shared(name.clone(), name.clone()).error())
}

/// A location belongs to one vault: its `vault` object says to which.
async fn write_objects(house: &House, vault: &VaultRow, keys: &KeyObject) -> Result<()> {
    let places = house.places.required(vault).await?;
    house.places.insist_apart(vault)?;
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
    let description =
        VaultObject { id: vault.id, created: vault.created, chunks: ChunkParameters::default() };
    let key_name = layout::ObjectName::keys(keys.version(), keys.kek_version())?;
    put_required(&places, &key_name.as_str().parse()?, Bytes::from(keys.to_bytes())).await?;
    let name = layout::ObjectName::vault();
    debug_assert!(ChunkParameters::default().bytes_max as usize == limits::CDC_BYTES_MAX);
    let description = Bytes::from(description.to_bytes());
    put_required(&places, &name.as_str().parse()?, description).await.map(drop)
}
