//! Keeps a location from being overrun: so many calls at once, so many bytes a second.
//!
//! Bytes are paid for with time: each transfer moves the moment from which the next one may start,
//! and at most a second's worth of unused time is kept as credit. Puts and ranges pay before they
//! run; whole objects, whose size is not known before, pay after and let the next one wait. A call
//! that is dropped while it waits has still paid: the bound holds, the rate errs low.

use crate::store::{Keeps, Locking, ObjectMeta, ObjectStore, Pending, Probe, Receipt};
use crate::{ObjectName, ObjectPrefix};
use bytes::Bytes;
use core::{num::NonZeroU64, num::NonZeroUsize, ops::Range, time::Duration};
use holdfast_common::{Code, Error, Lock, Result};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

const CREDIT_MAX: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
pub struct ThrottleOptions {
    pub calls_max: NonZeroUsize,
    /// Unbounded when absent.
    pub bytes_per_second: Option<NonZeroU64>,
}

#[derive(Debug)]
pub struct Throttle {
    inner: Arc<dyn ObjectStore>,
    options: ThrottleOptions,
    turns: Semaphore,
    /// From when on the next bytes may flow.
    free_from: Mutex<Option<Instant>>,
}

impl Throttle {
    pub fn new(inner: Arc<dyn ObjectStore>, options: ThrottleOptions) -> Self {
        let turns = Semaphore::new(options.calls_max.get().min(Semaphore::MAX_PERMITS));
        Self { inner, options, turns, free_from: Mutex::new(None) }
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>> {
        let turn = self.turns.acquire().await;
        turn.map_err(|closed| {
            Error::new(Code::InternalBug, "the throttle of a location was closed").cause(closed)
        })
    }

    /// Waits until earlier bytes are paid for, and charges these.
    async fn pay(&self, bytes: u64) {
        if let Some(start) = self.charge(bytes) {
            tokio::time::sleep_until(start).await;
        }
    }

    /// Charges bytes; says when they may flow.
    fn charge(&self, bytes: u64) -> Option<Instant> {
        let rate = self.options.bytes_per_second?.get();
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let now = Instant::now();
        let mut free_from = self.free_from.lock().unwrap_or_else(PoisonError::into_inner);
        let credit_from = now.checked_sub(CREDIT_MAX).unwrap_or(now);
        let start = free_from.map_or(now, |free| free.max(credit_from));
        *free_from = Some(start.checked_add(cost).unwrap_or(start));
        Some(start)
    }
}

impl ObjectStore for Throttle {
    fn put_new<'a>(&'a self, name: &'a ObjectName, bytes: Bytes) -> Pending<'a, Receipt> {
        Box::pin(async move {
            let _turn = self.turn().await?;
            self.pay(bytes.len() as u64).await;
            self.inner.put_new(name, bytes).await
        })
    }

    fn replace<'a>(&'a self, name: &'a ObjectName, bytes: Bytes) -> Pending<'a, ()> {
        Box::pin(async move {
            let _turn = self.turn().await?;
            self.pay(bytes.len() as u64).await;
            self.inner.replace(name, bytes).await
        })
    }

    fn get<'a>(&'a self, name: &'a ObjectName, bytes_max: usize) -> Pending<'a, Bytes> {
        Box::pin(async move {
            let _turn = self.turn().await?;
            self.pay(0).await;
            let bytes = self.inner.get(name, bytes_max).await?;
            self.charge(bytes.len() as u64);
            Ok(bytes)
        })
    }

    fn get_range<'a>(&'a self, name: &'a ObjectName, range: Range<u64>) -> Pending<'a, Bytes> {
        Box::pin(async move {
            let _turn = self.turn().await?;
            self.pay(0).await;
            let bytes = self.inner.get_range(name, range).await?;
            self.charge(bytes.len() as u64);
            Ok(bytes)
        })
    }

