//! One round: the same data for all, every tool in turn.

use super::figures::{Phase, Sample};
use crate::{
    dataset::{self, Kind, change::change},
    files, say,
    tool::{CommandLine, Repository, Tool, Usage},
};
use holdfast_common::{Code, Error, Result};
use std::path::{Path, PathBuf};

pub struct Round<'a> {
    pub samples: Vec<Sample>,
    number: usize,
    work: &'a Path,
    tools: &'a [Box<dyn Tool>],
}

/// A tool with its two repositories.
struct Player {
    name: &'static str,
    all: Box<dyn Repository>,
    databases: Box<dyn Repository>,
}

/// What the plain tools of the system need for the same bytes, unsealed and without dedup.
pub const CEILING: &str = "tar to zstd -3 -T2";

impl<'a> Round<'a> {
    pub fn new(number: usize, work: &'a Path, tools: &'a [Box<dyn Tool>]) -> Self {
        Self { samples: Vec::new(), number, work, tools }
    }

    /// Gives back the data set in words.
    pub fn play(&mut self, seed: u64, scale: f64) -> Result<String> {
        let data = self.work.join("data");
        say("making the data");
        dataset::generate(&data, seed, scale)?;
        let told = inventory(&data)?;
        self.ceiling(&data)?;
        let mut players = Vec::new();
        for tool in self.tools {
            let dir = self.work.join(tool.name());
            files::make_dir(&dir)?;
            let (all, databases) =
                (tool.create(&dir.join("all"))?, tool.create(&dir.join("databases"))?);
            let mut player = Player { name: tool.name(), all, databases };
            self.back_up(&mut player, &data, &[Phase::First, Phase::Unchanged])?;
            self.back_up(&mut player, &data, &[Phase::DatabasesFirst])?;
            players.push(player);
        }
        change(&data, seed + 1)?;
        for player in &mut players {
            self.back_up(player, &data, &[Phase::Changed])?;
            self.back_up(player, &data, &[Phase::DatabasesChanged])?;
        }
        let wanted = files::digest(&data)?;
        for player in &mut players {
            self.restore(player, &data, wanted)?;
        }
        Ok(told)
    }

    fn ceiling(&mut self, data: &Path) -> Result<()> {
        let out = self.work.join("ceiling.tar.zst");
        let script =
            format!("tar -cf - -C {} . | zstd -q -3 -T2 -o {}", quoted(data), quoted(&out));
        let line = CommandLine {
            program: "/bin/bash".into(),
            arguments: vec!["-o".into(), "pipefail".into(), "-c".into(), script],
            ..CommandLine::default()
        };
        settle(data)?;
        let usage = line.measure(&self.work.join("ceiling.log"))?;
        let stored = std::fs::metadata(&out).map_err(|e| files::failed("find", &out, &e))?.len();
        self.note(CEILING, Phase::Ceiling, usage, stored);
        std::fs::remove_file(&out).map_err(|error| files::failed("remove", &out, &error))
    }

    fn back_up(&mut self, player: &mut Player, data: &Path, phases: &[Phase]) -> Result<()> {
        for phase in phases {
            let (repository, source) = match phase {
                Phase::DatabasesFirst | Phase::DatabasesChanged => {
                    (&mut player.databases, data.join(Kind::Database.name()))
                }
                _ => (&mut player.all, data.to_owned()),
            };
            let before = files::bytes(&repository.stored())?;
            repository.wake()?;
            settle(&source)?;
            let usage = repository.backup(&source)?;
            repository.sleep()?;
            let after = files::bytes(&repository.stored())?;
            self.note(player.name, *phase, usage, after.saturating_sub(before));
        }
        Ok(())
    }

    /// A copy that differs from the data ends the run: its time would mean nothing.
    fn restore(&mut self, player: &mut Player, data: &Path, wanted: blake3::Hash) -> Result<()> {
        let to = self.work.join("restored");
        files::make_dir(&to)?;
        if !files::forget_removed() {
            say("not root: removed files are still remembered and make restores slower");
        }
        player.all.wake()?;
        settle(&player.all.stored())?;
        let (usage, copy) = player.all.restore(data, &to)?;
        player.all.sleep()?;
        if files::digest(&copy)? != wanted {
            let message = format!("what {} restored is not what it backed up", player.name);
            return Err(Error::new(Code::ChunkDamaged, message));
        }
        self.note(player.name, Phase::Restore, usage, 0);
        files::remove_dir(&to)
    }

    fn note(&mut self, tool: &'static str, phase: Phase, usage: Usage, stored_bytes: u64) {
        say(&format!(
            "{tool:12} {phase:?}: {:.2} s, {:.2} CPU s, peak {} MiB, {:.1} MB stored",
            usage.wall_seconds,
            usage.cpu_seconds,
            usage.peak_bytes >> 20,
            stored_bytes as f64 / 1e6
        ));
        self.samples.push(Sample { round: self.number, tool, phase, usage, stored_bytes });
    }
}

/// What others wrote is on the disk, what is going to be read is in memory.
fn settle(dir: &Path) -> Result<()> {
    rustix::fs::sync();
    files::warm(dir)
}

fn inventory(data: &Path) -> Result<String> {
    let mut parts = Vec::new();
    for kind in Kind::ALL {
        let found = files::list(&data.join(kind.name()))?;
        let bytes: u64 = found.iter().map(|file| file.bytes).sum();
        parts.push(format!("{} {} ({:.0} MB)", found.len(), kind.name(), bytes as f64 / 1e6));
    }
    Ok(parts.join(", "))
}

fn quoted(path: &Path) -> String {
    format!("'{}'", PathBuf::from(path).display().to_string().replace('\'', "'\\''"))
}
