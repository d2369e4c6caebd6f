//! Where content is cut. The same bytes give the same cuts, whoever reads them and in what pieces.
//!
//! A file is first given a [`Profile`] by its size and first bytes ([`choose`]), never by its name;
//! a [`Chunker`] then says where each chunk ends. The content-defined cuts depend on the vault's
//! secret [`GearTable`]: without it nobody outside can compute where a known file would be cut.

mod chunker;
mod gear;
mod parameters;
mod profile;
mod recognise;

pub use crate::manifest::entry::Profile;
pub use chunker::Chunker;
pub use gear::GearTable;
pub use parameters::ChunkParameters;
pub use profile::{PROFILE_HEAD_BYTES, choose};
