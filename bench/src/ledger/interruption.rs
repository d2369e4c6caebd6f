//! How long a backup stands still when the leader is killed under it.
//!
//! ```text
//!   new data ─▶ backup ─▶ packs are stored ─▶ SIGKILL the leader ─▶ the next pack is stored ─┐
//!      ▲                                      └────── measured ──────┘                       │
//!      └──── the member is started again ◀── the backup goes on to its end ◀─────────────────┘
//! ```
//!
//! An agent with the product's own settings, which knows all members. What counts is the first pack
//! that is agreed to be stored after the signal: its time stands in the audit log, stamped by the
//! next leader, on the same machine. A backup that does not come to its end fails the measurement.

use super::{
    cluster::{Cluster, Contender, healthy},
    holdfast::{
        Holdfast,
        client::{Client, operator},
        messages::AuditEntry,
    },
    process::Process,
};
use crate::{
    chance::Chance,
    files,
    tool::{CommandLine, Service},
};
use core::time::Duration;
use holdfast_common::{Clock, Code, Error, Result, SystemClock, Timestamp};
use std::{
    io::Write,
    path::{Path, PathBuf},
};

/// From each of so many kills to the next pack, in their order.
pub async fn measure(side: &Holdfast, kills: usize, dir: &Path) -> Result<Vec<Duration>> {
    let mut cluster = side.start(dir).await?;
    healthy(cluster.as_mut()).await?;
    let mut backups = Backups::prepare(side, cluster.as_ref(), dir)?;
    let mut took = Vec::with_capacity(kills);
    for number in 0..kills {
        healthy(cluster.as_mut()).await?;
        took.push(backups.interrupt(cluster.as_mut(), number as u64).await?);
    }
    Ok(took)
}

/// An agent, and what is known of its backups.
struct Backups {
    program: PathBuf,
    dir: PathBuf,
    /// The operator's, one for each member.
    clients: Vec<Client>,
    clock: SystemClock,
    /// Rows of the audit log up to here were looked at.
    seen: u64,
    _agent: Service,
}

impl Backups {
    fn prepare(side: &Holdfast, cluster: &dyn Cluster, dir: &Path) -> Result<Self> {
        let (program, first) = (side.program().to_owned(), dir.join("member-0"));
        let context = first.join("operator.toml").display().to_string();
        let token = CommandLine::new(&program, "agent token", &[])
            .with("HOLDFAST_CONTEXT", context)
            .output()?;
        let (agent, endpoint) = (dir.join("agent"), &cluster.endpoints()[0]);
        let words = format!(
            "agent join --coordinator {endpoint} --token {} --dir {{}} --name interrupted",
            token.trim()
        );
        CommandLine::new(&program, &words, &[&*agent]).output()?;
        let config = agent.join("agent.toml").display().to_string();
        let agent = Service::start(&program, &["agent", "--config", &config], &dir.join("a.log"))?;
        let (operator, dir) = (operator(&first)?, dir.to_owned());
        let clients = cluster.endpoints().iter().map(|endpoint| Client::new(endpoint, &operator));
        let (clients, clock) = (clients.collect::<Result<_>>()?, SystemClock::start());
        Ok(Self { program, dir, clients, clock, seen: 0, _agent: agent })
    }

    /// One backup, and one kill in the midst of it.
    async fn interrupt(&mut self, cluster: &mut dyn Cluster, number: u64) -> Result<Duration> {
        let data = self.dir.join("data");
        make(&data, number)?;
        let begun = self.clock.now();
        let mut backup = self.begin(&data)?;
        let leader = cluster.leader().await?.ok_or_else(lost)?;
        self.wait_for_packs(&mut backup, begun, PACKS_BEFORE).await?;
        let killed = self.clock.now();
        cluster.kill(leader)?;
        let next = self.wait_for_packs(&mut backup, killed, 1).await?;
        cluster.restart(leader)?;
        self.wait_for_end(&mut backup).await?;
        files::remove_dir(&data)?;
        Ok(Duration::from_nanos(u64::try_from(next.as_nanos() - killed.as_nanos()).unwrap_or(0)))
    }

    fn begin(&self, data: &Path) -> Result<Process> {
        let context = self.dir.join("member-0/operator.toml");
        let words = [
            "--context",
            &context.display().to_string(),
            "backup",
            "--path",
            &data.display().to_string(),
        ];
        let line = words.map(str::to_owned).to_vec();
        Process::start(&self.program, line, &self.dir.join("backup.log"))
    }

    /// Waits for so many packs that were stored after `since`; when the last of them was. Members
    /// are asked in turn: one of them may be gone.
    async fn wait_for_packs(
        &mut self,
        backup: &mut Process,
        since: Timestamp,
        mut wanted: usize,
    ) -> Result<Timestamp> {
        let deadline = self.clock.elapsed() + PATIENCE;
        for member in (0..self.clients.len()).cycle() {
            // Nothing is learnt of a backup that was too fast.
            let has_ended = backup.has_ended()?.is_some();
            for row in self.news(member).await {
                self.seen = row.number + 1;
                if row.action == STORED && Timestamp::from_nanos(row.time_ns) > since {
                    wanted -= 1;
                    if wanted == 0 {
                        return Ok(Timestamp::from_nanos(row.time_ns));
                    }
                }
            }
            if has_ended || self.clock.elapsed() > deadline {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(Error::new(Code::ClusterBusy, "the backup stored no further pack"))
    }

    /// Rows of the audit log that were not looked at yet; none from a member that is gone.
    async fn news(&self, member: usize) -> Vec<AuditEntry> {
        let answered = tokio::time::timeout(ATTEMPT, self.clients[member].audit(self.seen)).await;
        answered.ok().and_then(Result::ok).unwrap_or_default()
    }

    async fn wait_for_end(&self, backup: &mut Process) -> Result<()> {
        let deadline = self.clock.elapsed() + PATIENCE;
        while self.clock.elapsed() < deadline {
            match backup.has_ended()? {
                Some(true) => return Ok(()),
                Some(false) => return backup.refuse_ended(),
                None => tokio::time::sleep(PAUSE).await,
            }
        }
        Err(Error::new(Code::ClusterBusy, "the backup does not end"))
    }
}

/// Noise, so that every byte is stored.
fn make(data: &Path, number: u64) -> Result<()> {
    let mut bytes = vec![0; FILE_BYTES];
    for file in 0..FILES {
        Chance::new(number, "interruption", file).fill(&mut bytes);
        let path = data.join(format!("{file}"));
        let written = files::create(&path)?.write_all(&bytes);
        written.map_err(|error| files::failed("write", &path, &error))?;
    }
    Ok(())
}

fn lost() -> Error {
    Error::new(Code::ClusterLeaderless, "nobody leads")
}

/// What the audit log calls it when a pack is in every location.
const STORED: &str = "packs.store";
const PACKS_BEFORE: usize = 4;
const FILES: u64 = 32;
const FILE_BYTES: usize = 16 << 20;
const ATTEMPT: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(10);
