//! Says how long rows of the audit log are kept. Unless somebody did, they are for ever.
//!
//! Not less than runs are: whoever misses one finds here who let it go. So nobody takes the traces
//! away of what was done lately, and that somebody wanted to is a row itself.

use super::{Apply, Outcome};
use crate::{
    audit::{self, AuditRule, RULE_KEY},
    tables::Table,
};
use holdfast_common::{Code, Error, Result, limits, record};
use minicbor::{Decode, Encode};

const DAY_SECS: u64 = 24 * 3600;

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct KeepAudit {
    /// None: for ever.
    #[n(0)]
    pub kept_secs: Option<u64>,
}

impl KeepAudit {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_operator()?;
        if self.kept_secs.is_some_and(|kept| kept < limits::AUDIT_KEPT_SECS_MIN) {
            let days = limits::AUDIT_KEPT_SECS_MIN / DAY_SECS;
            let message = format!("the audit log is kept for {days} days at least");
            return Err(Error::new(Code::LimitExceeded, message).next("name a longer span"));
        }
        if audit::rule(apply.tables)?.kept_secs == self.kept_secs {
            return Ok(Outcome::Done);
        }
        let by = Some(apply.actor.clone());
        let rule = AuditRule { kept_secs: self.kept_secs, since: apply.time, by };
        apply.tables.put_raw(Table::Meta, RULE_KEY, record::to_bytes(&rule))?;
        Ok(Outcome::Done)
    }

    pub(super) fn subject(&self) -> String {
        let days = |kept| format!("for {} days", kept / DAY_SECS);
        self.kept_secs.map_or_else(|| "for ever".to_owned(), days)
    }
}
