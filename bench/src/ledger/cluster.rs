//! What the comparison asks of a side, and nothing more: three members that can be started, asked
//! who leads, written to, killed and started again.
//!
//! ```text
//!   Contender ─start▶ Cluster ─connect▶ Target ─commit▶ agreed by a majority, on their disks
//! ```
//!
//! A side is a file that implements these three and a line in `ledger::contenders`. Whether a
//! cluster is healthy is judged here, alike for all: a leader is known, and a write through each
//! member is answered.

use core::time::Duration;
use futures::future::BoxFuture;
use holdfast_common::{Clock, Code, Error, Result, SystemClock};
use std::path::Path;

pub type Pending<'a, T> = BoxFuture<'a, Result<T>>;

/// One side: how a cluster of three comes to be.
pub trait Contender {
    fn name(&self) -> String;

    fn version(&self) -> Result<String>;

    /// The command line of a member, for the report.
    fn shown(&self) -> String;

    /// Starts three members with their data below `dir`. They need not be ready yet. Dropping the
    /// cluster ends what it started.
    fn start<'a>(&'a self, dir: &'a Path) -> Pending<'a, Box<dyn Cluster>>;

    /// Which member the clients send their commands to.
    fn entry(&self, leader: usize) -> usize {
        leader
    }

    /// Whether its leader is killed as well, or commands alone are measured.
    fn is_killed(&self) -> bool {
        true
    }
}

/// The same side, with clients that know only a member that does not lead. What a kill does to it
/// is measured once, without this.
pub struct ThroughFollower<C>(pub C);

impl<C: Contender> Contender for ThroughFollower<C> {
    fn name(&self) -> String {
        format!("{}, through a follower", self.0.name())
    }

    fn version(&self) -> Result<String> {
        self.0.version()
    }

    fn shown(&self) -> String {
        self.0.shown()
    }

    fn start<'a>(&'a self, dir: &'a Path) -> Pending<'a, Box<dyn Cluster>> {
        self.0.start(dir)
    }

    fn entry(&self, leader: usize) -> usize {
        (leader + 1) % MEMBERS
    }

    fn is_killed(&self) -> bool {
        false
    }
}

/// Members are named by their number, from zero.
pub trait Cluster: Send + Sync {
    fn endpoints(&self) -> &[String];

    /// A connection of its own to one member.
    fn connect(&self, member: usize) -> Pending<'_, Box<dyn Target>>;

    /// Whether a member takes writes: one through it is committed.
    fn probe(&self, member: usize) -> Pending<'_, ()> {
        Box::pin(async move { self.connect(member).await?.commit(b"is anyone there").await })
    }

    /// Who leads, if the members that answer agree and are a majority. Not asked while one is
    /// killed: one that ended by itself is an error.
    fn leader(&mut self) -> Pending<'_, Option<usize>>;

    /// SIGKILL. The process is gone when this returns.
    fn kill(&mut self, member: usize) -> Result<()>;

    /// Starts a killed member again, on its own data. It need not be ready yet.
    fn restart(&mut self, member: usize) -> Result<()>;
}

/// Where commands are sent. If the connection broke, the next commit dials again.
pub trait Target: Send + Sync {
    /// Returns when the command is committed.
    fn commit<'a>(&'a self, payload: &'a [u8]) -> Pending<'a, ()>;
}

impl<T: Target + ?Sized> Target for Box<T> {
    fn commit<'a>(&'a self, payload: &'a [u8]) -> Pending<'a, ()> {
        (**self).commit(payload)
    }
}

/// What one member says: its own id, and the id of who leads; zero: nobody.
pub struct Belief {
    pub own: u64,
    pub leader: u64,
}

/// The member that all who answer name, if they are a majority and it is among them.
pub fn agreed(answers: &[Option<Belief>]) -> Option<usize> {
    let named: Vec<u64> = answers.iter().flatten().map(|answer| answer.leader).collect();
    let leader = *named.first()?;
    let is_one_mind = named.iter().all(|other| *other == leader);
    if leader == 0 || !is_one_mind || named.len() * 2 <= answers.len() {
        return None;
    }
    answers.iter().position(|answer| answer.as_ref().is_some_and(|answer| answer.own == leader))
}

/// Waits until every member takes writes; gives the leader.
pub async fn healthy(cluster: &mut dyn Cluster) -> Result<usize> {
    let clock = SystemClock::start();
    loop {
        let looked = tokio::time::timeout(LOOK, look(cluster)).await;
        let why = match looked {
            Ok(Ok(leader)) => return Ok(leader),
            // A member that ended by itself does not come back.
            Ok(Err(error)) if error.code == Code::RunInterrupted => return Err(error),
            Ok(Err(error)) => error,
            Err(_) => Error::new(Code::ClusterBusy, "a write was not answered in time"),
        };
        if clock.elapsed() > PATIENCE {
            let message = format!("the members at {} are not healthy", listed(cluster));
            return Err(Error::new(Code::ClusterLeaderless, message).cause(why));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn look(cluster: &mut dyn Cluster) -> Result<usize> {
    let leader = cluster.leader().await?;
    let unknown = || Error::new(Code::ClusterLeaderless, "the members name no leader");
    let leader = leader.ok_or_else(unknown)?;
    for member in 0..cluster.endpoints().len() {
        cluster.probe(member).await?;
    }
    Ok(leader)
}

fn listed(cluster: &dyn Cluster) -> String {
    cluster.endpoints().join(", ")
}

pub const MEMBERS: usize = 3;
/// How long a cluster may take to become healthy.
const PATIENCE: Duration = Duration::from_secs(60);
/// A write that is lost with its leader is waited for in vain; better to ask anew.
const LOOK: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::super::etcd::Etcd;
    use super::*;

    #[test]
    fn through_a_follower_nobody_writes_to_the_leader_and_nobody_is_killed_again() {
        let plain = Etcd::new(None);
        assert!(plain.is_killed());
        let side = ThroughFollower(Etcd::new(None));
        assert!(!side.is_killed());
        for leader in 0..MEMBERS {
            assert_eq!(plain.entry(leader), leader);
            assert!(side.entry(leader) != leader && side.entry(leader) < MEMBERS);
        }
    }

    fn answer(own: u64, leader: u64) -> Option<Belief> {
        Some(Belief { own, leader })
    }

    #[test]
    fn a_leader_is_who_a_majority_of_one_mind_names_and_who_answers() {
        assert_eq!(agreed(&[answer(7, 9), answer(8, 9), answer(9, 9)]), Some(2));
        assert_eq!(agreed(&[None, answer(8, 9), answer(9, 9)]), Some(2));
        assert_eq!(agreed(&[answer(7, 9), answer(8, 9), None]), None, "it does not answer");
        assert_eq!(agreed(&[answer(7, 9), answer(8, 8), answer(9, 9)]), None, "two minds");
        assert_eq!(agreed(&[answer(7, 0), answer(8, 0), answer(9, 0)]), None, "no leader");
        assert_eq!(agreed(&[answer(7, 7), None, None]), None, "no majority");
        assert_eq!(agreed(&[None, None, None]), None);
    }
}
