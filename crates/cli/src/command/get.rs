//! `holdfast get KIND [NAME]`: what is declared, as the cluster holds it.

use crate::{client::Admin, demand::Demand, ending::Ending, resource};
use holdfast_common::{Code, Error, Name, Result};
use holdfast_wire::v1;
use serde_json::json;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[arg(value_enum)]
    kind: resource::Kind,
    /// Only this one
    name: Option<Name>,
}

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    let client = demand.client().await?;
    let kind = arguments.kind.word();
    let name = arguments.name.as_ref().map(ToString::to_string).unwrap_or_default();
    let question = v1::ListRequest { kind: kind.to_owned(), name: name.clone() };
    let ask = async |mut admin: Admin, question| admin.list(question).await;
    let found = client.ask(question, ask).await?.resources;
    if found.is_empty() && !name.is_empty() {
        return Err(Error::new(Code::ResourceMissing, format!("no {kind} is named `{name}`"))
            .next(format!("list what there is with `holdfast get {kind}`")));
    }
    let rows = found.iter().map(resource::document).collect::<Result<Vec<_>>>()?;
    demand.output.answer(
        || json!({ "resources": rows.iter().map(resource::file::json).collect::<Vec<_>>() }),
        || match (&rows[..], name.is_empty()) {
            ([one], false) => resource::file::toml(one),
            _ => resource::table(arguments.kind, &found),
        },
    )?;
    Ok(Ending::Done)
}

pub const EXAMPLES: &str = "\
Examples:
  holdfast get policy
  holdfast get policy nightly
  holdfast --output json get vault main";
