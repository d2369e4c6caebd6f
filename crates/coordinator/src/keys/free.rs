//! Which names of key objects are free in a vault's locations, and whether what was put under one
//! is there.
//!
//! Objects are never overwritten, and an attempt that was cut short leaves some behind: a number is
//! free when no required location has it.

use crate::places::{Place, Places};
use holdfast_common::{Code, Error, Result, limits};
use holdfast_ledger::row::VaultRow;
use holdfast_repository::layout::ObjectName;

/// The first version of the vault's keys behind its newest.
pub(super) async fn free_version(places: &Places, row: &VaultRow) -> Result<u32> {
    first_free(places, row, row.key_version + 1, |version| ObjectName::keys(version, 1)).await
}

/// The first version of a KEK for one version of the vault's keys.
pub(super) async fn free_kek_version(places: &Places, row: &VaultRow, version: u32) -> Result<u32> {
    first_free(places, row, 1, |kek_version| ObjectName::keys(version, kek_version)).await
}

async fn first_free(
    places: &Places,
    row: &VaultRow,
    from: u32,
    name: impl Fn(u32) -> Result<ObjectName>,
) -> Result<u32> {
    places.prove_all(row).await?;
    let stores = places.required(row).await?;
    for number in from..=limits::KEY_VERSION_MAX {
        if is_free(&stores, &name(number)?).await? {
            return Ok(number);
        }
    }
    Err(Error::new(Code::LimitExceeded, "there is no free version of a key"))
}

async fn is_free(stores: &[Place], name: &ObjectName) -> Result<bool> {
    for (_, store) in stores {
        if store.head(&name.as_str().parse()?).await?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Every required location gives back what was put.
pub(super) async fn read_back(
    places: &Places,
    row: &VaultRow,
    name: &ObjectName,
    bytes: &[u8],
) -> Result<()> {
    for (location, store) in places.required(row).await? {
        let found = store.get(&name.as_str().parse()?, limits::KEY_OBJECT_BYTES_MAX).await?;
        if found[..] != *bytes {
            let message = format!("the location `{location}` gives back another {name}");
            return Err(Error::new(Code::ObjectDamaged, message)
                .next("look at the location with `holdfast location test`, then try again"));
        }
    }
    Ok(())
}
