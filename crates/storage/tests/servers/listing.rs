//! What listings tell that no real server here does: that a bucket is gone, that nothing goes on.

use crate::{
    credentials::KeyFile,
    double::{said, serve},
};
use holdfast_common::Code;
use holdfast_storage::{CloudStore, ObjectPrefix, ObjectStore};
use holdfast_testkit_servers::AZURE_KEY;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// One page, as both clouds would say it, that says it is followed by the page of this mark.
fn page(mark: usize) -> Vec<u8> {
    let google = "<Contents><Key>a</Key><LastModified>2026-11-22T20:00:00.000Z</LastModified>\
                  <ETag>e</ETag><Size>1</Size></Contents>";
    let azure = "<Blobs><Blob><Name>a</Name><Properties><Content-Length>1</Content-Length>\
                 <Content-Type>text/plain</Content-Type>\
                 <Last-Modified>Sun, 22 Nov 2026 20:00:00 GMT</Last-Modified><Etag>e</Etag>\
                 </Properties></Blob></Blobs>";
    let next = format!(
        "<NextContinuationToken>{mark}</NextContinuationToken><NextMarker>{mark}</NextMarker>"
    );
    let both = format!("<Listing>{google}{azure}{next}</Listing>");
    said("200 OK", "Content-Type: application/xml\r\n", &both)
}

/// After how many pages a listing behind `b` ends, and with what.
async fn ends(marks: usize) -> Vec<(Code, usize)> {
    let (account, key) = (KeyFile::of(crate::gcs::ACCOUNT), KeyFile::of(AZURE_KEY));
    let mut found = Vec::new();
    for is_google in [true, false] {
        let pages = Arc::new(AtomicUsize::new(0));
        let counts = pages.clone();
        let address = serve(move |_| page(counts.fetch_add(1, Ordering::SeqCst) % marks));
        let store = if is_google {
            let account = account.path();
            CloudStore::gcs(&format!("bucket?endpoint=http://{address}&service_account={account}"))
        } else {
            let key = key.path();
            CloudStore::azure(&format!("clinic/vaults?endpoint=http://{address}&key_file={key}"))
        };
        let store = store.unwrap();
        let (all, after) = (ObjectPrefix::all(), "b".parse().unwrap());
        let listed = store.list(&all, Some(&after), 10);
        let listed = tokio::time::timeout(Duration::from_secs(20), listed).await;
        let error = listed.unwrap().unwrap_err();
        found.push((error.code, pages.load(Ordering::SeqCst)));
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_comes_again_and_again_is_an_error() {
    for marks in [1, 3] {
        for (code, pages) in ends(marks).await {
            assert_eq!(code, Code::LocationRequestRefused, "{marks} marks, {pages} pages");
            assert!(pages <= 8, "{pages} pages with {marks} marks");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_seems_absent_is_looked_for_in_a_listing() {
    for (is_there, due) in [(true, Ok(false)), (false, Err(Code::LocationBucketMissing))] {
        let address = serve(move |head| match head.starts_with("get /bucket?") {
            false => said("404 Not Found", "", ""),
            true if is_there => said("200 OK", "", "<ListBucketResult></ListBucketResult>"),
            true => said("404 Not Found", "", "<Error><Code>NoSuchBucket</Code></Error>"),
        });
        let account = KeyFile::of(crate::gcs::ACCOUNT);
        let place = format!("bucket?endpoint=http://{address}&service_account={}", account.path());
        let store = CloudStore::gcs(&place).unwrap();
        let name = "vault".parse().unwrap();
        let head = store.head(&name).await.map(|found| found.is_some());
        assert_eq!(head.map_err(|error| error.code), due);
        assert_eq!(store.delete(&name).await.map_err(|error| error.code), due);
        let due = due.map_or_else(|code| code, |_| Code::ObjectMissing);
        assert_eq!(store.get(&name, 10).await.unwrap_err().code, due);
    }
}
