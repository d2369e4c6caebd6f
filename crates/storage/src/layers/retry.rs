//! Tries again what may work the next time, a bounded number of times, further and further apart.
//!
//! Waits grow from `delay_min` by doubling up to `delay_max`; each is drawn between half of that
//! and all of it, so that many callers who failed together do not return together. Only errors
//! whose code says that another try may help are tried again. An acknowledgement lost on the way
//! shows here as `existed` of a put, or as `false` of a delete, whose work was done all the same.

use crate::store::{Keeps, Locking, ObjectMeta, ObjectStore, Pending, Probe, Receipt};
use crate::{ObjectName, ObjectPrefix};
use bytes::Bytes;
use core::{fmt, ops::Range, time::Duration};
use holdfast_common::{Entropy, Error, Lock, Result};
use std::sync::Arc;

#[derive(Clone, Copy, Debug)]
pub struct RetryOptions {
    /// The first one counts; zero is taken as one.
    pub attempts_max: u32,
    pub delay_min: Duration,
    pub delay_max: Duration,
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self {
            attempts_max: 6,
            delay_min: Duration::from_millis(100),
            delay_max: Duration::from_secs(10),
        }
    }
}

pub struct Retry {
    inner: Arc<dyn ObjectStore>,
    options: RetryOptions,
    entropy: Arc<dyn Entropy>,
}

impl Retry {
    pub fn new(
        inner: Arc<dyn ObjectStore>,
        options: RetryOptions,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { inner, options, entropy }
    }

    async fn persist<'a, T>(&self, attempt: impl Fn() -> Pending<'a, T>) -> Result<T> {
        let mut made = 0;
        loop {
            let error = match attempt().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            made += 1;
            if !error.is_retryable() {
                return Err(error);
            }
            if made >= self.options.attempts_max {
                return Err(given_up(error, made));
            }
            let wait = self.delay(made);
            tracing::debug!(store = ?self.inner, %error, made, ?wait, "a call is tried again");
            tokio::time::sleep(wait).await;
        }
    }

    /// After this many failed attempts.
    fn delay(&self, made: u32) -> Duration {
        let doubled = 1u32.checked_shl(made - 1).unwrap_or(u32::MAX);
        let whole = self.options.delay_min.saturating_mul(doubled).min(self.options.delay_max);
        let half = whole / 2;
        let span = u64::try_from((whole - half).as_nanos()).unwrap_or(u64::MAX);
        half + Duration::from_nanos(self.entropy.below(span.saturating_add(1)))
    }
}

fn given_up(error: Error, made: u32) -> Error {
    if made < 2 {
        return error;
    }
    Error { message: format!("{}, {made} times over", error.message), ..error }
}

impl ObjectStore for Retry {
    fn put_new<'a>(&'a self, name: &'a ObjectName, bytes: Bytes) -> Pending<'a, Receipt> {
        Box::pin(async move { self.persist(|| self.inner.put_new(name, bytes.clone())).await })
    }

    fn replace<'a>(&'a self, name: &'a ObjectName, bytes: Bytes) -> Pending<'a, ()> {
        Box::pin(async move { self.persist(|| self.inner.replace(name, bytes.clone())).await })
    }

    fn get<'a>(&'a self, name: &'a ObjectName, bytes_max: usize) -> Pending<'a, Bytes> {
        Box::pin(async move { self.persist(|| self.inner.get(name, bytes_max)).await })
    }

    fn get_range<'a>(&'a self, name: &'a ObjectName, range: Range<u64>) -> Pending<'a, Bytes> {
        Box::pin(async move { self.persist(|| self.inner.get_range(name, range.clone())).await })
    }

