//! The `holdfast` command: one binary for coordinators, agents and the people who run them.
//!
//! Read the arguments, start the log, do what was asked until it is done or a signal comes, say how
//! it ended. Data goes to stdout, everything else to stderr; the exit code says what happened
//! (`ending.rs`). Each verb is one file below `command/`.
#![allow(unreachable_pub, reason = "a binary has no outside: `pub` says what a module offers")]

mod arguments;
mod client;
mod command;
mod confirm;
mod demand;
mod demo;
mod ending;
mod house;
mod offline;
mod opening;
mod output;
mod passphrase;
mod progress;
mod resource;
mod walk;

use crate::{
    arguments::Arguments,
    ending::Ending,
    output::{Output, fault},
};
use clap::Parser;
use holdfast_common::{Code, Error};
use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_runtime::memory::settle();
    let undumped = holdfast_runtime::memory::keep_out_of_dumps();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(refusal) => return fault::usage(refusal),
    };
    let output = Output::new(arguments.output);
    if let Err(error) = arguments.start_log() {
        return fault::report(&output, &error);
    }
    if let Err(error) = undumped {
        tracing::warn!(%error, "a crash may write keys to a disk: this process can be dumped");
    }
    let ending = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let ending = runtime.block_on(act(arguments, &output));
            if ending.as_ref().is_ok_and(|ending| ending.is_a_stop()) {
                // Threads at work clean up as their runtime goes away, and have said enough.
                std::panic::set_hook(Box::new(|_| ()));
            }
            runtime.shutdown_timeout(command::LEFTOVER_PATIENCE);
            ending
        }
        Err(error) => Err(Error::new(Code::FileIoFailed, "no threads to run on").cause(error)),
    };
    match ending {
        Ok(ending) => ending.into(),
        Err(_) if output.was_closed() => ExitCode::SUCCESS,
        Err(error) => fault::report(&output, &error),
    }
}

/// Services take signals as orders to drain; every other command is stopped by them.
async fn act(arguments: Arguments, output: &Output) -> holdfast_common::Result<Ending> {
    let demand = arguments.demand(output);
    let work = Box::pin(command::perform(arguments.command, &demand));
    if demand.drains {
        return work.await;
    }
    tokio::select! {
        ending = work => ending,
        stopped = ending::signal() => stopped,
    }
}
