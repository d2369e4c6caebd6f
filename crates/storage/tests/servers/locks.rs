//! Locks as no server here has them: by default, and then Amazon's takes no put without an MD5; and
//! behind a line so slow that a short one ends before it is looked at.

use crate::double::{said, serve_with_bodies};
use bytes::Bytes;
use holdfast_storage::{Locking, ObjectStore, S3Store};
use holdfast_testkit_servers::{Bucket, Ministack};
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

/// A bucket that looks at no hash; it only wants one to be there.
fn locking_bucket() -> String {
    let kept: Mutex<HashMap<String, Vec<u8>>> = Mutex::default();
    serve_with_bodies(move |head, body| {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let way = head.split(' ').nth(1).unwrap_or_default();
        let key = way.split('?').next().unwrap_or_default().to_owned();
        match head.split(' ').next() {
            Some("get") if way.contains("?object-lock") => said("200 OK", "", LOCKS),
            Some("put") if !head.contains("content-md5:") => said("400 Bad Request", "", NO_MD5),
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
    let place = format!("bucket/vault?endpoint=http://{}", locking_bucket());
    let store = S3Store::open(&place).unwrap().with_keys("key", "secret");
    let name = "vault".parse().unwrap();
    let keeps = store.keeps().await.unwrap();
    assert!(keeps.create_only && !keeps.checked, "{keeps:?}");
    store.put_new(&name, Bytes::from_static(b"v")).await.unwrap();
    store.replace(&name, Bytes::from_static(b"w")).await.unwrap();
    assert_eq!(store.get(&name, 1).await.unwrap(), "w");
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
