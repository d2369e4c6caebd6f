//! `holdfast explain KIND`: the fields of a declared thing, with an example that can be applied.

use crate::{demand::Demand, ending::Ending, output::table::Table, resource};
use holdfast_common::Result;
use serde_json::json;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[arg(value_enum)]
    kind: resource::Kind,
}

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    let page = resource::explain::page(arguments.kind);
    demand.output.answer(
        || json!({
            "kind": arguments.kind.word(),
            "about": page.about,
            "fields": page.fields.iter().map(|field| json!({
                "name": field.name, "type": field.form, "default": field.usual, "about": field.about,
            })).collect::<Vec<_>>(),
            "example": page.example,
        }),
        || {
            let mut table = Table::new(["field", "type", "default", "meaning"]);
            for field in page.fields {
                table.row([field.name, field.form, field.usual.unwrap_or("required"), field.about].map(String::from));
            }
            format!("{}\n\n{}\n\nExample:\n\n{}", page.about, table.render(), page.example.trim_end())
        },
    )?;
    Ok(Ending::Done)
}

pub const EXAMPLES: &str = "\
Examples:
  holdfast explain policy
  holdfast explain vault";
