//! The names of one directory, sorted by bytes, in as little memory as they need.
//!
//! A name that the system tells twice, since it was made anew while it listed, is one name.
//!
//! All names lie in one buffer, each behind its length; a second one holds where each begins. A
//! name costs its bytes and 6 more, twice that for the moment in which the buffers grow: a million
//! names of 20 bytes are 26 MB. Nothing else about an entry is kept.

use rustix::fd::AsFd;
use rustix::fs::RawDir;
use rustix::io::{Errno, Result};

const LENGTH_BYTES: usize = 2;
/// The kernel fills this many bytes at a time.
const LISTING_BYTES: usize = 64 << 10;

#[derive(Clone, Debug, Default)]
pub struct Names {
    bytes: Vec<u8>,
    starts: Vec<u32>,
}

impl Names {
    /// Reads the directory to its end. When that fails half way, what was read is kept and the
    /// error is given beside it.
    pub fn read(directory: impl AsFd) -> (Self, Option<Errno>) {
        let mut names = Self::default();
        let failure = names.fill(directory.as_fd()).err();
        names.sort();
        (names, failure)
    }

    pub fn from_sorted<'a>(sorted: impl Iterator<Item = &'a [u8]>) -> Result<Self> {
        let mut names = Self::default();
        for name in sorted {
            names.push(name)?;
        }
        Ok(names)
    }

    pub fn get(&self, at: usize) -> Option<&[u8]> {
        self.starts.get(at).map(|start| name_at(&self.bytes, *start))
    }

    pub fn len(&self) -> usize {
        self.starts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.starts.iter().map(|start| name_at(&self.bytes, *start))
    }

    fn fill(&mut self, directory: rustix::fd::BorrowedFd<'_>) -> Result<()> {
        let mut buffer = Vec::with_capacity(LISTING_BYTES);
        let mut listing = RawDir::new(directory, buffer.spare_capacity_mut());
        while let Some(entry) = listing.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                self.push(name)?;
            }
        }
        Ok(())
    }

    fn push(&mut self, name: &[u8]) -> Result<()> {
        let start = u32::try_from(self.bytes.len()).map_err(|_| Errno::TOOBIG)?;
        let length = u16::try_from(name.len()).map_err(|_| Errno::NAMETOOLONG)?;
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(name);
        self.starts.push(start);
        Ok(())
    }

    fn sort(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.starts.sort_unstable_by(|a, b| name_at(&bytes, *a).cmp(name_at(&bytes, *b)));
        self.starts.dedup_by(|a, b| name_at(&bytes, *a) == name_at(&bytes, *b));
        self.bytes = bytes;
        self.bytes.shrink_to_fit();
        self.starts.shrink_to_fit();
    }
}

fn name_at(bytes: &[u8], start: u32) -> &[u8] {
    let start = start as usize;
    let length = usize::from(u16::from_le_bytes([bytes[start], bytes[start + 1]]));
    &bytes[start + LENGTH_BYTES..start + LENGTH_BYTES + length]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_sorted_by_bytes_and_cost_six_bytes_each_beside_themselves() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["b", "a", "a!", "B", "ä", "."] {
            let path = directory.path().join(name);
            let _ = std::fs::write(path, b"");
        }
        let (names, failure) = Names::read(std::fs::File::open(directory.path()).unwrap());
        assert_eq!(failure, None);
        let listed: Vec<&[u8]> = names.iter().collect();
        assert_eq!(listed, [&b"B"[..], b"a", b"a!", b"b", "ä".as_bytes()]);
        assert_eq!(names.get(5), None);
        let text: usize = listed.iter().map(|name| name.len()).sum();
        assert_eq!(names.bytes.len() + names.starts.len() * 4, text + 6 * names.len());
    }

    #[test]
    fn a_name_that_was_told_twice_is_one_name() {
        let mut names = Names::default();
        for name in [&b"b"[..], b"a", b"b", b"bb", b"b"] {
            names.push(name).unwrap();
        }
        names.sort();
        assert_eq!(names.iter().collect::<Vec<_>>(), [&b"a"[..], b"b", b"bb"]);
    }

    #[test]
    fn what_is_no_directory_gives_an_error_and_no_names() {
        let file = tempfile::tempfile().unwrap();
        let (names, failure) = Names::read(file);
        assert!(names.is_empty());
        assert_eq!(failure, Some(Errno::NOTDIR));
    }
}
