//! `holdfast apply -f FILE`: declares what a file says; says what changed. `--dry-run` only says.

use crate::{client::Admin, demand::Demand, ending::Ending, resource};
use holdfast_common::{Error, Result};
use holdfast_wire::v1;
use serde_json::json;
use std::{
    io::Read,
    path::{Path, PathBuf},
};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A TOML file; `-` reads stdin; may be repeated
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    let mut resources = Vec::new();
    for file in &arguments.files {
        resources.extend(resource::file::parse(&read(file)?, &file.display().to_string())?);
    }
    let client = demand.client().await?;
    let mut results = Vec::new();
    for resource in resources {
        let (kind, name) = (resource::word_of(&resource), resource.name.clone());
        let question = v1::ApplyRequest { resource: Some(resource), dry_run: arguments.dry_run };
        let ask = async |mut admin: Admin, question| admin.apply(question).await;
        let answer = client.ask(question, ask).await?;
        let revision = answer.resource.map(|resource| resource.revision);
        results.push((kind, name, answer.result, revision));
    }
    demand.output.answer(
        || {
            json!({
                "dry_run": arguments.dry_run,
                "resources": results.iter().map(|(kind, name, result, revision)| json!({
                    "kind": kind, "name": name, "result": result, "revision": revision,
                })).collect::<Vec<_>>(),
            })
        },
        || {
            results
                .iter()
                .map(|(kind, name, result, _)| said(kind, name, result, arguments.dry_run))
                .collect::<Vec<_>>()
                .join("\n")
        },
    )?;
    Ok(Ending::Done)
}

fn said(kind: &str, name: &str, result: &str, dry_run: bool) -> String {
    let would = if dry_run { " (dry run: nothing was changed)" } else { "" };
    format!("{kind} {name} {result}{would}")
}

fn read(file: &Path) -> Result<String> {
    let unreadable = |error| Error::io(format!("{} cannot be read", file.display()), &error);
    if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text).map_err(unreadable)?;
        return Ok(text);
    }
    std::fs::read_to_string(file).map_err(unreadable)
}

pub const EXAMPLES: &str = "\
Examples:
  holdfast apply -f nightly.toml
  holdfast apply -f nightly.toml --dry-run
  holdfast export | holdfast apply -f -";
