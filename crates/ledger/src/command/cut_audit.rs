//! Lets the oldest rows of the audit log go, as its rule says. The hash of the last one stays, and
//! the head: whoever knows either can tell whether what is left is the rest of the same chain.
//!
//! By the time that the ledger stamps, and not while another side may have rows of its own: what
//! it did is compared with what this side remembers.

use super::{Apply, Outcome, conflict};
use crate::{
    audit::{self, AuditHead, AuditRow, CUT_KEY, CUT_SUBJECT},
    tables::Table,
};
use holdfast_common::{Code, Error, Result, limits, record};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct CutAudit {
    /// The first row that stays.
    #[n(0)]
    pub before: u64,
}

impl CutAudit {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_system()?;
        apply.insist_on_undivided()?;
        let (rule, mut cut) = (audit::rule(apply.tables)?, audit::cut(apply.tables)?);
        let upset = apply.rules_upset()?;
        let count = self.before.saturating_sub(cut.rows);
        if count > limits::AUDIT_ROWS_CUT_MAX {
            return Err(Error::new(Code::LimitExceeded, "too many audit rows to cut off at once"));
        }
        for number in cut.rows..self.before {
            let key = number.to_be_bytes();
            let row = apply.tables.row::<AuditRow>(&key)?;
            let Some(row) = row.filter(|row| rule.lets_go(row, upset, apply.time)) else {
                return Err(conflict(format!("row {number} of the audit log is kept")));
            };
            cut = AuditHead { rows: number + 1, hash: row.hash() };
            apply.tables.remove(Table::Audit, &key);
        }
        apply.tables.put_raw(Table::Meta, CUT_KEY, record::to_bytes(&cut))?;
        Ok(Outcome::Number(count))
    }

    /// What `verify` reads again.
    pub(super) fn subject(&self) -> String {
        format!("{CUT_SUBJECT}{}", self.before)
    }
}
