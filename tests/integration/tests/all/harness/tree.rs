//! Directories as values: everything a restore must bring back, to be compared at once.

use rustix::fs::{XattrFlags, lgetxattr, llistxattr};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

/// Relative path to what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree(pub BTreeMap<PathBuf, Node>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    kind: char,
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    size: u64,
    content: String,
    /// The first path of the same inode, where there are several.
    same_as: Option<PathBuf>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Tree {
    pub fn of(root: &Path) -> Self {
        let mut tree = Self(BTreeMap::new());
        let mut inodes = BTreeMap::new();
        tree.visit(root, Path::new(""), &mut inodes);
        tree
    }

    fn visit(&mut self, root: &Path, at: &Path, inodes: &mut BTreeMap<u64, PathBuf>) {
        let mut names: Vec<_> =
            fs::read_dir(root.join(at)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            let path = at.join(name);
            let node = Node::of(&root.join(&path), &path, inodes);
            let is_directory = node.kind == 'd';
            self.0.insert(path.clone(), node);
            if is_directory {
                self.visit(root, &path, inodes);
            }
        }
    }

    /// For trees whose files may have been made again.
    pub fn without_times(mut self) -> Self {
        self.0.values_mut().for_each(|node| node.mtime = (0, 0));
        self
    }

    /// Fails with the paths that differ, and how.
    #[track_caller]
    pub fn assert_same(&self, other: &Self, what: &str) {
        let paths: std::collections::BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        let different: Vec<_> = paths
            .into_iter()
            .filter(|path| self.0.get(*path) != other.0.get(*path))
            .map(|path| format!("{path:?}:\n  {:?}\n  {:?}", self.0.get(path), other.0.get(path)))
            .collect();
        assert!(different.is_empty(), "{what}: {}", different.join("\n"));
    }

    /// Fails if a file that is in both has other content. A file may be missing here, or be cut
    /// short nowhere: an unfinished file is no file.
    #[track_caller]
    pub fn assert_no_wrong_bytes(&self, right: &Self, what: &str) {
        for (path, node) in self.0.iter().filter(|(_, node)| node.kind == 'f') {
            let Some(expected) = right.0.get(path) else {
                panic!("{what}: {path:?} was never backed up");
            };
            assert_eq!(node.content, expected.content, "{what}: {path:?} has wrong bytes");
        }
    }
}

impl Node {
    fn of(path: &Path, name: &Path, inodes: &mut BTreeMap<u64, PathBuf>) -> Self {
        let meta = fs::symlink_metadata(path).unwrap();
        let kind = meta.file_type();
        let (kind, content) = if kind.is_dir() {
            ('d', String::new())
        } else if kind.is_symlink() {
            ('l', format!("{:?}", fs::read_link(path).unwrap()))
        } else if kind.is_file() {
            ('f', blake3::hash(&fs::read(path).unwrap()).to_hex().to_string())
        } else if kind.is_fifo() {
            ('p', String::new())
        } else {
            ('o', format!("{}", meta.rdev()))
        };
        let first = inodes.entry(meta.ino()).or_insert_with(|| name.to_owned());
        let same_as = (meta.nlink() > 1 && kind != 'd' && first != name).then(|| first.clone());
        Self {
            kind,
            mode: meta.mode() & 0o7777,
            owner: (meta.uid(), meta.gid()),
            mtime: (meta.mtime(), meta.mtime_nsec()),
            size: if kind == 'd' { 0 } else { meta.size() },
            content,
            same_as,
            xattrs: if kind == 'l' { Vec::new() } else { xattrs(path) },
        }
    }
}

fn xattrs(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut names = vec![0; 4096];
    let Ok(length) = llistxattr(path, &mut names[..]) else { return Vec::new() };
    let mut found: Vec<_> = names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 4096];
            let length = lgetxattr(path, name, &mut value[..]).unwrap_or(0);
            (name.to_vec(), value[..length].to_vec())
        })
        .collect();
    found.sort();
    found
}

/// Sets an extended attribute where the file system has them; says whether it does.
pub fn set_xattr(path: &Path, name: &str, value: &[u8]) -> bool {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).is_ok()
}

/// Bytes that do not compress, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

pub fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap_or_else(|error| {
        panic!("{}: {error}", String::from_utf8_lossy(path.as_os_str().as_bytes()))
    });
}
