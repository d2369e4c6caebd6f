//! Counts what a location is asked and how it answers: calls, bytes, errors, and how long it took.
//!
//! Whoever wants the figures keeps the `Arc<Counts>` and takes snapshots; nothing here knows how
//! they are published. They outlive the store: a location that is opened anew goes on with them. A
//! call that is dropped is counted as a call and as nothing else.

use super::Operation;
use crate::store::{Keeps, Locking, ObjectMeta, ObjectStore, Pending, Probe, Receipt};
use crate::{ObjectName, ObjectPrefix};
use bytes::Bytes;
use core::{array, ops::Range, time::Duration};
use holdfast_common::{Error, Lock, Result};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// Upper bounds of the latency buckets; one more bucket takes what is slower.
pub const LATENCY_BOUNDS_MS: [u64; 10] = [1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000];
const BUCKETS: usize = LATENCY_BOUNDS_MS.len() + 1;

#[derive(Debug)]
pub struct Meter {
    inner: Arc<dyn ObjectStore>,
    counts: Arc<Counts>,
}

/// What was counted of one location, by however many stores one after the other.
#[derive(Debug, Default)]
pub struct Counts {
    tallies: [Tally; Operation::ALL.len()],
    newest_error: Mutex<Option<(Error, Instant)>>,
}

/// The figures of one moment, since the meter was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterSnapshot {
    figures: [Figures; Operation::ALL.len()],
}

/// The figures of one operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub calls: u64,
    pub errors: u64,
    /// Of objects, moved by calls that succeeded.
    pub bytes: u64,
    pub latency_total_us: u64,
    /// Calls that ended, by [`LATENCY_BOUNDS_MS`]; not cumulative.
    pub latency: [u64; BUCKETS],
}

#[derive(Debug, Default)]
struct Tally {
    calls: AtomicU64,
    errors: AtomicU64,
    bytes: AtomicU64,
    latency_total_us: AtomicU64,
    latency: [AtomicU64; BUCKETS],
}

impl Counts {
    pub fn snapshot(&self) -> MeterSnapshot {
        MeterSnapshot { figures: array::from_fn(|at| self.tallies[at].read()) }
    }

    /// The last error that a call ended with, and how long ago.
    pub fn newest_error(&self) -> Option<(Error, Duration)> {
        let newest = self.newest_error.lock().unwrap_or_else(PoisonError::into_inner);
        newest.as_ref().map(|(error, at)| (error.clone(), at.elapsed()))
    }

    /// Something beside the calls went wrong, as opening the location.
    pub fn note_error(&self, error: &Error) {
        let mut newest = self.newest_error.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = Some((error.clone(), Instant::now()));
    }
}

impl Meter {
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self::counting(inner, Arc::default())
    }

    /// Goes on with what was counted before.
    pub fn counting(inner: Arc<dyn ObjectStore>, counts: Arc<Counts>) -> Self {
        Self { inner, counts }
    }

    pub fn snapshot(&self) -> MeterSnapshot {
        self.counts.snapshot()
    }

    async fn count<T>(
        &self,
        operation: Operation,
        call: Pending<'_, T>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Result<T> {
        let tally = &self.counts.tallies[operation as usize];
        tally.calls.fetch_add(1, Ordering::Relaxed);
        let start = Instant::now();
        let outcome = call.await;
        tally.took(start.elapsed());
        match &outcome {
            Ok(done) => tally.bytes.fetch_add(bytes(done) as u64, Ordering::Relaxed),
            Err(error) => {
                self.counts.note_error(error);
                tally.errors.fetch_add(1, Ordering::Relaxed)
            }
        };
        outcome
    }
}

impl MeterSnapshot {
    pub fn of(&self, operation: Operation) -> &Figures {
        &self.figures[operation as usize]
    }

    pub fn calls(&self) -> u64 {
        self.figures.iter().map(|figures| figures.calls).sum()
    }

    pub fn errors(&self) -> u64 {
        self.figures.iter().map(|figures| figures.errors).sum()
    }

    /// Calls that ended well: whoever hangs answers none.
    pub fn answered(&self) -> u64 {
        let ended: u64 = self.figures.iter().flat_map(|figures| figures.latency).sum();
        ended.saturating_sub(self.errors())
    }
}

impl Tally {
    fn took(&self, span: Duration) {
        let bucket = LATENCY_BOUNDS_MS
            .iter()
            .position(|bound| span <= Duration::from_millis(*bound))
            .unwrap_or(BUCKETS - 1);
        self.latency[bucket].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        self.latency_total_us.fetch_add(micros, Ordering::Relaxed);
    }

    fn read(&self) -> Figures {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Figures {
            calls: load(&self.calls),
            errors: load(&self.errors),
            bytes: load(&self.bytes),
            latency_total_us: load(&self.latency_total_us),
            latency: array::from_fn(|at| load(&self.latency[at])),
        }
    }
}

impl ObjectStore for Meter {
    fn put_new<'a>(&'a self, name: &'a ObjectName, bytes: Bytes) -> Pending<'a, Receipt> {
        let length = bytes.len();
        let call = self.inner.put_new(name, bytes);
        Box::pin(self.count(Operation::Put, call, move |_| length))
    }

