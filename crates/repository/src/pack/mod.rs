//! Packs: objects of at most 16 MiB that hold many frames of one kind (format §8).
//!
//! ```text
//!   0        24            frames_start                      F            E-8    E
//!   │ opening │ capsules …  │ frame │ frame │ … │ frame       │ footer     │ tail │
//!                           └─ slot 0 ─ slot 1 …              │ sealed     │ length, "HFPE"
//! ```
//!
//! An agent composes packs with [`PackBuilder`]; whoever receives or reads one looks through
//! [`PackView`]. Offsets in rows count from the start of the object. The footer is sealed to the
//! coordinators' index key and bound to everything before it; a pack's id is the hash of the whole
//! object, so that storage can be scrubbed without any key.

mod builder;
mod footer;
mod header;
mod view;

pub use builder::{Pack, PackBuilder};
pub use footer::{
    Footer, FooterOpener, FooterRow, FooterSealer, FrameSpan, Taken, footer_range, footer_version,
};
pub use header::{HeaderRead, PackHeader, read_header};
pub use view::PackView;

/// The size of an object with so many bytes of capsules, each with its length, and frames.
pub(crate) fn object_bytes(bytes: usize, frames: usize, taken: usize) -> usize {
    OPENING_BYTES + bytes + footer::field_bytes(frames, taken) + TAIL_BYTES
}

use crate::defect::Form;
use holdfast_common::Code;

pub(crate) const FORM: Form =
    Form { noun: "pack", damaged: Code::PackDamaged, foreign: Code::PackForeign };

const MAGIC: &[u8; 4] = b"HFPK";
const TAIL_MAGIC: &[u8; 4] = b"HFPE";
/// Magic, version, kind, number of capsules, vault id.
const OPENING_BYTES: usize = 4 + 1 + 1 + 2 + 16;
/// Where the number of capsules stands.
const CAPSULES_AT: usize = 6;
/// Length of the footer, magic.
const TAIL_BYTES: usize = 4 + 4;
/// Index key version, encapsulated key, tag: what a footer has around its plaintext.
const FOOTER_OVERHEAD_BYTES: usize = 4 + 32 + 16;
