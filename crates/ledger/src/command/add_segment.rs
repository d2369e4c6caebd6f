//! Notes an index segment that lies in every required location, so that its loss is noticed.

use super::{Apply, Outcome};
use crate::row::SegmentRow;
use holdfast_common::Result;
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct AddSegment {
    #[n(0)]
    pub segment: SegmentRow,
}

impl AddSegment {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.vault(&self.segment.vault)?;
        apply.tables.put(&self.segment)?;
        Ok(Outcome::Done)
    }
}
