//! The manifest: the sorted table *path → entry* of a point, in pages that are chunks themselves.
//!
//! ```text
//!                 root (branch, height 3)
//!               ┌───────────┴───────────┐
//!            branch                  branch            rows: first path, page, entries, bytes
//!          ┌────┴────┐             ┌────┴────┐
//!        leaf      leaf          leaf      leaf        entries, `/` before every other byte
//!          └─ chunk list pages, for files of more than 4,096 chunks
//! ```
//!
//! Pages end where the keyed hash of a path says so: an edit changes the pages on its path and no
//! others, and two points share whatever did not change. Building and reading hold a page per level
//! in memory and never the whole table. A reader believes nothing: order, counts and heights are
//! compared with what the page above promised.

pub mod build;
pub mod diff;
pub mod entry;
pub mod list;
pub mod page;
pub mod path;
pub mod read;
mod walk;

pub use build::{ManifestBuilder, PageSink};
pub use diff::{Change, ChangeKind, diff};
pub use list::{ChunkList, ChunkTable};
pub use read::{ManifestReader, Name, PageRef};

use crate::frame::shown;
use holdfast_common::{ChunkId, Code, Error, Result};

/// Where a manifest begins; the point's record holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    pub page: ChunkId,
    /// 1 for a lone leaf.
    pub height: u32,
    pub entries: u64,
    /// Of content, all entries together, holes left out.
    pub bytes: u64,
}

/// Where a reader gets pages from: packs, a cache, another host.
pub trait PageSource: Sync {
    /// The opened bytes of the page `id`, authentic and hashing to it ([`crate::frame`] sees to
    /// both). What a page says is checked by the reader, which of a point's pages it is cannot be.
    fn page(&self, id: &ChunkId) -> Result<Vec<u8>>;
}

fn damaged(id: &ChunkId, why: &str) -> Error {
    Error::new(Code::ManifestDamaged, format!("page {} of the manifest is damaged", shown(id)))
        .cause(why)
}
