//! Directories whose attributes come last, the latest made first.
//!
//! ```text
//!   push ─▶ near: the last ones, in memory ── full ──▶ a block of a file without a name, in the
//!                                                      target: the disk has room for the point
//!   take ◀── near, then the blocks from the last to the first
//! ```
//!
//! A restore may make a million directories, and none of them may have its mode and times before
//! all that lies in it is there. Where no such file can be had they stay in memory.

use super::aside::{read_all, write_all};
use super::attributes::Attributes;
use holdfast_common::{Code, Error, Result, limits};
use minicbor::{Decode, Encode, bytes::ByteVec};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

#[derive(Clone, Debug, Decode, Encode)]
pub(super) struct Row {
    #[n(0)]
    pub(super) path: ByteVec,
    #[n(1)]
    pub(super) attributes: Attributes,
}

impl Row {
    fn bytes(&self) -> usize {
        ROW_BYTES + self.path.len() + self.attributes.more_bytes()
    }
}

#[derive(Debug, Default)]
pub(super) struct Waiting {
    near: Vec<Row>,
    near_bytes: usize,
    far: Option<Far>,
    /// No file could be had, or it took no more: what comes stays near.
    stays: bool,
}

#[derive(Debug)]
struct Far {
    file: OwnedFd,
    length: u64,
    /// How long each block is, in the order they were written.
    blocks: Vec<u32>,
}

impl Waiting {
    /// `file` makes the file when it is needed.
    pub(super) fn push(&mut self, row: Row, file: impl FnOnce() -> Result<OwnedFd>) {
        self.near_bytes += row.bytes();
        self.near.push(row);
        if self.near_bytes < limits::RESTORE_DIRECTORIES_BYTES_MAX || self.stays {
            return;
        }
        if let Err(error) = self.put_away(file) {
            tracing::warn!(%error, "directories that wait for their attributes stay in memory");
            self.stays = true;
        }
    }

    fn put_away(&mut self, file: impl FnOnce() -> Result<OwnedFd>) -> Result<()> {
        let mut block = Vec::with_capacity(self.near_bytes);
        for row in &self.near {
            minicbor::encode(row, &mut block)
                .map_err(|error| unreadable("be written").cause(error))?;
        }
        let length = u32::try_from(block.len()).map_err(|_| unreadable("be that long"))?;
        let far = match &mut self.far {
            Some(far) => far,
            none => none.insert(Far { file: file()?, length: 0, blocks: Vec::new() }),
        };
        write_all(&far.file, &block, far.length).map_err(failed)?;
        far.length += u64::from(length);
        far.blocks.push(length);
        self.near.clear();
        self.near_bytes = 0;
        Ok(())
    }

    /// The latest of those that are left, deepest first; empty when there are no more.
    pub(super) fn take(&mut self) -> Result<Vec<Row>> {
        let mut rows = std::mem::take(&mut self.near);
        if rows.is_empty() {
            rows = self.take_block()?;
        }
        // A path sorts after every path above it, so the reverse is deepest first.
        rows.sort_unstable_by(|a, b| b.path.cmp(&a.path));
        Ok(rows)
    }

    fn take_block(&mut self) -> Result<Vec<Row>> {
        let Some(far) = &mut self.far else { return Ok(Vec::new()) };
        let Some(length) = far.blocks.pop() else { return Ok(Vec::new()) };
        far.length -= u64::from(length);
        let mut block = vec![0; length as usize];
        read_all(&far.file, &mut block, far.length).map_err(failed)?;
        let mut decoder = minicbor::Decoder::new(&block);
        let mut rows = Vec::new();
        while decoder.position() < block.len() {
            rows.push(decoder.decode().map_err(|error| unreadable("be read").cause(error))?);
        }
        Ok(rows)
    }
}

fn failed(errno: Errno) -> Error {
    Error::io("cannot keep the attributes of directories in the target", &errno.into())
}

fn unreadable(done: &str) -> Error {
    let message = format!("the attributes of directories that wait cannot {done}");
    Error::new(Code::FileIoFailed, message)
}

/// What a row takes beside its path and extended attributes.
const ROW_BYTES: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restore::place::{Durability, Target, TargetOptions, target_tests::entry};
    use holdfast_seal::manifest::entry::{Entry, EntryKind};
    use std::os::unix::fs::MetadataExt;

    fn row(number: u32) -> Row {
        let path = format!("/made/{number:08}/a name of some length");
        let made = entry(&path, EntryKind::Directory);
        let entry = Entry { mode: number & 0o7777, ..made };
        let attributes = Attributes::of(&entry, &Default::default(), true);
        Row { path: path.into_bytes().into(), attributes }
    }

    fn take_all(waiting: &mut Waiting) -> Vec<u32> {
        let mut taken = Vec::new();
        loop {
            let rows = waiting.take().unwrap();
            if rows.is_empty() {
                return taken;
            }
            taken.extend(rows.iter().map(|row| {
                let number = std::str::from_utf8(&row.path[6..14]).unwrap();
                let number: u32 = number.parse().unwrap();
                assert_eq!(row.attributes.mode(), number & 0o7777);
                number
            }));
        }
    }

    const COUNT: u32 = 200_000;

    #[test]
    fn however_many_wait_few_are_in_memory_and_the_latest_come_first() {
        let mut waiting = Waiting::default();
        for number in 0..COUNT {
            waiting.push(row(number), || Ok(tempfile::tempfile().unwrap().into()));
            assert!(waiting.near_bytes < limits::RESTORE_DIRECTORIES_BYTES_MAX);
        }
        assert!(waiting.far.as_ref().is_some_and(|far| far.blocks.len() > 1), "some are far");
        let expected: Vec<u32> = (0..COUNT).rev().collect();
        assert!(take_all(&mut waiting) == expected);
        assert!(take_all(&mut waiting).is_empty());
    }

    #[test]
    fn where_no_file_can_be_had_they_wait_in_memory() {
        let mut waiting = Waiting::default();
        for number in 0..COUNT {
            waiting.push(row(number), || Err(unreadable("be had")));
        }
        assert_eq!(take_all(&mut waiting).len(), COUNT as usize);
    }

    const CHAINS: usize = 1500;
    const DEPTH: usize = 8;

    /// One in the other, so that a mode that shuts one comes after what is in it; long, so that
    /// few of them are many bytes.
    fn nested(number: usize) -> String {
        let part = format!("/{:05}{}", number / DEPTH, "x".repeat(200));
        part.repeat(1 + number % DEPTH)
    }

    #[test]
    fn directories_that_waited_in_the_target_have_their_attributes_and_leave_nothing_behind() {
        let scratch = tempfile::tempdir().unwrap();
        let options = TargetOptions { durability: Durability::Never, ..TargetOptions::default() };
        let target = Target::open(scratch.path(), options).unwrap();
        let bytes: usize = (0..CHAINS * DEPTH).map(|number| nested(number).len()).sum();
        assert!(bytes > limits::RESTORE_DIRECTORIES_BYTES_MAX, "more than stay in memory");
        for number in 0..CHAINS * DEPTH {
            let made = entry(&nested(number), EntryKind::Directory);
            target.make_directory(&Entry { mode: 0o500, ..made }).unwrap();
        }
        assert!(target.finish().unwrap().is_empty());
        for number in 0..CHAINS * DEPTH {
            let there = std::fs::metadata(scratch.path().join(&nested(number)[1..])).unwrap();
            assert_eq!((there.mode() & 0o7777, there.mtime()), (0o500, 1_700_000_000), "{number}");
        }
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), CHAINS);
    }
}