    fn head<'a>(&'a self, name: &'a ObjectName) -> Pending<'a, Option<ObjectMeta>> {
        Box::pin(async move { self.persist(|| self.inner.head(name)).await })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a ObjectPrefix,
        after: Option<&'a ObjectName>,
        limit: usize,
    ) -> Pending<'a, Vec<ObjectMeta>> {
        Box::pin(async move { self.persist(|| self.inner.list(prefix, after, limit)).await })
    }

    fn delete<'a>(&'a self, name: &'a ObjectName) -> Pending<'a, bool> {
        Box::pin(async move { self.persist(|| self.inner.delete(name)).await })
    }

    fn keeps(&self) -> Pending<'_, Keeps> {
        Box::pin(async move { self.persist(|| self.inner.keeps()).await })
    }

    fn locking(&self) -> Pending<'_, Locking> {
        Box::pin(async move { self.persist(|| self.inner.locking()).await })
    }

    fn lock<'a>(&'a self, name: &'a ObjectName, lock: Lock) -> Pending<'a, Lock> {
        Box::pin(async move { self.persist(|| self.inner.lock(name, lock)).await })
    }

    fn probe(&self) -> Pending<'_, Probe> {
        Box::pin(async move { self.persist(|| self.inner.probe()).await })
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("options", &self.options)
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Operation;
    use crate::layers::meter::Meter;
    use crate::layers::unreliable::{Faults, Unreliable};
    use crate::memory::{MemoryOptions, MemoryStore};
    use holdfast_common::{Code, SystemClock, SystemEntropy};
    use tokio::time::Instant;

    fn options(attempts_max: u32) -> RetryOptions {
        RetryOptions {
            attempts_max,
            delay_min: Duration::from_secs(1),
            delay_max: Duration::from_secs(5),
        }
    }

    fn retry(faults: Faults, attempts_max: u32) -> (Retry, Arc<Meter>) {
        let memory = Arc::new(MemoryStore::new(Arc::new(SystemClock::start())));
        let unreliable = Arc::new(Unreliable::new(memory, faults, 7));
        let meter = Arc::new(Meter::new(unreliable));
        (Retry::new(meter.clone(), options(attempts_max), Arc::new(SystemEntropy)), meter)
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_bounded_and_the_error_counts_them() {
        let (retry, meter) = retry(Faults { fail_before_permille: 1000, ..Faults::NONE }, 4);
        let name = "a".parse().unwrap();
        let start = Instant::now();
        let error = retry.get(&name, 1).await.unwrap_err();
        assert_eq!(error.code, Code::LocationIoFailed);
        assert!(error.message.ends_with("4 times over"), "{error}");
        assert_eq!(meter.snapshot().of(Operation::Get).calls, 4);
        let waited = start.elapsed();
        let (least, most) = (Duration::from_millis(3500), Duration::from_millis(7010));
        assert!(least <= waited && waited <= most, "1 + 2 + 4 with jitter, not {waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_acknowledgement_becomes_success_that_existed() {
        let lost = Faults { fail_after_permille: 1000, streak_max: 1, ..Faults::NONE };
        let (retry, meter) = retry(lost, 4);
        let name = "a".parse().unwrap();
        let receipt = retry.put_new(&name, Bytes::from_static(b"a")).await.unwrap();
        assert!(receipt.existed);
        assert_eq!(meter.snapshot().of(Operation::Put).calls, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_work_is_tried_once() {
        let (retry, meter) = retry(Faults::NONE, 4);
        let (name, start) = ("a".parse().unwrap(), Instant::now());
        assert_eq!(retry.get(&name, 1).await.unwrap_err().code, Code::ObjectMissing);
        retry.put_new(&name, Bytes::from_static(b"a")).await.unwrap();
        let conflict = retry.put_new(&name, Bytes::from_static(b"b")).await.unwrap_err();
        assert_eq!(conflict.code, Code::ObjectConflict);
        assert_eq!(meter.snapshot().of(Operation::Get).calls, 1);
        assert_eq!(meter.snapshot().of(Operation::Put).calls, 2);
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[test]
    fn waits_never_pass_the_longest_however_many_attempts() {
        let memory =
            MemoryStore::with_options(MemoryOptions::default(), Arc::new(SystemClock::start()));
        let retry = Retry::new(Arc::new(memory), options(0), Arc::new(SystemEntropy));
        for made in 1..200 {
            let wait = retry.delay(made);
            assert!(wait <= Duration::from_secs(5), "{made}: {wait:?}");
            assert!(made < 4 || wait >= Duration::from_millis(2500), "{made}: {wait:?}");
        }
    }
}
