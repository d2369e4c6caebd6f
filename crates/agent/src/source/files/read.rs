//! Reading one file's content: its data ranges, end to end, and whether it held still.
//!
//! What is delivered is always consistent with what [`ContentReader::finish`] says was delivered:
//! when the file shrank, size and ranges are those that were really read; what grew beyond the
//! size at the opening is not read. Whether the bytes are of one moment is the [`Stability`]: the
//! caller tries again, at most `limits::READ_ATTEMPTS_MAX` times, and then flags the entry.
//! The page cache is left as it was found, near enough: what was in memory stays there, since
//! somebody uses it, and what we brought in is given back as we go.

use super::ranges::data_ranges;
use super::status::Status;
use super::walk::Found;
use crate::source::Skipped;
use core::num::NonZeroU64;
use holdfast_common::Code;
use holdfast_seal::manifest::entry::{EntryKind, Range};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Advice, Mode, OFlags, fadvise, openat};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};
use std::io::IoSliceMut;

/// How much may lie in the page cache before it is given back.
const CACHE_BYTES_KEPT: u64 = 16 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stability {
    Changed,
    Stable,
}

/// What was read, when the reading is over.
#[derive(Clone, Debug)]
pub struct ReadOutcome {
    pub stability: Stability,
    /// The size that fits the bytes delivered.
    pub size: u64,
    /// The ranges that the stream is made of; `None` when it is the whole file.
    pub ranges: Option<Vec<Range>>,
}

#[derive(Debug)]
pub struct ContentReader {
    file: OwnedFd,
    path: Vec<u8>,
    before: Status,
    ranges: Vec<Range>,
    sparse: bool,
    /// The range that is read, and how far.
    at: usize,
    done: u64,
    ended_early: bool,
    changed: bool,
    /// So far all of it was in memory before we came.
    warm: bool,
    /// What we brought into the page cache and have not given back.
    cached: Range,
}

impl ContentReader {
    /// Opens the file that was found. Another inode under its name is `FileChanged`, and so is one
    /// that only has its number.
    pub fn open(found: &Found) -> Result<Self, Skipped> {
        let skip = |errno| Skipped::errno(&found.path, errno);
        let file = open_file(found).map_err(skip)?;
        let before = Status::of_open(&file).map_err(skip)?;
        if before.kind != EntryKind::File || !before.same_inode(&found.status) {
            return Err(Skipped::new(&found.path, Code::FileChanged));
        }
        // Only advice: a filesystem without a page cache may refuse it.
        let _ = fadvise(&file, 0, None, Advice::Sequential);
        let holes = data_ranges(file.as_fd(), before.size).map_err(skip)?;
        let sparse = holes.is_some();
        let all = Range { offset: 0, length: before.size };
        Ok(Self {
            file,
            path: found.path.clone(),
            ranges: holes.unwrap_or_else(|| vec![all]),
            sparse,
            at: 0,
            done: 0,
            ended_early: false,
            changed: !before.same_content(&found.status),
            before,
            warm: true,
            cached: Range { offset: 0, length: 0 },
        })
    }

    /// The size when it was opened.
    pub fn size(&self) -> u64 {
        self.before.size
    }

    /// How long the stream is, if the file holds still.
    pub fn stream_length(&self) -> u64 {
        self.ranges.iter().map(|range| range.length).sum()
    }

    /// The data ranges that the stream will be made of; `None` for a file without holes.
    pub fn ranges(&self) -> Option<&[Range]> {
        self.sparse.then_some(&self.ranges)
    }

    /// Fills the buffer with the next bytes of the stream. Fewer than asked for, or none, come only
    /// at its end.
    pub fn read_next(&mut self, buffer: &mut [u8]) -> Result<usize, Skipped> {
        let mut filled = 0;
        while filled < buffer.len() && !self.ended_early {
            let Some(range) = self.ranges.get(self.at) else { break };
            let left = range.length - self.done;
            if left == 0 {
                (self.at, self.done) = (self.at + 1, 0);
                continue;
            }
            let offset = range.offset + self.done;
            let room = buffer.len() - filled;
            let wanted = usize::try_from(left).map_or(room, |left| left.min(room));
            match self.read_at(&mut buffer[filled..filled + wanted], offset) {
                Ok(0) => self.ended_early = true,
                Ok(length) => {
                    filled += length;
                    self.done += length as u64;
                    self.give_back(offset, length as u64);
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Skipped::errno(&self.path, errno)),
            }
        }
        Ok(filled)
    }

