//! `holdfast keys close`: nothing new comes to rely on a version of a vault's keys.
//!
//! The first step towards destroying it. Backups go on: what they would have found under the closed
//! version is sent again, sealed to the newest one.

use crate::{
    client::Admin,
    confirm::confirm,
    demand::Demand,
    output::figures::{self, json_time},
};
use holdfast_common::{Name, Result, Timestamp};
use holdfast_wire::v1;
use serde_json::json;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The vault whose keys they are
    #[arg(long)]
    vault: Name,
    /// The version to close; not the newest
    version: u32,
}

pub(super) async fn close(arguments: Arguments, demand: &Demand<'_>) -> Result<()> {
    let Arguments { vault, version } = arguments;
    let client = demand.client().await?;
    confirm(
        demand,
        &format!(
            "close version {version} of the keys of `{vault}` for good: backups send again what \
             only it opens"
        ),
    )?;
    let question = v1::CloseKeysRequest { vault: vault.to_string(), version };
    let ask = async |mut admin: Admin, question| admin.close_keys(question).await;
    let v1::CloseKeysResponse { was_closed, closed_ns } = client.ask(question, ask).await?;
    let fields = || {
        json!({
            "vault": vault.as_str(),
            "version": version,
            "closed": json_time(Some(closed_ns)),
            "was_closed": was_closed,
        })
    };
    demand.output.answer(fields, || {
        let since = figures::time(Timestamp::from_nanos(closed_ns));
        format!(
            "version {version} is closed since {since}: nothing new comes to rely on it\nwhat \
             needs it still: holdfast keys destroy --vault {vault} {version} --dry-run"
        )
    })
}
