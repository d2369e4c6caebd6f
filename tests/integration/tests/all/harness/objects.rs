//! The objects of a location, and the ways to damage one and to undo it.

use std::{
    fs,
    path::{Path, PathBuf},
};

pub struct Objects(PathBuf);

#[derive(Clone, Copy, Debug)]
pub enum Damage {
    Delete,
    FlipFirst,
    /// In the header: of a pack a capsule, which has no sum of its own.
    FlipHeader,
    FlipLast,
    FlipMiddle,
    Truncate,
}

impl Damage {
    pub const ALL: [Self; 6] = [
        Self::Delete,
        Self::FlipFirst,
        Self::FlipHeader,
        Self::FlipLast,
        Self::FlipMiddle,
        Self::Truncate,
    ];
}

impl Objects {
    pub fn of(location: &Path) -> Self {
        Self(location.to_owned())
    }

    /// The files below a prefix, largest first.
    pub fn below(&self, prefix: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        collect(&self.0.join(prefix), &mut found);
        found.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).unwrap().len()));
        found
    }

    /// The object's name, as `verify` must tell it.
    pub fn name(&self, path: &Path) -> String {
        path.strip_prefix(&self.0).unwrap().to_str().unwrap().to_owned()
    }

    /// Damages an object; what is given back undoes it when dropped.
    pub fn damage(&self, path: &Path, how: Damage) -> Undo {
        let before = fs::read(path).unwrap();
        let mut bytes = before.clone();
        let middle = bytes.len() / 2;
        let last = bytes.len() - 1;
        fs::remove_file(path).unwrap();
        match how {
            Damage::Delete => return Undo { path: path.to_owned(), before },
            Damage::FlipFirst => bytes[0] ^= 1,
            Damage::FlipHeader => bytes[CAPSULE_AT.min(middle)] ^= 1,
            Damage::FlipLast => bytes[last] ^= 0x80,
            Damage::FlipMiddle => bytes[middle] ^= 0x10,
            Damage::Truncate => bytes.truncate(middle),
        }
        fs::write(path, bytes).unwrap();
        Undo { path: path.to_owned(), before }
    }
}

/// Within the first capsule of a pack, behind all that could be parsed wrong.
const CAPSULE_AT: usize = 100;

/// Puts an object back as it was.
pub struct Undo {
    path: PathBuf,
    before: Vec<u8>,
}

impl Drop for Undo {
    fn drop(&mut self) {
        let _may_be_gone = fs::remove_file(&self.path);
        fs::write(&self.path, &self.before).unwrap();
    }
}

fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else {
            found.push(path);
        }
    }
}