    /// Looks again, and says what was read and whether it held still meanwhile.
    pub fn finish(mut self) -> Result<ReadOutcome, Skipped> {
        let after =
            Status::of_open(&self.file).map_err(|errno| Skipped::errno(&self.path, errno))?;
        if !self.warm {
            let span = NonZeroU64::new(self.cached.length);
            let _ = fadvise(&self.file, self.cached.offset, span, Advice::DontNeed);
        }
        let all_read = self.at + 1 >= self.ranges.len()
            && self.ranges.get(self.at).is_none_or(|range| range.length == self.done);
        let still =
            all_read && !self.ended_early && !self.changed && after.same_content(&self.before);
        if !all_read {
            self.cut();
        }
        let size = if all_read { self.before.size } else { self.end_of_last() };
        let ranges = std::mem::take(&mut self.ranges);
        Ok(ReadOutcome {
            stability: if still { Stability::Stable } else { Stability::Changed },
            size,
            ranges: self.sparse.then_some(ranges),
        })
    }

    /// Keeps of the ranges what was delivered.
    fn cut(&mut self) {
        self.ranges.truncate(self.at + 1);
        if let Some(last) = self.ranges.get_mut(self.at) {
            last.length = self.done;
        }
        self.ranges.retain(|range| range.length > 0);
    }

    fn end_of_last(&self) -> u64 {
        self.ranges.last().map_or(0, |last| last.offset + last.length)
    }

    /// Once something had to be brought in, what follows counts as brought in: the system reads
    /// ahead of us.
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> rustix::io::Result<usize> {
        if self.warm {
            let flags = ReadWriteFlags::NOWAIT;
            match preadv2(&self.file, &mut [IoSliceMut::new(buffer)], offset, flags) {
                Ok(length) => return Ok(length),
                Err(_) => self.warm = false,
            }
        }
        pread(&self.file, buffer, offset)
    }

    fn give_back(&mut self, offset: u64, length: u64) {
        if self.warm {
            return;
        }
        if self.cached.offset + self.cached.length != offset {
            self.cached = Range { offset, length: 0 };
        }
        self.cached.length += length;
        if self.cached.length >= CACHE_BYTES_KEPT {
            let span = NonZeroU64::new(self.cached.length);
            let _ = fadvise(&self.file, self.cached.offset, span, Advice::DontNeed);
            self.cached = Range { offset: offset + length, length: 0 };
        }
    }
}

