//! Holdfast's part: points by backups, rounds with cold caches, and backups beside them.

use super::shape::Shape;
use crate::{
    files, say,
    tool::{Holdfast, House, Repository, Usage},
};
use core::ops::Range;
use holdfast_common::{Clock, Code, Error, Result, SystemClock};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What one round did, as the product itself told, and what it took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Round {
    pub seconds: f64,
    pub coordinator_bytes: u64,
    pub doomed: u64,
    pub doomed_bytes: u64,
    /// Of these, those that were packed anew.
    pub repacked: u64,
}

/// A backup alone, and another one of the same size beside a round.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pair {
    pub alone: Usage,
    pub beside: Usage,
    pub round: Round,
}

/// All of one vault.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Played {
    /// Until the last point was there.
    pub made_seconds: f64,
    pub stored_bytes: u64,
    /// Rounds with nothing beside them.
    pub rounds: Vec<Round>,
    pub pairs: Vec<Pair>,
    pub points_left: u64,
}

/// Makes the vault, takes it apart turn by turn, and looks at what is left.
pub fn play(tool: &Holdfast, shape: &Shape, dir: &Path) -> Result<Played> {
    let house = tool.found(&dir.join("house"))?;
    let mut stage = Stage { shape, dir, house, others: 0 };
    let mut played = Played::default();
    stage.house.rouse()?;
    let clock = SystemClock::start();
    for first in (0..shape.hosts).step_by(AT_ONCE) {
        let end = shape.hosts.min(first + AT_ONCE as u64);
        stage.make(first..end)?;
        say(&format!("host {end} of {} after {:.0?}", shape.hosts, clock.elapsed()));
    }
    played.made_seconds = clock.elapsed().as_secs_f64();
    played.stored_bytes = files::bytes(&stage.house.stored())?;
    for pair in 0..shape.pairs {
        played.rounds.push(stage.round_alone(2 * pair + 1)?);
        played.pairs.push(stage.pair(2 * pair + 2)?);
    }
    played.points_left = stage.insist_on_whole()?;
    stage.house.rest()?;
    Ok(played)
}

struct Stage<'a> {
    shape: &'a Shape,
    dir: &'a Path,
    house: House,
    /// Trees of backups that were made beside the points.
    others: u64,
}

