//! `holdfast diff POINT POINT`: what changed from the one to the other. What both share is not
//! read.

use crate::{
    demand::Demand, ending::Ending, offline::OfflineArguments, opening::Shelf, output::path, walk,
};
use holdfast_common::{Name, Result};
use holdfast_seal::manifest::{Change, ChangeKind, diff};
use serde_json::{Map, Value};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    from: String,
    to: String,
    /// What `latest` means
    #[arg(long)]
    policy: Option<Name>,
    #[command(flatten)]
    offline: OfflineArguments,
}

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    let shelf = Shelf::of(&arguments.offline, demand).await?;
    let from = shelf.point(&arguments.from, arguments.policy.as_ref()).await?;
    let to = shelf.point(&arguments.to, arguments.policy.as_ref()).await?;
    let old = shelf.open(from, "list", demand).await?;
    let new = shelf.open(to, "list", demand).await?;
    let produce = move |rows: &mut walk::Rows<Change>| {
        for change in diff(&old.manifest(), &new.manifest())? {
            rows.push(change?)?;
        }
        Ok(())
    };
    let line = |change: &Change| format!("{} {}", sign(change.change), path::text(&change.path));
    walk::answer(demand.output, "changes", Map::new(), produce, fields, line).await?;
    Ok(Ending::Done)
}

fn fields(change: &Change) -> Value {
    let mut object = path::json(&change.path);
    let word = match change.change {
        ChangeKind::Added => "added",
        ChangeKind::Content => "content",
        ChangeKind::Metadata => "metadata",
        ChangeKind::Removed => "removed",
    };
    object.insert("change".into(), word.into());
    Value::Object(object)
}

const fn sign(change: ChangeKind) -> char {
    match change {
        ChangeKind::Added => '+',
        ChangeKind::Content => 'M',
        ChangeKind::Metadata => 'm',
        ChangeKind::Removed => '-',
    }
}

pub const EXAMPLES: &str = "\
Examples:
  holdfast diff 1f0c2a9b latest --policy nightly
  holdfast --output json diff 1f0c2a9b 7be10d44
  holdfast diff 1f0c2a9b latest --from-location local:/srv/vault --bundle bundle.hfbd";
