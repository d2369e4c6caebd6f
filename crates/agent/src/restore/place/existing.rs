//! A file that already lies where an entry belongs, for a restore that fetches only what differs.
//!
//! Its bytes are read at the places that the *entry's* layout gives, so a chunk of the entry can be
//! hashed against them. A caller that finds a chunk here writes the very bytes it hashed; it never
//! has them copied afterwards, since the file may change under its hands.

use super::layout::Layout;
use crate::source::files::Status;
use rustix::fd::OwnedFd;
use rustix::fs::{SeekFrom, seek};
use rustix::io::{Errno, pread};

const ZERO_BLOCK_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub struct ExistingFile {
    pub(super) file: OwnedFd,
    pub(super) status: Status,
    pub(super) layout: Layout,
}

impl ExistingFile {
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Fills the buffer with what would be the stream's bytes from `offset`. `false` when this file
    /// does not reach so far, or cannot be read: then it has nothing to offer.
    pub fn read_stream(&self, offset: u64, buffer: &mut [u8]) -> bool {
        let Some(places) = self.layout.places(offset, buffer.len() as u64) else { return false };
        let mut rest = buffer;
        for (at, length) in places {
            let Ok(length) = usize::try_from(length) else { return false };
            let (piece, after) = rest.split_at_mut(length);
            if !self.read_exactly(at, piece) {
                return false;
            }
            rest = after;
        }
        true
    }

    /// Whether the file may stay as it is, given that all of the stream's bytes were found in it:
    /// it still is what was compared, and where the entry has holes it has nothing but zeros.
    pub fn may_stay(&self, size: u64, links_expected: bool) -> bool {
        let still = Status::of_open(&self.file).is_ok_and(|now| now.same_content(&self.status));
        let alone = self.status.links == 1 || links_expected;
        still && alone && self.status.size == size && self.gaps_are_zero(size)
    }

    fn gaps_are_zero(&self, size: u64) -> bool {
        let mut at = 0;
        let ends = self.layout.ranges().map(|range| (range.offset, range.offset + range.length));
        for (start, end) in ends.chain([(size, size)]) {
            if at < start && !self.is_zero(at, start) {
                return false;
            }
            at = end;
        }
        true
    }

    fn is_zero(&self, from: u64, to: u64) -> bool {
        let mut block = vec![0; ZERO_BLOCK_BYTES];
        let mut at = from;
        while at < to {
            at = match seek(&self.file, SeekFrom::Data(at)) {
                Ok(data) => data,
                Err(Errno::NXIO) => return true,
                Err(_) => at,
            };
            if at >= to {
                return true;
            }
            let length = usize::try_from(to - at).map_or(block.len(), |left| left.min(block.len()));
            let piece = &mut block[..length];
            if !self.read_exactly(at, piece) || piece.iter().any(|byte| *byte != 0) {
                return false;
            }
            at += length as u64;
        }
        true
    }

    fn read_exactly(&self, offset: u64, buffer: &mut [u8]) -> bool {
        let mut filled = 0;
        while filled < buffer.len() {
            match pread(&self.file, &mut buffer[filled..], offset + filled as u64) {
                Ok(0) => return false,
                Ok(length) => filled += length,
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
        true
    }
}
