//! What a location stands on: two names of one directory are one copy.
//!
//! A directory has many names: a link leads to it, a bind mount shows it again, and a location may
//! lie inside another one. Device and inode tell what the name does not. What is not there yet is
//! judged by the directory above it, in which it would be made. A disk of its own that is mounted
//! beneath a location is another place. One file system that is mounted over a network twice may
//! have two devices: that is not seen.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// The directory of a location and those above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ground {
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
        Ok(Self { standing, missing })
    }

    /// One directory under two names, or under one.
    pub fn is(&self, other: &Self) -> bool {
        self.standing.first() == other.standing.first() && self.missing == other.missing
    }

    /// One directory, or one inside the other on the same disk.
    pub fn meets(&self, other: &Self) -> bool {
        self.holds(other) || other.holds(self)
    }

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
}
