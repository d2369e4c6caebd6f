//! `holdfast audit list|verify|export|keep`: who changed what. The log is a hash chain; `verify`
//! has the coordinator walk it from the first row that is left, `export` writes every row for
//! keeping elsewhere, `keep` says how long rows stay.

use crate::{
    client::{Admin, Client},
    confirm::confirm,
    demand::Demand,
    ending::Ending,
    output::{
        figures::{self, json_time, parse_span},
        table::Table,
    },
};
use clap::Subcommand;
use core::time::Duration;
use holdfast_common::{Error, Result, Timestamp, limits};
use holdfast_wire::v1;
use serde_json::{Value, json};
use std::{io::Write, path::PathBuf};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List rows, oldest first
    #[command(after_help = EXAMPLES)]
    List {
        /// Only rows after this number
        #[arg(long, value_name = "NUMBER")]
        after: Option<u64>,
        /// At most so many rows
        #[arg(long, default_value_t = 1000, value_name = "ROWS")]
        limit: u32,
    },
    /// Check the chain of hashes
    #[command(after_help = EXAMPLES)]
    Verify,
    /// Show how long rows are kept, or say it
    #[command(after_help = KEEP_EXAMPLES)]
    Keep {
        /// For so long, as 1100d; not less than 400d
        #[arg(long = "for", value_name = "SPAN", value_parser = parse_span)]
        span: Option<Duration>,
        /// For ever, as it is until somebody says otherwise
        #[arg(long, conflicts_with = "span")]
        forever: bool,
    },
    /// Write every row as one JSON object a line
    #[command(after_help = EXAMPLES)]
    Export {
        /// Write to this file instead of stdout
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
}

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    let client = demand.client().await?;
    match arguments.verb {
        Verb::List { after, limit } => list(&client, after, limit, demand).await,
        Verb::Verify => verify(&client, demand).await,
        Verb::Keep { span, forever } => keep(&client, (span, forever), demand).await,
        Verb::Export { to } => export(&client, to, demand).await,
    }
}

async fn list(
    client: &Client,
    after: Option<u64>,
    limit: u32,
    demand: &Demand<'_>,
) -> Result<Ending> {
    let mut entries = Vec::new();
    let mut after = after;
    while entries.len() < limit as usize {
        let rows = page(client, after).await?;
        let Some(last) = rows.last() else { break };
        after = Some(last.number);
        entries.extend(rows);
    }
    entries.truncate(limit as usize);
    demand.output.answer(
        || json!({ "entries": entries.iter().map(fields).collect::<Vec<_>>() }),
        || {
            let mut table = Table::new([">number", "time", "actor", "action", "subject", "result"]);
            for entry in &entries {
                table.row([
                    entry.number.to_string(),
                    figures::time(Timestamp::from_nanos(entry.time_ns)),
                    entry.actor.clone(),
                    entry.action.clone(),
                    entry.subject.clone(),
                    entry.result.clone(),
                ]);
            }
            table.render()
        },
    )?;
    Ok(Ending::Done)
}

async fn verify(client: &Client, demand: &Demand<'_>) -> Result<Ending> {
    let ask = async |mut admin: Admin, question| admin.verify_audit(question).await;
    let found = client.ask(v1::VerifyAuditRequest {}, ask).await?;
    demand.output.answer(
        || {
            let head = hex::encode(&found.head);
            json!({ "rows": found.rows, "first": found.first, "head": head, "intact": true })
        },
        || {
            let from = match found.first {
                0 => String::new(),
                first => format!(" from row {first} on, which were kept"),
            };
            format!("{} rows{from}, unbroken, head {}", found.rows, hex::encode(&found.head))
        },
    )?;
    Ok(Ending::Done)
}

async fn keep(
    client: &Client,
    (span, forever): (Option<Duration>, bool),
    demand: &Demand<'_>,
) -> Result<Ending> {
    let kept_secs = span.map(|span| span.as_secs().max(1)).or(forever.then_some(0));
    if let Some(span) = span {
        let older = figures::span(span);
        confirm(demand, &format!("let rows of the audit log go that are older than {older}"))?;
    }
    let ask = async |mut admin: Admin, question| admin.keep_audit(question).await;
    let told = client.ask(v1::KeepAuditRequest { kept_secs }, ask).await?;
    demand.output.answer(
        || {
            json!({
                "kept_secs": told.kept_secs,
                "since": json_time(told.since_ns),
                "first": told.first,
                "first_time": json_time(told.first_ns),
                "rows": told.rows,
            })
        },
        || {
            let kept = told.kept_secs.map_or_else(
                || "for ever".to_owned(),
                |secs| format!("for {}", figures::span(Duration::from_secs(secs))),
            );
            let oldest = told.first_ns.map_or_else(String::new, |first| {
                format!("; the oldest is of {}", figures::time(Timestamp::from_nanos(first)))
            });
            format!("rows are kept {kept}{oldest}")
        },
    )?;
    Ok(Ending::Done)
}

async fn export(client: &Client, to: Option<PathBuf>, demand: &Demand<'_>) -> Result<Ending> {
    let refused = |error| Error::io("the audit log cannot be written", &error);
    let mut file = to.map(std::fs::File::create).transpose().map_err(refused)?;
    let mut after = None;
    loop {
        let rows = page(client, after).await?;
        let Some(last) = rows.last() else { break };
        after = Some(last.number);
        for row in &rows {
            match &mut file {
                Some(file) => writeln!(file, "{}", fields(row)).map_err(refused)?,
                None => demand.output.object(fields(row))?,
            }
        }
    }
    if let Some(file) = file {
        file.sync_all().map_err(refused)?;
    }
    Ok(Ending::Done)
}

/// The rows that follow a number. Numbers begin with 0, so that the row of the number itself may
/// come along; it was seen and is left out.
async fn page(client: &Client, after: Option<u64>) -> Result<Vec<v1::AuditEntry>> {
    let limit = limits::LIST_PAGE_ROWS as u32;
    let question = v1::ListAuditRequest { after: after.unwrap_or(0), limit };
    let ask = async |mut admin: Admin, question| admin.list_audit(question).await;
    let mut entries = client.ask(question, ask).await?.entries;
    entries.retain(|entry| after.is_none_or(|after| entry.number > after));
    Ok(entries)
}

fn fields(entry: &v1::AuditEntry) -> Value {
    json!({
        "number": entry.number,
        "time": json_time(Some(entry.time_ns)),
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "result": entry.result,
        "hash": hex::encode(&entry.hash),
    })
}

pub const EXAMPLES: &str = "\
Examples:
  holdfast audit list --limit 20
  holdfast audit verify
  holdfast audit export --to audit.jsonl";

const KEEP_EXAMPLES: &str = "\
Examples:
  holdfast audit keep
  holdfast audit export --to audit.jsonl && holdfast audit keep --for 1100d
  holdfast audit keep --forever";
