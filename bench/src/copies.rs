//! What copies and buckets cost a backup, and how far behind copies are when it ends.
//!
//! ```text
//!   one directory │ one, and one that follows │ two that are required │ a bucket
//!        └ each in turn: first backup of the same data ─▶ until everything lies in the other one
//!                          one directory, a bucket: and a restore, compared byte for byte
//! ```
//!
//! All directories lie on one disk; the bucket is Ceph's, on this machine, with its objects in
//! memory. So what a line costs is not in here, and what the bucket's server computes is: beside
//! the wall time stands what Holdfast itself and the server spent.

use crate::{
    arguments::CopiesOptions,
    dataset, files, machine, say,
    tool::{Holdfast, House, Repository, Tool, Usage, cpu_seconds, place},
};
use holdfast_common::{Clock, Code, Error, Result, SystemClock};
use holdfast_testkit_servers::{Bucket, Ceph};
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
    let wanted = files::digest(&data)?;
    let mut rounds: Vec<[Figures; SIDES.len()]> = Vec::new();
    for round in 0..options.rounds {
        say(&format!("round {} of {}", round + 1, options.rounds));
        let stage = Stage { tool: &tool, work: &work, data: &data, wanted, round };
        let mut played = [Figures::default(); SIDES.len()];
        for (side, figures) in SIDES.into_iter().zip(&mut played) {
            *figures = stage.play(side)?;
            say(&format!("{}: {figures:?}", side.name()));
        }
        rounds.push(played);
    }
    files::remove_dir(&work)?;
    let mut out = String::from("# Copies and buckets\n\nWritten by `holdfast-bench copies`: ");
    line(&mut out, &format!("a first backup of {gigabytes:.1} GB, medians of the rounds.\n"));
    for (what, said) in machine::facts(&options.work)? {
        line(&mut out, &format!("- {what}: {said}"));
    }
    line(&mut out, &format!("- {}\n- {} rounds", tool.version()?, options.rounds));
    table(&mut out, &rounds);
    let report = &options.report;
    std::fs::write(report, out).map_err(|error| files::failed("write", report, &error))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Alone,
    Followed,
    Both,
    Bucket,
}

const SIDES: [Side; 4] = [Side::Alone, Side::Followed, Side::Both, Side::Bucket];

/// Of one backup, and of one restore where there was one.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    backup: Cost,
    restore: Option<Cost>,
    /// From the end of the backup until everything lies in the location that follows; less than
    /// the second in which the services' spending is still watched is not seen.
    lag_seconds: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    wall_seconds: f64,
    /// Of all processes of ours.
    cpu_seconds: f64,
    /// Of the server that holds the bucket.
    server_seconds: f64,
}

/// What every side is played with.
struct Stage<'a> {
    tool: &'a Holdfast,
    work: &'a Path,
    data: &'a Path,
    wanted: blake3::Hash,
    round: usize,
}

impl Side {
    const fn name(self) -> &'static str {
        match self {
            Self::Alone => "one required directory",
            Self::Followed => "one, and one that follows",
            Self::Both => "two required directories",
            Self::Bucket => "one required bucket (Ceph)",
        }
    }
}

