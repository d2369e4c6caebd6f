//! The source of files: a tree of a host, read without trusting a single path twice.
//!
//! ```text
//!   FilesOptions ── Given (a tree of the paths asked for, their parents, links on the way)
//!        │              │
//!    Selection ───── Walk ──── Found ──┬── describe  ── Entry without content
//!   (patterns)        │                ├── unchanged? against the entry of the previous point
//!                  Skipped             └── ContentReader ── data ranges, Stable or Changed
//! ```
//!
//! Every step is relative to an open directory, and no symbolic link is ever followed below the
//! paths that were asked for. The order is the manifest's: a directory, then its subtree.

mod change;
mod directory;
mod given;
mod links;
mod metadata;
mod names;
mod owners;
mod pattern;
mod ranges;
mod read;
mod selection;
mod shown;
mod status;
mod walk;
mod xattrs;

pub use change::unchanged;
pub use links::{LinkGroups, LinkRole};
pub use metadata::{Described, describe};
pub use names::Names;
pub use owners::Owners;
pub use pattern::Pattern;
pub use read::{ContentReader, ReadOutcome, Stability};
pub use selection::Selection;
pub use status::Status;
pub use walk::{Found, Walk};

pub(crate) use directory::{open_directory, parent_of, same_directory};
pub(crate) use xattrs::{is_restorable, names_in, sized};

use std::path::PathBuf;

/// What a files source reads.
#[derive(Clone, Debug, Default)]
pub struct FilesOptions {
    /// Absolute paths, each taken with everything beneath it.
    pub paths: Vec<PathBuf>,
    /// Patterns of `docs/exclude-patterns.md`; the last one that matches decides.
    pub exclude: Vec<String>,
    /// When not empty: only what matches one of these, or lies beneath such a directory, is taken.
    /// Directories are always taken.
    pub include: Vec<String>,
    /// Do not descend into directories of another filesystem than their given path's.
    pub one_file_system: bool,
    /// Take a given path that is a link, or that passes through one, as that link and nothing of
    /// where it leads.
    pub links_only: bool,
}

#[cfg(test)]
mod walk_tests;
