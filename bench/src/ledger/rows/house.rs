//! One member on loopback that is filled, started again and again, and joined by a second one.
//!
//! ```text
//!   D/member-0   D/member-1   D/location   D/proposer: admitted, never started, removed
//! ```

use super::{Joined, Start, history::History};
use crate::{
    files,
    ledger::{
        holdfast::{
            client::{Client, id_of, operator},
            messages::MemberStatus,
            proposer::{Identity, Proposer},
        },
        process::free_ports,
    },
    tool::{CommandLine, Service},
};
use core::time::Duration;
use holdfast_common::{Clock, Code, Error, Result, SystemClock, VaultId};
use rustls::ClientConfig;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

pub struct House {
    program: PathBuf,
    dir: PathBuf,
    endpoints: [String; 2],
    operator: Arc<ClientConfig>,
    first: Option<Service>,
}

impl House {
    /// A cluster of one member, which runs.
    pub fn found(dir: &Path) -> Result<Self> {
        let own = std::env::current_exe()
            .map_err(|error| Error::io("this program cannot be found", &error))?;
        let program = own.with_file_name("holdfast");
        let ports = free_ports(2)?;
        let endpoints = [ports[0], ports[1]].map(|port| format!("127.0.0.1:{port}"));
        let words = format!(
            "cluster init --dir {{}} --name m0 --region one --listen {} \
             --location main=local:{{}} --kek file:{{}} --custody coordinator",
            endpoints[0]
        );
        let first = dir.join("member-0");
        let paths = [&*first, &*dir.join("location"), &*dir.join("kek")];
        CommandLine::new(&program, &words, &paths).output()?;
        let operator = operator(&first)?;
        let dir = dir.to_owned();
        let mut house = Self { program, dir, endpoints, operator, first: None };
        house.first = Some(house.start(0)?);
        Ok(house)
    }

    pub fn version(&self) -> Result<String> {
        let said = CommandLine::new(&self.program, "--version", &[]).output()?;
        Ok(said.trim().to_owned())
    }

    /// Returns when all of the history is agreed to, and lies in the location.
    pub async fn fill(&mut self, history: History) -> Result<()> {
        let (first, proposer) = (self.member(0), self.dir.join("proposer"));
        let token = self.client()?.member_token().await?;
        let asked = (&*first, &*self.endpoints[0]);
        let identity = Identity::admit(&proposer, &self.program, asked, &token)?;
        let to = id_of(&first.join("coordinator.toml"))?;
        let lines = (0..CONNECTIONS).map(|n| Proposer::new(&self.endpoints[0], to, &identity, n));
        let lines = lines.collect::<Result<Vec<_>>>()?;
        if let Some(first) = &self.first {
            // A bundle was exported for the proposer, and a passphrase is dear.
            first.forget_peak()?;
        }
        let last = history.play(&lines, self.vault()?).await?;
        self.wait("the log in the location", async || {
            // A member waits for so long, and the caller for less.
            Ok(lines[0].await_shipped(last).await.ok().filter(|shipped| *shipped >= last))
        })
        .await?;
        self.line("cluster remove p --yes").output().map(drop)
    }

    /// Ends the first member and measures its start.
    pub async fn start_again(&mut self, kill: bool) -> Result<Start> {
        match self.first.take() {
            Some(service) if !kill => service.stop()?,
            killed => drop(killed),
        }
        files::warm(&self.member(0))?;
        let clock = SystemClock::start();
        self.first = Some(self.start(0)?);
        let ready = clock.elapsed();
        self.client()?.status().await?;
        let read = clock.elapsed();
        Ok(Start { was_killed: kill, ready, read, peak_bytes: self.peak_bytes()? })
    }

    /// Has a second member join with nothing, and gives it a vote.
    pub async fn join(&mut self) -> Result<Joined> {
        let token = self.client()?.member_token().await?;
        let words = format!(
            "cluster join --dir {{}} --name m1 --region one --listen {} --coordinator {} \
             --token {token}",
            self.endpoints[1], self.endpoints[0]
        );
        CommandLine::new(&self.program, &words, &[&*self.member(1)]).output()?;
        if let Some(first) = &self.first {
            first.forget_peak()?;
        }
        let clock = SystemClock::start();
        let second = self.start(1)?;
        self.wait("the new member to lack nothing", async || self.found_level("").await).await?;
        let level = clock.elapsed();
        self.line("cluster promote m1").output()?;
        self.wait("the new member to vote", async || self.found_level("voter").await).await?;
        let votes = clock.elapsed();
        let (own_peak_bytes, leader_peak_bytes) = (second.peak_bytes()?, self.peak_bytes()?);
        Ok(Joined { level, votes, own_peak_bytes, leader_peak_bytes })
    }

    /// The most memory that the first member had since it was started, or since that was forgotten.
    pub fn peak_bytes(&self) -> Result<u64> {
        self.first.as_ref().map_or(Ok(0), Service::peak_bytes)
    }

    pub fn bytes_of(&self, part: &str) -> Result<u64> {
        files::bytes(&self.member(0).join("data/ledger").join(part))
    }

    async fn found_level(&self, role: &str) -> Result<Option<()>> {
        let status = self.client()?.status().await?;
        let is_level = |member: &MemberStatus| {
            member.name == "m1" && member.role.contains(role) && member.lag == Some(0)
        };
        Ok(status.members.iter().any(is_level).then_some(()))
    }

    /// Asks until there is an answer.
    async fn wait<T>(&self, what: &str, ask: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
        let clock = SystemClock::start();
        while clock.elapsed() < PATIENCE {
            if let Some(answer) = ask().await? {
                return Ok(answer);
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(Error::new(Code::ClusterBusy, format!("waited in vain for {what}")))
    }

    /// The one that every cluster begins with: its index has a directory of its name.
    fn vault(&self) -> Result<VaultId> {
        let index = self.member(0).join("data/index");
        let fail = |error| files::failed("list", &index, &error);
        for entry in std::fs::read_dir(&index).map_err(fail)? {
            if let Ok(vault) = entry.map_err(fail)?.file_name().to_string_lossy().parse() {
                return Ok(vault);
            }
        }
        Err(Error::new(Code::VaultMissing, "the member has no vault"))
    }

    fn start(&self, number: usize) -> Result<Service> {
        let config = self.member(number).join("coordinator.toml").display().to_string();
        let log = self.dir.join(format!("member-{number}.log"));
        Service::start(&self.program, &["coordinator", "--config", &config], &log)
    }

    fn client(&self) -> Result<Client> {
        Client::new(&self.endpoints[0], &self.operator)
    }

    fn line(&self, words: &str) -> CommandLine {
        let context = self.member(0).join("operator.toml").display().to_string();
        CommandLine::new(&self.program, words, &[]).with("HOLDFAST_CONTEXT", context)
    }

    fn member(&self, number: usize) -> PathBuf {
        self.dir.join(format!("member-{number}"))
    }
}

const CONNECTIONS: u64 = 48;
const PATIENCE: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(20);
