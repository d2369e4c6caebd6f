//! Holdfast itself: three coordinators on loopback, as an operator would set them up, each with a
//! house of its own below the same directory, and one location that the log is shipped to.
//!
//! ```text
//!   cluster init ─▶ coordinator m0 ─▶ (token ─▶ cluster join ─▶ coordinator) × 2 ─▶ three voters
//! ```
//!
//! A command makes a join token; the payload is a label of it. One side asks for it as an operator,
//! and is answered when the log that holds it lies in the location, as operators are. The other
//! proposes it as a member does (`proposer`), and its location is taken away before: nothing is
//! shipped then, as in any cluster whose location is away. Heartbeat 100 ms and election 400 to
//! 800 ms are the product's own.

pub mod client;
pub mod messages;
pub mod proposer;

use super::{
    cluster::{Belief, Cluster, Contender, MEMBERS, Pending, Target, agreed, healthy},
    process::{Process, free_ports},
};
use crate::{files, tool::CommandLine};
use client::{Client, id_of, operator};
use core::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use futures::future::join_all;
use holdfast_common::{Code, Error, Result};
use messages::StatusResponse;
use proposer::{Identity, Proposer};
use rustls::ClientConfig;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

pub struct Holdfast {
    program: PathBuf,
    is_shipped: bool,
}

impl Holdfast {
    /// The one that was built together with this program; its log is shipped, or is not.
    pub fn beside_this_program(is_shipped: bool) -> Result<Self> {
        let own = std::env::current_exe()
            .map_err(|error| Error::io("this program cannot be found", &error))?;
        Ok(Self { program: own.with_file_name("holdfast"), is_shipped })
    }

    pub fn program(&self) -> &Path {
        &self.program
    }
}

impl Contender for Holdfast {
    fn name(&self) -> String {
        let name = if self.is_shipped { "Holdfast, shipped" } else { "Holdfast" };
        name.to_owned()
    }

    fn version(&self) -> Result<String> {
        let said = CommandLine::new(&self.program, "--version", &[]).output()?;
        Ok(said.trim().to_owned())
    }

    fn shown(&self) -> String {
        "holdfast coordinator --config D/coordinator.toml".to_owned()
    }

    fn start<'a>(&'a self, dir: &'a Path) -> Pending<'a, Box<dyn Cluster>> {
        Box::pin(async move {
            let mut members = Members::found(&self.program, dir).await?;
            if !self.is_shipped {
                members.take_location_away(&self.program, dir).await?;
            }
            let members: Box<dyn Cluster> = Box::new(members);
            Ok(members)
        })
    }
}

struct Members {
    processes: Vec<Process>,
    endpoints: Vec<String>,
    /// The members' own ids.
    ids: Vec<u64>,
    operator: Arc<ClientConfig>,
    /// In whose name commands are proposed, where no operator asks for them.
    proposer: Option<Identity>,
    connections: AtomicU64,
}

impl Members {
    async fn found(program: &Path, dir: &Path) -> Result<Self> {
        let endpoints: Vec<String> =
            free_ports(MEMBERS)?.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let first = house(dir, 0);
        let words = format!(
            "cluster init --dir {{}} --name m0 --region one --listen {} \
             --location main=local:{{}} --kek file:{{}} --custody coordinator",
            endpoints[0]
        );
        let paths = [&*first, &*dir.join("location"), &*dir.join("kek")];
        CommandLine::new(program, &words, &paths).output()?;
        let mut members = Self {
            processes: Vec::new(),
            endpoints,
            ids: Vec::new(),
            operator: operator(&first)?,
            proposer: None,
            connections: AtomicU64::new(0),
        };
        members.start(program, dir)?;
        for number in 1..MEMBERS {
            let token = members.token().await?;
            let words = format!(
                "cluster join --dir {{}} --name m{number} --region one --listen {} \
                 --coordinator {} --token {token}",
                members.endpoints[number], members.endpoints[0]
            );
            CommandLine::new(program, &words, &[&*house(dir, number)]).output()?;
            members.start(program, dir)?;
        }
        Ok(members)
    }

    /// Starts the member that was set up last.
    fn start(&mut self, program: &Path, dir: &Path) -> Result<()> {
        let number = self.processes.len();
        let config = house(dir, number).join("coordinator.toml");
        self.ids.push(id_of(&config)?);
        let words = ["coordinator", "--config", &config.display().to_string()];
        let log = dir.join(format!("member-{number}.log"));
        let line = words.map(str::to_owned).to_vec();
        self.processes.push(Process::start(program, line, &log)?);
        Ok(())
    }

