//! Declared things: vaults, locations, policies. What `apply -f` sets and `get` shows.

use super::{LockTerms, Retention, row};
use holdfast_common::{Code, Error, Name, Result, Timestamp, VaultId, limits};
use minicbor::{Decode, Encode, bytes::ByteVec};
use std::time::Duration;

#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(index_only)]
pub enum Sharing {
    /// An agent only hits what it wrote itself.
    #[n(1)]
    Agent,
    /// The vault's members trust each other and deduplicate across hosts.
    #[n(2)]
    Vault,
}

#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(index_only)]
pub enum Custody {
    #[n(1)]
    Coordinator,
    #[n(2)]
    Operator,
}

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct VaultRow {
    #[n(0)]
    pub id: VaultId,
    #[n(1)]
    pub name: Name,
    #[n(2)]
    pub sharing: Sharing,
    #[n(3)]
    pub custody: Custody,
    #[n(4)]
    pub required: Vec<Name>,
    #[n(5)]
    pub key_version: u32,
    /// The key object of that version, as it also lies in every location.
    #[n(6)]
    pub key_object: ByteVec,
    #[n(7)]
    pub created: Timestamp,
    #[n(8)]
    pub revision: u64,
    /// The next free chunk number.
    #[n(9)]
    pub next_number: u64,
    /// Pack rows that no index segment covers yet.
    #[n(10)]
    pub packs: u64,
    /// The revision that required a location which the one before did not; none since the vault was
    /// made.
    #[n(11)]
    pub grown: Option<u64>,
    /// What there is beside the required locations; never there and empty.
    #[n(12)]
    pub beside: Option<Beside>,
    /// How it is read back; none: as is usual.
    #[n(13)]
    pub checks: Option<Checks>,
    /// How what it keeps is locked, where locations can.
    #[n(14)]
    pub lock: Option<LockTerms>,
    /// How many times a pack of it was lost; whoever plans what is forgotten says how many he knew.
    #[n(15)]
    pub losses: Option<u64>,
}

/// How what lies in each location of a vault is read back, again and again.
#[derive(Clone, Copy, Debug, Decode, Default, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct Checks {
    /// Of each location; 0: nothing is read back by itself.
    #[n(0)]
    pub storage_bytes_per_day: Option<u64>,
    /// How long after one pass began the next one begins, at the earliest.
    #[n(1)]
    pub storage_every_hours: Option<u32>,
}

/// Where a vault's objects lie beside what it requires, and how it gets along without some of that.
#[derive(Clone, Debug, Decode, Default, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct Beside {
    /// Locations that are brought everything a moment later. Nothing waits for them.
    #[n(0)]
    pub following: Vec<Name>,
    /// Those of them that were away when they were required, and are required again as soon as they
    /// lack nothing.
    #[n(1)]
    pub returning: Vec<Name>,
    /// What copies of this vault may take of a line; 0 is as much as there is.
    #[n(2)]
    pub bytes_per_second_max: u64,
    /// How many required locations are enough when others are away; none: all of them.
    #[n(3)]
    pub enough: Option<u32>,
    /// How long a backup waits for a required location that is away, before it fails or goes on
    /// without it.
    #[n(4)]
    pub wait_secs: Option<u32>,
}

impl VaultRow {
    pub fn losses(&self) -> u64 {
        self.losses.unwrap_or(0)
    }

    pub fn following(&self) -> &[Name] {
        self.beside.as_ref().map_or(&[], |beside| &beside.following)
    }

    /// Required by whoever declared the vault, and passed over while they are away.
    pub fn returning(&self) -> &[Name] {
        self.beside.as_ref().map_or(&[], |beside| &beside.returning)
    }

    /// What whoever declared the vault wants to be required.
    pub fn required_as_declared(&self) -> impl Iterator<Item = &Name> {
        self.required.iter().chain(self.returning())
    }

    /// What whoever declared the vault wants to follow.
    pub fn following_as_declared(&self) -> impl Iterator<Item = &Name> {
        self.following().iter().filter(|name| !self.returning().contains(name))
    }

    /// Wherever anything of it lies, what is required first.
    pub fn holding(&self) -> impl Iterator<Item = &Name> {
        self.required.iter().chain(self.following())
    }

    /// Whether a run may go on without so many of the required locations.
    pub fn can_spare(&self, count: usize) -> bool {
        self.enough().is_some_and(|enough| self.required.len() >= enough + count)
    }

    /// How many required locations are enough when others are away; none: all of them.
    pub(crate) fn enough(&self) -> Option<usize> {
        let enough = self.beside.as_ref().and_then(|beside| beside.enough);
        enough.map(|enough| (enough as usize).max(1))
    }

    /// How long a backup waits for a required location that is away.
    pub fn wait(&self) -> Duration {
        let secs = self.beside.as_ref().and_then(|beside| beside.wait_secs);
        Duration::from_secs(secs.unwrap_or(0).into())
    }

    /// What is read back a day in each location; 0: nothing.
    pub fn check_bytes_per_day(&self) -> u64 {
        let bytes = self.checks.and_then(|checks| checks.storage_bytes_per_day);
        bytes.unwrap_or(limits::CHECK_BYTES_PER_DAY)
    }

