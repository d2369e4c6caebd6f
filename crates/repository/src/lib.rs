//! The ciphertext side of a vault: what lies in a location, byte by byte, and no key to any of it.
//!
//! `docs/design/repository-format.md` is the law; this crate follows its §3, §4 and §8 to §11.
//! Everything here is pure: bytes in, values out. There is no I/O and no key. Whoever holds keys
//! lends them as a [`FooterSealer`], [`FooterOpener`], [`SegmentSealer`] or [`SegmentOpener`];
//! capsules pass through as opaque bytes.
//!
//! ```text
//!   frames ─▶ pack::PackBuilder ─▶ Pack ───────────▶ packs/…     pack::PackView ─▶ Footer
//!   rows ───▶ segment::SegmentBuilder ─▶ SegmentTable ─▶ index/…    SegmentRows::lookup
//!   numbers ▶ reach::Reach ────────────────────────▶ reach/…     Reach::from_object
//!   record ─▶ point::PointObject ──────────────────▶ points/…    PointObject::parse
//!   reaches, rows of packs ─▶ collect::Plan ─▶ what may go
//! ```
//!
//! Bytes from a location are hostile until proven otherwise: sizes are checked before anything is
//! allocated, and no input panics.

pub mod check;
pub mod collect;
mod defect;
mod fields;
pub mod layout;
pub mod number;
pub mod pack;
pub mod point;
pub mod reach;
pub mod segment;
pub mod vault_object;

pub use check::{Finding, Openers, check_object};
pub use layout::{Object, ObjectName};
pub use number::{ChunkNumber, Slot};
pub use pack::{
    Footer, FooterOpener, FooterRow, FooterSealer, Pack, PackBuilder, PackHeader, PackView, Taken,
};
pub use point::{IdKeyScope, PointObject, PointRecord, PointState};
pub use reach::Reach;
pub use segment::{
    ChunkLocation, Home, SegmentBuilder, SegmentHeader, SegmentOpener, SegmentRow, SegmentRows,
    SegmentSealer, SegmentTable,
};
pub use vault_object::{ChunkParameters, VaultObject};