    /// Admits one more, for its certificate; then the location is gone.
    async fn take_location_away(&mut self, program: &Path, dir: &Path) -> Result<()> {
        healthy(self).await?;
        let token = Client::new(&self.endpoints[0], &self.operator)?.member_token().await?;
        let (first, own) = (house(dir, 0), dir.join("proposer"));
        let identity = Identity::admit(&own, program, (&first, &self.endpoints[0]), &token)?;
        self.proposer = Some(identity);
        let (there, away) = (dir.join("location"), dir.join("location-away"));
        std::fs::rename(&there, away).map_err(|error| files::failed("move", &there, &error))
    }

    /// From the first member, as soon as it answers.
    async fn token(&mut self) -> Result<String> {
        let client = Client::new(&self.endpoints[0], &self.operator)?;
        for _ in 1..ASKED_MAX {
            self.processes.iter_mut().try_for_each(Process::refuse_ended)?;
            if let Ok(token) = client.member_token().await {
                return Ok(token);
            }
            tokio::time::sleep(PAUSE).await;
        }
        client.member_token().await
    }

    /// Over a connection that does not stay: of one operator a member takes as many as there are
    /// clients, and not one more.
    async fn ask(&self, number: usize) -> Option<Belief> {
        let client = Client::new(&self.endpoints[number], &self.operator).ok()?;
        let status = client.status().await.ok()?;
        Some(belief(self.ids[number], &status))
    }
}

impl Cluster for Members {
    fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    fn connect(&self, member: usize) -> Pending<'_, Box<dyn Target>> {
        Box::pin(async move {
            if let Some(identity) = &self.proposer {
                let number = self.connections.fetch_add(1, Ordering::Relaxed);
                let (endpoint, to) = (&self.endpoints[member], self.ids[member]);
                let target: Box<dyn Target> =
                    Box::new(Proposer::new(endpoint, to, identity, number)?);
                return Ok(target);
            }
            let client = Client::new(&self.endpoints[member], &self.operator)?;
            client.status().await?;
            let target: Box<dyn Target> = Box::new(client);
            Ok(target)
        })
    }

    /// Proposals are for the leader: of the others it is enough that they know one.
    fn probe(&self, member: usize) -> Pending<'_, ()> {
        Box::pin(async move {
            if self.proposer.is_some() {
                let unknown = || Error::new(Code::ClusterLeaderless, "a member knows no leader");
                let belief = self.ask(member).await.filter(|belief| belief.leader != 0);
                let belief = belief.ok_or_else(unknown)?;
                if belief.leader != belief.own {
                    return Ok(());
                }
            }
            self.connect(member).await?.commit(b"is anyone there").await
        })
    }

    fn leader(&mut self) -> Pending<'_, Option<usize>> {
        Box::pin(async move {
            self.processes.iter_mut().try_for_each(Process::refuse_ended)?;
            let answers = join_all((0..MEMBERS).map(|member| self.ask(member))).await;
            Ok(agreed(&answers))
        })
    }

    fn kill(&mut self, member: usize) -> Result<()> {
        self.processes[member].kill()
    }

    fn restart(&mut self, member: usize) -> Result<()> {
        self.processes[member].restart()
    }
}

/// A leader counts when all three vote: a member begins as one that only follows.
fn belief(own: u64, status: &StatusResponse) -> Belief {
    let voters = status.members.iter().filter(|member| member.role == "voter").count();
    let leader = status.leader.filter(|_| voters == MEMBERS);
    Belief { own, leader: leader.unwrap_or(0) }
}

fn house(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("member-{number}"))
}

const ASKED_MAX: usize = 500;
const PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::messages::MemberStatus;
    use super::*;

    #[test]
    fn nobody_counts_as_leader_before_all_three_vote() {
        let in_role = |role: &&str| MemberStatus { role: (*role).to_owned(), ..Default::default() };
        let status = |roles: &[&str], leader| StatusResponse {
            leader,
            members: roles.iter().map(in_role).collect(),
        };
        let told = |roles: &[&str], leader| belief(1, &status(roles, leader)).leader;
        assert_eq!(told(&["voter", "voter", "voter"], Some(2)), 2);
        assert_eq!(told(&["voter", "voter", "learner"], Some(2)), 0);
        assert_eq!(told(&["voter"], Some(2)), 0);
        assert_eq!(told(&["voter", "voter", "voter"], None), 0);
    }
}
