//! `holdfast find PATTERN`: entries whose name matches, in the newest point of each source, or in
//! one point, or in all.

use crate::{
    client::select::Filter,
    command::ls,
    demand::Demand,
    ending::Ending,
    offline::OfflineArguments,
    opening::{Opened, Shelf},
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
    #[command(flatten)]
    offline: OfflineArguments,
}

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    let pattern = Pattern::parse(&arguments.pattern)
        .map_err(|error| Error { code: Code::UsageMalformed, ..error })?;
    let shelf = Shelf::of(&arguments.offline, demand).await?;
    let points = match &arguments.point {
        Some(point) => vec![shelf.point(point, arguments.policy.as_ref()).await?],
        None => several(&shelf, &arguments).await?,
    };
    if points.is_empty() {
        return Err(Error::new(Code::PointMissing, "there is no point to look into"));
    }
    let several = points.len() > 1;
    for point in points {
        let opened = shelf.open(point, "list", demand).await?;
        find(opened, pattern.clone(), several, demand).await?;
    }
    Ok(Ending::Done)
}

async fn several(shelf: &Shelf, arguments: &Arguments) -> Result<Vec<v1::Point>> {
    let policy = arguments.policy.as_ref();
    if let (Shelf::Location(location), false) = (shelf, arguments.all) {
        location.offline().insist_on_latest(policy.map(Name::as_str))?;
    }
    let filter = Filter { policy: policy.map(Name::to_string), ..Filter::default() };
    let all = shelf.points(&filter).await?;
    Ok(if arguments.all { all } else { newest_of_each(all) })
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
  holdfast find '/etc/**/*.conf' --point latest
  holdfast find '*.dcm' --from-location local:/srv/vault --bundle bundle.hfbd";
