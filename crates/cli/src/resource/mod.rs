//! Declared things: vaults, locations, classes, policies.
//!
//! People write them as TOML (`file`), the cluster holds them as messages; `explain` documents the
//! fields. A file that names a field that does not exist is refused: a misspelt `exclude` must not
//! turn into a backup of everything.

pub mod explain;
pub mod file;
mod retention;

use crate::output::table::Table;
use file::Document;
use holdfast_common::{Code, Error, Result};
use holdfast_wire::v1::{self, resource::Spec};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    Class,
    Location,
    Policy,
    Vault,
}

impl Kind {
    /// In the order in which they can be applied.
    pub const ALL: [Self; 4] = [Self::Location, Self::Vault, Self::Class, Self::Policy];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Class => "class",
            Self::Location => "location",
            Self::Policy => "policy",
            Self::Vault => "vault",
        }
    }
}

pub fn word_of(resource: &v1::Resource) -> &'static str {
    match &resource.spec {
        Some(Spec::Class(_)) => "class",
        Some(Spec::Location(_)) => "location",
        Some(Spec::Policy(_)) => "policy",
        Some(Spec::Vault(_)) => "vault",
        None => "resource",
    }
}

/// The document that would declare this resource.
pub fn document(resource: &v1::Resource) -> Result<Document> {
    Document::of(resource).ok_or_else(|| {
        Error::new(Code::VersionUnknown, format!("`{}` is of a kind unknown here", resource.name))
            .next("use a newer holdfast")
    })
}

/// All of one kind, side by side.
pub fn table(kind: Kind, found: &[v1::Resource]) -> String {
    let mut table = match kind {
        Kind::Class => Table::new(["class", ">revision", "keeps", "", ""]),
        Kind::Location => Table::new(["location", ">revision", "region", "url", ""]),
        Kind::Policy => Table::new(["policy", ">revision", "agent", "vault", "paths"]),
        Kind::Vault => Table::new(["vault", ">revision", "custody", "sharing", "required"]),
    };
    for resource in found {
        let [one, two, three] = match &resource.spec {
            Some(Spec::Class(spec)) => [file::keeps(spec), String::new(), String::new()],
            Some(Spec::Location(spec)) => [spec.region.clone(), spec.url.clone(), String::new()],
            Some(Spec::Policy(spec)) => [spec.agent.clone(), spec.vault.clone(), paths(spec)],
            Some(Spec::Vault(spec)) => {
                [spec.custody.clone(), spec.sharing.clone(), spec.required.join(",")]
            }
            None => Default::default(),
        };
        table.row([resource.name.clone(), resource.revision.to_string(), one, two, three]);
    }
    table.render()
}

fn paths(policy: &v1::PolicySpec) -> String {
    let Some(v1::source_spec::Source::Files(files)) =
        policy.source.as_ref().and_then(|source| source.source.as_ref())
    else {
        return String::new();
    };
    files.paths.iter().map(|path| crate::output::path::text(path)).collect::<Vec<_>>().join(" ")
}
