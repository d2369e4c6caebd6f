//! The written form of declared things: one TOML document per resource, or several as
//! `[[resource]]`.
//!
//! Parsed strictly, rendered so that what `export` writes `apply` takes back unchanged.

use super::retention::{self, RetentionForm};
use holdfast_common::{Code, Error, Name, Result};
use holdfast_wire::v1::{self, resource::Spec, source_spec::Source};
use serde::{Deserialize, Serialize};
use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt, OsStringExt},
};

#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Document {
    Class { name: String, spec: ClassForm },
    Location { name: String, spec: LocationForm },
    Policy { name: String, spec: PolicyForm },
    Vault { name: String, spec: VaultForm },
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClassForm {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retention: Option<RetentionForm>,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LocationForm {
    url: String,
    #[serde(default)]
    region: String,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct VaultForm {
    #[serde(default = "sharing_usual")]
    sharing: String,
    #[serde(default = "custody_usual")]
    custody: String,
    #[serde(default)]
    locations: VaultLocationsForm,
    #[serde(default, skip_serializing_if = "VaultVerifyForm::is_usual")]
    verify: VaultVerifyForm,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lock: Option<LockForm>,
}

/// How what a vault keeps is locked.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LockForm {
    class: String,
    #[serde(rename = "for")]
    span: String,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyForm {
    agent: String,
    #[serde(default = "vault_usual")]
    vault: String,
    source: SourceForm,
    #[serde(default)]
    locations: LocationsForm,
    #[serde(default, skip_serializing_if = "BackupForm::is_usual")]
    backup: BackupForm,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    class: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retention: Option<RetentionForm>,
}

#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct LocationsForm {
    #[serde(default)]
    required: Vec<String>,
}

/// Where a vault lies, and how it gets along without some of it.
#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct VaultLocationsForm {
    #[serde(default)]
    required: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    following: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    enough: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wait_secs: Option<u32>,
    #[serde(default, skip_serializing_if = "is_zero")]
    copy_bytes_per_second_max: u64,
}

/// How what lies in its locations is read back.
#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct VaultVerifyForm {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    storage_bytes_per_day: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    storage_every_hours: Option<u32>,
}

impl VaultVerifyForm {
    fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

fn is_zero(figure: &u64) -> bool {
    *figure == 0
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
enum SourceForm {
    Files {
        paths: Vec<String>,
        #[serde(default)]
        exclude: Vec<String>,
        #[serde(default)]
        one_file_system: bool,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        include: Vec<String>,
    },
}

#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct BackupForm {
    #[serde(default)]
    level: i32,
    #[serde(default)]
    bytes_per_second_max: u64,
}

impl BackupForm {
    fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Several {
    resource: Vec<Document>,
}

#[derive(Serialize)]
struct SeveralOf<'d> {
    resource: &'d [Document],
}

/// Reads every resource of a text; `origin` names it in errors.
pub fn parse(text: &str, origin: &str) -> Result<Vec<v1::Resource>> {
    let malformed = |error: toml::de::Error| {
        Error::new(Code::ResourceMalformed, format!("{origin} does not declare a resource"))
            .cause(error.to_string().trim_end())
            .next("see `holdfast explain policy`")
    };
    let table: toml::Table = text.parse().map_err(malformed)?;
    let documents = if table.contains_key("resource") {
        table.try_into::<Several>().map_err(malformed)?.resource
    } else {
        vec![toml::from_str::<Document>(text).map_err(malformed)?]
    };
    documents.into_iter().map(Document::into_resource).collect()
}

pub fn json(document: &Document) -> serde_json::Value {
    serde_json::to_value(document).unwrap_or_default()
}

pub fn toml(document: &Document) -> String {
    toml::to_string(document).unwrap_or_default().trim_end().to_owned()
}

pub fn toml_of_many(documents: &[Document]) -> String {
    if documents.is_empty() {
        return String::new();
    }
    toml::to_string(&SeveralOf { resource: documents }).unwrap_or_default().trim_end().to_owned()
}

impl Document {
    pub fn of(resource: &v1::Resource) -> Option<Self> {
        let name = resource.name.clone();
        Some(match resource.spec.clone()? {
            Spec::Class(spec) => Self::Class { name, spec: ClassForm::of(&spec) },
            Spec::Location(spec) => {
                Self::Location { name, spec: LocationForm { url: spec.url, region: spec.region } }
            }
            Spec::Policy(spec) => Self::Policy { name, spec: PolicyForm::of(spec)? },
            Spec::Vault(spec) => Self::Vault {
                name,
                spec: VaultForm {
                    sharing: spec.sharing,
                    custody: spec.custody,
                    locations: VaultLocationsForm {
                        required: spec.required,
                        following: spec.following,
                        enough: spec.enough,
                        wait_secs: spec.wait_secs,
                        copy_bytes_per_second_max: spec.copy_bytes_per_second_max,
                    },
                    lock: spec.lock.map(|lock| LockForm {
                        class: lock.class,
                        span: retention::written(lock.secs),
                    }),
                    verify: VaultVerifyForm {
                        storage_bytes_per_day: spec.check_bytes_per_day,
                        storage_every_hours: spec.check_every_hours,
                    },
                },
            },
        })
    }

