//! A closed loop: so many clients, each with its own connection, each sending its next command
//! when the one before was committed, until a number of commands is used up.
//!
//! A tenth of that number goes ahead unmeasured, so that connections, caches and files are warm.
//! The clients share one count and so stop together; one that fails ends the measurement.

use super::{cluster::Target, figures::Pace};
use crate::chance::Chance;
use core::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use futures::future::try_join_all;
use holdfast_common::{Clock, Code, Error, Result, SystemClock};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    pub clients: usize,
    pub commands: u64,
    pub payload_bytes: usize,
}

impl Load {
    /// `targets` are the clients' connections, one each.
    pub async fn measure<T: Target>(&self, targets: &[T]) -> Result<Pace> {
        debug_assert_eq!(targets.len(), self.clients);
        let mut payload = vec![0; self.payload_bytes];
        Chance::new(1, "ledger", self.payload_bytes as u64).fill(&mut payload);
        drive(targets, &payload, self.warm_up()).await?;
        let clock = SystemClock::start();
        let took = drive(targets, &payload, self.commands).await?;
        Pace::of(took, clock.elapsed())
            .ok_or_else(|| Error::new(Code::ConfigMalformed, "no command was to be sent"))
    }

    fn warm_up(&self) -> u64 {
        (self.commands / 10).max(self.clients as u64)
    }
}

async fn drive<T: Target>(targets: &[T], payload: &[u8], commands: u64) -> Result<Vec<Duration>> {
    let left = AtomicU64::new(commands);
    let clients = targets.iter().map(|target| client(target, payload, &left));
    Ok(try_join_all(clients).await?.concat())
}

async fn client<T: Target>(target: &T, payload: &[u8], left: &AtomicU64) -> Result<Vec<Duration>> {
    let clock = SystemClock::start();
    let mut took = Vec::new();
    while take(left) {
        let began = clock.elapsed();
        let answered = tokio::time::timeout(PATIENCE, target.commit(payload)).await;
        answered.map_err(|_| Error::new(Code::ClusterBusy, "a command was never answered"))??;
        took.push(clock.elapsed() - began);
    }
    Ok(took)
}

fn take(left: &AtomicU64) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::super::cluster::Pending;
    use super::*;
    use std::sync::Arc;

    /// Counts what it was asked, and how many asked at once.
    #[derive(Default)]
    struct Counted {
        commits: AtomicU64,
        at_once: AtomicU64,
        most: AtomicU64,
        fails_at: Option<u64>,
    }

    struct Client(Arc<Counted>);

    impl Target for Client {
        fn commit<'a>(&'a self, payload: &'a [u8]) -> Pending<'a, ()> {
            Box::pin(async move {
                assert_eq!(payload.len(), 256);
                let number = self.0.commits.fetch_add(1, Ordering::Relaxed) + 1;
                let now = self.0.at_once.fetch_add(1, Ordering::Relaxed) + 1;
                self.0.most.fetch_max(now, Ordering::Relaxed);
                tokio::task::yield_now().await;
                self.0.at_once.fetch_sub(1, Ordering::Relaxed);
                match self.0.fails_at {
                    Some(at) if at == number => Err(Error::new(Code::ClusterBusy, "on purpose")),
                    _ => Ok(()),
                }
            })
        }
    }

    fn clients(count: usize, fails_at: Option<u64>) -> (Arc<Counted>, Vec<Client>) {
        let counted = Arc::new(Counted { fails_at, ..Counted::default() });
        let clients = (0..count).map(|_| Client(Arc::clone(&counted))).collect();
        (counted, clients)
    }

    #[tokio::test]
    async fn the_count_is_sent_once_after_a_tenth_to_warm_up_and_all_clients_send_at_once() {
        let (counted, targets) = clients(16, None);
        let load = Load { clients: 16, commands: 1000, payload_bytes: 256 };
        let pace = load.measure(&targets).await.unwrap();
        assert_eq!(counted.commits.load(Ordering::Relaxed), 1100);
        assert_eq!(counted.most.load(Ordering::Relaxed), 16);
        assert!(pace.per_second > 0.0 && pace.p50 <= pace.p99);
    }

    #[tokio::test]
    async fn a_client_sends_its_next_command_only_when_the_one_before_was_committed() {
        let (counted, targets) = clients(1, None);
        let load = Load { clients: 1, commands: 50, payload_bytes: 256 };
        load.measure(&targets).await.unwrap();
        assert_eq!(counted.most.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn one_command_that_fails_ends_the_measurement() {
        let (counted, targets) = clients(4, Some(150));
        let load = Load { clients: 4, commands: 1000, payload_bytes: 256 };
        let error = load.measure(&targets).await.unwrap_err();
        assert_eq!(error.message, "on purpose");
        assert!(counted.commits.load(Ordering::Relaxed) < 160);
    }
}
