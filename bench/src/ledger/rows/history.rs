//! A made-up history of backups, by the commands that make a real one: agents enrol, and every day
//! each has a run that announces its packs and commits a point.
//!
//! ```text
//!   token, enrol ─▶ each day: start run ─▶ begin session ─▶ announce packs ─▶ commit the point
//! ```
//!
//! The ledger takes nothing on trust here: every row is written by its own checks. Only bytes are
//! missing: packs are announced and never stored, so that nobody looks for them in a location.

use crate::{chance::Chance, ledger::holdfast::proposer::Proposer};
use futures::future::try_join_all;
use holdfast_common::{
    AgentId, Code, Error, Name, PackId, PointId, Result, RunId, SessionId, Timestamp, VaultId,
};
use holdfast_ledger::{
    Actor,
    command::{
        BeginSession, CommitPoint, CreateToken, EnrolAgent, IntendPacks, IntendedPack, StartRun,
    },
    row::{PackHome, PointRow, PointState, RunCounts, RunRow, SourceSpec, TokenRow},
};
use std::collections::BTreeMap;

/// How large it is.
#[derive(Clone, Copy, Debug)]
pub struct History {
    pub agents: u64,
    pub days: u64,
}

impl History {
    pub fn runs(&self) -> u64 {
        self.agents * self.days
    }

    /// Runs and points, each with its place in the order of time, and packs.
    pub fn catalog_rows(&self) -> u64 {
        self.runs() * (2 + 2 + PACKS)
    }

    pub fn commands(&self) -> u64 {
        self.agents * 2 + self.runs() * 4
    }

    /// Has all of it agreed to, over so many connections; the index of the last entry.
    pub async fn play(&self, lines: &[Proposer], vault: VaultId) -> Result<u64> {
        let played = lines.iter().zip(0..).map(|(line, first)| async move {
            let mut agents = Vec::new();
            for number in (first..self.agents).step_by(lines.len()) {
                agents.push(Agent::enrol(number, vault, line).await?);
            }
            let mut last = 0;
            for day in 0..self.days {
                for agent in &mut agents {
                    last = agent.back_up(day, line).await?;
                }
            }
            Ok(last)
        });
        let ends = try_join_all(played).await;
        ends.map(|ends: Vec<u64>| ends.into_iter().max().unwrap_or(0))
    }
}

struct Agent {
    number: u64,
    id: AgentId,
    vault: VaultId,
    source: SourceSpec,
    previous: Option<PointId>,
}

impl Agent {
    async fn enrol(number: u64, vault: VaultId, line: &Proposer) -> Result<Self> {
        let hash = drawn("token", number, 0);
        let (labels, expires) = (BTreeMap::from([("site".to_owned(), "one".to_owned())]), EVER);
        let (used_by, kind, used_by_member) = (None, None, None);
        let (duty, made_by) = (None, None);
        let token =
            TokenRow { hash, labels, expires, used_by, kind, used_by_member, duty, made_by };
        line.propose(&Actor::System, CreateToken { token }).await?;
        let id = AgentId::from_bytes(drawn("agent", number, 0));
        let enrol = EnrolAgent {
            token_hash: hash,
            agent: id,
            name: name(&format!("host-{number:04}"))?,
            identity_public: drawn("identity", number, 0),
            serial: number + 1,
            not_after: EVER,
        };
        line.propose(&Actor::Token, enrol).await?;
        let paths = ["/etc", "/home", "/srv/data"].map(|path| path.as_bytes().to_vec().into());
        let (paths, exclude) = (paths.to_vec(), vec!["*.tmp".to_owned()]);
        let source = SourceSpec::Files { paths, exclude, one_file_system: false, include: None };
        Ok(Self { number, id, vault, source, previous: None })
    }