    fn into_resource(self) -> Result<v1::Resource> {
        let lock_of = |form: LockForm| {
            let secs = retention::seconds(&form.span)?;
            Ok::<_, Error>(v1::LockSpec { class: form.class, secs })
        };
        let (name, spec) = match self {
            Self::Class { name, spec } => (name, Spec::Class(spec.into_spec()?)),
            Self::Location { name, spec } => {
                (name, Spec::Location(v1::LocationSpec { url: spec.url, region: spec.region }))
            }
            Self::Policy { name, spec } => (name, Spec::Policy(spec.into_spec()?)),
            Self::Vault { name, spec } => (
                name,
                Spec::Vault(v1::VaultSpec {
                    sharing: spec.sharing,
                    custody: spec.custody,
                    required: spec.locations.required,
                    following: spec.locations.following,
                    enough: spec.locations.enough,
                    wait_secs: spec.locations.wait_secs,
                    copy_bytes_per_second_max: spec.locations.copy_bytes_per_second_max,
                    lock: spec.lock.map(lock_of).transpose()?,
                    check_bytes_per_day: spec.verify.storage_bytes_per_day,
                    check_every_hours: spec.verify.storage_every_hours,
                    ..Default::default()
                }),
            ),
        };
        name.parse::<Name>()?;
        Ok(v1::Resource { name, revision: 0, spec: Some(spec) })
    }
}

impl ClassForm {
    fn of(spec: &v1::ClassSpec) -> Self {
        Self { retention: spec.retention.as_ref().map(RetentionForm::of) }
    }

    fn into_spec(self) -> Result<v1::ClassSpec> {
        let retention = self.retention.map(RetentionForm::into_spec).transpose()?;
        Ok(v1::ClassSpec { retention })
    }
}

/// What a class keeps, in a line.
pub fn keeps(spec: &v1::ClassSpec) -> String {
    let form = spec.retention.as_ref().map(RetentionForm::of);
    form.map_or_else(|| "everything".to_owned(), |form| form.in_a_line())
}

impl PolicyForm {
    fn of(spec: v1::PolicySpec) -> Option<Self> {
        let Source::Files(files) = spec.source?.source?;
        let backup = spec.backup.unwrap_or_default();
        let text = |path: Vec<u8>| OsString::from_vec(path).to_string_lossy().into_owned();
        Some(Self {
            agent: spec.agent,
            vault: spec.vault,
            source: SourceForm::Files {
                paths: files.paths.into_iter().map(|path| text(path.into())).collect(),
                exclude: files.exclude,
                one_file_system: files.one_file_system,
                include: files.include,
            },
            locations: LocationsForm { required: spec.required },
            backup: BackupForm {
                level: backup.level,
                bytes_per_second_max: backup.bytes_per_second_max,
            },
            class: spec.class,
            retention: spec.retention.as_ref().map(RetentionForm::of),
        })
    }

