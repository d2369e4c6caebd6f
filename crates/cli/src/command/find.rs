//! `holdfast find PATTERN`: entries whose name matches, in the newest point of each source, or in
//! one point, or in all.

use crate::{
    client::select::{self, Filter},
    command::ls,
    demand::Demand,
    ending::Ending,
    opening::{Opened, open_online},
    output::path,
    walk,
};
use holdfast_agent::source::files::Pattern;
use holdfast_common::{Code, Error, Name, Result};
use holdfast_seal::manifest::entry::{Entry, EntryKind};
use holdfast_wire::v1;
use serde_json::Map;
use std::collections::BTreeSet;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A name with * ? [ ], or with / a path; ** crosses directories
    pattern: String,
    /// Only in this point
    #[arg(long, conflicts_with = "all")]
    point: Option<String>,
    /// Only in points of this policy
    #[arg(long)]
    policy: Option<Name>,
    /// In every point, not only in the newest of each source
    #[arg(long)]
    all: bool,
}

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    let pattern = Pattern::parse(&arguments.pattern)
        .map_err(|error| Error { code: Code::UsageMalformed, ..error })?;
    let client = demand.client().await?;
    let policy = arguments.policy.map(|name| name.to_string());
    let points = match &arguments.point {
        Some(point) => vec![select::point(&client, point, policy.as_deref()).await?],
        None => {
            let all = select::list(&client, &Filter { policy, ..Filter::default() }).await?;
            if arguments.all { all } else { newest_of_each(all) }
        }
    };
    if points.is_empty() {
        return Err(Error::new(Code::PointMissing, "there is no point to look into"));
    }
    let several = points.len() > 1;
    for point in points {
        let opened = open_online(&client, point, "list").await?;
        find(opened, pattern.clone(), several, demand).await?;
    }
    Ok(Ending::Done)
}

async fn find(opened: Opened, pattern: Pattern, several: bool, demand: &Demand<'_>) -> Result<()> {
    let point = opened.id();
    let more = Map::from_iter([("point".to_owned(), point.clone().into())]);
    let produce = move |rows: &mut walk::Rows<Entry>| {
        for entry in opened.manifest().entries()? {
            let entry = entry?;
            if pattern.matches(&entry.path, entry.kind == EntryKind::Directory) {
                rows.push(entry)?;
            }
        }
        Ok(())
    };
    let line = |entry: &Entry| {
        let path = path::text(&entry.path);
        if several { format!("{point}  {path}") } else { path }
    };
    walk::answer(demand.output, "entries", more, produce, ls::fields, line).await?;
    Ok(())
}

/// The points are sorted: the first of each source is its newest.
fn newest_of_each(points: Vec<v1::Point>) -> Vec<v1::Point> {
    let mut seen = BTreeSet::new();
    let first = |point: &v1::Point| {
        seen.insert((point.policy.clone(), point.agent.clone(), point.source.clone()))
    };
    points.into_iter().filter(first).collect()
}

pub const EXAMPLES: &str = "\
Examples:
  holdfast find '*.dcm'
  holdfast find report.pdf --policy nightly --all
  holdfast find '/etc/**/*.conf' --point latest";