    /// How long after one pass began the next one begins, at the earliest.
    pub fn check_every(&self) -> Duration {
        let hours = self.checks.and_then(|checks| checks.storage_every_hours);
        Duration::from_secs(3600 * u64::from(hours.unwrap_or(limits::CHECK_EVERY_HOURS)))
    }

    #[must_use]
    pub(crate) fn with_beside(self, beside: Beside) -> Self {
        let beside = (beside != Beside::default()).then_some(beside);
        Self { beside, ..self }
    }

    /// The next revision, under which everything is put anew that was not stored yet.
    #[must_use]
    pub(crate) fn placed_anew(self) -> Self {
        let revision = self.revision + 1;
        Self { revision, grown: Some(revision), ..self }
    }

    /// The next revision, with other locations required.
    #[must_use]
    pub fn requiring(self, required: Vec<Name>) -> Self {
        let revision = self.revision + 1;
        let grows = required.iter().any(|name| !self.required.contains(name));
        let grown = if grows { Some(revision) } else { self.grown };
        Self { required, revision, grown, ..self }
    }

    /// What was placed under a revision lies in all that is required now. Without one it was placed
    /// before there was anything to say of it.
    pub(crate) fn insist_on_all(&self, placed_under: Option<u64>) -> Result<()> {
        if placed_under.unwrap_or(0) >= self.grown.unwrap_or(0) {
            return Ok(());
        }
        let message = format!("the vault `{}` has come to require a further location", self.name);
        Err(Error::new(Code::VaultGrown, message))
    }
}

row!(VaultRow, Vault, "vault", |row| row.id.as_bytes());

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct LocationRow {
    #[n(0)]
    pub name: Name,
    #[n(1)]
    pub url: String,
    #[n(2)]
    pub region: Name,
    #[n(3)]
    pub revision: u64,
    /// Since when it is neither written nor read; none while it is in use.
    #[n(4)]
    pub disabled: Option<Timestamp>,
}

row!(LocationRow, Location, "location", |row| row.name.as_str().as_bytes());

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
pub enum SourceSpec {
    #[n(1)]
    Files {
        #[n(0)]
        paths: Vec<ByteVec>,
        #[n(1)]
        exclude: Vec<String>,
        #[n(2)]
        one_file_system: bool,
        /// What alone is taken of the rest; absent means all of it. Never an empty list, so that a
        /// source without one is stored as it always was.
        #[n(3)]
        include: Option<Vec<String>>,
    },
}

impl SourceSpec {
    /// What a source is called in listings, and what makes it the same source next time.
    pub fn describe(&self) -> String {
        match self {
            Self::Files { paths, .. } => {
                let list: Vec<_> = paths.iter().map(|p| String::from_utf8_lossy(p)).collect();
                format!("files:{}", list.join(","))
            }
        }
    }
}

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct PolicyRow {
    #[n(0)]
    pub name: Name,
    #[n(1)]
    pub agent: Name,
    #[n(2)]
    pub vault: Name,
    #[n(3)]
    pub source: SourceSpec,
    #[n(4)]
    pub required: Vec<Name>,
    #[n(5)]
    pub level: i32,
    #[n(6)]
    pub bytes_per_second_max: u64,
    #[n(7)]
    pub revision: u64,
    /// How long its points are kept. Without it the class says so, and without a class nobody: then
    /// all of them are kept.
    #[n(8)]
    pub retention: Option<Retention>,
    #[n(9)]
    pub class: Option<Name>,
    /// Since when it says so of retention; stamped by the ledger, none where it says nothing.
    #[n(10)]
    pub retained_since: Option<Timestamp>,
}

impl PolicyRow {
    /// Whether it says anything of how long points are kept.
    pub fn speaks_of_retention(&self) -> bool {
        self.retention.is_some() || self.class.is_some()
    }
}

row!(PolicyRow, Policy, "policy", |row| row.name.as_str().as_bytes());

#[cfg(test)]
mod tests {
    use super::*;

    /// As it was stored before there were include lists.
    const WITHOUT: &[u8] = b"\x82\x01\x83\x81\x44/srv\x81\x65*.tmp\xf5";
    const WITH: &[u8] = b"\x82\x01\x84\x81\x44/srv\x81\x65*.tmp\xf5\x81\x65*.dcm";

    fn source(include: Option<Vec<String>>) -> SourceSpec {
        SourceSpec::Files {
            paths: vec![b"/srv".to_vec().into()],
            exclude: vec!["*.tmp".to_owned()],
            one_file_system: true,
            include,
        }
    }

    #[test]
    fn a_source_without_an_include_list_is_stored_as_it_always_was() {
        for (row, stored) in
            [(source(None), WITHOUT), (source(Some(vec!["*.dcm".to_owned()])), WITH)]
        {
            assert_eq!(minicbor::to_vec(&row).unwrap(), stored);
            assert_eq!(minicbor::decode::<SourceSpec>(stored).unwrap(), row);
            assert_eq!(row.describe(), "files:/srv", "it stays the same source");
        }
    }
}
