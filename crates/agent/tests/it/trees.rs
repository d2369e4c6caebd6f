//! Directories as values, so that two of them can be compared.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Directory,
    /// By hash, with the number of links.
    File(blake3::Hash, u64),
    Link(Vec<u8>),
    Fifo,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) node: Node,
    pub(crate) mode: u32,
    pub(crate) mtime: (i64, i64),
}

pub(crate) type Tree = BTreeMap<Vec<u8>, Seen>;

/// Everything beneath the directory, and the directory itself under the empty name.
pub(crate) fn tree(directory: &Path) -> Tree {
    let mut out = Tree::new();
    look(directory, Vec::new(), &mut out);
    out
}

fn look(path: &Path, name: Vec<u8>, out: &mut Tree) {
    let meta = std::fs::symlink_metadata(path).unwrap();
    let kind = meta.file_type();
    let node = if kind.is_dir() {
        for child in std::fs::read_dir(path).unwrap() {
            let child = child.unwrap();
            look(&child.path(), [&name[..], b"/", child.file_name().as_bytes()].concat(), out);
        }
        Node::Directory
    } else if kind.is_symlink() {
        Node::Link(std::fs::read_link(path).unwrap().as_os_str().as_bytes().to_vec())
    } else if kind.is_fifo() {
        Node::Fifo
    } else {
        Node::File(blake3::hash(&std::fs::read(path).unwrap()), meta.nlink())
    };
    out.insert(name, Seen { node, mode: meta.mode(), mtime: (meta.mtime(), meta.mtime_nsec()) });
}
