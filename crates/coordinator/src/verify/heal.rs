//! Putting a good copy where a bad one was. The bad one goes only when a good one is in hand.

use crate::{
    house::{House, Vault},
    places::Place,
};
use bytes::Bytes;
use holdfast_common::{Result, limits};
use holdfast_storage::ObjectName;

/// Heals the object in `places[bad]`; says where the good copy came from, if there was one.
pub(super) async fn heal(
    house: &House,
    vault: &Vault,
    places: &[Place],
    bad: usize,
    name: &ObjectName,
    hash: &[u8; 32],
    known: Option<&(String, Bytes)>,
) -> Result<Option<String>> {
    let found = match known {
        Some(good) => Some(good.clone()),
        None => find_good(house, places, bad, name, hash).await,
    };
    let Some((from, bytes)) = found else { return Ok(None) };
    let store = &places[bad].1;
    if store.head(name).await?.is_some() {
        store.delete(name).await?;
    }
    store.put_new(name, bytes).await?;
    let (location, vault) = (&places[bad].0, &vault.row.name);
    tracing::info!(object = %name, %location, from, %vault, "healed");
    Ok(Some(from))
}

async fn find_good(
    house: &House,
    places: &[Place],
    bad: usize,
    name: &ObjectName,
    hash: &[u8; 32],
) -> Option<(String, Bytes)> {
    for (at, (location, store)) in places.iter().enumerate() {
        if at == bad {
            continue;
        }
        if let Ok(bytes) = store.get(name, limits::REACH_BYTES_MAX).await
            && house.hash(bytes.clone()).await.is_ok_and(|found| found == *hash)
        {
            return Some((location.to_string(), bytes));
        }
    }
    None
}
