//! Notes that a recovery bundle was handed out, and that somebody proved that it opens.

use super::{Apply, Outcome};
use crate::{
    row::{BundleRow, BundledKey},
    tables::{Row, Table},
};
use holdfast_common::{Code, Error, Result, limits, record};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct ExportBundle {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub bundle: [u8; 32],
    #[n(1)]
    pub keys: Vec<BundledKey>,
}

impl ExportBundle {
    /// A bounded number of bundles is remembered; the oldest goes first.
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let mut known: Vec<BundleRow> = Vec::new();
        for (_, value) in apply.tables.scan(Table::Bundle, &[], limits::LIST_PAGE_ROWS)? {
            known.push(record::from_bytes(BundleRow::WHAT, &value)?);
        }
        known.sort_by_key(|row| row.exported);
        let surplus = (known.len() + 1).saturating_sub(limits::BUNDLES_KEPT);
        for old in known.iter().take(surplus) {
            apply.tables.remove(Table::Bundle, &old.key());
        }
        let (hash, exported, keys) = (self.bundle, apply.time, self.keys.clone());
        apply.tables.put(&BundleRow { hash, exported, verified: None, keys })?;
        Ok(Outcome::Done)
    }
}

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct VerifyBundle {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub bundle: [u8; 32],
}

impl VerifyBundle {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let Some(row) = apply.tables.row::<BundleRow>(&self.bundle)? else {
            let message = "this cluster did not hand this bundle out, or too long ago";
            return Err(Error::new(Code::ResourceMissing, message)
                .next("export a new bundle with `holdfast keys export --to FILE`"));
        };
        apply.tables.put(&BundleRow { verified: Some(apply.time), ..row })?;
        Ok(Outcome::Done)
    }
}
