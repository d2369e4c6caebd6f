//! `holdfast explain KIND`: the fields of a declared thing, with an example that can be applied.

use crate::{
    demand::Demand,
    ending::Ending,
    output::table::Table,
    resource::{
        self,
        explain::{Field, Page},
    },
};
use holdfast_common::Result;
use serde_json::{Value, json};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[arg(value_enum)]
    kind: resource::Kind,
}

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    let page = resource::explain::page(arguments.kind);
    demand.output.answer(|| fields(arguments.kind, &page), || text(&page))?;
    Ok(Ending::Done)
}

fn fields(kind: resource::Kind, page: &Page) -> Value {
    let field = |field: &Field| {
        json!({
            "name": field.name,
            "type": field.form,
            "default": field.usual,
            "about": field.about,
        })
    };
    json!({
        "kind": kind.word(),
        "about": page.about,
        "fields": page.fields.iter().map(field).collect::<Vec<_>>(),
        "example": page.example,
    })
}

fn text(page: &Page) -> String {
    let mut table = Table::new(["field", "type", "default", "meaning"]);
    for field in page.fields {
        let usual = field.usual.unwrap_or("required");
        table.row([field.name, field.form, usual, field.about].map(String::from));
    }
    let example = page.example.trim_end();
    format!("{}\n\n{}\n\nExample:\n\n{example}", page.about, table.render())
}

pub const EXAMPLES: &str = "\
Examples:
  holdfast explain policy
  holdfast explain vault";