    fn head<'a>(&'a self, name: &'a ObjectName) -> Pending<'a, Option<ObjectMeta>> {
        Box::pin(async move {
            let _turn = self.turn().await?;
            self.inner.head(name).await
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a ObjectPrefix,
        after: Option<&'a ObjectName>,
        limit: usize,
    ) -> Pending<'a, Vec<ObjectMeta>> {
        Box::pin(async move {
            let _turn = self.turn().await?;
            self.inner.list(prefix, after, limit).await
        })
    }

    fn delete<'a>(&'a self, name: &'a ObjectName) -> Pending<'a, bool> {
        Box::pin(async move {
            let _turn = self.turn().await?;
            self.inner.delete(name).await
        })
    }

    fn keeps(&self) -> Pending<'_, Keeps> {
        Box::pin(async move {
            let _turn = self.turn().await?;
            self.inner.keeps().await
        })
    }

    fn locking(&self) -> Pending<'_, Locking> {
        Box::pin(async move {
            let _turn = self.turn().await?;
            self.inner.locking().await
        })
    }

    fn lock<'a>(&'a self, name: &'a ObjectName, lock: Lock) -> Pending<'a, Lock> {
        Box::pin(async move {
            let _turn = self.turn().await?;
            self.inner.lock(name, lock).await
        })
    }

    fn probe(&self) -> Pending<'_, Probe> {
        Box::pin(async move {
            let _turn = self.turn().await?;
            self.inner.probe().await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{MemoryOptions, MemoryStore};
    use futures::future::join_all;
    use holdfast_common::SystemClock;

    fn throttle(calls_max: usize, rate: Option<u64>, settle: Duration) -> Throttle {
        let options = MemoryOptions { settle, ..MemoryOptions::default() };
        let memory = MemoryStore::with_options(options, Arc::new(SystemClock::start()));
        let options = ThrottleOptions {
            calls_max: NonZeroUsize::new(calls_max).unwrap(),
            bytes_per_second: rate.and_then(NonZeroU64::new),
        };
        Throttle::new(Arc::new(memory), options)
    }

    async fn put(store: &Throttle, name: &str, bytes: usize) {
        let bytes = Bytes::from(vec![0; bytes]);
        store.put_new(&name.parse().unwrap(), bytes).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_calls_run_at_once() {
        let store = throttle(2, None, Duration::from_secs(1));
        let start = Instant::now();
        join_all(["a", "b", "c", "d", "e"].map(|name| put(&store, name, 1))).await;
        let waited = start.elapsed().as_secs_f64();
        assert!((3.0..3.1).contains(&waited), "five puts of a second, two at once: {waited}");
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_flow_at_the_rate_and_not_faster() {
        let store = throttle(8, Some(1000), Duration::ZERO);
        let start = Instant::now();
        join_all(["a", "b", "c", "d"].map(|name| put(&store, name, 1000))).await;
        let waited = start.elapsed().as_secs_f64();
        assert!((3.0..3.1).contains(&waited), "the first flows at once, three wait: {waited}");

        let name = "a".parse().unwrap();
        store.get(&name, 1000).await.unwrap();
        store.get_range(&name, 0..500).await.unwrap();
        let waited = start.elapsed().as_secs_f64();
        assert!((5.0..5.1).contains(&waited), "what was read is paid for: {waited}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_read_costs_nothing() {
        let store = throttle(8, Some(1000), Duration::ZERO);
        let (name, start) = ("a".parse().unwrap(), Instant::now());
        store.get_range(&name, 0..u64::MAX).await.unwrap_err();
        store.get(&name, usize::MAX).await.unwrap_err();
        put(&store, "a", 1).await;
        assert!(start.elapsed() < Duration::from_millis(10));
    }

    #[tokio::test(start_paused = true)]
    async fn credit_of_idle_time_is_bounded() {
        let store = throttle(8, Some(1000), Duration::ZERO);
        put(&store, "a", 1).await;
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let start = Instant::now();
        for name in ["b", "c", "d", "e"] {
            put(&store, name, 1000).await;
        }
        let waited = start.elapsed().as_secs_f64();
        assert!((2.0..2.1).contains(&waited), "one second of credit, not an hour: {waited}");
    }
}
