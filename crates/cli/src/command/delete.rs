//! `holdfast delete KIND NAME`: removes a declared thing. Points stay: deleting a policy deletes no
//! backup.

use crate::{client::Admin, confirm::confirm, demand::Demand, ending::Ending, resource::Kind};
use holdfast_common::{Name, Result};
use holdfast_wire::v1;
use serde_json::json;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[arg(value_enum)]
    kind: Kind,
    name: Name,
}

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    let (kind, name) = (arguments.kind.word(), arguments.name.to_string());
    let client = demand.client().await?;
    confirm(demand, &format!("delete {kind} {name}"))?;
    let question = v1::DeleteRequest { kind: kind.to_owned(), name: name.clone() };
    client
        .ask_once(question, async |mut admin: Admin, question| admin.delete(question).await)
        .await?;
    demand.output.answer(
        || json!({ "kind": kind, "name": name, "result": "deleted" }),
        || format!("{kind} {name} deleted"),
    )?;
    Ok(Ending::Done)
}

pub const EXAMPLES: &str = "\
Examples:
  holdfast delete policy nightly
  holdfast delete policy nightly --yes";
