//! Declares a policy, or changes one. What it names must exist.

use super::{Apply, Outcome, start_run::only_verifies};
use crate::{
    row::{AgentRow, PolicyRow, Retention, SourceSpec},
    tables::{Row, Table},
};
use holdfast_common::{Code, Error, Name, Result, Timestamp, limits};
use minicbor::{Decode, Encode};

/// What a path or a pattern takes in a row beside itself.
const FRAME_BYTES: usize = 5;

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct PutPolicy {
    #[n(0)]
    pub policy: PolicyRow,
}

impl PutPolicy {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let policy = &self.policy;
        insist_on_agent(apply, &policy.agent)?;
        let vault = apply.vault_named(&policy.vault)?;
        if let Some(name) = policy.required.iter().find(|name| !vault.required.contains(name)) {
            return Err(Error::new(
                Code::LocationMissing,
                format!("the vault `{}` has no required location `{name}`", vault.name),
            ));
        }
        check_source(&policy.source)?;
        check_retention(policy.retention.as_ref())?;
        match &policy.class {
            Some(class) => drop(apply.class(class)?),
            None => insist_on_rules(policy.retention.as_ref())?,
        }
        let old = apply.tables.row::<PolicyRow>(&policy.key())?;
        let retained_since = retained_since(old.as_ref(), policy, apply.time);
        let revision = old.as_ref().map_or(1, |old| old.revision + 1);
        let new = PolicyRow { revision, retained_since, ..policy.clone() };
        if old.is_some_and(|old| PolicyRow { revision, ..old } == new) {
            return Ok(Outcome::Unchanged);
        }
        apply.tables.put(&new)?;
        Ok(Outcome::Done)
    }
}

/// An agent of that name that backs up its host.
fn insist_on_agent(apply: &Apply<'_, '_>, name: &Name) -> Result<()> {
    let Some(id) = apply.tables.raw(Table::AgentName, name.as_str().as_bytes())? else {
        return Err(Error::new(Code::AgentMissing, format!("there is no agent `{name}`")));
    };
    match apply.tables.row::<AgentRow>(&id)? {
        Some(agent) if agent.is_verifier() => Err(only_verifies(&agent)),
        _ => Ok(()),
    }
}

/// Since when it says what it says of how long points are kept.
fn retained_since(old: Option<&PolicyRow>, new: &PolicyRow, now: Timestamp) -> Option<Timestamp> {
    let same = |old: &&PolicyRow| old.retention == new.retention && old.class == new.class;
    match old.filter(same) {
        Some(old) => old.retained_since,
        None => new.speaks_of_retention().then_some(now),
    }
}

/// Rules that keep nothing are a slip of the pen; what is protected beyond others may be all that
/// is said.
pub(super) fn check_retention(retention: Option<&Retention>) -> Result<()> {
    match retention {
        Some(retention) if !retention.only_protects() => insist_on_rules(Some(retention)),
        _ => Ok(()),
    }
}

fn insist_on_rules(retention: Option<&Retention>) -> Result<()> {
    if retention.is_none_or(Retention::keeps) {
        return Ok(());
    }
    Err(Error::new(Code::ResourceMalformed, "this retention keeps no point at all")
        .next("say what is kept, as retention = { last = 7, daily = 30 }"))
}

pub(super) fn check_source(source: &SourceSpec) -> Result<()> {
    let SourceSpec::Files { paths, exclude, .. } = source;
    if paths.is_empty() || paths.iter().any(|path| path.first() != Some(&b'/')) {
        return Err(Error::new(Code::ResourceMalformed, "a files source lists absolute paths")
            .next("write paths = [\"/srv/data\"]"));
    }
    let paths = paths.iter().map(|path| path.len() + FRAME_BYTES).sum::<usize>();
    let patterns = exclude.iter().map(|pattern| pattern.len() + FRAME_BYTES).sum::<usize>();
    if paths + patterns > limits::SOURCE_BYTES_MAX {
        return Err(Error::new(Code::LimitExceeded, "a source names too many paths and patterns")
            .next("name a directory above them"));
    }
    Ok(())
}
