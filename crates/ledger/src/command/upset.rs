//! What turns over that on which rules of retention stand, beside a change of the rules themselves:
//! a ledger that was made again from a location, a region that is back or given up, a clock that a
//! person confirmed, members that forget for the first time.
//!
//! Rules and holds may have been lost or brought back by it, and nobody has seen yet what they let
//! go now. So it is noted when that was: by themselves they are carried out only some time later.

use super::Apply;
use crate::{
    level::RETENTION,
    row::retention::{UPSET_KEY, Upset},
    tables::Table,
};
use holdfast_common::{Result, Timestamp, record};

impl Apply<'_, '_> {
    /// Members of an older level note nothing, and forget nothing.
    pub(super) fn upset_rules(&mut self) -> Result<()> {
        if self.level()? < RETENTION {
            return Ok(());
        }
        let upset = record::to_bytes(&Upset { when: self.time });
        self.tables.put_raw(Table::Meta, UPSET_KEY, upset)
    }

    /// When that was last.
    pub(super) fn rules_upset(&self) -> Result<Timestamp> {
        match self.tables.raw(Table::Meta, UPSET_KEY)? {
            Some(bytes) => Ok(record::from_bytes::<Upset>("upset", &bytes)?.when),
            None => Ok(Timestamp::ZERO),
        }
    }
}