    fn replace<'a>(&'a self, name: &'a ObjectName, bytes: Bytes) -> Pending<'a, ()> {
        let length = bytes.len();
        let call = self.inner.replace(name, bytes);
        Box::pin(self.count(Operation::Replace, call, move |()| length))
    }

    fn get<'a>(&'a self, name: &'a ObjectName, bytes_max: usize) -> Pending<'a, Bytes> {
        let call = self.inner.get(name, bytes_max);
        Box::pin(self.count(Operation::Get, call, Bytes::len))
    }

    fn get_range<'a>(&'a self, name: &'a ObjectName, range: Range<u64>) -> Pending<'a, Bytes> {
        let call = self.inner.get_range(name, range);
        Box::pin(self.count(Operation::GetRange, call, Bytes::len))
    }

    fn head<'a>(&'a self, name: &'a ObjectName) -> Pending<'a, Option<ObjectMeta>> {
        Box::pin(self.count(Operation::Head, self.inner.head(name), |_| 0))
    }

    fn list<'a>(
        &'a self,
        prefix: &'a ObjectPrefix,
        after: Option<&'a ObjectName>,
        limit: usize,
    ) -> Pending<'a, Vec<ObjectMeta>> {
        let call = self.inner.list(prefix, after, limit);
        Box::pin(self.count(Operation::List, call, |_| 0))
    }

    fn delete<'a>(&'a self, name: &'a ObjectName) -> Pending<'a, bool> {
        Box::pin(self.count(Operation::Delete, self.inner.delete(name), |_| 0))
    }

    fn keeps(&self) -> Pending<'_, Keeps> {
        Box::pin(self.count(Operation::Keeps, self.inner.keeps(), |_| 0))
    }

    fn locking(&self) -> Pending<'_, Locking> {
        Box::pin(self.count(Operation::Locking, self.inner.locking(), |_| 0))
    }

    fn lock<'a>(&'a self, name: &'a ObjectName, lock: Lock) -> Pending<'a, Lock> {
        Box::pin(self.count(Operation::Lock, self.inner.lock(name, lock), |_| 0))
    }

    fn probe(&self) -> Pending<'_, Probe> {
        Box::pin(self.count(Operation::Probe, self.inner.probe(), |_| 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{MemoryOptions, MemoryStore};
    use holdfast_common::SystemClock;

    fn meter(settle: Duration) -> Meter {
        let options = MemoryOptions { settle, ..MemoryOptions::default() };
        let clock = Arc::new(SystemClock::start());
        Meter::new(Arc::new(MemoryStore::with_options(options, clock)))
    }

    #[tokio::test(start_paused = true)]
    async fn calls_bytes_and_errors_are_counted_where_they_belong() {
        let meter = meter(Duration::ZERO);
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        meter.put_new(&a, Bytes::from_static(b"abc")).await.unwrap();
        meter.put_new(&a, Bytes::from_static(b"abcd")).await.unwrap_err();
        meter.get(&a, 3).await.unwrap();
        meter.get_range(&a, 1..3).await.unwrap();
        meter.get(&b, 3).await.unwrap_err();
        let seen = meter.snapshot();
        let row = |operation| {
            let figures: &Figures = seen.of(operation);
            (figures.calls, figures.errors, figures.bytes)
        };
        assert_eq!(row(Operation::Put), (2, 1, 3));
        assert_eq!(row(Operation::Get), (2, 1, 3));
        assert_eq!(row(Operation::GetRange), (1, 0, 2));
        assert_eq!(*seen.of(Operation::Delete), Figures::default());
    }

    #[tokio::test(start_paused = true)]
    async fn latency_falls_into_its_bucket_and_a_dropped_call_into_none() {
        let meter = meter(Duration::from_millis(200));
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        meter.put_new(&a, Bytes::new()).await.unwrap();
        let dropped = meter.put_new(&b, Bytes::new());
        assert!(tokio::time::timeout(Duration::from_millis(10), dropped).await.is_err());
        let seen = meter.snapshot();
        let puts = seen.of(Operation::Put);
        assert_eq!(puts.calls, 2);
        assert_eq!(puts.latency.iter().sum::<u64>(), 1);
        assert_eq!(puts.latency[5], 1, "between 100 and 300 ms");
    }

    #[tokio::test(start_paused = true)]
    async fn a_location_that_is_opened_anew_goes_on_with_its_figures() {
        let counts = Arc::new(Counts::default());
        let name = "a".parse().unwrap();
        for opened in 1..=3 {
            let inner = Arc::new(MemoryStore::new(Arc::new(SystemClock::start())));
            let meter = Meter::counting(inner, counts.clone());
            meter.get(&name, 3).await.unwrap_err();
            let seen = counts.snapshot();
            assert_eq!((seen.calls(), seen.errors()), (opened, opened));
        }
        tokio::time::advance(Duration::from_secs(5)).await;
        let (error, since) = counts.newest_error().unwrap();
        assert_eq!(error.code, holdfast_common::Code::ObjectMissing);
        assert_eq!(since, Duration::from_secs(5));
    }

    #[test]
    fn every_operation_has_its_own_row() {
        for (at, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, at, "{}", operation.name());
        }
        assert!(LATENCY_BOUNDS_MS.is_sorted());
    }
}