impl Stage<'_> {
    fn play(&self, side: Side) -> Result<Figures> {
        let dir = self.work.join("house");
        files::remove_dir(&dir)?;
        let (mut house, bucket) = self.found(side, &dir)?;
        house.rouse()?;
        if side == Side::Followed {
            house.follow("second")?;
        }
        rustix::fs::sync();
        files::warm(self.data)?;
        let clock = SystemClock::start();
        let backup = watched(side, || house.back_up(self.data))?;
        let mut figures = Figures { backup, ..Figures::default() };
        match side {
            Side::Followed => {
                until_followed(&house)?;
                figures.lag_seconds = Some(clock.elapsed().as_secs_f64() - backup.wall_seconds);
            }
            Side::Alone | Side::Bucket => {
                figures.restore = Some(self.restore(side, &mut house)?);
            }
            Side::Both => {}
        }
        insist_on_copies(&house, side)?;
        house.rest()?;
        if let Some(bucket) = bucket {
            bucket.empty();
        }
        files::remove_dir(&dir)?;
        Ok(figures)
    }

    fn found(&self, side: Side, dir: &Path) -> Result<(House, Option<Bucket>)> {
        let first = place(dir, "location");
        let (places, environment, bucket) = match side {
            Side::Alone | Side::Followed => (vec![first], Vec::new(), None),
            Side::Both => (vec![first, place(dir, "second")], Vec::new(), None),
            Side::Bucket => {
                let bucket = Ceph::shared().bucket(&format!("round{}", self.round));
                let url = format!("s3:{}/vault?endpoint={}", bucket.name, bucket.endpoint);
                let keys =
                    [("AWS_ACCESS_KEY_ID", &bucket.key), ("AWS_SECRET_ACCESS_KEY", &bucket.secret)];
                let keys = keys.map(|(name, value)| (name.to_owned(), value.clone()));
                (vec![url], keys.to_vec(), Some(bucket))
            }
        };
        Ok((self.tool.found_over(dir, &places, environment)?, bucket))
    }

    fn restore(&self, side: Side, house: &mut House) -> Result<Cost> {
        let to = self.work.join("restored");
        files::make_dir(&to)?;
        files::forget_removed();
        if side == Side::Alone {
            files::warm(&house.stored())?;
        }
        let mut copy = to.clone();
        let cost = watched(side, || {
            let (usage, found) = house.restore(self.data, &to)?;
            copy = found;
            Ok(usage)
        })?;
        if files::digest(&copy)? != self.wanted {
            let message = "what was restored is not what was backed up";
            return Err(Error::new(Code::ChunkDamaged, message));
        }
        files::remove_dir(&to)?;
        Ok(cost)
    }
}

/// What a command cost, and the server beside it.
fn watched(side: Side, measured: impl FnOnce() -> Result<Usage>) -> Result<Cost> {
    let server = match side {
        Side::Bucket => Ceph::shared().processes(),
        Side::Alone | Side::Followed | Side::Both => Vec::new(),
    };
    let spent = || server.iter().map(|process| cpu_seconds(*process)).sum::<Result<f64>>();
    let before = spent()?;
    let usage = measured()?;
    let (wall_seconds, cpu_seconds) = (usage.wall_seconds, usage.cpu_seconds);
    Ok(Cost { wall_seconds, cpu_seconds, server_seconds: spent()? - before })
}

fn until_followed(house: &House) -> Result<()> {
    let clock = SystemClock::start();
    while !house.is_followed()? {
        if clock.elapsed() > PATIENCE {
            return Err(Error::new(Code::RunCancelled, "what follows does not come"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Both hold the same packs, or nothing was measured.
fn insist_on_copies(house: &House, side: Side) -> Result<()> {
    if matches!(side, Side::Alone | Side::Bucket) {
        return Ok(());
    }
    let bytes = |name: &str| files::bytes(&house.location(name).join("packs"));
    if bytes("location")? == bytes("second")? {
        return Ok(());
    }
    Err(Error::new(Code::RunCancelled, "the copies are not the same"))
}

fn table(out: &mut String, rounds: &[[Figures; SIDES.len()]]) {
    let head = "| where | backup s | ratio | CPU s | server's CPU s | lag s | restore s | ratio |";
    line(out, &format!("\n{head}\n|---|---:|---:|---:|---:|---:|---:|---:|"));
    let median = |side: usize, of: &dyn Fn(&Figures) -> Option<f64>| {
        let mut all: Vec<f64> = rounds.iter().filter_map(|round| of(&round[side])).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    };
    let shown = |figure: Option<f64>| figure.map_or("-".to_owned(), |it| format!("{it:.1}"));
    let ratio = |side: usize, of: &dyn Fn(&Figures) -> Option<f64>| {
        let (it, alone) = (median(side, of), median(0, of));
        it.zip(alone).map_or("-".to_owned(), |(it, alone)| format!("{:.2}×", it / alone))
    };
    let backup = |figures: &Figures| Some(figures.backup.wall_seconds);
    let restore = |figures: &Figures| Some(figures.restore?.wall_seconds);
    for (at, side) in SIDES.iter().enumerate() {
        let cells = [
            side.name().to_owned(),
            shown(median(at, &backup)),
            ratio(at, &backup),
            shown(median(at, &|figures| Some(figures.backup.cpu_seconds))),
            shown(median(at, &|figures| Some(figures.backup.server_seconds))),
            shown(median(at, &|figures| figures.lag_seconds)),
            shown(median(at, &restore)),
            ratio(at, &restore),
        ];
        line(out, &format!("| {} |", cells.join(" | ")));
    }
}

fn line(out: &mut String, text: &str) {
    let _infallible = writeln!(out, "{text}");
}

const PATIENCE: Duration = Duration::from_secs(600);