    /// The run of one day; where in the log its point is committed.
    async fn back_up(&mut self, day: u64, line: &Proposer) -> Result<u64> {
        let run = RunId::from_bytes(drawn("run", self.number, day));
        let session = SessionId::from_bytes(drawn("session", self.number, day));
        let point = PointId::from_bytes(drawn("point", self.number, day));
        let own = Actor::Agent(self.id);
        let start = StartRun { run: self.run(run)? };
        line.propose(&Actor::System, start).await?;
        line.propose(&own, BeginSession { session, run, point }).await?;
        let packs = (0..PACKS).map(|slot| pack(self.number, day * PACKS + slot)).collect();
        line.propose(&own, IntendPacks { session, packs }).await?;
        let commit = self.commit(session, run, point, day)?;
        self.previous = Some(point);
        line.propose(&own, commit).await
    }

    fn run(&self, id: RunId) -> Result<RunRow> {
        let policy = Some(name(&format!("daily-{:04}", self.number))?);
        Ok(RunRow { policy, ..RunRow::backup(id, self.id, self.vault, self.source.clone()) })
    }

    fn commit(&self, session: SessionId, run: RunId, id: PointId, day: u64) -> Result<CommitPoint> {
        let mut chance = Chance::new(self.number, "point", day);
        let (entries, bytes) = (chance.spread(1_000, 1_000_000), chance.spread(1 << 30, 1 << 40));
        let row = self.run(run)?;
        let point = PointRow {
            id,
            vault: self.vault,
            agent: self.id,
            run,
            policy: row.policy.clone(),
            source: row.source_text(),
            started: Timestamp::ZERO,
            committed: Timestamp::ZERO,
            state: PointState::Complete,
            entries,
            bytes,
            skipped: 0,
            previous: self.previous,
            object_hash: drawn("object", self.number, day),
            reach_hash: drawn("reach", self.number, day),
            locations: vec![name("main")?],
            id_scope: 1,
            recovered: None,
            root: None,
            lost: None,
            verified: None,
        };
        let (bytes_new, chunks_new) = (PACKS << 24, PACKS * 200);
        let counts = RunCounts {
            entries,
            bytes_read: bytes,
            bytes_new,
            bytes_stored: bytes_new / 2,
            chunks_new,
            chunks_reused: bytes >> 16,
            skipped: 0,
        };
        Ok(CommitPoint {
            session,
            point,
            counts,
            inline_packs: Vec::new(),
            revision: None,
            based: None,
            whole_at: None,
            keys_at: None,
        })
    }
}

fn pack(agent: u64, number: u64) -> IntendedPack {
    let mut chance = Chance::new(agent, "pack", number);
    IntendedPack {
        id: PackId::from_bytes(drawn("pack", agent, number)),
        kind: 1,
        slots: chance.between(50, 500) as u32,
        length: chance.between(1 << 23, 1 << 24) as u32,
        home: PackHome::Object,
        digest: drawn("digest", agent, number),
        sealed_to: None,
    }
}

fn name(text: &str) -> Result<Name> {
    text.parse().map_err(|error| Error::new(Code::InternalBug, "a made-up name").cause(error))
}

/// Ids are drawn at random, and so are the places of their rows; here the same every time.
fn drawn<const N: usize>(what: &str, one: u64, other: u64) -> [u8; N] {
    let mut bytes = [0; N];
    let mut hasher = blake3::Hasher::new();
    hasher.update(what.as_bytes()).update(&one.to_le_bytes()).update(&other.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

/// Of a run. Five gigabytes a month and host, as packs are: more of these than of all else.
const PACKS: u64 = 10;
const EVER: Timestamp = Timestamp::from_nanos(4_000_000_000_000_000_000);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_of_two_hundred_agents_is_a_million_rows() {
        let history = History { agents: 200, days: 360 };
        assert_eq!(history.catalog_rows(), 1_008_000);
        assert_eq!(history.commands(), 400 + 72_000 * 4);
    }

    #[test]
    fn ids_are_the_same_every_time_and_differ_by_kind_agent_and_day() {
        let id = |what, agent, day| -> [u8; 16] { drawn(what, agent, day) };
        assert_eq!(id("run", 1, 2), id("run", 1, 2));
        for other in [id("point", 1, 2), id("run", 2, 2), id("run", 1, 3), id("run", 2, 1)] {
            assert_ne!(id("run", 1, 2), other);
        }
        assert_ne!(pack(1, 2).id, pack(1, 3).id);
    }
}
