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
use holdfast_common::{Code, Error, Result, Timestamp, limits};
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
            let which = match found.first {
                0 => format!("{} rows", found.rows),
                first => format!("rows {first} to {}", found.rows.saturating_sub(1)),
            };
            format!("{which}, unbroken, head {}", hex::encode(&found.head))
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
    let mut file = to.map(new_file).transpose()?;
    let mut after: Option<u64> = None;
    loop {
        let rows = page(client, after).await?;
        if rows.is_empty() {
            break;
        }
        for row in &rows {
            insist_on_next(after, row.number)?;
            after = Some(row.number);
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

/// A file of before may have rows that went since.
fn new_file(path: PathBuf) -> Result<std::fs::File> {
    std::fs::File::create_new(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Error::new(Code::FileExists, format!("{} exists already", path.display()))
                .next("name a new file: it may have rows that are nowhere else")
        }
        _ => Error::io("the audit log cannot be written", &error),
    })
}

/// Rows may be cut off while they are read.
fn insist_on_next(before: Option<u64>, number: u64) -> Result<()> {
    match before {
        Some(before) if number != before + 1 => {
            let message = format!("rows {} to {} went meanwhile", before + 1, number - 1);
            Err(Error::new(Code::ResourceConflict, message).next("export what is left once more"))
        }
        _ => Ok(()),
    }
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
        "previous": hex::encode(&entry.previous),
    })
}

pub const EXAMPLES: &str = "\
Examples:
  holdfast audit list --limit 20
  holdfast audit verify
  holdfast audit export --to audit-2027.jsonl";

const KEEP_EXAMPLES: &str = "\
Examples:
  holdfast audit keep
  holdfast audit export --to audit-2027.jsonl && holdfast audit keep --for 1100d
  holdfast audit keep --forever";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_went_while_they_were_exported_end_it() {
        for (before, number) in [(None, 0), (None, 700), (Some(0), 1), (Some(7), 8)] {
            insist_on_next(before, number).unwrap();
        }
        let error = insist_on_next(Some(7), 1008).unwrap_err();
        assert!(error.message.contains("rows 8 to 1007"), "{error}");
    }
}
