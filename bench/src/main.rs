//! Figures: a made-up data set, Holdfast beside its peers on it, and what each stage must cost.
//!
//! `generate`, `change` and `flat` make data; `run` measures and writes bench/RESULTS.md; `stages`
//! prints the plain cost of each step of a byte's way; `ledger` measures what a cluster commits and
//! how long it is without a leader, `ledger-rows` what very many rows cost; both write
//! bench/LEDGER.md; `collection` what rounds of collection cost, into bench/COLLECTION.md. What the
//! figures mean and what they do not: bench/README.md.
#![allow(unreachable_pub, reason = "a binary has no outside: `pub` says what a module offers")]

mod arguments;
mod chance;
mod collection;
mod copies;
mod dataset;
mod files;
mod ledger;
mod machine;
mod memory;
mod side;
mod stages;
mod tool;

use arguments::{Arguments, Command};
use clap::Parser;
use holdfast_common::{Error, Result};
use std::{
    io::{Write, stderr, stdout},
    process::ExitCode,
};

fn main() -> ExitCode {
    match perform(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{error}; {}", error.advice()));
            ExitCode::FAILURE
        }
    }
}

fn perform(command: Command) -> Result<()> {
    match command {
        Command::Generate { out, seed, scale } => dataset::generate(&out, seed, scale),
        Command::Change { dir, seed } => {
            let changes = dataset::change::change(&dir, seed)?;
            let told = serde_json::to_string(&changes);
            tell(&told.unwrap_or_else(|error| error.to_string()))
        }
        Command::Flat { out, files, seed } => dataset::flat::generate(&out, files, seed),
        Command::Run(options) => side::run(&options),
        Command::Ledger(options) => ledger::run(&options),
        Command::LedgerRows(options) => ledger::rows::run(&options),
        Command::Collection(options) => collection::run(&options),
        Command::Copies(options) => copies::run(&options),
        Command::Memory(options) => memory::run(&options),
        Command::Stages { dir } => tell(&stages::measure(&dir)?),
    }
}

/// Data, to stdout.
fn tell(text: &str) -> Result<()> {
    writeln!(stdout(), "{text}").map_err(|error| Error::io("cannot write to stdout", &error))
}

/// Progress and refusals, to stderr; a closed stderr is nobody's loss.
fn say(text: &str) {
    let _nobody_listens = writeln!(stderr(), "{text}");
}
