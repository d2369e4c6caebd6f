//! The table of commands. Each verb is one file: its arguments, its help, its work.
//!
//! A command takes its arguments and a [`Demand`] and returns an [`Ending`] or an error. It writes
//! data through [`crate::output`] only, and asks the cluster through [`crate::client`] only. What
//! the server side does not have yet is not in this table.

mod agent;
mod apply;
mod audit;
mod backup;
mod cat;
mod cluster;
mod collect;
mod completions;
mod coordinator;
mod delete;
mod demo;
mod dev;
mod diff;
mod explain;
mod export;
mod find;
mod get;
mod hold;
mod keys;
mod location;
mod ls;
mod mount;
mod operator;
mod points;
mod region;
mod restore;
mod retain;
mod runs;
mod status;
mod verify;

pub use cluster::Custody;

use crate::{demand::Demand, ending::Ending};
use clap::builder::RangedI64ValueParser;
use core::time::Duration;
use holdfast_common::Result;
use holdfast_coordinator::{LEVEL, LEVEL_FIRST};

/// How long threads that still work may keep the process after its command has ended.
pub const LEFTOVER_PATIENCE: Duration = Duration::from_secs(2);

/// A feature level that this binary knows.
fn feature_level() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(i64::from(LEVEL_FIRST)..=i64::from(LEVEL))
}

macro_rules! commands {
    ($($(#[$about:meta])* $variant:ident $module:ident;)*) => {
        #[derive(Debug, clap::Subcommand)]
        pub enum Command {
            $($(#[$about])* #[command(after_help = $module::EXAMPLES)]
            $variant($module::Arguments),)*
        }

        pub async fn perform(command: Command, demand: &Demand<'_>) -> Result<Ending> {
            match command {
                $(Command::$variant(arguments) => {
                    Box::pin($module::perform(arguments, demand)).await
                })*
            }
        }
    };
}

commands! {
    /// Tell the whole story on made-up data, with figures; leaves nothing behind
    Demo demo;
    /// Run a coordinator, an agent and a local vault in one process, to try things
    Dev dev;
    /// Make a cluster, or look at one
    Cluster cluster;
    /// See the regions, take the lead for one, or give one up
    Region region;
    /// Look after the places where vaults lie
    Location location;
    /// Run a coordinator
    Coordinator coordinator;
    /// Run an agent, enrol one, or look after the enrolled ones
    Agent agent;
    /// Let people in who may act for the cluster, and shut them out
    Operator operator;
    /// Say what is protected and what is not
    Status status;
    /// Declare vaults, locations, classes and policies
    Apply apply;
    /// Show what is declared
    Get get;
    /// Remove a declared thing
    Delete delete;
    /// Explain the fields of a kind
    Explain explain;
    /// Write everything that is declared as a file for `apply`
    Export export;
    /// Make a point now
    Backup backup;
    /// List the points
    Points points;
    /// List the entries of a point
    Ls ls;
    /// Find entries by name
    Find find;
    /// Write a file of a point to stdout
    Cat cat;
    /// Compare two points
    Diff diff;
    /// Show points as directories and files, read-only
    Mount mount;
    /// Bring a point back
    Restore restore;
    /// Prove that points can be restored
    Verify verify;
    /// Say which points stay and which go, and let them go
    Retain retain;
    /// Keep points whatever the rules say
    Hold hold;
    /// Free the room of what no point needs
    Collect collect;
    /// List, show, follow and cancel runs
    Runs runs;
    /// List keys; export, import and verify the recovery bundle
    Keys keys;
    /// List, verify and export the audit log
    Audit audit;
    /// Write completions for a shell
    Completions completions;
}

impl Command {
    /// What listens to signals itself: services drain, a restore tells the cluster that it stops, a
    /// backup says that its run goes on, a mount is taken away, a verifier is told to stop.
    pub fn ends_itself(&self) -> bool {
        let ends_itself = match self {
            Self::Backup(_) | Self::Mount(_) | Self::Restore(_) => true,
            Self::Verify(arguments) => arguments.drains(),
            _ => false,
        };
        ends_itself || self.is_service()
    }

    /// Services run until they are told to stop, and drain then.
    pub fn is_service(&self) -> bool {
        match self {
            Self::Agent(arguments) => arguments.is_service(),
            Self::Coordinator(_) | Self::Dev(_) => true,
            _ => false,
        }
    }
}
