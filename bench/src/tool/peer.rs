//! The peers: command-line programs with a repository in a directory.
//!
//! Each runs as its documentation advises for a local repository, compressed with zstd level 3
//! (restic's `auto`), encrypted, with its cache on the same disk. Flags that an older packaged
//! version does not know are left out, as its own help says.

use super::{CommandLine, Repository, Tool, Usage};
use crate::files;
use holdfast_common::Result;
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum PeerName {
    Borg,
    Restic,
    Rustic,
}

/// One installed peer.
#[derive(Clone)]
pub struct Peer {
    name: PeerName,
    program: PathBuf,
    /// Options of `backup` that this version knows.
    options: String,
}

impl Peer {
    /// `built` is where programs lie that no package has.
    pub fn find(name: PeerName, built: &Path) -> Result<Self> {
        let program = match name {
            PeerName::Borg => PathBuf::from("borg"),
            PeerName::Restic => PathBuf::from("restic"),
            PeerName::Rustic => built.join("rustic"),
        };
        let mut options = String::new();
        if name == PeerName::Restic {
            let help = CommandLine::new(&program, "backup --help", &[]).output()?;
            for (flag, option) in RESTIC_OPTIONS {
                if help.contains(flag) {
                    options = format!("{options} {option}");
                }
            }
        }
        Ok(Self { name, program, options })
    }

    fn line(&self, dir: &Path, words: &str, paths: &[&Path]) -> CommandLine {
        let repository = dir.join("repository").display().to_string();
        let line = CommandLine::new(&self.program, words, paths);
        match self.name {
            PeerName::Borg => line
                .with("BORG_REPO", repository)
                .with("BORG_BASE_DIR", dir.join("base").display().to_string())
                .with("BORG_PASSPHRASE", PASSPHRASE),
            PeerName::Restic => line
                .with("RESTIC_REPOSITORY", repository)
                .with("RESTIC_CACHE_DIR", dir.join("cache").display().to_string())
                .with("RESTIC_PASSWORD", PASSPHRASE),
            PeerName::Rustic => line
                .with("RUSTIC_REPOSITORY", repository)
                .with("RUSTIC_CACHE_DIR", dir.join("cache").display().to_string())
                .with("RUSTIC_PASSWORD", PASSPHRASE),
        }
    }

    fn initialise(&self, dir: &Path) -> CommandLine {
        let words = match self.name {
            PeerName::Borg => "init --encryption repokey-blake2",
            PeerName::Restic => "init --repository-version 2",
            PeerName::Rustic => "init --set-compression 3",
        };
        self.line(dir, words, &[])
    }

    fn backup(&self, dir: &Path, source: &Path, number: usize) -> CommandLine {
        match self.name {
            PeerName::Borg => {
                let words = format!("create --compression zstd,3 ::point-{number} {{}}");
                self.line(dir, &words, &[source])
            }
            PeerName::Restic => {
                self.line(dir, &format!("backup --quiet{} {{}}", self.options), &[source])
            }
            PeerName::Rustic => self.line(dir, "backup --no-progress {}", &[source]),
        }
    }

    /// Forgets all but the newest points of each source; nothing goes by that yet.
    pub fn keep_last(&self, dir: &Path, last: u64) -> CommandLine {
        let words = match self.name {
            PeerName::Borg => format!("prune --keep-last {last}"),
            PeerName::Restic | PeerName::Rustic => format!("forget --keep-last {last}"),
        };
        self.line(dir, &words, &[])
    }

    /// Gives up what no point needs any more.
    pub fn prune(&self, dir: &Path) -> CommandLine {
        let words = if self.name == PeerName::Borg { "compact" } else { "prune" };
        self.line(dir, words, &[])
    }

    /// Whether the repository is sound.
    pub fn check(&self, dir: &Path) -> CommandLine {
        self.line(dir, "check", &[])
    }

    fn restore(&self, dir: &Path, source: &Path, to: &Path, number: usize) -> CommandLine {
        match self.name {
            PeerName::Borg => self.line(dir, &format!("extract ::point-{number}"), &[]).inside(to),
            PeerName::Restic => self.line(dir, "restore --quiet latest --target {}", &[to]),
            PeerName::Rustic => {
                self.line(dir, "restore --no-progress latest:{} {}", &[source, &below(to, source)])
            }
        }
    }
}

impl Tool for Peer {
    fn name(&self) -> &'static str {
        match self.name {
            PeerName::Borg => "BorgBackup",
            PeerName::Restic => "restic",
            PeerName::Rustic => "rustic",
        }
    }

    fn version(&self) -> Result<String> {
        let words = if self.name == PeerName::Restic { "version" } else { "--version" };
        Ok(CommandLine::new(&self.program, words, &[]).output()?.trim().to_owned())
    }

    fn create(&self, dir: &Path) -> Result<Box<dyn Repository>> {
        files::make_dir(dir)?;
        self.initialise(dir).output()?;
        Ok(Box::new(Store { peer: self.clone(), dir: dir.to_owned(), backups: 0 }))
    }

    fn shown(&self) -> Vec<String> {
        let (dir, data, to) = (Path::new("W"), Path::new("DATA"), Path::new("TO"));
        let lines =
            [self.initialise(dir), self.backup(dir, data, 1), self.restore(dir, data, to, 1)];
        lines.iter().map(CommandLine::shown).collect()
    }
}

struct Store {
    peer: Peer,
    dir: PathBuf,
    backups: usize,
}

impl Repository for Store {
    fn backup(&mut self, source: &Path) -> Result<Usage> {
        self.backups += 1;
        self.peer.backup(&self.dir, source, self.backups).measure(&self.dir.join("backup.log"))
    }

    fn restore(&mut self, source: &Path, to: &Path) -> Result<(Usage, PathBuf)> {
        let line = self.peer.restore(&self.dir, source, to, self.backups);
        Ok((line.measure(&self.dir.join("restore.log"))?, below(to, source)))
    }

    fn stored(&self) -> PathBuf {
        self.dir.join("repository")
    }
}

/// An absolute path of the source, under another root.
pub(super) fn below(to: &Path, source: &Path) -> PathBuf {
    to.join(source.strip_prefix("/").unwrap_or(source))
}

const PASSPHRASE: &str = "of no secret";
/// A flag in the help of `restic backup`, and how it is used.
const RESTIC_OPTIONS: [(&str, &str); 4] = [
    ("--compression", "--compression auto"),
    ("--pack-size", "--pack-size 32"),
    ("--read-concurrency", "--read-concurrency 4"),
    ("--no-scan", "--no-scan"),
];
