//! Side by side: every tool does the same work on the same data, turn by turn.
//!
//! ```text
//!  round: make data ─▶ each tool: first, unchanged, databases ─▶ change data
//!         ─▶ each tool: changed, databases ─▶ each tool: restore, compared with the data
//! ```
//!
//! The turns are short, so that what else the machine does meets all tools alike. Before each
//! measured command what was written before is on the disk, and what will be read is in memory.

mod figures;
mod report;
mod round;

pub use figures::median;

use crate::{
    arguments::RunOptions,
    files, machine, say,
    tool::{Holdfast, Peer, Tool},
};
use figures::{Facts, Sample, ToolFacts};
use holdfast_common::{Error, Result};
use round::Round;
use std::path::{Path, PathBuf};

pub fn run(options: &RunOptions) -> Result<()> {
    let work = absolute(&options.work)?;
    let tools = tools(options)?;
    let facts = Facts {
        machine: machine::facts(&work)?,
        notes: options.note.clone(),
        rounds: options.rounds,
        scale: options.scale,
        seed: options.seed,
        data: String::new(),
        tools: tools.iter().map(|tool| tool_facts(&**tool)).collect::<Result<_>>()?,
    };
    let mut measured = Measured { facts, samples: Vec::new() };
    for number in 1..=options.rounds {
        say(&format!("round {number} of {}", options.rounds));
        files::remove_dir(&work)?;
        let mut round = Round::new(number, &work, &tools);
        measured.facts.data = round.play(options.seed, options.scale)?;
        measured.samples.extend(round.samples);
        // Every round: a later one may fail, and the machine's time is dear.
        measured.write(options)?;
    }
    files::remove_dir(&work)
}

struct Measured {
    facts: Facts,
    samples: Vec<Sample>,
}

impl Measured {
    fn write(&self, options: &RunOptions) -> Result<()> {
        let raw = serde_json::json!({ "facts": self.facts, "samples": self.samples });
        put(&options.raw, &format!("{raw:#}\n"))?;
        put(&options.report, &report::render(&self.facts, &self.samples))
    }
}

fn tools(options: &RunOptions) -> Result<Vec<Box<dyn Tool>>> {
    let own = match &options.holdfast {
        Some(program) => absolute(program)?,
        None => std::env::current_exe()
            .map_err(|error| Error::io("this program cannot be found", &error))?
            .with_file_name("holdfast"),
    };
    let built = absolute(&options.peer_bin)?;
    let mut tools: Vec<Box<dyn Tool>> = vec![Box::new(Holdfast::new(own))];
    for name in &options.peers {
        tools.push(Box::new(Peer::find(*name, &built)?));
    }
    Ok(tools)
}

fn tool_facts(tool: &dyn Tool) -> Result<ToolFacts> {
    Ok(ToolFacts { name: tool.name(), version: tool.version()?, commands: tool.shown() })
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| files::failed("find", path, &error))
}

fn put(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|error| files::failed("write", path, &error))
}
