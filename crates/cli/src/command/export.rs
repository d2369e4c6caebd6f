//! `holdfast export`: everything that is declared, in the form that `apply -f` reads.

use crate::{
    client::{Admin, Client},
    demand::Demand,
    ending::Ending,
    resource::{self, Kind},
};
use holdfast_common::Result;
use holdfast_wire::v1;
use serde_json::json;

#[derive(Debug, clap::Args)]
pub struct Arguments {}

pub async fn perform(_: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    let client = demand.client().await?;
    let mut documents = Vec::new();
    for kind in Kind::ALL {
        for found in list(&client, kind).await? {
            documents.push(resource::document(&found)?);
        }
    }
    demand.output.answer(
        || json!({ "resources": documents.iter().map(resource::file::json).collect::<Vec<_>>() }),
        || resource::file::toml_of_many(&documents),
    )?;
    Ok(Ending::Done)
}

async fn list(client: &Client, kind: Kind) -> Result<Vec<v1::Resource>> {
    let question = v1::ListRequest { kind: kind.word().to_owned(), name: String::new() };
    let ask = async |mut admin: Admin, question| admin.list(question).await;
    Ok(client.ask(question, ask).await?.resources)
}

pub const EXAMPLES: &str = "\
Examples:
  holdfast export > declared.toml
  holdfast apply -f declared.toml";
