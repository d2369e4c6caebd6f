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
    let ask = async |mut admin: Admin, question| admin.list_keys(question).await;
    let keys = client.ask(v1::ListKeysRequest {}, ask).await?.vaults;
    let unknown = keys.into_iter().find(|keys| keys.name == vault.as_str());
    let unknown = unknown.and_then(|keys| keys.packs_unknown);
    confirm(demand, &question(&vault, version, unknown))?;
    let asked = v1::CloseKeysRequest { vault: vault.to_string(), version };
    let ask = async |mut admin: Admin, question| admin.close_keys(question).await;
    let v1::CloseKeysResponse { was_closed, closed_ns } = client.ask(asked, ask).await?;
    let fields = || {
        json!({
            "vault": vault.as_str(),
            "version": version,
            "closed": json_time(Some(closed_ns)),
            "was_closed": was_closed,
            "packs_unknown": unknown,
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

/// Packs that nobody has looked into count as closed, whatever they are sealed to.
fn question(vault: &Name, version: u32, unknown: Option<u64>) -> String {
    let close = format!(
        "close version {version} of the keys of `{vault}` for good: backups send again what only \
         it opens"
    );
    match unknown {
        Some(0) => close,
        Some(packs) => format!(
            "{close}, and what lies in {packs} packs that are not looked into yet (`holdfast keys \
             list` says when they are)"
        ),
        None => format!("{close}, and what lies in packs that are not looked into yet"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_again_because_nobody_looked_into_it_is_said_before() {
        let vault = "main".parse().unwrap();
        assert!(!question(&vault, 1, Some(0)).contains("looked into"));
        assert!(question(&vault, 1, Some(7)).contains("7 packs that are not looked into"));
        assert!(question(&vault, 1, None).contains("not looked into"));
    }
}
