//! Index segments: sorted tables from chunk id to where the chunk lies (format §9).
//!
//! ```text
//!   object  │ header 48 │ AEAD field ………………………………… │
//!   plain               │ packs × 64 │ rows × 48 ……… │   rows sorted by chunk, then pack
//! ```
//!
//! A segment is a cache: it is rebuilt from pack footers and the ledger's rows. Two packs may hold
//! one chunk, and both rows are kept. [`SegmentBuilder`] makes a [`SegmentTable`], which is sealed
//! into an object and opened from one; [`SegmentRows`] answers from the plaintext bytes wherever
//! they lie, so that a coordinator may map a file of its own; [`merge`] streams the rows of several
//! tables as one, and [`Fold`] writes them as one table that has no limit.

mod builder;
mod fold;
mod header;
mod location;
mod merge;
mod rows;
mod table;

pub use builder::SegmentBuilder;
pub use fold::Fold;
pub use header::SegmentHeader;
pub use location::{ChunkLocation, Home, SegmentRow};
pub use merge::{Merge, merge};
pub use rows::{Lookup, SegmentRows};
pub(crate) use table::check_outside;
pub use table::{SegmentOpener, SegmentSealer, SegmentTable};

use crate::defect::Form;
use holdfast_common::Code;

pub(crate) const FORM: Form =
    Form { noun: "segment", damaged: Code::SegmentDamaged, foreign: Code::VaultForeign };

/// Pack id, base number, home, zeros, point id.
const PACK_BYTES: usize = 32 + 8 + 1 + 7 + 16;
/// Chunk id, pack, offset, length, slot, capsule.
const ROW_BYTES: usize = 32 + 4 + 4 + 4 + 2 + 2;
