//! The cluster recovery key in the locations, wrapped as the ledger has it: put before the first
//! extent, and again under another name when the KEK is another one.

use crate::{house::House, keys::follow};
use holdfast_common::Result;
use holdfast_keyring::{ClusterKeyObject, KekId};
use holdfast_ledger::row::VaultRow;
use holdfast_repository::layout::ObjectName;

/// Puts it into every location of the catalog; the same one again changes nothing.
pub(crate) async fn put(house: &House, vault: &VaultRow) -> Result<()> {
    let cluster = house.ledger.query().cluster()?;
    // As the ledger has it, even where this member is still to take the new one.
    let kek = match follow::in_use(&house.ledger.query())? {
        Some(row) => KekId::from_bytes(row.id),
        None => house.keys()?.custodian.kek().id,
    };
    let derivation = cluster.kek_derivation.as_ref().map(|bytes| &bytes[..]);
    let object = ClusterKeyObject::new(cluster.id, kek, &cluster.recovery_key_wrapped, derivation);
    let name = ObjectName::cluster_key(kek.as_bytes());
    house.places.put(vault, name.as_str(), object.to_bytes().into()).await
}
