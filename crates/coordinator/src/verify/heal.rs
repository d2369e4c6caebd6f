//! Putting a good copy where a bad one was.
//!
//! The bad one goes only when the good one takes its name, all at once: what is damaged may still
//! hold most of its chunks, so a full disk or a kill in between must not take those too. A copy
//! that cannot be written is told of and leaves everything as it was.

use crate::{
    house::{House, Vault},
    places::Place,
};
use bytes::Bytes;
use holdfast_common::{Name, limits};
use holdfast_repository::layout::{self, Object};
use holdfast_storage::ObjectName;

/// A whole copy, and the location it is from.
pub(super) type Good = (String, Bytes);

/// Whether the object is whole in this location now.
pub(super) async fn heal(
    house: &House,
    vault: &Vault,
    (location, store): &Place,
    name: &ObjectName,
    (from, bytes): &Good,
) -> bool {
    let (of, vault) = (&vault.row, &vault.row.name);
    if let Err(error) = house.ledger.peers().insist_on_epoch() {
        tracing::error!(object = %name, %location, %vault, %error, "not healed");
        return false;
    }
    let object = layout::ObjectName::parse(name.as_str());
    if let Ok(Object::Pack(pack)) = object
        && house.ledger.query().is_collected(&of.id, &pack).unwrap_or(true)
    {
        tracing::warn!(object = %name, %location, %vault, "collected meanwhile; not healed");
        return false;
    }
    match store.replace(name, bytes.clone()).await {
        Ok(()) => {
            tracing::info!(object = %name, %location, from, %vault, "healed");
            true
        }
        Err(error) => {
            tracing::error!(object = %name, %location, from, %vault, %error, "not healed");
            false
        }
    }
}

/// Looks where nobody looked yet: at some levels objects are not read, and one that follows may
/// have what it need not have.
pub(super) async fn find_good(
    house: &House,
    vault: &Vault,
    bad: &[Name],
    name: &ObjectName,
    hash: &[u8; 32],
) -> Option<Good> {
    for (location, store) in house.places.readable(&vault.row).await.ok()? {
        if bad.contains(&location) {
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
