//! The arguments of every command, and the ones they share.
//!
//! This is the one place of the binary that the environment enters: `HOLDFAST_CONTEXT` stands for
//! `--context`, `HOLDFAST_LOG` for `--log-level`.

use crate::{
    command::Command,
    demand::Demand,
    output::{Format, Output},
};
use clap::Parser;
use holdfast_common::Result;
use holdfast_runtime::telemetry::LogOptions;
use std::path::PathBuf;

/// Back up hosts that must not be lost, and bring them back.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, after_help = EXAMPLES, max_term_width = 100)]
#[command(arg_required_else_help = true, infer_subcommands = true, infer_long_args = true)]
pub struct Arguments {
    /// Who I am and where the cluster is: an operator.toml
    #[arg(long, global = true, env = "HOLDFAST_CONTEXT", value_name = "FILE")]
    pub context: Option<PathBuf>,
    /// How to answer: for people or for programs
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
    /// What to log to stderr: error, warn, info, debug, trace, or a filter
    #[arg(long, global = true, env = "HOLDFAST_LOG", value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Answer yes to every question
    #[arg(long, short = 'y', global = true)]
    pub yes: bool,
    #[command(subcommand)]
    pub command: Command,
}

impl Arguments {
    pub fn start_log(&self) -> Result<()> {
        // openraft tells its whole state at `info`; the coordinator tells what matters of it.
        let usual = if self.command.is_service() { "info,openraft=error" } else { "warn" };
        holdfast_runtime::telemetry::init(&LogOptions {
            filter: self.log_level.clone().unwrap_or_else(|| usual.to_owned()),
            ..LogOptions::default()
        })
    }

    pub fn demand<'a>(&self, output: &'a Output) -> Demand<'a> {
        Demand {
            output,
            context: self.context.clone().filter(|path| !path.as_os_str().is_empty()),
            yes: self.yes,
            drains: self.command.ends_itself(),
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  holdfast demo                                     the whole story in a minute
  holdfast dev                                      a coordinator, an agent and a vault to try
  holdfast backup --path /srv                       back up a directory of the only agent
  holdfast restore latest --to /tmp/back            bring the newest point back
  holdfast --output json points                     for programs";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn visit(command: &clap::Command, path: &str, seen: &mut dyn FnMut(&clap::Command, &str)) {
        let path = format!("{path} {}", command.get_name());
        seen(command, &path);
        command.get_subcommands().for_each(|sub| visit(sub, &path, seen));
    }

    #[test]
    fn the_table_of_commands_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_explains_itself_with_examples() {
        visit(&Arguments::command(), "", &mut |command, path| {
            assert!(command.get_about().is_some(), "{path} says nothing about itself");
            if !command.has_subcommands() {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Examples:\n  holdfast "), "{path} has no examples");
            }
        });
    }

    #[test]
    fn names_may_be_cut_where_one_alone_fits() {
        let given = ["holdfast", "stat", "--out", "json"];
        let arguments = Arguments::try_parse_from(given).unwrap();
        assert!(matches!(arguments.command, Command::Status(_)));
        assert_eq!(arguments.output, Format::Json);
        assert!(Arguments::try_parse_from(["holdfast", "runs", "can", "12345678"]).is_ok());
        for several in [&["holdfast", "re"][..], &["holdfast", "backup", "nightly", "--o"]] {
            assert!(Arguments::try_parse_from(several).is_err(), "{several:?}");
        }
    }

    #[test]
    fn the_shared_options_may_stand_after_the_verb() {
        let given = ["holdfast", "points", "--output", "json", "--context", "x", "--yes"];
        let arguments = Arguments::try_parse_from(given).unwrap();
        assert_eq!(arguments.output, Format::Json);
        assert!(arguments.yes);
    }
}
