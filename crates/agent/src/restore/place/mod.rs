//! Writing beneath a target directory, whatever the manifest says and whatever lies there already.
//!
//! ```text
//!   Entry ── InsidePath ── Beneath ──┬── make_directory ─────────────┐ attributes last,
//!            (no `..`)   (no links)  ├── create_file ── FileWriter ──┤ deepest first
//!                                    ├── place_symlink · hardlink ───┤
//!                                    └── place_special               └── finish: synced, Notes
//! ```
//!
//! Nothing is ever opened through a symbolic link, be it one that lay there or one that was just
//! restored. Everything but a directory is made under a temporary name and renamed into place when
//! it is complete, so a name has what it had before or the whole of what the point holds.

mod aside;
mod attributes;
mod beneath;
mod directories;
mod existing;
mod file;
mod inside;
mod layout;
mod meet;
mod nameless;
mod naming;
mod notes;
mod removal;
mod root;
mod target;
mod waiting;

pub(super) use aside::Aside;
pub use existing::ExistingFile;
pub use file::FileWriter;
pub use inside::InsidePath;
pub use meet::Meeting;
pub use notes::{Note, NoteKind, Notes};
pub use removal::Removed;
pub use root::Insist;
pub use target::Target;

/// What happens to what lies in the way of an entry. Directories always merge; what is the entry
/// already, by content and attributes, is in nobody's way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// Replace it. A directory with something in it is still not replaced by another kind.
    Force,
    /// Leave it, and refuse the entry with `FileExists`. A directory that is there keeps its owner,
    /// mode and attributes.
    #[default]
    Protect,
}

/// When what was written is on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Each file before it gets its name, and everything at the end.
    EveryFile,
    /// Everything at the end, by one sync of each filesystem that was written to.
    #[default]
    Filesystem,
    /// When the kernel likes.
    Never,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct TargetOptions {
    pub overwrite: Overwrite,
    /// Owners by number, even where this host knows the name under another one.
    pub numeric_ids: bool,
    pub durability: Durability,
}

#[cfg(test)]
mod attack_tests;
#[cfg(test)]
mod round_trip_tests;
#[cfg(test)]
mod target_tests;
