//! Google Cloud Storage, on a server that speaks as it does. It looks at no token; what Google
//! says to a wrong one is told by the tests of `clouds`.

use crate::{credentials::KeyFile, faults::retried};
use bytes::Bytes;
use holdfast_common::Code;
use holdfast_storage::{
    CloudStore, Keeps, Locking, ObjectPrefix, ObjectStore,
    conformance::{Acks, uphold},
};
use holdfast_testkit_servers::{Bucket, FakeGcs, Fault, GcsBucket, Ministack, Proxy, Weather};
use std::sync::Arc;

/// A service account that asks nobody for a token.
pub(crate) const ACCOUNT: &str = r#"{"client_email": "tests@example", "private_key": "", "private_key_id": "",
                          "disable_oauth": true}"#;

fn place(bucket: &GcsBucket, prefix: &str) -> String {
    format!("{}{prefix}?endpoint={}", bucket.name, bucket.endpoint)
}

fn store(bucket: &GcsBucket, prefix: &str, account: &KeyFile) -> Arc<dyn ObjectStore> {
    let place = format!("{}&service_account={}", place(bucket, prefix), account.path());
    Arc::new(CloudStore::gcs(&place).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_conforms() {
    let account = KeyFile::of(ACCOUNT);
    let bucket = FakeGcs::shared().bucket("conforms");
    uphold(store(&bucket, "/a/vault", &account), Acks::Exact).await.unwrap();
    assert_eq!(bucket.keys(), [""; 0], "nothing is left behind");
    uphold(store(&bucket, "", &account), Acks::Exact).await.unwrap();
    assert_eq!(bucket.keys(), [""; 0], "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_enforces_is_found_out() {
    let account = KeyFile::of(ACCOUNT);
    let bucket = FakeGcs::shared().bucket("keeps");
    let store = store(&bucket, "/vault", &account);
    assert_eq!(store.keeps().await.unwrap(), Keeps::ALL);
    let probe = store.probe().await.unwrap();
    assert!(probe.is_usable() && probe.now.is_some(), "{probe:?}");
    assert_eq!((probe.checked, probe.versioned), (Some(true), None), "{probe:?}");
    assert_eq!(probe.locking, Locking::Off, "{probe:?}");
    assert_eq!(bucket.keys(), [""; 0], "nothing is left behind");
}

/// An S3 server understands Google's interface but for its condition, and says no hash.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_overlooks_the_condition_is_found_out_and_not_relied_on() {
    let account = KeyFile::of(ACCOUNT);
    let Bucket { endpoint, name, .. } = Ministack::shared().bucket("overlooks");
    let store = store(&GcsBucket { endpoint, name }, "/vault", &account);
    let keeps = store.keeps().await.unwrap();
    assert_eq!(keeps, Keeps { create_only: false, checked: false });
    assert!(!store.probe().await.unwrap().is_usable());
    let name = "vault".parse().unwrap();
    assert!(!store.put_new(&name, Bytes::from_static(b"v")).await.unwrap().existed);
    assert!(store.put_new(&name, Bytes::from_static(b"v")).await.unwrap().existed);
    let other = store.put_new(&name, Bytes::from_static(b"w")).await.unwrap_err();
    assert_eq!(other.code, Code::ObjectConflict, "looked for, as well as that can be done");
    assert_eq!(store.get(&name, 1).await.unwrap(), "v");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_told_apart() {
    let (right, none) = (KeyFile::of(ACCOUNT), KeyFile::of("not JSON"));
    let bad = r#"{"client_email": "a", "private_key": "no PEM", "private_key_id": "b"}"#;
    let bad = KeyFile::of(bad);
    let there = FakeGcs::shared().bucket("there");
    let gone = GcsBucket { name: "not-there".to_owned(), ..there.clone() };
    let silent = GcsBucket { endpoint: "http://127.0.0.1:9".to_owned(), ..there.clone() };
    let name = "vault".parse().unwrap();
    for (bucket, account, code) in [
        (&gone, &right, Code::LocationBucketMissing),
        (&silent, &right, Code::LocationIoFailed),
        (&there, &none, Code::LocationCredentialsRefused),
        (&there, &bad, Code::LocationCredentialsRefused),
    ] {
        let store = store(bucket, "/vault", account);
        let put = store.put_new(&name, Bytes::from_static(b"v")).await.unwrap_err();
        let keeps = store.keeps().await.unwrap_err();
        assert_eq!((put.code, keeps.code), (code, code), "{put:?} {keeps:?}");
        let head = store.head(&name).await.unwrap_err();
        let deleted = store.delete(&name).await.unwrap_err();
        // This server has no word for a bucket that it cannot list: see `listing`.
        let due = match code {
            Code::LocationBucketMissing => Code::LocationIoFailed,
            code => code,
        };
        assert_eq!((head.code, deleted.code), (due, due), "{head:?} {deleted:?}");
        assert!(!format!("{put:?} {keeps:?}").contains("no PEM"), "{put:?} {keeps:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_object_is_not_listed_and_hides_nothing() {
    let account = KeyFile::of(ACCOUNT);
    let bucket = FakeGcs::shared().bucket("foreign");
    let store = store(&bucket, "/vault", &account);
    for foreign in [
        "other",
        "vault//twice",
        "vault/A",
        "vault/B/",
        "vault/packs/aa/",
        "vault/tmp/left",
        "vault/z&s",
        "vaults/a",
    ] {
        bucket.put(foreign, "not ours");
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
    let account = KeyFile::of(ACCOUNT);
    let bucket = FakeGcs::shared().bucket("weather");
    let proxy = Proxy::before(&bucket.endpoint, 11);
    proxy.set(Weather { permille: 100, faults: Fault::PASSING.to_vec() });
    let bucket = GcsBucket { endpoint: proxy.endpoint.clone(), ..bucket };
    let store = retried(store(&bucket, "/vault", &account), 20);
    uphold(store, Acks::MayBeLost).await.unwrap();
    assert!(proxy.faults() > 20, "only {} faults", proxy.faults());
}
