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
use holdfast_common::{Code, Error, Name, Result, limits};
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
    let query = house.ledger.query();
    let is_collected = match layout::ObjectName::parse(name.as_str()) {
        Ok(Object::Pack(pack)) => query.is_collected(&of.id, &pack),
        Ok(Object::Point(point) | Object::Reach(point)) => query.is_point_gone(&point),
        _ => Ok(false),
    };
    if is_collected.unwrap_or(true) {
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
/// have what it need not have. Without a good one: whether all of them said that they have none.
pub(super) async fn find_good(
    house: &House,
    vault: &Vault,
    bad: &[Name],
    name: &ObjectName,
    hash: &[u8; 32],
) -> Result<(Option<Good>, bool)> {
    let mut is_nowhere = true;
    for (location, store) in house.places.readable(&vault.row).await? {
        if bad.contains(&location) {
            continue;
        }
        match store.get(name, limits::REACH_BYTES_MAX).await {
            Ok(bytes) => {
                if house.hash(bytes.clone()).await? == *hash {
                    return Ok((Some((location.to_string(), bytes)), false));
                }
            }
            Err(error) => is_nowhere &= is_an_answer(&error),
        }
    }
    Ok((None, is_nowhere))
}

/// The location was asked, and does not have it.
fn is_an_answer(error: &Error) -> bool {
    matches!(error.code, Code::ObjectMissing | Code::ObjectDamaged | Code::LimitExceeded)
}
