//! A bad line before a real server: what every store promises holds, through retries.

use crate::s3::store;
use bytes::Bytes;
use holdfast_common::{Code, SystemEntropy};
use holdfast_storage::{
    ObjectStore, Retry,
    conformance::{Acks, uphold},
    layers::retry::RetryOptions,
};
use holdfast_testkit_servers::{Bucket, Fault, Ministack, Proxy, Weather};
use std::{sync::Arc, time::Duration};

fn retried(inner: Arc<dyn ObjectStore>, attempts_max: u32) -> Arc<dyn ObjectStore> {
    let options = RetryOptions {
        attempts_max,
        delay_min: Duration::from_millis(1),
        delay_max: Duration::from_millis(20),
    };
    Arc::new(Retry::new(inner, options, Arc::new(SystemEntropy)))
}

/// A bucket behind a line of its own.
fn behind(name: &str, seed: u64) -> (Bucket, Proxy) {
    let bucket = Ministack::shared().bucket(name);
    let proxy = Proxy::before(&bucket.endpoint, seed);
    (Bucket { endpoint: proxy.endpoint.clone(), ..bucket }, proxy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_line_that_goes_wrong_every_promise_holds() {
    for seed in 1..=2 {
        let (bucket, proxy) = behind(&format!("weather-{seed}"), seed);
        proxy.set(Weather { permille: 100, faults: Fault::PASSING.to_vec() });
        let store = retried(store(&bucket, "/vault", ""), 20);
        let upheld = uphold(store, Acks::MayBeLost).await;
        upheld.unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
        assert!(proxy.faults() > 20, "seed {seed}: only {} faults", proxy.faults());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_alone_is_a_clear_error_that_may_be_tried_again() {
    let (bucket, proxy) = behind("alone", 7);
    let store = store(&bucket, "", "");
    let name = "packs/aa".parse().unwrap();
    let bytes = Bytes::from(vec![7; 200_000]);
    store.put_new(&name, bytes.clone()).await.unwrap();
    for fault in Fault::PASSING {
        proxy.set(Weather { permille: 1000, faults: vec![fault] });
        let got = store.get(&name, bytes.len()).await;
        match fault {
            Fault::SlowBytes => assert_eq!(got.unwrap(), bytes),
            _ => {
                let error = got.unwrap_err();
                assert_eq!(error.code, Code::LocationIoFailed, "{fault:?}: {error:?}");
                assert!(error.is_retryable(), "{fault:?}");
            }
        }
        proxy.set(Weather::default());
        assert_eq!(store.get(&name, bytes.len()).await.unwrap(), bytes, "after {fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_whose_answer_was_lost_finds_its_own_work() {
    let (bucket, proxy) = behind("lost-answers", 8);
    let once = store(&bucket, "", "");
    let name = "packs/aa".parse().unwrap();
    once.keeps().await.unwrap();
    proxy.set(Weather { permille: 1000, faults: vec![Fault::LostAnswer] });
    let lost = once.put_new(&name, Bytes::from_static(b"mine")).await.unwrap_err();
    assert!(lost.is_retryable(), "{lost:?}");
    proxy.set(Weather::default());
    let receipt = once.put_new(&name, Bytes::from_static(b"mine")).await.unwrap();
    assert!(receipt.existed, "it was stored the first time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_goes_away_and_comes_back_is_waited_for() {
    let (bucket, proxy) = behind("away", 9);
    let store = retried(store(&bucket, "", ""), 2000);
    let name = "packs/aa".parse().unwrap();
    store.keeps().await.unwrap();
    proxy.be_gone(true);
    let put = store.put_new(&name, Bytes::from_static(b"v"));
    let back = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        proxy.be_gone(false);
    };
    let (put, ()) = tokio::join!(put, back);
    put.unwrap();
    assert_eq!(store.get(&name, 1).await.unwrap(), "v");
}
