//! The plaintext side of the vault's format: cut, name, compress, seal, open, list. No I/O.
//!
//! ```text
//! bytes ──chunk──▶ PlainChunk ──frame──▶ SealedChunk ──▶ (repository: packs)
//!                      ▲
//! entries ─manifest────┘  pages are chunks too
//! ```
//!
//! Everything here is a value in and a value out: the agent and the command line bring the bytes,
//! the keys and the randomness. The coordinator never links this crate. The bytes follow
//! `docs/design/repository-format.md` §6 and §7 and are frozen under `tests/golden/`.

pub mod chunk;
pub mod compress;
pub mod frame;
pub mod manifest;

pub use chunk::{ChunkParameters, Chunker, GearTable};
pub use compress::{Compressor, Decompressor};
pub use frame::{Opener, PlainChunk, SealedChunk, Sealer};
pub use manifest::{ManifestBuilder, ManifestReader, PageSource, Root};
