//! `holdfast coordinator --config FILE`: one member of a cluster, in the foreground.

use crate::{demand::Demand, ending::Ending, house};
use holdfast_common::Result;
use holdfast_coordinator::ServeOptions;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The coordinator.toml that `cluster init` wrote
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Listen here instead of where the file says; port 0 chooses one
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Be as a binary that knows no more than this feature level
    #[arg(long, hide_short_help = true, value_name = "N", value_parser = super::feature_level())]
    max_level: Option<u32>,
}

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    let Arguments { config, listen, max_level: level_max } = arguments;
    house::coordinator(ServeOptions { config, listen, level_max }, demand.output).await?;
    Ok(Ending::Done)
}

pub const EXAMPLES: &str = "\
Examples:
  holdfast coordinator --config /etc/holdfast/coordinator.toml
  holdfast coordinator --config C/coordinator.toml --listen 127.0.0.1:0";
