//! What the tests drive the binary with.
//!
//! `process` runs services and ends them, `command` runs one command and judges how it ended,
//! `tree` makes and compares directories, `objects` damages a location, `disk` has little room,
//! `mount` shows points as files and takes them away,
//! `lines` are what members hear each other by,
//! `front` counts who comes to one.

mod chance;
mod command;
mod disk;
mod front;
mod lines;
mod mount;
mod objects;
mod process;
mod tree;

pub use chance::{Chance, agents, kills};
pub use command::{Outcome, holdfast};
pub use disk::{FailingDisk, SmallDisk};
pub use front::Front;
pub use lines::{Flow, Lines};
pub use mount::Mount;
pub use objects::{Damage, Objects};
pub use process::{Dev, Service, binary, wait_until};
pub use tree::{Tree, noise, set_xattr, write};

use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A directory for one test. Kept, and named, when the test fails.
pub struct Scratch(Option<TempDir>);

impl Scratch {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("holdfast-test-").tempdir().unwrap();
        Self(Some(dir))
    }

    pub fn path(&self) -> &Path {
        self.0.as_ref().unwrap().path()
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(dir) = self.0.take()
        {
            eprintln!("the test's files are kept in {}", dir.keep().display());
        }
    }
}
