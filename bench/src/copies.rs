//! What copies cost a backup, and how far behind they are when it ends.
//!
//! ```text
//!   one location │ one, and one that follows │ two that are required
//!        └ each in turn: first backup of the same data ─▶ until everything lies in the other one
//! ```
//!
//! All locations are directories on one disk: what a line costs is not in here.

use crate::{
    arguments::CopiesOptions,
    dataset, files, machine, say,
    tool::{Holdfast, House, Tool},
};
use holdfast_common::{Clock, Code, Error, Result, SystemClock};
use std::{fmt::Write, path::Path, time::Duration};

/// Measures, and writes a report.
pub fn run(options: &CopiesOptions) -> Result<()> {
    let work = std::path::absolute(&options.work)
        .map_err(|error| files::failed("find", &options.work, &error))?;
    let tool = Holdfast::beside_this_program()?;
    files::remove_dir(&work)?;
    files::make_dir(&work)?;
    let data = work.join("data");
    say("making the data");
    dataset::generate(&data, 1, options.scale)?;
    let gigabytes = files::bytes(&data)? as f64 / 1e9;
    let mut rounds: Vec<[Figures; 3]> = Vec::new();
    for round in 0..options.rounds {
        say(&format!("round {} of {}", round + 1, options.rounds));
        let play = |side: Side| side.play(&tool, &work, &data);
        rounds.push([play(Side::Alone)?, play(Side::Followed)?, play(Side::Both)?]);
    }
    files::remove_dir(&work)?;
    let mut out = String::from("# Copies\n\nWritten by `holdfast-bench copies`: ");
    line(&mut out, &format!("a first backup of {gigabytes:.1} GB, medians of the rounds.\n"));
    for (what, said) in machine::facts(&options.work)? {
        line(&mut out, &format!("- {what}: {said}"));
    }
    line(&mut out, &format!("- {}\n- {} rounds", tool.version()?, options.rounds));
    table(&mut out, &rounds);
    let report = &options.report;
    std::fs::write(report, out).map_err(|error| files::failed("write", report, &error))
}

#[derive(Clone, Copy)]
enum Side {
    Alone,
    Followed,
    Both,
}

const SIDES: [&str; 3] =
    ["one required location", "one, and one that follows", "two required locations"];

/// Of one backup.
#[derive(Clone, Copy)]
struct Figures {
    wall_seconds: f64,
    cpu_seconds: f64,
    /// From the end of the backup until everything lies in the location that follows.
    lag_seconds: f64,
}

impl Side {
    fn play(self, tool: &Holdfast, work: &Path, data: &Path) -> Result<Figures> {
        let dir = work.join("house");
        files::remove_dir(&dir)?;
        let required: &[&str] = match self {
            Self::Both => &["location", "second"],
            Self::Alone | Self::Followed => &["location"],
        };
        let mut house = tool.found_over(&dir, required)?;
        house.rouse()?;
        if matches!(self, Self::Followed) {
            house.follow("second")?;
        }
        files::warm(data)?;
        let usage = house.back_up_at_once(data)?;
        let clock = SystemClock::start();
        while matches!(self, Self::Followed) && !house.is_followed()? {
            if clock.elapsed() > PATIENCE {
                return Err(Error::new(Code::RunCancelled, "what follows does not come"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let lag_seconds = clock.elapsed().as_secs_f64();
        insist_on_copies(&house, self)?;
        house.rest()?;
        files::remove_dir(&dir)?;
        let (wall_seconds, cpu_seconds) = (usage.wall_seconds, usage.cpu_seconds);
        Ok(Figures { wall_seconds, cpu_seconds, lag_seconds })
    }
}

/// Both hold the same packs, or nothing was measured.
fn insist_on_copies(house: &House, side: Side) -> Result<()> {
    if matches!(side, Side::Alone) {
        return Ok(());
    }
    let bytes = |name: &str| files::bytes(&house.location(name).join("packs"));
    if bytes("location")? == bytes("second")? {
        return Ok(());
    }
    Err(Error::new(Code::RunCancelled, "the copies are not the same"))
}

fn table(out: &mut String, rounds: &[[Figures; 3]]) {
    line(out, "\n| where | wall s | ratio | CPU s | lag s |");
    line(out, "|---|---:|---:|---:|---:|");
    let median = |side: usize, of: fn(&Figures) -> f64| {
        let mut all: Vec<f64> = rounds.iter().map(|round| of(&round[side])).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or_default()
    };
    let alone = median(0, |figures| figures.wall_seconds);
    for (side, name) in SIDES.iter().enumerate() {
        let wall = median(side, |figures| figures.wall_seconds);
        let cpu = median(side, |figures| figures.cpu_seconds);
        let lag = median(side, |figures| figures.lag_seconds);
        let ratio = wall / alone;
        let lag = if side == 1 { format!("{lag:.1}") } else { "-".to_owned() };
        line(out, &format!("| {name} | {wall:.1} | {ratio:.2}× | {cpu:.1} | {lag} |"));
    }
}

fn line(out: &mut String, text: &str) {
    let _infallible = writeln!(out, "{text}");
}

const PATIENCE: Duration = Duration::from_secs(600);
