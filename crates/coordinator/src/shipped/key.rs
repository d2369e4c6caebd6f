//! The cluster recovery key in the locations, wrapped as the ledger has it: put before the first
//! extent, and again under another name when the KEK is another one.
//!
//! A KEK may come to be used that was in use before, or that a change which came to nothing was to
//! bring. Then it lies there already, under the same name and with another seal, and objects never
//! change: what opens to the same key is as good, and stays.

use crate::{
    house::House,
    keys::{follow, secrets},
    places::Place,
};
use bytes::Bytes;
use holdfast_common::{Code, Result, limits};
use holdfast_keyring::{ClusterKeyObject, ClusterRecoveryKey, Kek, KekId};
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
    let put = house.places.put(vault, name.as_str(), object.to_bytes().into()).await;
    match put {
        Err(error) if error.code == Code::ObjectConflict => {}
        put => return put,
    }
    let kek = house.kek().await?;
    let recovery = secrets::open_recovery_key(&kek, &cluster.recovery_key_wrapped)?;
    house.places.prove_all(vault).await?;
    let places = house.places.required(vault).await?;
    bring(&places, object, (&kek, &recovery)).await.map(drop)
}

/// Puts it where it lacks, as it lies in other locations, and else as it is given; says which.
pub(crate) async fn bring(
    places: &[Place],
    given: ClusterKeyObject,
    (kek, key): (&Kek, &ClusterRecoveryKey),
) -> Result<ClusterKeyObject> {
    let name = ObjectName::cluster_key(kek.id.as_bytes()).as_str().parse()?;
    let (mut lying, mut lacking) = (None, Vec::new());
    for (_, store) in places {
        let bytes = match store.get(&name, limits::KEY_OBJECT_BYTES_MAX).await {
            Err(error) if error.code == Code::ObjectMissing => {
                lacking.push(store);
                continue;
            }
            bytes => bytes?,
        };
        let object = ClusterKeyObject::from_bytes(&bytes)?;
        object.insist_on_key(given.cluster, kek, key)?;
        lying.get_or_insert(object);
    }
    let object = lying.unwrap_or(given);
    let bytes = Bytes::from(object.to_bytes());
    for store in lacking {
        store.put_new(&name, bytes.clone()).await?;
    }
    Ok(object)
}
