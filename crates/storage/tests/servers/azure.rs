//! Azure's blobs, on Azurite. It looks at keys, says the hash of what it takes, and cannot begin a
//! listing in the middle.

use crate::{credentials::KeyFile, faults::retried};
use bytes::Bytes;
use holdfast_common::Code;
use holdfast_storage::{
    CloudStore, Keeps, Locking, ObjectPrefix, ObjectStore,
    conformance::{Acks, uphold},
};
use holdfast_testkit_servers::{
    AZURE_ACCOUNT, AZURE_KEY, Azurite, BlobContainer, Fault, Proxy, Weather,
};
use std::sync::Arc;

/// Another key, as long as a real one.
const WRONG_KEY: &str =
    "d3JvbmcgZm9yIHN1cmUgd3JvbmcgZm9yIHN1cmUgd3JvbmcgZm9yIHN1cmUgd3JvbmcgZm9yIHN1cmUgd3Jvbg==";

fn place(container: &BlobContainer, prefix: &str) -> String {
    format!("{AZURE_ACCOUNT}/{}{prefix}?endpoint={}", container.name, container.endpoint)
}

fn store(container: &BlobContainer, prefix: &str, key: &KeyFile) -> Arc<dyn ObjectStore> {
    let place = format!("{}&key_file={}", place(container, prefix), key.path());
    Arc::new(CloudStore::azure(&place).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_of_azurite_conforms() {
    let key = KeyFile::of(AZURE_KEY);
    let container = Azurite::shared().container("conforms");
    uphold(store(&container, "/a/vault", &key), Acks::Exact).await.unwrap();
    assert_eq!(container.keys(), [""; 0], "nothing is left behind");
    uphold(store(&container, "", &key), Acks::Exact).await.unwrap();
    assert_eq!(container.keys(), [""; 0], "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_azurite_enforces_is_found_out() {
    let key = KeyFile::of(AZURE_KEY);
    let container = Azurite::shared().container("keeps");
    let store = store(&container, "/vault", &key);
    assert_eq!(store.keeps().await.unwrap(), Keeps::ALL);
    let probe = store.probe().await.unwrap();
    assert!(probe.is_usable(), "{probe:?}");
    assert_eq!((probe.checked, probe.versioned), (Some(true), None), "{probe:?}");
    assert_eq!(probe.locking, Locking::Off, "{probe:?}");
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos()).unwrap();
    let there = probe.now.unwrap().as_nanos();
    assert!((now - there).abs() < 60_000_000_000, "{now} here, {there} there");
    assert_eq!(container.keys(), [""; 0], "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_told_apart_and_no_error_has_the_key() {
    let (right, wrong) = (KeyFile::of(AZURE_KEY), KeyFile::of(WRONG_KEY));
    let no_key = KeyFile::of("a key that is none");
    let there = Azurite::shared().container("there");
    let gone = BlobContainer { name: "not-there".to_owned(), ..there.clone() };
    let silent = |endpoint: &str| {
        let endpoint = endpoint.to_owned();
        BlobContainer { endpoint, ..there.clone() }
    };
    let (silent, sealed) = (silent("http://127.0.0.1:9"), silent("https://127.0.0.1:9"));
    for (container, key, code) in [
        (&gone, &right, Code::LocationBucketMissing),
        (&silent, &right, Code::LocationIoFailed),
        (&sealed, &right, Code::LocationIoFailed),
        // Azurite has Azure's word for somebody known who may not.
        (&there, &wrong, Code::LocationRefused),
        (&there, &no_key, Code::LocationCredentialsRefused),
    ] {
        let store = store(container, "/vault", key);
        let name = "vault".parse().unwrap();
        let all = ObjectPrefix::all();
        let refusals = [
            store.put_new(&name, Bytes::from_static(b"v")).await.unwrap_err(),
            store.replace(&name, Bytes::from_static(b"v")).await.unwrap_err(),
            store.get(&name, 10).await.unwrap_err(),
            store.get_range(&name, 0..1).await.unwrap_err(),
            store.head(&name).await.unwrap_err(),
            store.list(&all, None, 10).await.unwrap_err(),
            store.keeps().await.unwrap_err(),
        ];
        let codes: Vec<Code> = refusals.iter().map(|error| error.code).collect();
        assert_eq!(codes, [code; 7], "{refusals:?}");
        let deleted = store.delete(&name).await.map_err(|error| error.code);
        assert_eq!(deleted, Err(code), "what lies in no container is not just not there");
        let probe = store.probe().await;
        let told = probe.map(|probe| probe.write_refused.unwrap().code);
        assert_eq!(told.unwrap_or_else(|error| error.code), code);
        let text = format!("{refusals:?} {store:?}");
        for secret in [AZURE_KEY, WRONG_KEY, "a key that is none", "Signature", "SharedKey"] {
            assert!(!text.contains(secret), "a secret in an error: {text}");
        }
    }
    assert!(!Code::LocationCredentialsRefused.retry() && Code::LocationIoFailed.retry());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_object_is_not_listed_and_hides_nothing() {
    let key = KeyFile::of(AZURE_KEY);
    let container = Azurite::shared().container("foreign");
    let store = store(&container, "/vault", &key);
    for foreign in [
        "other",
        "vault//twice",
        "vault/A",
        "vault/B/",
        "vault/packs/",
        "vault/packs/aa/",
        "vault/tmp/left",
        "vault/zebra&sons",
        "vaults/a",
    ] {
        container.put(foreign, "not ours");
    }
    let name = "packs/ab".parse().unwrap();
    store.put_new(&name, Bytes::from_static(b"v")).await.unwrap();
    let all = ObjectPrefix::all();
    for limit in [1, 2, 100] {
        let listed = store.list(&all, None, limit).await.unwrap();
        let names: Vec<_> = listed.into_iter().map(|object| object.name).collect();
        assert_eq!(names, std::slice::from_ref(&name), "pages of {limit}");
        assert_eq!(store.list(&all, Some(&name), limit).await.unwrap(), []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_line_that_goes_wrong_every_promise_holds() {
    let key = KeyFile::of(AZURE_KEY);
    let container = Azurite::shared().container("weather");
    let proxy = Proxy::before(&container.endpoint, 12);
    proxy.set(Weather { permille: 100, faults: Fault::PASSING.to_vec() });
    let container = BlobContainer { endpoint: proxy.endpoint.clone(), ..container };
    let store = retried(store(&container, "/vault", &key), 20);
    uphold(store, Acks::MayBeLost).await.unwrap();
    assert!(proxy.faults() > 20, "only {} faults", proxy.faults());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_alone_is_a_clear_error_that_may_be_tried_again() {
    let key = KeyFile::of(AZURE_KEY);
    let container = Azurite::shared().container("alone");
    let proxy = Proxy::before(&container.endpoint, 13);
    let container = BlobContainer { endpoint: proxy.endpoint.clone(), ..container };
    let store = store(&container, "/vault", &key);
    let name = "packs/aa".parse().unwrap();
    let bytes = Bytes::from(vec![7; 200_000]);
    store.put_new(&name, bytes.clone()).await.unwrap();
    for fault in Fault::PASSING {
        proxy.set(Weather { permille: 1000, faults: vec![fault] });
        let before = proxy.faults();
        let got = store.get(&name, bytes.len()).await;
        assert_eq!(proxy.faults(), before + 1, "{fault:?} is not tried again here");
        match fault {
            Fault::SlowBytes => assert_eq!(got.unwrap(), bytes),
            _ => assert_eq!(got.unwrap_err().code, Code::LocationIoFailed, "{fault:?}"),
        }
        proxy.set(Weather::default());
        assert_eq!(store.get(&name, bytes.len()).await.unwrap(), bytes, "after {fault:?}");
    }
}