    fn into_spec(self) -> Result<v1::PolicySpec> {
        let SourceForm::Files { paths, exclude, one_file_system, include } = self.source;
        let patterns = Patterns { exclude, include };
        Ok(v1::PolicySpec {
            agent: self.agent,
            vault: self.vault,
            source: Some(files(paths.into_iter().map(OsString::from), patterns, one_file_system)?),
            required: self.locations.required,
            backup: Some(v1::BackupSettings {
                level: self.backup.level,
                bytes_per_second_max: self.backup.bytes_per_second_max,
            }),
            retention: self.retention.map(RetentionForm::into_spec).transpose()?,
            class: self.class,
        })
    }
}

/// Which of a source's entries are taken.
pub struct Patterns {
    pub exclude: Vec<String>,
    /// Empty: all that is not excluded.
    pub include: Vec<String>,
}

/// A source of files; every path must be absolute, since it is the agent's host that it lies on.
pub fn files(
    paths: impl Iterator<Item = OsString>,
    Patterns { exclude, include }: Patterns,
    one_file_system: bool,
) -> Result<v1::SourceSpec> {
    let paths = paths.map(absolute).collect::<Result<Vec<_>>>()?;
    if paths.is_empty() {
        return Err(Error::new(Code::ResourceMalformed, "a source of files names no path"));
    }
    let files = v1::FilesSource { paths, exclude, one_file_system, include };
    Ok(v1::SourceSpec { source: Some(Source::Files(files)) })
}

fn absolute(path: OsString) -> Result<bytes::Bytes> {
    if path.as_bytes().starts_with(b"/") {
        return Ok(path.into_vec().into());
    }
    let shown = path.to_string_lossy().into_owned();
    Err(Error::new(Code::ResourceMalformed, format!("`{shown}` is not an absolute path")))
}

fn sharing_usual() -> String {
    "agent".to_owned()
}

fn custody_usual() -> String {
    "coordinator".to_owned()
}

fn vault_usual() -> String {
    "main".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::{Kind, explain};
    use proptest::{collection::vec, prelude::*, sample::Index};

    const POLICY: &str = r#"
        kind = "policy"
        name = "nightly"
        [spec]
        agent = "local"
        vault = "main"
        source = {type="files", paths=["/srv"], exclude=["*.tmp"], one_file_system=false}
        locations = {required=["main"]}
    "#;

    #[test]
    fn the_policy_of_the_contract_is_read() {
        let [policy] = &parse(POLICY, "test").unwrap()[..] else { panic!("one resource") };
        let Some(Spec::Policy(spec)) = &policy.spec else { panic!("a policy") };
        assert_eq!((policy.name.as_str(), spec.agent.as_str()), ("nightly", "local"));
        assert_eq!(spec.required, ["main"]);
    }

    #[test]
    fn what_export_writes_apply_takes_back() {
        let kinds = [Kind::Vault, Kind::Location, Kind::Class];
        let [vault, location, class] = kinds.map(|kind| explain::page(kind).example);
        let texts = [POLICY, vault, location, class];
        let all: Vec<_> = texts.iter().flat_map(|text| parse(text, "test").unwrap()).collect();
        let documents: Vec<_> = all.iter().map(|one| Document::of(one).unwrap()).collect();
        assert_eq!(parse(&toml_of_many(&documents), "test").unwrap(), all);
        for (document, resource) in documents.iter().zip(&all) {
            assert_eq!(&parse(&toml(document), "test").unwrap()[0], resource);
        }
    }

    #[test]
    fn an_include_list_is_written_only_where_there_is_one() {
        let text = POLICY.replace("[\"*.tmp\"],", "[\"*.tmp\"], include=[\"*.dcm\"],");
        let [policy] = &parse(&text, "test").unwrap()[..] else { panic!("one resource") };
        let Some(Spec::Policy(spec)) = &policy.spec else { panic!("a policy") };
        let Some(Source::Files(files)) = spec.source.as_ref().and_then(|s| s.source.as_ref())
        else {
            panic!("files")
        };
        assert_eq!(files.exclude, ["*.tmp"]);
        assert_eq!(files.include, ["*.dcm"]);
        let written = toml(&Document::of(policy).unwrap());
        assert_eq!(&parse(&written, "test").unwrap()[0], policy, "{written}");
        let plain = Document::of(&parse(POLICY, "test").unwrap()[0]).unwrap();
        assert!(!toml(&plain).contains("include"), "an older holdfast reads it still");
    }

    #[test]
    fn a_pattern_that_looks_like_a_table_comes_back_the_same() {
        let found = parse(&POLICY.replace("*.tmp", "a\\n[spec]\\n[spec.x"), "test").unwrap();
        let documents: Vec<_> = found.iter().filter_map(Document::of).collect();
        assert_eq!(parse(&toml_of_many(&documents), "test").unwrap(), found);
    }

    #[test]
    fn fields_that_do_not_exist_are_refused() {
        for (from, to) in [
            ("exclude", "exlude"),
            ("name =", "nmae ="),
            ("\"policy\"", "\"polizy\""),
            ("\"/srv\"", "\"srv\""),
            ("\"nightly\"", "\"Nightly\""),
            ("paths=[\"/srv\"], ", "paths=[], "),
        ] {
            let error = parse(&POLICY.replace(from, to), "test").unwrap_err();
            assert_eq!(error.code.exit() as u8, 2, "{to}: {error}");
        }
    }

    #[test]
    fn every_example_of_explain_can_be_applied() {
        for kind in Kind::ALL {
            let found = parse(explain::page(kind).example, "example").unwrap();
            assert_eq!(crate::resource::word_of(&found[0]), kind.word());
        }
    }

    /// What documents are made of, and what they are not.
    const SCRAPS: &str = "[\\[\\]{}=\"',.a-z0-9\n\u{0}-\u{ff} /-]{0,6}";

    proptest! {
        #[test]
        fn a_changed_document_is_refused_or_comes_back_the_same(
            which in 0..5usize,
            changes in vec((any::<Index>(), 0..12usize, SCRAPS), 0..5),
        ) {
            let pages = Kind::ALL.map(|kind| explain::page(kind).example);
            let mut text = pages.get(which).map_or(POLICY, |page| page).to_owned();
            for (at, length, with) in changes {
                let places: Vec<usize> = text.char_indices().map(|(place, _)| place).collect();
                if places.is_empty() {
                    break;
                }
                let start = at.index(places.len());
                let end = places.get(start + length).copied().unwrap_or(text.len());
                text.replace_range(places[start]..end, &with);
            }
            if let Ok(found) = parse(&text, "test") {
                let documents: Vec<_> = found.iter().filter_map(Document::of).collect();
                prop_assert_eq!(documents.len(), found.len());
                prop_assert_eq!(parse(&toml_of_many(&documents), "test").unwrap(), found);
            }
        }
    }
}
