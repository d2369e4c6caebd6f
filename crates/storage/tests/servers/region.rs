//! A bucket in another region than the URL says. Only Amazon answers so.

use crate::double::{said, serve};
use bytes::Bytes;
use holdfast_common::{Code, Error};
use holdfast_storage::{ObjectPrefix, ObjectStore, S3Store};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_in_another_region_is_named_with_its_region_at_every_call() {
    let address = serve(|head| {
        let body = "<?xml version=\"1.0\"?><Error><Code>PermanentRedirect</Code><Message>Use the \
                    specified endpoint.</Message></Error>";
        let body = if head.starts_with("head") { "" } else { body };
        said("301 Moved Permanently", "x-amz-bucket-region: eu-west-1\r\n", body)
    });
    let place = format!("bucket?endpoint=http://{address}&region=us-east-1");
    let store = S3Store::open(&place).unwrap().with_keys("key", "secret");
    let (name, all) = ("vault".parse().unwrap(), ObjectPrefix::all());
    let probe = store.probe().await.unwrap();
    assert!(!probe.is_usable());
    let told: [Error; 8] = [
        probe.refusal().unwrap(),
        store.put_new(&name, Bytes::from_static(b"v")).await.unwrap_err(),
        store.replace(&name, Bytes::from_static(b"v")).await.unwrap_err(),
        store.get(&name, 10).await.unwrap_err(),
        store.get_range(&name, 0..1).await.unwrap_err(),
        store.head(&name).await.unwrap_err(),
        store.list(&all, None, 10).await.unwrap_err(),
        store.keeps().await.unwrap_err(),
    ];
    for error in told {
        assert_eq!(error.code, Code::LocationRegionWrong, "{error:?}");
        let cause = error.cause.as_deref().unwrap_or_default();
        assert!(cause.contains("the bucket is in eu-west-1"), "{error:?}");
        assert!(error.advice().contains("?region=eu-west-1"), "{error:?}");
        assert!(!error.is_retryable(), "{error:?}");
    }
}
