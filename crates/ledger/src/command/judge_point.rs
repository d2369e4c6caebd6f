//! Notes whether the record and the reach of a point lie whole anywhere, where that has changed.
//!
//! Verification says so, and whoever fills locations. A point without them cannot be restored: it
//! stays, counts for no rule of retention and outlives nothing until it is seen whole again. What
//! others need of its object is said of the packs that lie there.

use super::{Apply, Outcome};
use crate::row::PointRow;
use holdfast_common::{PointId, Result};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct JudgePoint {
    #[n(0)]
    pub point: PointId,
    #[n(1)]
    pub is_whole: bool,
}

impl JudgePoint {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_operator()?;
        let point = apply.point(&self.point)?;
        if point.lost.is_none() == self.is_whole {
            return Ok(Outcome::Unchanged);
        }
        let lost = (!self.is_whole).then_some(apply.time);
        let verified = point.verified.filter(|_| self.is_whole);
        apply.tables.put(&PointRow { lost, verified, ..point })?;
        Ok(Outcome::Done)
    }

    pub(super) fn subject(&self) -> String {
        format!("{}: {}", self.point, if self.is_whole { "whole" } else { "lost" })
    }
}
