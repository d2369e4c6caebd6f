//! The suite against everything in this crate: both locations, each layer, and all of them stacked.

use super::{Acks, uphold};
use crate::layers::retry::RetryOptions;
use crate::layers::throttle::ThrottleOptions;
use crate::layers::unreliable::Faults;
use crate::memory::{MemoryOptions, MemoryStore};
use crate::{LocalStore, Meter, ObjectStore, Retry, Throttle, Unreliable};
use core::num::{NonZeroU64, NonZeroUsize};
use core::time::Duration;
use holdfast_common::{SystemClock, SystemEntropy};
use std::sync::Arc;

const FAULTS: Faults = Faults {
    fail_before_permille: 150,
    fail_after_permille: 150,
    delay_permille: 300,
    delay_max: Duration::from_millis(2),
    ..Faults::NONE
};

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(MemoryStore::new(Arc::new(SystemClock::start())))
}

fn retried(inner: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
    let options = RetryOptions {
        attempts_max: 20,
        delay_min: Duration::from_micros(100),
        delay_max: Duration::from_millis(2),
    };
    Arc::new(Retry::new(inner, options, Arc::new(SystemEntropy)))
}

fn throttled(inner: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
    let options = ThrottleOptions {
        calls_max: NonZeroUsize::new(3).unwrap(),
        bytes_per_second: NonZeroU64::new(1 << 30),
    };
    Arc::new(Throttle::new(inner, options))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_conforms() {
    uphold(memory(), Acks::Exact).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn memory_that_takes_time_to_settle_conforms() {
    let options = MemoryOptions { settle: Duration::from_millis(5), ..MemoryOptions::default() };
    let store = MemoryStore::with_options(options, Arc::new(SystemClock::start()));
    uphold(Arc::new(store), Acks::Exact).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn local_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalStore::open(dir.path()).unwrap());
    uphold(store, Acks::Exact).await.unwrap();
    let left = std::fs::read_dir(dir.path().join("tmp")).unwrap().count();
    assert_eq!(left, 0, "no temporary is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn layers_that_only_watch_or_wait_conform_exactly() {
    uphold(Arc::new(Meter::new(memory())), Acks::Exact).await.unwrap();
    uphold(throttled(memory()), Acks::Exact).await.unwrap();
    uphold(retried(memory()), Acks::Exact).await.unwrap();
    uphold(Arc::new(Unreliable::new(memory(), Faults::NONE, 1)), Acks::Exact).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_unreliable_store_that_is_retried_conforms() {
    for seed in 0..8 {
        let unreliable = Arc::new(Unreliable::new(memory(), FAULTS, seed));
        uphold(retried(unreliable), Acks::MayBeLost).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_whole_stack_over_a_directory_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let local = Arc::new(LocalStore::open(dir.path()).unwrap());
    let unreliable = Arc::new(Unreliable::new(local, FAULTS, 99));
    let store = retried(Arc::new(Meter::new(throttled(unreliable))));
    uphold(store, Acks::MayBeLost).await.unwrap();
}

/// Forgets to be create-only: a put takes the name from whatever is there.
#[derive(Debug)]
struct Overwriting(MemoryStore);

impl ObjectStore for Overwriting {
    fn put_new<'a>(
        &'a self,
        name: &'a crate::ObjectName,
        bytes: bytes::Bytes,
    ) -> crate::Pending<'a, crate::Receipt> {
        Box::pin(async move {
            self.0.delete(name).await?;
            self.0.put_new(name, bytes).await
        })
    }

    fn replace<'a>(
        &'a self,
        name: &'a crate::ObjectName,
        bytes: bytes::Bytes,
    ) -> crate::Pending<'a, ()> {
        self.0.replace(name, bytes)
    }

    fn get<'a>(
        &'a self,
        name: &'a crate::ObjectName,
        bytes_max: usize,
    ) -> crate::Pending<'a, bytes::Bytes> {
        self.0.get(name, bytes_max)
    }

    fn get_range<'a>(
        &'a self,
        name: &'a crate::ObjectName,
        range: core::ops::Range<u64>,
    ) -> crate::Pending<'a, bytes::Bytes> {
        self.0.get_range(name, range)
    }

    fn head<'a>(
        &'a self,
        name: &'a crate::ObjectName,
    ) -> crate::Pending<'a, Option<crate::ObjectMeta>> {
        self.0.head(name)
    }

    fn list<'a>(
        &'a self,
        prefix: &'a crate::ObjectPrefix,
        after: Option<&'a crate::ObjectName>,
        limit: usize,
    ) -> crate::Pending<'a, Vec<crate::ObjectMeta>> {
        self.0.list(prefix, after, limit)
    }

    fn delete<'a>(&'a self, name: &'a crate::ObjectName) -> crate::Pending<'a, bool> {
        self.0.delete(name)
    }

    fn keeps(&self) -> crate::Pending<'_, crate::Keeps> {
        self.0.keeps()
    }

    fn probe(&self) -> crate::Pending<'_, crate::Probe> {
        self.0.probe()
    }
}

#[tokio::test]
async fn the_suite_catches_a_store_that_overwrites() {
    let store = Overwriting(MemoryStore::new(Arc::new(SystemClock::start())));
    let error = uphold(Arc::new(store), Acks::Exact).await.unwrap_err();
    assert!(error.message.contains("case `conflict`"), "{error}");
    assert!(error.message.ends_with("other bytes are a conflict"), "{error}");
}

#[tokio::test]
async fn the_suite_catches_a_torn_put() {
    let faults = Faults { tear_permille: 300, ..Faults::NONE };
    let torn = retried(Arc::new(Unreliable::new(memory(), faults, 5)));
    let error = uphold(torn, Acks::MayBeLost).await.unwrap_err();
    assert_eq!(error.code, holdfast_common::Code::ObjectConflict, "{error}");
}
