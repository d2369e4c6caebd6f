//! Locks as no server here has them: by default, and then Amazon's takes no put without an MD5; and
//! behind a line so slow that a short one ends before it is looked at.

use crate::double::{said, serve_with_bodies};
use crate::s3::store;
use bytes::Bytes;
use holdfast_common::{Clock, Code, Lock, LockClass, SystemClock, Timestamp};
use holdfast_storage::{Locking, ObjectName, ObjectStore, S3Store};
use holdfast_testkit_servers::{Bucket, Ceph, Ministack};
use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

const LOCKS: &str = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>\
                     </ObjectLockConfiguration>";
const NO_MD5: &str = "<Error><Code>InvalidRequest</Code><Message>Content-MD5 is required for Put \
                      with Object Lock</Message></Error>";
const NOTHING: &str = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
const UNKNOWN: &str = "<Error><Code>NotImplemented</Code></Error>";

/// A bucket that looks at no hash; it only wants one to be there. What it says of its locks.
fn bucket_that_says(of_locks: (&'static str, &'static str)) -> String {
    let kept: Mutex<HashMap<String, Vec<u8>>> = Mutex::default();
    serve_with_bodies(move |head, body| {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let way = head.split(' ').nth(1).unwrap_or_default();
        let key = way.split('?').next().unwrap_or_default().to_owned();
        match head.split(' ').next() {
            Some("get") if way.contains("?object-lock") => said(of_locks.0, "", of_locks.1),
            Some("get") if way.contains("list-type=2") => said("200 OK", "", NOTHING),
            Some("get") if way.contains("?versioning") => said("501 Not Implemented", "", UNKNOWN),
            Some("put") if of_locks.1 == LOCKS && !head.contains("content-md5:") => {
                said("400 Bad Request", "", NO_MD5)
            }
            Some("put") if head.contains("if-none-match:") && kept.contains_key(&key) => {
                said("412 Precondition Failed", "", "")
            }
            Some("put") => {
                kept.insert(key, body);
                said("200 OK", "ETag: \"e\"\r\n", "")
            }
            Some("delete") => {
                kept.remove(&key);
                said("204 No Content", "", "")
            }
            _ => match kept.get(&key) {
                Some(body) => said("200 OK", "", &String::from_utf8_lossy(body)),
                None => said("404 Not Found", "", "<Error><Code>NoSuchKey</Code></Error>"),
            },
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_locks_by_default_is_sent_an_md5_with_each_put() {
    let place = format!("bucket/vault?endpoint=http://{}", bucket_that_says(("200 OK", LOCKS)));
    let store = S3Store::open(&place).unwrap().with_keys("key", "secret");
    let name = "vault".parse().unwrap();
    let keeps = store.keeps().await.unwrap();
    assert!(keeps.create_only && !keeps.checked, "{keeps:?}");
    store.put_new(&name, Bytes::from_static(b"v")).await.unwrap();
    store.replace(&name, Bytes::from_static(b"w")).await.unwrap();
    assert_eq!(store.get(&name, 1).await.unwrap(), "w");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_knows_no_locks_and_says_so_can_be_a_location() {
    for answer in [("501 Not Implemented", UNKNOWN), ("501 Not Implemented", "")] {
        let place = format!("bucket/vault?endpoint=http://{}", bucket_that_says(answer));
        let store = S3Store::open(&place).unwrap().with_keys("key", "secret");
        let name = "vault".parse().unwrap();
        store.put_new(&name, Bytes::from_static(b"v")).await.unwrap();
        assert_eq!(store.get(&name, 1).await.unwrap(), "v");
        assert_eq!(store.locking().await.unwrap(), Locking::Off);
        let probe = store.probe().await.unwrap();
        assert!(probe.is_usable() && probe.create_only, "{probe:?}");
        assert_eq!((probe.locking, probe.versioned), (Locking::Off, None), "{probe:?}");
    }
}

/// Passes everything on, and requests about locks and versions late.
fn slow_line_to(endpoint: &str) -> String {
    let upstream = endpoint.strip_prefix("http://").unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(&upstream).unwrap();
            let (from, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || pass(&from, &to, |_| false));
            thread::spawn(move || {
                let is_slow = |part: &str| {
                    ["versionId=", "x-amz-object-lock-mode"].iter().any(|word| part.contains(word))
                };
                pass(&client, &server, is_slow);
            });
        }
    });
    address
}

fn pass(mut from: &TcpStream, mut to: &TcpStream, is_slow: impl Fn(&str) -> bool) {
    let mut part = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut part) {
        if is_slow(&String::from_utf8_lossy(&part[..length])) {
            thread::sleep(Duration::from_millis(1200));
        }
        if to.write_all(&part[..length]).is_err() {
            break;
        }
    }
    // Either side may be gone already.
    drop((from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_is_found_out_on_a_slow_line_too() {
    let Bucket { endpoint, name, key, secret } = Ministack::shared().locking_bucket("slow");
    let place = format!("{name}?endpoint=http://{}", slow_line_to(&endpoint));
    let store = S3Store::open(&place).unwrap().with_keys(&key, &secret);
    let probe = store.probe().await.unwrap();
    assert_eq!(probe.locking, Locking::Enforced, "{probe:?}");
}

fn now() -> Timestamp {
    SystemClock::start().now()
}

/// Every name below a prefix, by pages of two.
async fn names(store: &dyn ObjectStore, prefix: &str) -> Vec<String> {
    let (prefix, mut found): (_, Vec<ObjectName>) = (prefix.parse().unwrap(), Vec::new());
    loop {
        let page = store.list(&prefix, found.last(), 2).await.unwrap();
        if page.is_empty() {
            return found.iter().map(|name| name.as_str().to_owned()).collect();
        }
        found.extend(page.into_iter().map(|meta| meta.name));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_all_keys_takes_nothing_away_that_is_locked() {
    for bucket in
        [Ceph::shared().locking_bucket("held"), Ministack::shared().locking_bucket("held")]
    {
        let at_server = bucket.endpoint.clone();
        let store = store(&bucket, "/vault", "");
        let name = |number: u8| -> ObjectName { format!("points/{number:032x}").parse().unwrap() };
        for number in 0..7 {
            store.put_new(&name(number), Bytes::from(format!("bytes {number}"))).await.unwrap();
        }
        let until = now().plus(Duration::from_secs(30));
        let class = LockClass::Compliance;
        for number in 0..6 {
            let lock = store.lock(&name(number), Lock { class, until }).await.unwrap();
            assert!(lock.covers(&Lock { class, until }), "{at_server}: {lock:?}");
        }
        // Times of objects are told by the second.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let before = now();
        tokio::time::sleep(Duration::from_millis(2100)).await;

        let kept = bucket.ravage();
        assert_eq!(kept.len(), 6, "{at_server}: {kept:?}");
        for number in 0..6 {
            let found = store.get(&name(number), 100).await.map_err(|error| error.code);
            assert_ne!(found, Ok(Bytes::from(format!("bytes {number}"))), "{at_server}");
        }

        let past = crate::s3::store(&bucket, "/vault", &format!("&at={before}"));
        let wanted: Vec<_> = (0..6).map(|number| name(number).as_str().to_owned()).collect();
        assert_eq!(names(&*past, "points/").await, wanted, "{at_server}");
        for number in 0..6 {
            let bytes = format!("bytes {number}");
            let found = past.get(&name(number), 100).await;
            assert_eq!(
                found.map_err(|e| format!("{at_server}: {e:?}")).unwrap(),
                bytes,
                "{at_server}"
            );
            assert_eq!(
                past.get_range(&name(number), 6..7).await.unwrap(),
                bytes[6..],
                "{at_server}"
            );
            assert_eq!(past.head(&name(number)).await.unwrap().unwrap().length, 7);
        }
        assert_eq!(past.head(&name(6)).await.unwrap(), None, "it was not locked");
        assert_eq!(past.get(&name(6), 100).await.unwrap_err().code, Code::ObjectMissing);
        let early = format!("&at={}", before.minus(Duration::from_secs(3600)));
        let early = crate::s3::store(&bucket, "/vault", &early);
        assert_eq!(names(&*early, "points/").await, [""; 0], "{at_server}");
        let refused = [
            past.put_new(&name(9), Bytes::new()).await.map(drop),
            past.replace(&name(0), Bytes::new()).await,
            past.delete(&name(0)).await.map(drop),
            past.lock(&name(0), Lock { class, until }).await.map(drop),
        ];
        for refused in refused {
            assert_eq!(refused.unwrap_err().code, Code::LocationReadOnly, "{at_server}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_only_grows_and_goes_with_what_replaces_its_object() {
    let buckets =
        [Ceph::shared().locking_bucket("grown"), Ministack::shared().locking_bucket("grown")];
    for bucket in buckets {
        let at_server = bucket.endpoint.clone();
        let (store, name) = (store(&bucket, "", ""), "vault".parse().unwrap());
        assert_eq!(store.locking().await.unwrap(), Locking::Enforced, "{at_server}");
        store.put_new(&name, Bytes::from_static(b"v")).await.unwrap();
        let lock = |class, seconds| Lock { class, until: now().plus(Duration::from_secs(seconds)) };
        let first = lock(LockClass::Governance, 20);
        let held = store.lock(&name, first).await.unwrap();
        assert!(
            held.covers(&first) && held.class == LockClass::Governance,
            "{at_server}: {held:?}"
        );
        // A shorter one that is weaker changes nothing; a stronger one keeps the later day.
        let stronger = store.lock(&name, lock(LockClass::Compliance, 5)).await.unwrap();
        assert_eq!(stronger, Lock { class: LockClass::Compliance, ..held }, "{at_server}");
        let same = store.lock(&name, lock(LockClass::Governance, 1)).await.unwrap();
        assert_eq!(same, stronger, "{at_server}");

        assert_eq!(store.delete(&name).await.unwrap_err().code, Code::ObjectLocked);
        store.replace(&name, Bytes::from_static(b"w")).await.unwrap();
        let after = store.lock(&name, lock(LockClass::Governance, 1)).await.unwrap();
        assert_eq!(after, stronger, "{at_server}: what took its place");
        assert_eq!(bucket.ravage().len(), 2, "{at_server}: both versions stay");
    }
}

#[tokio::test]
async fn where_nothing_can_be_locked_no_lock_is_claimed() {
    for bucket in [Ceph::shared().bucket("lockless"), Ministack::shared().bucket("lockless")] {
        let (store, name) = (store(&bucket, "", ""), "vault".parse().unwrap());
        store.put_new(&name, Bytes::from_static(b"v")).await.unwrap();
        assert_eq!(store.locking().await.unwrap(), Locking::Off);
        let lock = Lock { class: LockClass::Compliance, until: now() };
        let refused = store.lock(&name, lock).await.unwrap_err();
        assert!(!refused.is_retryable(), "{refused}");
    }
}
