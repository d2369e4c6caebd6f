//! A new version of a vault's keys, made while everything goes on.
//!
//! ```text
//!   new pairs ─▶ key object ─▶ every required location ─▶ read back and opened ─▶ one command
//!        └── the older key vouches for it, or no agent believes it
//! ```
//!
//! What is cut short leaves an object that nobody relies on, and its number is not used again: two
//! objects of one version with different pairs would open nothing. In operator custody the operator
//! makes the pair, and coordinators wrap the rest beside it.

use super::{
    custody::all_keys,
    free::{free_version, read_back},
};
use crate::{house::House, places::Places};
use holdfast_common::{Code, Error, Name, Result};
use holdfast_keyring::{IndexPrivateKey, Kek, KeyObject, OperatorsHalf, Succession, VaultKeys};
use holdfast_ledger::{
    Actor,
    command::RotateKeys,
    row::{Custody, VaultRow},
};
use holdfast_repository::layout::ObjectName;

/// What an operator made where the operator's key is.
pub(crate) struct OperatorsVersion {
    pub(crate) half: OperatorsHalf,
    pub(crate) index: IndexPrivateKey,
    pub(crate) succession: Succession,
}

pub(crate) struct Rotated {
    pub(crate) before: u32,
    pub(crate) version: u32,
    pub(crate) object: String,
}

const FIRST_KEK_VERSION: u32 = 1;

pub(crate) async fn rotate(
    house: &House,
    actor: Actor,
    name: &Name,
    operators: Option<OperatorsVersion>,
) -> Result<Rotated> {
    house.ledger.catch_up().await?;
    let row = house.ledger.query().vault_named(name)?;
    insist_on_maker(&row, operators.is_some())?;
    let kek = house.kek()?;
    let version = free_version(&house.places, &row).await?;
    let object = make(house, &row, (&kek, version), operators)?;
    let name = ObjectName::keys(version, object.kek_version())?.into_string();
    let bytes = object.to_bytes();
    house.places.put(&row, &name, bytes.clone().into()).await?;
    insist_on_what_lies_there(&house.places, &row, (&object, &kek)).await?;
    let command = RotateKeys {
        vault: row.id,
        before: row.key_version,
        version,
        key_object: bytes.into(),
        kek: *kek.id.as_bytes(),
    };
    house.ledger.propose(actor, command).await?;
    tracing::info!(vault = %row.name, version, "the vault's keys were rotated");
    Ok(Rotated { before: row.key_version, version, object: name })
}

/// Whoever may open a vault makes its keys.
fn insist_on_maker(row: &VaultRow, by_operator: bool) -> Result<()> {
    match (row.custody, by_operator) {
        (Custody::Coordinator, false) | (Custody::Operator, true) => Ok(()),
        (Custody::Operator, false) => {
            let message = format!("the vault `{}` is in operator custody", row.name);
            Err(Error::new(Code::KeyCustodyRefused, message)
                .next("name the operator's key: holdfast keys rotate VAULT --kek file:PATH"))
        }
        (Custody::Coordinator, true) => {
            let message = format!("the vault `{}` is in coordinator custody", row.name);
            Err(Error::new(Code::KeyWrong, message).next("rotate it without an operator's key"))
        }
    }
}

fn make(
    house: &House,
    row: &VaultRow,
    (kek, version): (&Kek, u32),
    operators: Option<OperatorsVersion>,
) -> Result<KeyObject> {
    let entropy = house.entropy.as_ref();
    let mut keys = all_keys(&house.ledger.query(), row, kek)?;
    let Some(OperatorsVersion { half, index, succession }) = operators else {
        keys.rotate(version, entropy)?;
        return KeyObject::wrap(&keys, version, kek, FIRST_KEK_VERSION, None, entropy);
    };
    if (half.version, half.kek_version) != (version, FIRST_KEK_VERSION) {
        let message = format!("version {} is taken meanwhile", half.version);
        return Err(Error::new(Code::ResourceConflict, message).next("rotate again"));
    }
    let public =
        holdfast_keyring::VaultPublicKey { vault: row.id, version, key: half.vault_public };
    keys.follow(public, index, succession)?;
    KeyObject::wrap_beside(&keys, &half, kek, entropy)
}

/// Before anything is sealed to it: every location gives it back, and the KEK opens it.
async fn insist_on_what_lies_there(
    places: &Places,
    row: &VaultRow,
    (object, kek): (&KeyObject, &Kek),
) -> Result<()> {
    let name = ObjectName::keys(object.version(), object.kek_version())?;
    read_back(places, row, &name, &object.to_bytes()).await?;
    let found: VaultKeys = object.unwrap_coordinator(kek)?;
    found.public(object.version()).map(drop)
}
