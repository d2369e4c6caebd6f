//! What very many rows cost one member: its start, and the joining of another over a snapshot.
//!
//! ```text
//!   found ─▶ a made-up history, by real commands ─▶ all of it in the location
//!         ─▶ (SIGKILL ─▶ start ─▶ a read) × n ─▶ (SIGTERM ─▶ start ─▶ a read) × n
//!         ─▶ a second member, empty ─▶ it has all ─▶ it votes
//! ```
//!
//! Real processes with the product's own settings. What a start reads is in the page cache: the
//! disk is not measured. A read counts when the member has made sure that it leads, as all reads
//! do; joining, when the new member votes and lacks nothing.

mod history;
mod house;
mod report;

use super::{Scratch, drive, sections};
use crate::{arguments::RowsOptions, files, machine, say};
use core::time::Duration;
use history::History;
use holdfast_common::{Clock, Result, SystemClock};
use house::House;

pub fn run(options: &RowsOptions) -> Result<()> {
    drive(play(options))
}

/// All that was measured.
pub struct Measured {
    pub machine: Vec<(&'static str, String)>,
    pub notes: Vec<String>,
    pub version: String,
    pub command: String,
    pub history: History,
    pub filled: Filled,
    pub starts: Vec<Start>,
    pub joined: Joined,
}

pub struct Filled {
    pub took: Duration,
    pub peak_bytes: u64,
    pub tables_bytes: u64,
    pub log_bytes: u64,
    pub snapshot_bytes: u64,
}

pub struct Start {
    pub was_killed: bool,
    /// Until it said that it is ready, and until it had answered a read.
    pub ready: Duration,
    pub read: Duration,
    pub peak_bytes: u64,
}

pub struct Joined {
    /// Until it lacked nothing, and until it voted as well.
    pub level: Duration,
    pub votes: Duration,
    pub own_peak_bytes: u64,
    pub leader_peak_bytes: u64,
}

async fn play(options: &RowsOptions) -> Result<()> {
    let work = std::path::absolute(&options.work)
        .map_err(|error| files::failed("find", &options.work, &error))?;
    let history = History { agents: options.agents, days: options.days };
    let machine = machine::facts(&work)?;
    let scratch = Scratch::make(&work)?;
    let mut house = House::found(&scratch.0)?;
    let filled = fill(&mut house, history).await?;
    let mut starts = Vec::new();
    for was_killed in [true, false] {
        for _ in 0..options.starts {
            let start = house.start_again(was_killed).await?;
            say(&report::told(&start));
            starts.push(start);
        }
    }
    let joined = house.join().await?;
    let measured = Measured {
        machine,
        notes: options.note.clone(),
        version: house.version()?,
        command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
        history,
        filled,
        starts,
        joined,
    };
    let text = report::render(&measured);
    say(&text);
    sections::put(&options.report, sections::Part::Rows, &text)
}

async fn fill(house: &mut House, history: History) -> Result<Filled> {
    say(&format!("{} rows by {} commands", history.catalog_rows(), history.commands()));
    let clock = SystemClock::start();
    house.fill(history).await?;
    let took = clock.elapsed();
    let filled = Filled {
        took,
        peak_bytes: house.peak_bytes()?,
        tables_bytes: house.bytes_of("tables")?,
        log_bytes: house.bytes_of("log")?,
        snapshot_bytes: house.bytes_of("snapshots")?,
    };
    say(&report::told_filled(&filled));
    Ok(filled)
}
