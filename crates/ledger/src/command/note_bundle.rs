//! Notes that a recovery bundle was handed out, and that somebody proved that it opens.
//!
//! Few bundles are remembered. However many are handed out and never tried, the one that was
//! proved to open stays: whoever may export must not be able to take that proof away. One that was
//! made of keys of which a version was destroyed before it is noted would open that version, and
//! nobody would know: it is refused, and what is made of it is handed to nobody.

use super::{Apply, Outcome};
use crate::{
    row::{BundleRow, BundledKey, DestroyedKeyRow},
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
    /// Up to which entry the log was applied when its keys were read; none: before any.
    #[n(2)]
    pub read_at: Option<u64>,
}

impl ExportBundle {
    /// A bounded number of bundles is remembered; the oldest goes first, but never the only proof.
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        self.insist_on_what_is_left(apply)?;
        let mut known: Vec<BundleRow> = Vec::new();
        for (_, value) in apply.tables.scan(Table::Bundle, &[], limits::LIST_PAGE_ROWS)? {
            known.push(record::from_bytes(BundleRow::WHAT, &value)?);
        }
        known.sort_by_key(|row| row.exported);
        let surplus = (known.len() + 1).saturating_sub(limits::BUNDLES_KEPT);
        let proof = self.newest_proof(&known);
        for old in known.iter().filter(|row| Some(row.hash) != proof).take(surplus) {
            apply.tables.remove(Table::Bundle, &old.key());
        }
        let (hash, exported, keys) = (self.bundle, apply.time, self.keys.clone());
        apply.tables.put(&BundleRow { hash, exported, verified: None, keys })?;
        Ok(Outcome::Done)
    }

    /// Whatever was destroyed, was so before its keys were read. Of an older level nothing is.
    fn insist_on_what_is_left(&self, apply: &Apply<'_, '_>) -> Result<()> {
        let (read_at, mut later) = (self.read_at.unwrap_or(0), None);
        apply.tables.look::<DestroyedKeyRow>(&[], |gone| {
            if gone.at > read_at {
                later = Some(gone);
            }
        })?;
        let Some(gone) = later else { return Ok(()) };
        Err(gone.overtakes_bundle(&apply.vault(&gone.vault)?.name))
    }

    /// The bundle that was proved last; one that opens all that this one does comes before others.
    fn newest_proof(&self, known: &[BundleRow]) -> Option<[u8; 32]> {
        let covers = |row: &BundleRow| self.keys.iter().all(|key| row.keys.contains(key));
        let proved = known.iter().filter(|row| row.verified.is_some());
        proved.max_by_key(|row| (covers(row), row.verified)).map(|row| row.hash)
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
