//! What a location stands on: two names of one directory are one copy.
//!
//! A directory has many names: a link leads to it, a bind mount shows it again, and a location may
//! lie inside another one. Device and inode tell what the name does not. What is not there yet is
//! judged by the directory above it, in which it would be made. A disk of its own that is mounted
//! beneath a location is another place. One file system that is mounted over a network twice may
//! have two devices: that is not seen. In an object store it is the server, the container and the
//! prefix: each of a vendor's own hosts is one server, and of others the host and the port, however
//! they are written. One server under two names is not seen either.

use crate::place::Place;
use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ground {
    Directory(Directory),
    /// Server and container, and the prefix in it.
    Container(String, String),
}

/// The directory of a location and those above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// What is there, the nearest first.
    standing: Vec<Inode>,
    /// What would be made in the nearest.
    missing: PathBuf,
}

type Inode = (u64, u64);

impl Ground {
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let (nearest, missing) = nearest(path)?;
        let standing = nearest.ancestors().map(inode).collect::<io::Result<_>>()?;
        Ok(Self::Directory(Directory { standing, missing }))
    }

    pub(crate) fn in_container(server: &str, place: &Place) -> Self {
        Self::Container(format!("{server}/{}", place.container), place.prefix.clone())
    }

    /// One place under two names, or under one.
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Directory(one), Self::Directory(other)) => one.is(other),
            _ => self == other,
        }
    }

    /// One place, or one inside the other.
    pub fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Directory(one), Self::Directory(other)) => one.holds(other) || other.holds(one),
            (Self::Container(one, prefix), Self::Container(other, below)) => {
                one == other && (is_below(prefix, below) || is_below(below, prefix))
            }
            _ => false,
        }
    }
}

/// Whether keys below one prefix may be below the other.
fn is_below(prefix: &str, below: &str) -> bool {
    let rest = below.strip_prefix(prefix);
    prefix.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Directory {
    fn is(&self, other: &Self) -> bool {
        self.standing.first() == other.standing.first() && self.missing == other.missing
    }

    /// One directory, or the other inside this one on the same disk.
    fn holds(&self, other: &Self) -> bool {
        if self.missing.as_os_str().is_empty() {
            let Some(own) = self.standing.first() else { return false };
            let is_of_its_disk =
                |above: &&Inode| Some(above.0) == other.standing.first().map(|own| own.0);
            return other.standing.iter().take_while(is_of_its_disk).any(|above| above == own);
        }
        self.standing.first() == other.standing.first() && other.missing.starts_with(&self.missing)
    }
}

/// The nearest that is there, without links, and what is missing beneath it.
fn nearest(path: &Path) -> io::Result<(PathBuf, PathBuf)> {
    for place in path.ancestors() {
        match fs::canonicalize(place) {
            Ok(found) => {
                let missing = path.strip_prefix(place).unwrap_or(Path::new(""));
                return Ok((found, missing.to_owned()));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

fn inode(path: &Path) -> io::Result<Inode> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_directory_is_known_under_each_of_its_names() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second, link] = ["first", "second", "link"].map(|name| dir.path().join(name));
        fs::create_dir(&first).unwrap();
        fs::create_dir(&second).unwrap();
        std::os::unix::fs::symlink(&first, &link).unwrap();
        let ground = |path: &Path| Ground::of(path).unwrap();
        for other in [&first, &link, &first.join("packs"), &link.join("packs/ab")] {
            assert!(ground(&first).meets(&ground(other)), "{}", other.display());
            assert!(ground(other).meets(&ground(&first)), "{}", other.display());
        }
        let absent = link.join("absent");
        assert!(ground(&absent).meets(&ground(&first.join("absent/deep"))), "not there yet");
        assert!(!ground(&absent).meets(&ground(&first.join("other"))));
        for other in [&second, &dir.path().join("third"), &dir.path().join("third/deep")] {
            assert!(!ground(&first).meets(&ground(other)), "{}", other.display());
            assert!(!ground(other).meets(&ground(&first)), "{}", other.display());
        }
        assert!(ground(dir.path()).meets(&ground(&second)), "one inside the other");
    }

    #[test]
    fn prefixes_of_a_container_meet_when_one_is_below_the_other() {
        let ground = |text| Ground::in_container("s3", &Place::parse(text, 1, &[]).unwrap());
        for (one, other) in [("b", "b"), ("b", "b/a"), ("b/a", "b/a"), ("b/a", "b/a/c")] {
            assert!(ground(one).meets(&ground(other)), "{one} {other}");
            assert!(ground(other).meets(&ground(one)), "{other} {one}");
        }
        for (one, other) in [("b", "c"), ("b/a", "b/ab"), ("b/a", "b/c"), ("b/a", "c/a")] {
            assert!(!ground(one).meets(&ground(other)), "{one} {other}");
        }
        let elsewhere = Ground::in_container("http://host", &Place::parse("b", 1, &[]).unwrap());
        assert!(!elsewhere.meets(&ground("b")) && !elsewhere.is(&ground("b")));
        assert!(ground("b/a").is(&ground("b/a")) && !ground("b").is(&ground("b/a")));
        let directory = Ground::of(Path::new("/")).unwrap();
        assert!(!directory.meets(&ground("b")) && !directory.is(&ground("b")));
    }
}
