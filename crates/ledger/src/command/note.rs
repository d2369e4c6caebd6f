//! Notes in the audit log that somebody did what changes no table: took the keys out, healed,
//! tried a place, vouched for a clock.

use super::{Apply, Outcome};
use holdfast_common::Result;
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct Note {
    #[n(0)]
    pub kind: NoteKind,
    #[n(1)]
    pub subject: String,
}

#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(index_only)]
pub enum NoteKind {
    #[n(1)]
    BundleExported,
    #[n(2)]
    ObjectHealed,
    #[n(3)]
    ClockConfirmed,
    /// Somebody had a coordinator go to a place, with what it is known by.
    #[n(4)]
    LocationTested,
}

impl Note {
    pub(super) fn action(&self) -> &'static str {
        match self.kind {
            NoteKind::BundleExported => "bundle.export",
            NoteKind::ObjectHealed => "object.heal",
            NoteKind::ClockConfirmed => "clock.confirm",
            NoteKind::LocationTested => "location.test",
        }
    }

    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        if self.kind == NoteKind::ClockConfirmed {
            // All points may have grown old at once.
            apply.upset_rules()?;
        }
        Ok(Outcome::Done)
    }
}
