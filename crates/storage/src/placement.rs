//! All required locations, or none that counts.
//!
//! A vault names the locations that every object must reach before it may be committed. The puts
//! run side by side; one failure fails the whole, and the error names each location that did not
//! store the object. What did arrive stays: putting it again finds the same bytes.

use crate::{ObjectName, ObjectStore, Receipt};
use bytes::Bytes;
use futures::future::join_all;
use holdfast_common::{Code, Error, Name, Result};
use std::sync::Arc;

/// Puts an object into every store; the receipts are in the stores' order.
pub async fn put_required(
    stores: &[(Name, Arc<dyn ObjectStore>)],
    name: &ObjectName,
    bytes: Bytes,
) -> Result<Vec<Receipt>> {
    if stores.is_empty() {
        let message = format!("object {name} has no location that it must lie in");
        return Err(
            Error::new(Code::LocationMissing, message).next("add a required location to the vault")
        );
    }
    let (mut receipts, mut failures) = (Vec::with_capacity(stores.len()), Vec::new());
    for (location, outcome) in put_each(stores, name, &bytes).await {
        match outcome {
            Ok(receipt) => receipts.push(receipt),
            Err(error) => failures.push((location, error)),
        }
    }
    match refusal(name, &failures, stores.len()) {
        Some(error) => Err(error),
        None => Ok(receipts),
    }
}

/// Puts an object into every store, and says of each what came of it.
pub async fn put_each(
    stores: &[(Name, Arc<dyn ObjectStore>)],
    name: &ObjectName,
    bytes: &Bytes,
) -> Vec<(Name, Result<Receipt>)> {
    let puts = stores.iter().map(|(location, store)| async {
        (location.clone(), store.put_new(name, bytes.clone()).await)
    });
    join_all(puts).await
}

/// What those that failed come to, of so many that are required. The whole is worth another try
/// only if every part is, so a final failure gives its code.
pub fn refusal(name: &ObjectName, failures: &[(Name, Error)], required: usize) -> Option<Error> {
    let (_, first) = failures.first()?;
    let telling =
        failures.iter().map(|(_, error)| error).find(|e| !e.is_retryable()).unwrap_or(first);
    let names: Vec<&str> = failures.iter().map(|(location, _)| location.as_str()).collect();
    let causes: Vec<String> = failures.iter().map(|(l, error)| format!("{l}: {error}")).collect();
    let message = format!(
        "object {name} was not stored in {} of {required} required locations: {}",
        names.len(),
        names.join(", ")
    );
    Some(Error {
        code: telling.code,
        message,
        cause: Some(causes.join("; ")),
        next: telling.next.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;
    use crate::memory::MemoryOptions;
    use holdfast_common::SystemClock;

    fn location(name: &str, bytes_max: u64) -> (Name, Arc<dyn ObjectStore>) {
        let options = MemoryOptions { bytes_max, ..MemoryOptions::default() };
        let store = MemoryStore::with_options(options, Arc::new(SystemClock::start()));
        (name.parse().unwrap(), Arc::new(store))
    }

    #[tokio::test]
    async fn every_required_location_gives_a_receipt_in_order() {
        let stores = [location("east", 10), location("west", 10)];
        let name: ObjectName = "vault".parse().unwrap();
        stores[1].1.put_new(&name, Bytes::from_static(b"v")).await.unwrap();
        let receipts = put_required(&stores, &name, Bytes::from_static(b"v")).await.unwrap();
        let existed: Vec<bool> = receipts.iter().map(|receipt| receipt.existed).collect();
        assert_eq!(existed, [false, true]);
        assert!(receipts.iter().all(|receipt| receipt.blake3 == blake3::hash(b"v")));
    }

    #[tokio::test]
    async fn one_failure_fails_the_whole_and_is_named() {
        let stores = [location("east", 10), location("west", 1), location("north", 0)];
        let name: ObjectName = "vault".parse().unwrap();
        let error = put_required(&stores, &name, Bytes::from_static(b"vv")).await.unwrap_err();
        assert_eq!(error.code, Code::LocationFull);
        assert!(error.message.ends_with("2 of 3 required locations: west, north"), "{error}");
        assert!(stores[0].1.head(&name).await.unwrap().is_some(), "what arrived stays");
    }

    #[tokio::test]
    async fn a_final_failure_outweighs_one_worth_another_try() {
        let stores = [location("full", 0), location("other", 10)];
        let name: ObjectName = "vault".parse().unwrap();
        stores[1].1.put_new(&name, Bytes::from_static(b"old")).await.unwrap();
        let error = put_required(&stores, &name, Bytes::from_static(b"new")).await.unwrap_err();
        assert_eq!(error.code, Code::ObjectConflict);
        assert!(!error.is_retryable());
    }

    #[tokio::test]
    async fn no_required_location_is_not_success() {
        let name: ObjectName = "vault".parse().unwrap();
        let error = put_required(&[], &name, Bytes::new()).await.unwrap_err();
        assert_eq!(error.code, Code::LocationMissing);
    }
}
