//! What is left of what was tried, as no server here can be brought to have it: a day old, or in a
//! bucket that locks by default.

use crate::double::{said, serve_with_bodies};
use bytes::Bytes;
use holdfast_storage::{ObjectStore, S3Store};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

const NOW: &str = "Date: Sun, 22 Nov 2026 20:00:00 GMT\r\n";
const BY_DEFAULT: &str = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>\
    <Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>30</Days></DefaultRetention></Rule>\
    </ObjectLockConfiguration>";
const VERSIONS: &str = "<ListVersionsResult><IsTruncated>false</IsTruncated>\
    <Version><Key>vault/tmp/probe-old</Key><VersionId>v1</VersionId>\
    <LastModified>2026-11-21T19:59:59Z</LastModified></Version>\
    <Version><Key>vault/tmp/probe-young</Key><VersionId>v2</VersionId>\
    <LastModified>2026-11-21T20:00:01Z</LastModified></Version>\
    <DeleteMarker><Key>vault/tmp/probe-old</Key><VersionId>v3</VersionId>\
    <LastModified>2026-11-21T19:59:59Z</LastModified></DeleteMarker></ListVersionsResult>";
const KEYS: &str = "<ListBucketResult><IsTruncated>false</IsTruncated>\
    <Contents><Key>vault/tmp/probe-old</Key><Size>1</Size>\
    <LastModified>2026-11-21T19:59:59Z</LastModified></Contents>\
    <Contents><Key>vault/tmp/probe-young</Key><Size>1</Size>\
    <LastModified>2026-11-21T20:00:01Z</LastModified></Contents></ListBucketResult>";
const NONE: &str = "<Error><Code>ObjectLockConfigurationNotFoundError</Code></Error>";
const UNKNOWN: &str = "<Error><Code>NotImplemented</Code></Error>";
const DENIED: &str = "<Error><Code>AccessDenied</Code></Error>";

#[derive(Clone, Copy, Default)]
struct Bucket {
    knows_versions: bool,
    locks_by_default: bool,
    /// Nobody says there how long a lock lasts.
    denies_locks: bool,
}

/// What was asked of it, by the heads of the requests.
type Asked = Arc<Mutex<Vec<String>>>;

impl Bucket {
    fn open(self) -> (S3Store, Asked) {
        let (asked, kept) = (Asked::default(), Mutex::<HashMap<String, Vec<u8>>>::default());
        let heads = asked.clone();
        let address = serve_with_bodies(move |head, body| {
            heads.lock().unwrap_or_else(PoisonError::into_inner).push(head.to_owned());
            self.answer(head, body, &mut kept.lock().unwrap_or_else(PoisonError::into_inner))
        });
        let place = format!("bucket/vault?endpoint=http://{address}");
        (S3Store::open(&place).unwrap().with_keys("key", "secret"), asked)
    }

    fn answer(self, head: &str, body: Vec<u8>, kept: &mut HashMap<String, Vec<u8>>) -> Vec<u8> {
        let mut words = head.split(' ');
        let (verb, way) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (key, query) = way.split_once('?').unwrap_or((way, ""));
        let has_lock = head.contains("x-amz-object-lock-mode:");
        match verb {
            "head" => said("200 OK", NOW, ""),
            "get" if query.contains("object-lock") && self.locks_by_default => {
                said("200 OK", "", BY_DEFAULT)
            }
            "get" if query.contains("object-lock") => said("404 Not Found", "", NONE),
            "get" if query.contains("versions") && self.knows_versions => {
                said("200 OK", "", VERSIONS)
            }
            "get" if query.contains("versions") => said("501 Not Implemented", "", UNKNOWN),
            "get" if query.contains("list-type=2") => said("200 OK", "", KEYS),
            "put" if has_lock && self.denies_locks => said("403 Forbidden", "", DENIED),
            "put" if head.contains("if-none-match:") && kept.contains_key(key) => {
                said("412 Precondition Failed", "", "")
            }
            "put" => {
                kept.insert(key.to_owned(), body);
                said("200 OK", "ETag: \"e\"\r\n", "")
            }
            "delete" => {
                kept.remove(key);
                said("204 No Content", "", "")
            }
            _ => match kept.get(key) {
                Some(body) => said("200 OK", "", &String::from_utf8_lossy(body)),
                None => said("404 Not Found", "", "<Error><Code>NoSuchKey</Code></Error>"),
            },
        }
    }
}

fn heads(asked: &Asked, begins: &str) -> Vec<String> {
    let asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
    asked.iter().filter(|head| head.starts_with(begins)).cloned().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_tried_a_day_ago_is_swept_with_its_versions_and_nothing_younger() {
    for knows_versions in [true, false] {
        let (store, asked) = Bucket { knows_versions, ..Bucket::default() }.open();
        let probe = store.probe().await.unwrap();
        assert!(probe.is_usable(), "{probe:?}");
        let old = heads(&asked, "delete /bucket/vault/tmp/probe-old");
        match knows_versions {
            true => {
                assert_eq!(old.len(), 2, "{old:?}");
                assert!(old[0].contains("versionid=v1") && old[1].contains("versionid=v3"));
            }
            false => assert_eq!(old.len(), 1, "{old:?}"),
        }
        assert_eq!(heads(&asked, "delete /bucket/vault/tmp/probe-young"), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_tried_in_a_bucket_that_locks_by_default_is_locked_for_seconds() {
    let (store, asked) = Bucket { locks_by_default: true, ..Bucket::default() }.open();
    store.keeps().await.unwrap();
    let puts = heads(&asked, "put /bucket/vault/tmp/");
    assert!(puts.len() > 30, "{}", puts.len());
    for put in puts {
        assert!(put.contains("x-amz-object-lock-mode: governance"), "{put}");
        let until = "x-amz-object-lock-retain-until-date: 2026-11-22t20:00:10z";
        assert!(put.contains(until), "{put}");
    }
    // What is stored has the lock that the bucket gives it.
    store.put_new(&"vault".parse().unwrap(), Bytes::from_static(b"v")).await.unwrap();
    let put = heads(&asked, "put /bucket/vault/vault");
    assert!(put.len() == 1 && !put[0].contains("x-amz-object-lock"), "{put:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_may_say_how_long_or_nothing_is_locked_what_is_tried_has_no_lock_of_its_own() {
    for (locks_by_default, denies_locks) in [(true, true), (false, false)] {
        let bucket = Bucket { locks_by_default, denies_locks, ..Bucket::default() };
        let (store, asked) = bucket.open();
        assert!(store.keeps().await.unwrap().create_only);
        let puts = heads(&asked, "put /bucket/vault/tmp/");
        let locked = puts.iter().filter(|put| put.contains("x-amz-object-lock")).count();
        assert_eq!(locked, usize::from(denies_locks), "it is tried once");
    }
}
