//! Peak memory of each process, over sets that differ in size and in shape.
//!
//! ```text
//!   the data set │ the same, ten times │ a million files in one directory
//!        └ each: first backup ─▶ unchanged ─▶ full verification ─▶ restore, compared
//! ```

use crate::{
    arguments::MemoryOptions,
    dataset, files, machine, say,
    tool::{Holdfast, House, Part, Repository, Tool, Usage},
};
use holdfast_common::{Code, Error, Result};
use std::{fmt::Write, path::Path};

/// Measures, and writes a table.
pub fn run(options: &MemoryOptions) -> Result<()> {
    let work = std::path::absolute(&options.work)
        .map_err(|error| files::failed("find", &options.work, &error))?;
    let tool = Holdfast::beside_this_program()?;
    let mut out = String::from("# Memory\n\nWritten by `holdfast-bench memory`: peak resident ");
    out.push_str("size of each process during one command, in MiB.\n\n");
    for (what, said) in machine::facts(&work)? {
        line(&mut out, &format!("- {what}: {said}"));
    }
    line(&mut out, &format!("- {}", tool.version()?));
    line(&mut out, "\n| data | command | wall s | agent | coordinator | command itself |");
    line(&mut out, "|---|---|---:|---:|---:|---:|");
    let mut peaks = Vec::new();
    for set in [Set::Scale(1.0), Set::Scale(options.scale), Set::Flat(options.files)] {
        files::remove_dir(&work)?;
        files::make_dir(&work)?;
        peaks.push(set.play(&tool, &work, &mut out)?);
    }
    files::remove_dir(&work)?;
    verdict(&mut out, &peaks);
    line(&mut out, WHAT_GROWS);
    let report = &options.report;
    std::fs::write(report, out).map_err(|error| files::failed("write", report, &error))
}

/// The most that each service took over one set, in MiB.
#[derive(Clone, Copy, Default)]
struct Peaks {
    agent: u64,
    coordinator: u64,
}

impl Peaks {
    fn and(self, other: Self) -> Self {
        Self {
            agent: self.agent.max(other.agent),
            coordinator: self.coordinator.max(other.coordinator),
        }
    }
}

/// What was wanted, and what came of it: the first set is what the others are compared with.
fn verdict(out: &mut String, peaks: &[Peaks]) {
    let Some((first, others)) = peaks.split_first() else { return };
    let most = others.iter().fold(Peaks::default(), |most, peaks| most.and(*peaks));
    line(out, "\n| wanted | bound | at scale 1 | most of the others | grew to | bound is |");
    line(out, "|---|---:|---:|---:|---:|---|");
    for (name, bound, one, many) in [
        ("agent", AGENT_MIB, first.agent, most.agent),
        ("coordinator", COORDINATOR_MIB, first.coordinator, most.coordinator),
    ] {
        let grew = many as f64 / one.max(1) as f64;
        let held = if one.max(many) <= bound { "met" } else { "**missed**" };
        line(out, &format!("| {name} | {bound} | {one} | {many} | {grew:.2}× | {held} |"));
    }
}

const AGENT_MIB: u64 = 128;
const COORDINATOR_MIB: u64 = 256;

enum Set {
    Scale(f64),
    Flat(u64),
}

impl Set {
    fn play(&self, tool: &Holdfast, work: &Path, out: &mut String) -> Result<Peaks> {
        let data = work.join("data");
        let name = match self {
            Self::Scale(scale) => {
                dataset::generate(&data, 1, *scale)?;
                let gigabytes = files::bytes(&data)? as f64 / 1e9;
                format!("the set at scale {scale}: {gigabytes:.1} GB")
            }
            Self::Flat(count) => {
                dataset::flat::generate(&data, *count, 1)?;
                format!("{count} files in one directory")
            }
        };
        let mut house = tool.found(&work.join("house"))?;
        let mut peaks = Peaks::default();
        for command in ["first backup", "unchanged backup", "full verification", "restore"] {
            house.rouse()?;
            let usage = match command {
                "full verification" => house.verify()?,
                "restore" => restore(&mut house, &data, &work.join("restored"))?,
                _ => house.back_up(&data)?,
            };
            house.rest()?;
            peaks = peaks.and(row(out, &name, command, &usage));
        }
        Ok(peaks)
    }
}

/// Brings everything back, once the data is gone: there need not be room for both.
fn restore(house: &mut House, data: &Path, to: &Path) -> Result<Usage> {
    let saved = files::digest(data)?;
    files::remove_dir(data)?;
    files::make_dir(to)?;
    files::forget_removed();
    let (usage, restored) = house.restore(data, to)?;
    if files::digest(&restored)? != saved {
        let message = "what was restored is not what was backed up";
        return Err(Error::new(Code::ChunkDamaged, message));
    }
    files::remove_dir(to)?;
    Ok(usage)
}

fn row(out: &mut String, name: &str, command: &str, usage: &Usage) -> Peaks {
    let of = |process: &str| {
        let part = usage.parts.iter().find(|part| part.process == process);
        part.map_or(0, |part: &Part| part.peak_bytes)
    };
    let (agent, coordinator) = (of("agent"), of("coordinator"));
    let own = usage.peak_bytes - agent - coordinator;
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let told = format!(
        "| {name} | {command} | {:.1} | {} | {} | {} |",
        usage.wall_seconds,
        mib(agent),
        mib(coordinator),
        mib(own)
    );
    say(&told);
    line(out, &told);
    Peaks { agent: mib(agent), coordinator: mib(coordinator) }
}

/// What no table of peaks can say by itself.
const WHAT_GROWS: &str = "
What grows is bounded, and filled the further the more there is to do. At the coordinator: the
files of the index, which are mapped, so that pages of them that were looked at count until the
kernel takes them back (44 MiB at a million files; the program itself is another 22); the cache of
the tables (32 MiB), the index of the ledger's log, packs on their way in and out (96 and 32 MiB)
and the memory of four of them that is kept for the next ones. At the agent: packs and chunks on
their way, the table of hard links, and what the allocator keeps of them. Not in here: exporting a
key bundle takes the coordinator 256 MiB for a second, which its passphrase is derived with.";

fn line(out: &mut String, text: &str) {
    // Writing to a string does not fail.
    let _always = writeln!(out, "{text}");
}
