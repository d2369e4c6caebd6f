//! `holdfast completions SHELL`: what the shell needs to complete verbs and options.

use crate::{demand::Demand, ending::Ending};
use clap::CommandFactory;
use clap_complete::Shell;
use holdfast_common::Result;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[arg(value_enum)]
    shell: Shell,
}

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    let mut script = Vec::new();
    let mut table = crate::arguments::Arguments::command();
    clap_complete::generate(arguments.shell, &mut table, "holdfast", &mut script);
    demand.output.bytes(&script)?;
    Ok(Ending::Done)
}

pub const EXAMPLES: &str = "\
Examples:
  holdfast completions bash > /etc/bash_completion.d/holdfast
  holdfast completions zsh > ~/.zfunc/_holdfast";
