//! Declares a policy, or changes one. What it names must exist.

use super::{Apply, Outcome};
use crate::{
    row::{PolicyRow, SourceSpec},
    tables::{Row, Table},
};
use holdfast_common::{Code, Error, Result};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct PutPolicy {
    #[n(0)]
    pub policy: PolicyRow,
}

impl PutPolicy {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let policy = &self.policy;
        let agent = policy.agent.as_str().as_bytes();
        if apply.tables.raw(Table::AgentName, agent)?.is_none() {
            return Err(Error::new(
                Code::AgentMissing,
                format!("there is no agent `{}`", policy.agent),
            ));
        }
        let vault = apply.vault_named(&policy.vault)?;
        if let Some(name) = policy.required.iter().find(|name| !vault.required.contains(name)) {
            return Err(Error::new(
                Code::LocationMissing,
                format!("the vault `{}` has no required location `{name}`", vault.name),
            ));
        }
        check_source(&policy.source)?;
        let old = apply.tables.row::<PolicyRow>(&policy.key())?;
        if let Some(old) = &old
            && *old == (PolicyRow { revision: old.revision, ..policy.clone() })
        {
            return Ok(Outcome::Unchanged);
        }
        let revision = old.map_or(1, |old| old.revision + 1);
        apply.tables.put(&PolicyRow { revision, ..policy.clone() })?;
        Ok(Outcome::Done)
    }
}

pub(super) fn check_source(source: &SourceSpec) -> Result<()> {
    let SourceSpec::Files { paths, .. } = source;
    if paths.is_empty() || paths.iter().any(|path| path.first() != Some(&b'/')) {
        return Err(Error::new(Code::ResourceMalformed, "a files source lists absolute paths")
            .next("write paths = [\"/srv/data\"]"));
    }
    Ok(())
}
