//! `holdfast demo`: the whole story on made-up data, with figures, in under a minute.
//!
//! Everything happens in a temporary directory and through the very commands that people type; the
//! directory goes away at the end, whatever the end is.

use crate::{demand::Demand, demo, ending::Ending};
use holdfast_common::Result;

#[derive(Debug, clap::Args)]
pub struct Arguments {}

pub async fn perform(_: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    demo::tell(demand.output).await?;
    Ok(Ending::Done)
}

pub const EXAMPLES: &str = "\
Examples:
  holdfast demo
  holdfast --output json demo";
