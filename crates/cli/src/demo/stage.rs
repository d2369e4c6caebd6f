//! Runs commands as a shell would and tells what happened: lines for people, one object at the end
//! for programs.

use super::summary;
use crate::{
    arguments::Arguments,
    command,
    demand::Demand,
    ending::Ending,
    output::{Format, Output},
};
use clap::Parser;
use core::{cell::RefCell, time::Duration};
use holdfast_common::{Clock, Code, Error, Result, SystemClock};
use serde_json::{Value, json};
use std::path::PathBuf;

pub struct Stage<'a> {
    output: &'a Output,
    context: PathBuf,
    steps: RefCell<Vec<Value>>,
}

impl<'a> Stage<'a> {
    pub fn new(output: &'a Output, context: PathBuf) -> Self {
        Self { output, context, steps: RefCell::default() }
    }

    pub fn say(&self, text: &str) {
        if self.output.is_json() {
            return;
        }
        // A demo that nobody reads any more goes on to its clean end.
        let _nobody_reads = self.output.line(&format!("  {text}"));
    }

    /// Runs one command; its answer is given back as it would stand on stdout.
    pub async fn run(&self, what: &str, words: &[&str]) -> Result<Value> {
        let clock = SystemClock::start();
        if !self.output.is_json() {
            let _nobody_reads =
                self.output.line(&format!("\n{what}\n  $ holdfast {}", words.join(" ")));
        }
        let words = ["holdfast", "--output", "json"].iter().chain(words);
        let arguments = Arguments::try_parse_from(words)
            .map_err(|error| Error::new(Code::InternalBug, "the demo mistyped").cause(error))?;
        let kept = Output::kept(Format::Json);
        let demand =
            Demand { output: &kept, context: Some(self.context.clone()), yes: true, drains: false };
        let ending = Box::pin(command::perform(arguments.command, &demand)).await?;
        let told: Value = serde_json::from_slice(&kept.take()).unwrap_or_default();
        self.steps.borrow_mut().push(json!({
            "name": what,
            "exit": ending.code(),
            "duration_ms": clock.elapsed().as_millis() as u64,
        }));
        if matches!(ending, Ending::Damage | Ending::Done) {
            return Ok(told);
        }
        Err(Error::new(Code::InternalBug, format!("the demo's step `{what}` ended {ending:?}")))
    }

    pub fn end(&self, text: &str, took: Duration) -> Result<()> {
        self.output.answer(|| summary(&self.steps.borrow(), took), || format!("\n{text}"))
    }
}
