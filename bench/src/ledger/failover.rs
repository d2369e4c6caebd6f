//! How long nothing is committed when the leader is killed.
//!
//! ```text
//!   healthy ─▶ some writes ─▶ SIGKILL the leader ─▶ write, moving on ─▶ committed ─▶ restart ─┐
//!      ▲                      └────────────── measured ──────────────────┘                   │
//!      └─────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! One client writes in a loop and goes to the next member when a write fails or is not answered
//! within an attempt's time: a write may be lost with the leader it was passed on to, and only
//! time tells. It stays where its last write was committed, so it is now and then at the leader.
//! The write that ends a measurement began after the kill: no late answer can shorten it.

use super::cluster::{Cluster, Target, healthy};
use core::time::Duration;
use holdfast_common::{Clock, Code, Error, Result, SystemClock};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failover {
    pub kills: usize,
    /// How long a write is waited for before the client moves on.
    pub attempt: Duration,
}

impl Failover {
    /// The time from each SIGKILL to the next committed write, in the order of the kills.
    pub async fn measure(&self, cluster: &mut dyn Cluster) -> Result<Vec<Duration>> {
        healthy(cluster).await?;
        let mut writer = Writer::connect(cluster, self.attempt).await?;
        let mut took = Vec::with_capacity(self.kills);
        for _ in 0..self.kills {
            healthy(cluster).await?;
            for _ in 0..WRITES_BEFORE {
                writer.write().await?;
            }
            let leader = cluster.leader().await?.ok_or_else(lost)?;
            let clock = SystemClock::start();
            cluster.kill(leader)?;
            writer.write().await?;
            took.push(clock.elapsed());
            cluster.restart(leader)?;
        }
        Ok(took)
    }
}

/// A client with a connection to every member, which uses one of them.
struct Writer {
    targets: Vec<Box<dyn Target>>,
    at: usize,
    attempt: Duration,
}

impl Writer {
    async fn connect(cluster: &dyn Cluster, attempt: Duration) -> Result<Self> {
        let mut targets = Vec::new();
        for member in 0..cluster.endpoints().len() {
            targets.push(cluster.connect(member).await?);
        }
        Ok(Self { targets, at: 0, attempt })
    }

    /// Returns when a write is committed, wherever.
    async fn write(&mut self) -> Result<()> {
        let clock = SystemClock::start();
        let mut why = None;
        while clock.elapsed() < PATIENCE {
            let write = self.targets[self.at].commit(&PAYLOAD);
            match tokio::time::timeout(self.attempt, write).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => why = Some(error),
                Err(_) => {}
            }
            self.at = (self.at + 1) % self.targets.len();
            tokio::time::sleep(PAUSE).await;
        }
        let error = Error::new(Code::ClusterLeaderless, "no member commits a write any more");
        Err(match why {
            Some(why) => error.cause(why),
            None => error,
        })
    }
}

fn lost() -> Error {
    Error::new(Code::ClusterLeaderless, "the leader was lost before it was killed")
}

/// Between two kills, so that the client is where it belongs.
const WRITES_BEFORE: usize = 20;
const PAYLOAD: [u8; 256] = [7; 256];
/// Refusals come at once: without a pause the client would take the processor from the election.
const PAUSE: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::super::cluster::Pending;
    use super::*;
    use std::sync::{Arc, Mutex};

    /// Three members in memory. After a kill so many writes are lost until the next one leads.
    struct Pretended {
        endpoints: Vec<String>,
        state: Arc<Mutex<State>>,
        lost_by_kill: usize,
    }

    #[derive(Default)]
    struct State {
        leader: usize,
        dead: Option<usize>,
        lost: usize,
        killed: Vec<usize>,
        refused: usize,
        is_ended: bool,
    }

    struct Member(usize, Arc<Mutex<State>>);

    impl Target for Member {
        fn commit<'a>(&'a self, _payload: &'a [u8]) -> Pending<'a, ()> {
            Box::pin(async move {
                let waits = {
                    let mut state = self.1.lock().unwrap();
                    if state.dead == Some(self.0) {
                        state.refused += 1;
                        return Err(Error::new(Code::ClusterUnreachable, "refused"));
                    }
                    let waits = state.lost > 0;
                    state.lost = state.lost.saturating_sub(1);
                    waits
                };
                if waits {
                    core::future::pending::<()>().await;
                }
                Ok(())
            })
        }
    }

    impl Cluster for Pretended {
        fn endpoints(&self) -> &[String] {
            &self.endpoints
        }

        fn connect(&self, member: usize) -> Pending<'_, Box<dyn Target>> {
            let target: Box<dyn Target> = Box::new(Member(member, Arc::clone(&self.state)));
            Box::pin(async move { Ok(target) })
        }

        fn leader(&mut self) -> Pending<'_, Option<usize>> {
            let state = self.state.lock().unwrap();
            let ended = Error::new(Code::RunInterrupted, "a member ended by itself");
            let said = if state.is_ended { Err(ended) } else { Ok(Some(state.leader)) };
            Box::pin(async move { said })
        }

        fn kill(&mut self, member: usize) -> Result<()> {
            let mut state = self.state.lock().unwrap();
            assert_eq!(member, state.leader);
            assert_eq!(state.dead, None, "killed before the last one was back");
            state.killed.push(member);
            state.dead = Some(member);
            state.leader = (member + 1) % 3;
            state.lost = self.lost_by_kill;
            Ok(())
        }

        fn restart(&mut self, member: usize) -> Result<()> {
            let mut state = self.state.lock().unwrap();
            assert_eq!(state.dead.take(), Some(member));
            Ok(())
        }
    }

    fn pretended(lost_by_kill: usize) -> Pretended {
        let endpoints = ["a", "b", "c"].map(str::to_owned).to_vec();
        Pretended { endpoints, state: Arc::default(), lost_by_kill }
    }

    #[tokio::test]
    async fn every_kill_meets_the_leader_of_its_time_and_the_client_moves_on() {
        let mut cluster = pretended(0);
        let failover = Failover { kills: 4, attempt: Duration::from_secs(5) };
        let took = failover.measure(&mut cluster).await.unwrap();
        assert_eq!(took.len(), 4);
        let state = cluster.state.lock().unwrap();
        assert_eq!(state.killed, [0, 1, 2, 0]);
        assert_eq!((state.dead, state.refused), (None, 4));
    }

    #[tokio::test]
    async fn a_member_that_ended_by_itself_is_not_waited_for() {
        let mut cluster = pretended(0);
        cluster.state.lock().unwrap().is_ended = true;
        let failover = Failover { kills: 1, attempt: Duration::from_secs(5) };
        let measured =
            tokio::time::timeout(Duration::from_secs(20), failover.measure(&mut cluster));
        assert_eq!(measured.await.unwrap().unwrap_err().code, Code::RunInterrupted);
        assert_eq!(cluster.state.lock().unwrap().killed, [0; 0]);
    }

    #[tokio::test]
    async fn a_write_that_is_lost_costs_an_attempt_and_not_for_ever() {
        let mut cluster = pretended(3);
        let failover = Failover { kills: 1, attempt: Duration::from_millis(10) };
        let took = failover.measure(&mut cluster).await.unwrap();
        assert!(took[0] >= Duration::from_millis(30), "{took:?}");
        assert_eq!(cluster.state.lock().unwrap().lost, 0);
    }
}
