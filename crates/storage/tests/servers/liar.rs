//! A server that does not keep what it is sent: found out by the hash that it says, or, if it says
//! none, by reading.

use crate::{
    credentials::KeyFile,
    double::{said, serve},
};
use bytes::Bytes;
use holdfast_common::Code;
use holdfast_storage::{CloudStore, ObjectStore};

const SENT: &[u8] = b"what is sent";
const KEPT: &str = "what is kept";
/// MD5 of each.
const SENT_MD5: &str = "x-goog-hash: md5=5lVU6Mqclo8P4NETXQGYug==\r\n";
const KEPT_MD5: &str = "x-goog-hash: md5=FN/wu6EmNBcMGgIq2Km3XQ==\r\n";

/// Answers every put with these headers, and every get with what it kept.
fn liar(headers: &'static str) -> String {
    let address = serve(move |head| {
        let is_put = head.starts_with("put");
        let (more, body) = if is_put { (headers, "") } else { ("", KEPT) };
        let when = "Last-Modified: Sun, 22 Nov 2026 20:00:00 GMT\r\n";
        said("200 OK", &format!("ETag: \"e\"\r\n{when}{more}"), body)
    });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_changed_on_their_way_are_found_out() {
    let account = KeyFile::of(crate::gcs::ACCOUNT);
    let name = "packs/aa".parse().unwrap();
    for (headers, sent, due) in [
        (SENT_MD5, SENT, Ok(())),
        (KEPT_MD5, SENT, Err(Code::ObjectDamaged)),
        ("", SENT, Err(Code::ObjectDamaged)),
        ("", KEPT.as_bytes(), Ok(())),
        ("", &SENT[1..], Err(Code::ObjectDamaged)),
    ] {
        let endpoint = liar(headers);
        let place = format!("bucket?endpoint={endpoint}&service_account={}", account.path());
        let store = CloudStore::gcs(&place).unwrap();
        let put = store.replace(&name, Bytes::from_static(sent)).await;
        assert_eq!(put.map_err(|error| error.code), due, "{headers:?} {sent:?}");
    }
}