/// Never through a link, and never waiting for the writer of a FIFO that took the name.
fn open_file(found: &Found) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match openat(found.directory(), found.name(), flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => openat(found.directory(), found.name(), flags, Mode::empty()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FilesOptions, Walk};
    use super::*;
    use std::fs::{File, OpenOptions};
    use std::io::{Seek, SeekFrom, Write};
    use std::os::unix::fs::FileExt;
    use std::path::Path;

    fn find(path: &Path) -> Found {
        let options = FilesOptions { paths: vec![path.to_path_buf()], ..FilesOptions::default() };
        Walk::open(&options).unwrap().map(Result::unwrap).last().unwrap()
    }

    fn read_all(reader: &mut ContentReader, step: usize) -> Vec<u8> {
        let (mut all, mut buffer) = (Vec::new(), vec![0; step]);
        loop {
            let length = reader.read_next(&mut buffer).unwrap();
            all.extend_from_slice(&buffer[..length]);
            if length < step {
                assert_eq!(reader.read_next(&mut buffer).unwrap(), 0, "the end stays the end");
                return all;
            }
        }
    }

    #[test]
    fn what_others_have_in_memory_stays_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        let length = 2 * CACHE_BYTES_KEPT + 5;
        std::fs::write(&path, vec![1; usize::try_from(length).unwrap()]).unwrap();
        // What is still to be written is given back by nobody.
        File::open(&path).unwrap().sync_all().unwrap();
        let mut reader = ContentReader::open(&find(&path)).unwrap();
        assert_eq!(read_all(&mut reader, 1 << 20).len() as u64, length);
        reader.finish().unwrap();
        let file = File::open(&path).unwrap();
        for offset in [0, CACHE_BYTES_KEPT, length - 1] {
            let mut byte = [0];
            let mut room = [IoSliceMut::new(&mut byte)];
            let read = preadv2(&file, &mut room, offset, ReadWriteFlags::NOWAIT);
            assert_eq!(read, Ok(1), "at {offset}");
        }
    }

    #[test]
    fn a_plain_file_is_its_bytes_and_stable() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        for size in [0, 1, 4095, 4096, 100_000] {
            let bytes: Vec<u8> = (0..size).map(|n: u32| n.to_le_bytes()[0] | 1).collect();
            std::fs::write(&path, &bytes).unwrap();
            let mut reader = ContentReader::open(&find(&path)).unwrap();
            assert_eq!(reader.ranges(), None);
            assert_eq!(reader.stream_length(), u64::from(size));
            assert_eq!(read_all(&mut reader, 4096), bytes);
            let outcome = reader.finish().unwrap();
            assert_eq!((outcome.stability, outcome.size), (Stability::Stable, u64::from(size)));
            assert_eq!(outcome.ranges, None);
        }
    }

    #[test]
    fn the_stream_of_a_sparse_file_is_its_data_ranges() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        let file = File::create(&path).unwrap();
        file.set_len(1 << 20).unwrap();
        file.write_all_at(&[1; 4096], 65536).unwrap();
        file.write_all_at(&[2; 100], 262_144).unwrap();
        let mut reader = ContentReader::open(&find(&path)).unwrap();
        let ranges = reader.ranges().unwrap().to_vec();
        assert_eq!(ranges[0], Range { offset: 65536, length: 4096 });
        assert_eq!(ranges[1].offset, 262_144);
        assert_eq!(ranges.len(), 2);
        let stream = read_all(&mut reader, 1000);
        assert_eq!(stream[..4096], [1; 4096]);
        assert_eq!(stream[4096..4196], [2; 100]);
        assert_eq!(stream.len() as u64, ranges.iter().map(|r| r.length).sum::<u64>());
        let outcome = reader.finish().unwrap();
        assert_eq!((outcome.stability, outcome.size), (Stability::Stable, 1 << 20));
        assert_eq!(outcome.ranges, Some(ranges));
    }

    #[test]
    fn a_file_of_nothing_but_a_hole_has_an_empty_stream() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        File::create(&path).unwrap().set_len(1 << 30).unwrap();
        let mut reader = ContentReader::open(&find(&path)).unwrap();
        assert_eq!(reader.read_next(&mut [0; 16]).unwrap(), 0);
        let outcome = reader.finish().unwrap();
        assert_eq!((outcome.size, outcome.ranges), (1 << 30, Some(Vec::new())));
        assert_eq!(outcome.stability, Stability::Stable);
    }

    #[test]
    fn a_file_that_shrinks_is_changed_and_cut_to_what_was_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        std::fs::write(&path, vec![7; 50_000]).unwrap();
        let mut reader = ContentReader::open(&find(&path)).unwrap();
        assert_eq!(reader.read_next(&mut [0; 10_000]).unwrap(), 10_000);
        OpenOptions::new().write(true).open(&path).unwrap().set_len(20_000).unwrap();
        assert_eq!(read_all(&mut reader, 8192).len(), 10_000);
        let outcome = reader.finish().unwrap();
        assert_eq!((outcome.stability, outcome.size), (Stability::Changed, 20_000));
    }

    #[test]
    fn a_file_that_grows_or_is_rewritten_is_changed_and_keeps_its_first_size() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        for end in [SeekFrom::End(0), SeekFrom::Start(0)] {
            std::fs::write(&path, vec![7; 5000]).unwrap();
            let mut reader = ContentReader::open(&find(&path)).unwrap();
            let mut writer = OpenOptions::new().write(true).open(&path).unwrap();
            writer.seek(end).unwrap();
            writer.write_all(&[8; 1000]).unwrap();
            drop(writer);
            assert_eq!(read_all(&mut reader, 4096).len(), 5000);
            let outcome = reader.finish().unwrap();
            assert_eq!((outcome.stability, outcome.size), (Stability::Changed, 5000));
        }
    }

    #[test]
    fn a_change_between_the_walk_and_the_opening_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        std::fs::write(&path, b"old").unwrap();
        let mut found = find(&path);
        std::fs::write(&path, b"newer").unwrap();
        let mut reader = ContentReader::open(&found).unwrap();
        assert_eq!(read_all(&mut reader, 100), b"newer");
        assert_eq!(reader.finish().unwrap().stability, Stability::Changed);
        found.status = found.look().unwrap();
        let mut reader = ContentReader::open(&found).unwrap();
        assert_eq!(read_all(&mut reader, 100), b"newer");
        assert_eq!(reader.finish().unwrap().stability, Stability::Stable);
    }

    #[test]
    fn a_name_that_became_something_else_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        std::fs::write(&path, b"old").unwrap();
        let found = find(&path);
        let code = |found: &Found| ContentReader::open(found).unwrap_err().code;
        std::fs::rename(&path, directory.path().join("aside")).unwrap();
        assert_eq!(code(&found), Code::FileMissing);
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert_eq!(code(&found), Code::FileChanged);
        std::fs::remove_file(&path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RUSR).unwrap();
        assert_eq!(code(&found), Code::FileChanged, "and nobody waits for a writer");
    }

    #[test]
    fn a_device_error_skips_the_file() {
        // Nothing is mapped at 0: the one input/output error that every Linux can give.
        let path = format!("/proc/{}/mem", std::process::id());
        let mut reader = ContentReader::open(&find(Path::new(&path))).unwrap();
        reader.ranges = vec![Range { offset: 0, length: 10 }];
        assert_eq!(reader.read_next(&mut [0; 10]).unwrap_err().code, Code::FileIoFailed);
    }

    #[test]
    fn the_access_time_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        std::fs::write(&path, b"old").unwrap();
        let old = std::time::UNIX_EPOCH + core::time::Duration::from_secs(1);
        File::open(&path).unwrap().set_times(std::fs::FileTimes::new().set_accessed(old)).unwrap();
        let mut reader = ContentReader::open(&find(&path)).unwrap();
        read_all(&mut reader, 10);
        assert_eq!(path.metadata().unwrap().accessed().unwrap(), old);
    }
}
