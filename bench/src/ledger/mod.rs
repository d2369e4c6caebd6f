//! Consensus beside its peers: what three members on loopback commit, and how long nothing is
//! committed when their leader is killed.
//!
//! ```text
//!  round: each payload × clients: each side in turn: start three ▶ healthy ▶ closed loop ▶ end
//!         ─▶ each side in turn: start three ▶ healthy ▶ kill the leader, again and again ▶ end
//! ```
//!
//! Every turn has a new cluster on an empty directory, and nothing of another side runs beside it.
//! The turns are short, so that what else the machine does meets all sides alike. Clients are
//! connected to the leader, unless the side says otherwise. All that was started ends with its
//! turn, also when the run is stopped.

mod certificates;
mod cluster;
mod etcd;
mod failover;
mod figures;
mod holdfast;
mod interruption;
mod line;
mod load;
mod process;
mod report;
pub mod rows;
mod sections;

use crate::{arguments::LedgerOptions, files, machine, say};
use cluster::{Cluster, Contender, ThroughFollower, healthy};
use core::time::Duration;
use etcd::{Etcd, Timing};
use failover::Failover;
use futures::future::try_join_all;
use holdfast::Holdfast;
use holdfast_common::{Code, Error, Result};
use load::Load;
use report::{Facts, Measured, Side};
use std::path::{Path, PathBuf};
use tokio::signal::unix::{SignalKind, signal};

pub fn run(options: &LedgerOptions) -> Result<()> {
    let loads = loads(options)?;
    drive(play(options, &loads))
}

/// Runs to the end, or until the run is stopped.
fn drive(played: impl Future<Output = Result<()>>) -> Result<()> {
    let fail = |error| Error::io("a runtime cannot be started", &error);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(fail)?;
    runtime.block_on(async {
        tokio::select! {
            played = Box::pin(played) => played,
            stopped = stopped() => stopped,
        }
    })
}

/// The sides, in the order of their turns.
fn contenders() -> Result<Vec<Box<dyn Contender>>> {
    Ok(vec![
        Box::new(Holdfast::beside_this_program(false)?),
        Box::new(Holdfast::beside_this_program(true)?),
        Box::new(ThroughFollower(Holdfast::beside_this_program(true)?)),
        Box::new(Etcd::new(None)),
        Box::new(ThroughFollower(Etcd::new(None))),
        Box::new(Etcd::new(Some(Timing { heartbeat_ms: 100, election_ms: 500 }))),
    ])
}

/// Those whose names were asked for, or all.
fn chosen(wanted: &[String]) -> Result<Vec<Box<dyn Contender>>> {
    let mut sides = contenders()?;
    sides.retain(|side| wanted.is_empty() || wanted.contains(&side.name()));
    if sides.len() < wanted.len() {
        let names: Vec<String> = contenders()?.iter().map(|side| side.name()).collect();
        let message = format!("the sides are: {}", names.join("; "));
        return Err(Error::new(Code::ConfigMalformed, message));
    }
    Ok(sides)
}

async fn play(options: &LedgerOptions, loads: &[Load]) -> Result<()> {
    let work = std::path::absolute(&options.work)
        .map_err(|error| files::failed("find", &options.work, &error))?;
    let sides = chosen(&options.sides)?;
    let mut measured = Measured { facts: facts(options, &work, &sides)?, ..Measured::default() };
    for round in 0..options.rounds {
        for load in loads {
            for (number, side) in sides.iter().enumerate() {
                let pace = pace(side.as_ref(), &work, load).await?;
                say(&report::told(&side.name(), round, load, &pace));
                measured.paces.push((number, *load, pace));
            }
        }
        // So many in all: each round has its share.
        let kills = share(options.kills, round, options.rounds);
        let killed = || sides.iter().enumerate().filter(|(_, side)| side.is_killed());
        for (number, side) in killed() {
            let failover = Failover { kills, attempt: Duration::from_millis(options.attempt_ms) };
            let took = outages(side.as_ref(), &work, failover).await?;
            say(&report::told_outages(&side.name(), round, &took));
            measured.outages.extend(took.into_iter().map(|took| (number, took)));
        }
        let kills = share(options.backup_kills, round, options.rounds);
        let took = interruptions(options, &work, kills).await?;
        measured.interruptions.extend(took);
        // Every round: a later one may fail, and the machine's time is dear.
        let text = report::render(&measured);
        sections::put(&options.report, sections::Part::Peers, &text)?;
    }
    Ok(())
}

async fn pace(side: &dyn Contender, work: &Path, load: &Load) -> Result<figures::Pace> {
    let scratch = Scratch::make(work)?;
    let mut cluster = side.start(&scratch.0).await?;
    let leader = healthy(cluster.as_mut()).await?;
    let cluster: &dyn Cluster = cluster.as_ref();
    let entry = side.entry(leader);
    let targets = try_join_all((0..load.clients).map(|_| cluster.connect(entry))).await?;
    load.measure(&targets).await
}

