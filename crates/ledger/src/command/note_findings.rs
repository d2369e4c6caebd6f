//! Keeps what was found at the return of a region, a part at a time; the first part replaces what
//! was kept of it before. No findings at all say that somebody has settled them.

use super::{Apply, Outcome};
use crate::{
    row::{FindingRow, finding},
    tables::Table,
};
use holdfast_common::{Code, Error, Name, Result, limits};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct NoteFindings {
    #[n(0)]
    pub region: Name,
    /// In the order of their numbers, the first part from zero on.
    #[n(1)]
    pub findings: Vec<FindingRow>,
}

impl NoteFindings {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_operator()?;
        let known = apply.tables.scan(
            Table::Finding,
            &finding::prefix(&self.region),
            limits::LIST_PAGE_ROWS,
        )?;
        let first = self.findings.first().map_or(0, |row| row.number);
        let is_next = |(row, number): (&FindingRow, u32)| {
            row.region == self.region
                && row.number == number
                && (number as usize) < limits::FINDINGS_KEPT_MAX
        };
        let begins_well = first == 0 || first as usize == known.len();
        if !begins_well || !self.findings.iter().zip(first..).all(is_next) {
            let message = "findings are kept one after the other, up to a bound";
            return Err(Error::new(Code::LimitExceeded, message));
        }
        if first == 0 && known.is_empty() && self.findings.is_empty() {
            return Ok(Outcome::Unchanged);
        }
        if first == 0 {
            for (key, _) in known {
                apply.tables.remove(Table::Finding, &key);
            }
        }
        for row in &self.findings {
            apply.tables.put(row)?;
        }
        Ok(Outcome::Done)
    }

    pub(super) fn subject(&self) -> String {
        match self.findings.len() {
            0 => format!("{} settled", self.region),
            count => format!("{count} of {}", self.region),
        }
    }
}
