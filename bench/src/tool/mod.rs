//! A tool under measurement: Holdfast, a peer, all behind the same few verbs.
//!
//! A [`Tool`] makes repositories; a [`Repository`] takes backups and gives them back, and says what
//! each cost. What a tool keeps running between its commands sleeps while others are measured.

mod command_line;
mod holdfast;
mod peer;
mod service;
mod threads;
mod usage;

pub use command_line::CommandLine;
pub use holdfast::{Holdfast, House, place};
pub use peer::{Peer, PeerName};
pub use service::{Service, cpu_seconds};
pub use usage::{Part, Usage};

use holdfast_common::Result;
use std::path::{Path, PathBuf};

pub trait Tool {
    fn name(&self) -> &'static str;

    fn version(&self) -> Result<String>;

    /// A fresh repository in `dir`, which does not exist yet; asleep.
    fn create(&self, dir: &Path) -> Result<Box<dyn Repository>>;

    /// The measured commands as people would type them.
    fn shown(&self) -> Vec<String>;
}

pub trait Repository {
    /// Starts what must run for commands to work; it is not measured.
    fn wake(&mut self) -> Result<()> {
        Ok(())
    }

    fn sleep(&mut self) -> Result<()> {
        Ok(())
    }

    fn backup(&mut self, source: &Path) -> Result<Usage>;

    /// The newest backup of `source` into `to`, an empty directory; where the copy lies.
    fn restore(&mut self, source: &Path, to: &Path) -> Result<(Usage, PathBuf)>;

    /// The directory whose growth counts as stored bytes.
    fn stored(&self) -> PathBuf;
}