impl Stage<'_> {
    fn tree(&self, host: u64) -> PathBuf {
        self.dir.join(format!("host-{host}"))
    }

    /// The points of some hosts, of which each is backed up beside the others.
    fn make(&self, hosts: Range<u64>) -> Result<()> {
        let make = |host| -> Result<()> {
            self.keep_last(host, self.shape.days)?;
            for day in 1..=self.shape.days {
                self.shape.write_day(&self.tree(host), host, day)?;
                self.house.line(&format!("backup {}", policy(host)), &[]).output()?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let made: Vec<_> = hosts.map(|host| scope.spawn(move || make(host))).collect();
            made.into_iter().try_for_each(|made| made.join().unwrap_or_else(|_| Err(gone())))
        })
    }

    /// The policy of a host, which keeps so many points from now on.
    fn keep_last(&self, host: u64, last: u64) -> Result<()> {
        let file = self.dir.join(format!("policy-{host}.toml"));
        let tree = self.tree(host);
        let text = format!(
            "kind = \"policy\"\nname = \"{}\"\n[spec]\nagent = \"measured\"\n\
             source = {{ type = \"files\", paths = [\"{}\"] }}\n\
             retention = {{ last = {last}, protect_for = \"0s\" }}\n",
            policy(host),
            tree.display()
        );
        std::fs::write(&file, text).map_err(|error| files::failed("write", &file, &error))?;
        self.house.line("apply -f {}", &[&file]).output().map(drop)
    }

    /// Forgets the days of a turn, and starts everything anew with nothing in memory.
    fn set(&mut self, turn: u64) -> Result<()> {
        for host in 0..self.shape.hosts {
            self.keep_last(host, self.shape.kept(turn))?;
            self.house.line(&format!("retain {} --yes", policy(host)), &[]).output()?;
        }
        self.start_anew()
    }

    fn start_anew(&mut self) -> Result<()> {
        self.house.rest()?;
        insist_on_cold()?;
        self.house.rouse()
    }

    fn round_alone(&mut self, turn: u64) -> Result<Round> {
        self.set(turn)?;
        let usage = self.house.measured(COLLECT, "collect.log")?;
        let round = Round {
            seconds: usage.wall_seconds,
            coordinator_bytes: coordinator_bytes(&usage),
            ..self.last_round(turn)?
        };
        say(&format!("{round:?}"));
        Ok(round)
    }

    /// The backup that is alone comes first: a round that was not there cannot be in its way. Both
    /// find their trees, and everything else, on the disk alone.
    fn pair(&mut self, turn: u64) -> Result<Pair> {
        let (first, second) = (self.other_tree()?, self.other_tree()?);
        self.set(turn)?;
        let alone = self.house.back_up(&first)?;
        self.start_anew()?;
        let (beside, seconds) = std::thread::scope(|scope| {
            let house = &self.house;
            let round = scope.spawn(move || {
                let clock = SystemClock::start();
                house.line(COLLECT, &[]).output().map(|_| clock.elapsed().as_secs_f64())
            });
            let beside = house.back_up(&second);
            let round = round.join().unwrap_or_else(|_| Err(gone()));
            Ok::<_, Error>((beside?, round?))
        })?;
        let coordinator_bytes = coordinator_bytes(&beside);
        let round = Round { seconds, coordinator_bytes, ..self.last_round(turn)? };
        say(&format!("{round:?}, alone {:?}, beside {:?}", alone, beside));
        Ok(Pair { alone, beside, round })
    }

    fn other_tree(&mut self) -> Result<PathBuf> {
        self.others += 1;
        let tree = self.dir.join(format!("other-{}", self.others));
        self.shape.write_other(&tree, self.others)?;
        Ok(tree)
    }

    /// What the newest round says of itself, which must have given something up.
    fn last_round(&self, turn: u64) -> Result<Round> {
        let told = self.told("--output json collect --dry-run")?;
        let newest = &told["vaults"][0]["newest"];
        let number = |field: &Value| field.as_u64().unwrap_or(0);
        let round = Round {
            doomed: number(&newest["doomed"]),
            doomed_bytes: number(&newest["doomed_bytes"]),
            repacked: number(&newest["repacked"]["packs"]),
            ..Round::default()
        };
        if newest["stage"] == "over" && round.doomed > 0 && round.doomed_bytes > 0 {
            return Ok(round);
        }
        let message = format!("the round of turn {turn} gave nothing up");
        Err(Error::new(Code::RunCancelled, message).cause(newest))
    }

    /// Every object of every point that is left is there, one of them restores to what it was, and
    /// none is missing. How many there are.
    fn insist_on_whole(&mut self) -> Result<u64> {
        let due = self.shape.hosts * self.shape.kept(self.shape.turns()) + self.others;
        self.house.measured("verify --all --level storage", "verify.log")?;
        let told = self.told("--output json points")?;
        let points = told["points"].as_array().map_or(0, Vec::len) as u64;
        if points != due {
            let message = format!("{points} points are left, and not {due}");
            return Err(Error::new(Code::RunCancelled, message));
        }
        let (tree, to) = (self.tree(0), self.dir.join("restored"));
        files::make_dir(&to)?;
        let words = format!("restore latest --policy {} --to {{}}", policy(0));
        self.house.line(&words, &[&to]).output()?;
        let back = to.join(tree.strip_prefix("/").unwrap_or(&tree));
        if files::digest(&back)? != files::digest(&tree)? {
            let message = "what was restored is not what was backed up";
            return Err(Error::new(Code::ChunkDamaged, message));
        }
        Ok(points)
    }

    fn told(&self, words: &str) -> Result<Value> {
        let told = self.house.line(words, &[]).output()?;
        serde_json::from_str(&told)
            .map_err(|error| Error::io(format!("`{words}` tells no JSON"), &error.into()))
    }
}

const COLLECT: &str = "collect --yes";
/// As many as the agent has seats.
const AT_ONCE: usize = 2;

fn gone() -> Error {
    Error::new(Code::RunCancelled, "whoever waited for the command is gone")
}

fn policy(host: u64) -> String {
    format!("host-{host}")
}

fn coordinator_bytes(usage: &Usage) -> u64 {
    let part = usage.parts.iter().find(|part| part.process == "coordinator");
    part.map_or(0, |part| part.peak_bytes)
}

/// Nothing is in the kernel's memory either; where that cannot be had, nothing is measured.
pub fn insist_on_cold() -> Result<()> {
    if files::forget_removed() {
        return Ok(());
    }
    Err(Error::new(Code::FileIoFailed, "the kernel's caches cannot be dropped")
        .next("run it as root"))
}
