//! S3, on four servers that differ: Ceph enforces nearly everything, Ministack looks at no
//! signature, Moto at no bytes, s3s-fs at no condition.

use bytes::Bytes;
use holdfast_common::{Code, Lock, LockClass};
use holdfast_storage::{
    Keeps, Locking, ObjectStore, S3Store,
    conformance::{Acks, uphold},
};
use holdfast_testkit_servers::{Bucket, Ceph, Ministack, Moto, S3sFs};
use std::sync::Arc;

/// A location in a bucket, with its keys in a profile as people have them.
pub(crate) fn store(bucket: &Bucket, prefix: &str, options: &str) -> Arc<dyn ObjectStore> {
    let Bucket { endpoint, name, key, secret } = bucket;
    let place = format!("{name}{prefix}?endpoint={endpoint}{options}");
    Arc::new(S3Store::open(&place).unwrap().with_keys(key, secret))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_of_ministack_conforms() {
    let bucket = Ministack::shared().bucket("conforms");
    uphold(store(&bucket, "/a/vault", ""), Acks::Exact).await.unwrap();
    assert_eq!(bucket.keys(), [""; 0], "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_of_ceph_conforms() {
    let bucket = Ceph::shared().bucket("conforms");
    uphold(store(&bucket, "", ""), Acks::Exact).await.unwrap();
    assert_eq!(bucket.keys(), [""; 0], "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_of_moto_conforms() {
    let bucket = Moto::shared().bucket("conforms");
    uphold(store(&bucket, "/vault", ""), Acks::Exact).await.unwrap();
    assert_eq!(bucket.keys(), [""; 0], "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_keeps_versions_conforms() {
    let bucket = Ministack::shared().bucket("versions");
    bucket.version();
    uphold(store(&bucket, "/vault", ""), Acks::Exact).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_tried_leaves_no_version_behind() {
    for bucket in [Ministack::shared().bucket("probed"), Ceph::shared().bucket("probed")] {
        bucket.version();
        let store = store(&bucket, "/vault", "");
        store.keeps().await.unwrap();
        let probe = store.probe().await.unwrap();
        assert_eq!(probe.versioned, Some(true), "{probe:?}");
        assert_eq!(bucket.versions(), [""; 0], "at {}", bucket.endpoint);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_enforces_is_found_out() {
    let ceph = store(&Ceph::shared().bucket("keeps"), "", "");
    assert_eq!(ceph.keeps().await.unwrap(), Keeps::ALL);
    let ministack = store(&Ministack::shared().bucket("keeps"), "", "");
    assert_eq!(ministack.keeps().await.unwrap(), Keeps::ALL);
    let moto = store(&Moto::shared().bucket("keeps"), "", "");
    let keeps = moto.keeps().await.unwrap();
    assert_eq!(keeps, Keeps { create_only: true, checked: false }, "it looks at no bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_counts_where_a_locked_version_outlives_its_delete() {
    use Locking::{Enforced, Off};
    for (name, bucket, locking, create_only) in [
        // It forgets the condition of a put where it keeps versions.
        ("ceph with", Ceph::shared().locking_bucket("locks"), Enforced, false),
        ("ceph without", Ceph::shared().bucket("no-locks"), Off, true),
        ("ministack with", Ministack::shared().locking_bucket("locks"), Enforced, true),
        ("ministack without", Ministack::shared().bucket("no-locks"), Off, true),
    ] {
        let probe = store(&bucket, "/vault", "").probe().await.unwrap();
        assert_eq!((probe.write_refused.as_ref(), probe.refused.len()), (None, 0), "{probe:?}");
        assert_eq!((probe.locking, probe.create_only), (locking, create_only), "{name}: {probe:?}");
        assert_eq!(probe.versioned, Some(locking == Enforced), "{name}");
        assert!(probe.now.is_some(), "{name} says what time it is");
        assert_eq!(bucket.keys(), [""; 0], "{name}: nothing is left behind");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_in_which_every_writer_wins_is_no_fence_and_claims_no_lock() {
    let server = S3sFs::start();
    let bucket = server.bucket("everybody-wins");
    let store = store(&bucket, "/vault", "");
    let keeps = store.keeps().await.unwrap();
    assert_eq!(keeps, Keeps { create_only: false, checked: true });
    let probe = store.probe().await.unwrap();
    assert_eq!((probe.write_refused.as_ref(), probe.refused.len()), (None, 0), "{probe:?}");
    assert!(!probe.is_usable() && !probe.create_only, "{probe:?}");
    assert_eq!(probe.refusal().unwrap().code, Code::LocationUnfenced);
    assert_eq!((probe.locking, probe.versioned), (Locking::Off, None), "{probe:?}");
    let until = probe.now.unwrap().plus(std::time::Duration::from_secs(60));
    let lock = Lock { class: LockClass::Governance, until };
    // A copy that follows may lie there all the same: one after the other is kept from writing.
    let name = "vault".parse().unwrap();
    store.put_new(&name, Bytes::from_static(b"v")).await.unwrap();
    let other = store.put_new(&name, Bytes::from_static(b"w")).await.unwrap_err();
    assert_eq!(other.code, Code::ObjectConflict);
    assert_eq!(store.get(&name, 1).await.unwrap(), "v");
    let refused = store.lock(&name, lock).await.unwrap_err();
    assert!(!refused.is_retryable(), "{refused:?}");
    assert_eq!(bucket.keys(), ["vault/vault"], "nothing else is left behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_may_not_is_told_what_is_missing() {
    let bucket = Moto::shared().bucket("narrow");
    let name = "vault".parse().unwrap();
    let put = async |bucket: &Bucket| {
        let store = store(bucket, "", "");
        store.put_new(&name, Bytes::from_static(b"v")).await.map_err(|error| error.code)
    };
    let unknown = Bucket { key: "AKIAUNKNOWN".to_owned(), ..bucket.clone() };
    assert_eq!(put(&unknown).await.unwrap_err(), Code::LocationCredentialsRefused);
    let wrong = Bucket { secret: "wrong".to_owned(), ..bucket.clone() };
    assert_eq!(put(&wrong).await.unwrap_err(), Code::LocationCredentialsRefused);
    let reader = Moto::shared().narrowed(&bucket, &["s3:GetObject", "s3:ListBucket"]);
    assert_eq!(put(&reader).await.unwrap_err(), Code::LocationRefused);
    let refused = store(&reader, "", "").probe().await.unwrap();
    assert_eq!(refused.write_refused.map(|error| error.code), Some(Code::LocationRefused));

    let allowed = ["s3:GetObject", "s3:ListBucket", "s3:PutObject"];
    let other = Moto::shared().bucket("no-deletes");
    let keeper = Moto::shared().narrowed(&other, &allowed);
    let probe = store(&keeper, "", "").probe().await.unwrap();
    let codes: Vec<_> = probe.refused.iter().map(|(call, error)| (*call, error.code)).collect();
    let delete = holdfast_storage::layers::Operation::Delete;
    assert_eq!(codes, [(delete, Code::LocationRefused)]);
    assert!(!probe.is_usable());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_is_not_there_and_a_server_that_is_not_there_are_told_apart() {
    let there = Ceph::shared().bucket("there");
    let name = "vault".parse().unwrap();
    let gone = Bucket { name: "not-there".to_owned(), ..there.clone() };
    for (bucket, code) in [
        (gone, Code::LocationBucketMissing),
        (
            Bucket { endpoint: "http://127.0.0.1:9".to_owned(), ..there.clone() },
            Code::LocationIoFailed,
        ),
        (Bucket { secret: "wrong".to_owned(), ..there }, Code::LocationCredentialsRefused),
    ] {
        let store = store(&bucket, "", "");
        let put = store.put_new(&name, Bytes::from_static(b"v")).await.unwrap_err();
        assert_eq!(put.code, code, "{put:?}");
        let get = store.get(&name, 10).await.unwrap_err();
        assert_eq!(get.code, code, "{get:?}");
        let head = store.head(&name).await.unwrap_err();
        let deleted = store.delete(&name).await.unwrap_err();
        // The answer to a head has no word for what is wrong; only what seems absent is looked for.
        let due = match code {
            Code::LocationCredentialsRefused => Code::LocationRefused,
            code => code,
        };
        assert_eq!((head.code, deleted.code), (due, due), "{head:?} {deleted:?}");
        let text = format!("{put:?} {get:?}");
        assert!(!text.contains(&bucket.secret), "a secret in an error: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_stored_as_the_url_says() {
    let bucket = Ministack::shared().bucket("classes");
    let name = "vault".parse().unwrap();
    let options = "&storage_class=standard_ia&sse=aes256";
    let store = store(&bucket, "/cold", options);
    store.put_new(&name, Bytes::from_static(b"v")).await.unwrap();
    assert_eq!(store.get(&name, 1).await.unwrap(), "v");
    let stored = bucket.head("cold/vault");
    assert!(stored.contains(r#""class": "STANDARD_IA""#), "{stored}");
    assert!(stored.contains(r#""sse": "AES256""#), "{stored}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_object_is_not_listed_and_hides_nothing() {
    let bucket = Ministack::shared().bucket("foreign");
    let store = store(&bucket, "/vault", "");
    for foreign in ["vault/A", "vault/B", "vault/README.md", "vault/tmp/left", "other", "vaults/a"]
    {
        bucket.put(foreign, "not ours");
    }
    let name = "packs/aa".parse().unwrap();
    store.put_new(&name, Bytes::from_static(b"v")).await.unwrap();
    let all = holdfast_storage::ObjectPrefix::all();
    for limit in [1, 2, 100] {
        let listed = store.list(&all, None, limit).await.unwrap();
        let names: Vec<_> = listed.into_iter().map(|object| object.name).collect();
        assert_eq!(names, std::slice::from_ref(&name), "pages of {limit}");
        assert_eq!(store.list(&all, Some(&name), limit).await.unwrap(), []);
    }
}