async fn outages(side: &dyn Contender, work: &Path, failover: Failover) -> Result<Vec<Duration>> {
    if failover.kills == 0 {
        return Ok(Vec::new());
    }
    let scratch = Scratch::make(work)?;
    let mut cluster = side.start(&scratch.0).await?;
    failover.measure(cluster.as_mut()).await
}

/// Of Holdfast alone: nobody else here makes backups.
async fn interruptions(
    options: &LedgerOptions,
    work: &Path,
    kills: usize,
) -> Result<Vec<Duration>> {
    let side = Holdfast::beside_this_program(true)?;
    let is_asked_for = options.sides.is_empty() || options.sides.contains(&side.name());
    if kills == 0 || !is_asked_for {
        return Ok(Vec::new());
    }
    let scratch = Scratch::make(work)?;
    let took = interruption::measure(&side, kills, &scratch.0).await?;
    say(&report::told_interruptions(&took));
    Ok(took)
}

/// A directory of one turn. Whatever uses it is declared after it, and so is gone before it.
struct Scratch(PathBuf);

impl Scratch {
    fn make(work: &Path) -> Result<Self> {
        let dir = work.join("ledger");
        files::remove_dir(&dir)?;
        files::make_dir(&dir)?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The next turn removes it first, and says so if it cannot.
        let _left = files::remove_dir(&self.0);
    }
}

fn loads(options: &LedgerOptions) -> Result<Vec<Load>> {
    let refused = |message| Err(Error::new(Code::ConfigMalformed, message));
    if options.clients.len() != options.counts.len() {
        return refused("--counts needs one number for each of --clients");
    }
    if options.clients.contains(&0) || options.counts.contains(&0) {
        return refused("no clients and no commands cannot be measured");
    }
    let pairs = || options.clients.iter().zip(&options.counts);
    let of_payload = |&payload_bytes: &usize| {
        pairs().map(move |(&clients, &commands)| Load { clients, commands, payload_bytes })
    };
    Ok(options.payloads.iter().flat_map(of_payload).collect())
}

fn share(all: usize, round: usize, rounds: usize) -> usize {
    all * (round + 1) / rounds - all * round / rounds
}

fn facts(options: &LedgerOptions, work: &Path, sides: &[Box<dyn Contender>]) -> Result<Facts> {
    let side = |side: &dyn Contender| {
        Ok(Side { name: side.name(), version: side.version()?, command: side.shown() })
    };
    Ok(Facts {
        machine: machine::facts(work)?,
        notes: options.note.clone(),
        rounds: options.rounds,
        attempt_ms: options.attempt_ms,
        sides: sides.iter().map(|found| side(found.as_ref())).collect::<Result<_>>()?,
        command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
    })
}

/// Ends when the run is told to stop: what it started is then dropped, and so ended.
async fn stopped() -> Result<()> {
    let fail = |error| Error::io("signals cannot be heard", &error);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(fail)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(fail)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Err(Error::new(Code::RunCancelled, "the run was stopped"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kill_belongs_to_one_round() {
        for (all, rounds) in [(50, 3), (3, 5), (0, 2), (7, 1)] {
            let shares: Vec<_> = (0..rounds).map(|round| share(all, round, rounds)).collect();
            assert_eq!(shares.iter().sum::<usize>(), all, "{shares:?}");
            let (most, least) = (shares.iter().max().unwrap(), shares.iter().min().unwrap());
            assert!(most - least <= 1, "{shares:?}");
        }
    }

    #[test]
    fn every_payload_meets_every_number_of_clients_with_its_own_count() {
        let words = "holdfast-bench ledger --clients 1,16 --counts 30,400 --payloads 256,4096";
        let found: Vec<_> = loads(&options(words)).unwrap();
        let found: Vec<_> =
            found.iter().map(|load| (load.payload_bytes, load.clients, load.commands)).collect();
        assert_eq!(found, [(256, 1, 30), (256, 16, 400), (4096, 1, 30), (4096, 16, 400)]);
    }

    #[test]
    fn counts_that_fit_no_clients_are_refused() {
        for words in ["--clients 1,16 --counts 30", "--clients 0 --counts 3", "--counts 1,0,1"] {
            let error = loads(&options(&format!("holdfast-bench ledger {words}"))).unwrap_err();
            assert_eq!(error.code, Code::ConfigMalformed, "{words}");
        }
    }

    #[test]
    fn a_side_is_chosen_by_its_whole_name_and_a_wrong_name_is_told_the_right_ones() {
        let names = |wanted: &[&str]| -> Result<Vec<String>> {
            let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
            Ok(chosen(&wanted)?.iter().map(|side| side.name()).collect())
        };
        assert_eq!(names(&[]).unwrap().len(), contenders().unwrap().len());
        assert_eq!(names(&["Holdfast"]).unwrap(), ["Holdfast"]);
        let error = names(&["Holdfast", "Holdfirst"]).unwrap_err();
        assert!(error.message.contains("etcd, default timeouts"), "{error}");
    }

    fn options(words: &str) -> LedgerOptions {
        use crate::arguments::{Arguments, Command};
        use clap::Parser;
        match Arguments::parse_from(words.split(' ')).command {
            Command::Ledger(options) => options,
            _ => panic!("another command"),
        }
    }
}
