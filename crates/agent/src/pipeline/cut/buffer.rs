//! The one buffer of a cutting thread: bytes come in at the end and leave as chunks at the front.
//!
//! What is left over moves to the front only when there is no more room behind it.

use crate::pipeline::budget::CUT_BUFFER_BYTES;
use crate::source::Skipped;
use crate::source::files::ContentReader;

pub(super) struct CutBuffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    at_end: bool,
}

impl CutBuffer {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; CUT_BUFFER_BYTES], start: 0, end: 0, at_end: false }
    }

    pub(super) fn begin(&mut self) {
        (self.start, self.end, self.at_end) = (0, 0, false);
    }

    /// Reads until so many bytes are there, or the content ends.
    pub(super) fn fill(
        &mut self,
        reader: &mut ContentReader,
        wanted: usize,
    ) -> Result<(), Skipped> {
        debug_assert!(wanted <= self.bytes.len());
        if self.at_end || self.end - self.start >= wanted {
            return Ok(());
        }
        self.bytes.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let room = &mut self.bytes[self.end..];
        let read = reader.read_next(room)?;
        self.at_end = read < room.len();
        self.end += read;
        Ok(())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(super) fn at_end(&self) -> bool {
        self.at_end
    }

    pub(super) fn consume(&mut self, length: usize) {
        self.start += length;
        debug_assert!(self.start <= self.end);
    }
}
