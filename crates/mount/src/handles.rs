//! Open files and directories, by number, with a bound on both their count and what they hold.

use crate::{
    calendar::Calendar,
    layout::{Layout, Rows, placed},
    lock,
    nodes::Node,
};
use core::ops::Range;
use holdfast_common::{PointId, Result, limits};
use holdfast_seal::manifest::{ManifestReader, entry::ListRef};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

/// An open file.
pub(crate) struct OpenFile {
    pub(crate) point: PointId,
    pub(crate) path: Arc<[u8]>,
    pub(crate) layout: Layout,
    list: Mutex<Option<(usize, Rows)>>,
    sequence: Mutex<Sequence>,
}

/// How a file has been read so far.
#[derive(Debug, Default)]
struct Sequence {
    /// Where the next read begins, if they go on one after the other.
    next: u64,
    /// Up to here it was asked for ahead.
    ahead: u64,
    in_order: u32,
}

impl OpenFile {
    pub(crate) fn new(point: PointId, path: Arc<[u8]>, layout: Layout) -> Self {
        Self { point, path, layout, list: Mutex::default(), sequence: Mutex::default() }
    }

    /// A page of its list of chunks; the one that was opened last is at hand.
    pub(crate) fn list(
        &self,
        manifest: ManifestReader<'_>,
        (number, start): (usize, u64),
        row: &ListRef,
    ) -> Result<Rows> {
        if let Some((at, rows)) = &*lock(&self.list)
            && *at == number
        {
            return Ok(Arc::clone(rows));
        }
        let rows = placed(start, &manifest.chunk_list(row)?);
        *lock(&self.list) = Some((number, Arc::clone(&rows)));
        Ok(rows)
    }

    /// Notes a read, and says what of the file should be fetched ahead of the next one.
    pub(crate) fn note(&self, read: Range<u64>) -> Option<Range<u64>> {
        let mut sequence = lock(&self.sequence);
        // The kernel's own reading ahead lets reads overtake each other a little.
        let is_near = read.start.abs_diff(sequence.next) <= NEAR_BYTES;
        let in_order = if is_near { sequence.in_order.saturating_add(1) } else { 0 };
        let ahead = if is_near { sequence.ahead.max(read.end) } else { read.end };
        *sequence = Sequence { next: read.end, ahead, in_order };
        let window = limits::MOUNT_AHEAD_BYTES;
        let left = ahead - read.end;
        if in_order < READS_IN_ORDER || left > window / 2 || ahead >= self.layout.size() {
            return None;
        }
        sequence.ahead = read.end.saturating_add(window).min(self.layout.size());
        Some(ahead..sequence.ahead)
    }
}

/// An open directory. What was read of it and not given out yet is kept for the next call.
pub(crate) struct OpenDirectory {
    pub(crate) node: Node,
    /// The list of points as it was when it was opened.
    pub(crate) calendar: Option<Arc<Calendar>>,
    pub(crate) rows: Mutex<Page>,
}

/// Some entries of a directory, and how to go on behind them.
#[derive(Default)]
pub(crate) struct Page {
    /// The place of the first of them among all.
    pub(crate) first: u64,
    pub(crate) rows: Vec<Child>,
    /// Nothing comes behind them.
    pub(crate) is_last: bool,
    /// Where pages began that were read before, for whoever goes back: place, and the path before.
    pub(crate) marks: Vec<(u64, Option<Vec<u8>>)>,
}

/// An entry of a directory.
#[derive(Clone, Debug)]
pub(crate) struct Child {
    pub(crate) name: Vec<u8>,
    pub(crate) node: Node,
}

impl Child {
    /// About what it takes in memory.
    pub(crate) fn weight(&self) -> usize {
        self.node.place.weight() + self.name.len()
    }
}

pub(crate) enum Handle {
    File(Arc<OpenFile>),
    Directory(Arc<OpenDirectory>),
}

#[derive(Default)]
pub(crate) struct Handles(Mutex<Table>);

#[derive(Default)]
struct Table {
    open: HashMap<u64, Handle>,
    last: u64,
    bytes: usize,
}

impl Handles {
    /// `None` when as many are open as may be.
    pub(crate) fn open(&self, handle: Handle) -> Option<u64> {
        let mut table = lock(&self.0);
        let weight = handle.weight();
        if table.open.len() >= limits::MOUNT_HANDLES_MAX
            || table.bytes + weight > limits::MOUNT_HANDLE_BYTES_MAX
        {
            return None;
        }
        table.bytes += weight;
        table.last += 1;
        let number = table.last;
        table.open.insert(number, handle);
        Some(number)
    }

    pub(crate) fn file(&self, number: u64) -> Option<Arc<OpenFile>> {
        match lock(&self.0).open.get(&number)? {
            Handle::File(file) => Some(Arc::clone(file)),
            Handle::Directory(_) => None,
        }
    }

    pub(crate) fn directory(&self, number: u64) -> Option<Arc<OpenDirectory>> {
        match lock(&self.0).open.get(&number)? {
            Handle::Directory(directory) => Some(Arc::clone(directory)),
            Handle::File(_) => None,
        }
    }

    pub(crate) fn close(&self, number: u64) {
        let mut table = lock(&self.0);
        if let Some(handle) = table.open.remove(&number) {
            table.bytes -= handle.weight();
        }
    }
}

impl Handle {
    fn weight(&self) -> usize {
        match self {
            Self::File(file) => file.layout.weight(),
            Self::Directory(_) => DIRECTORY_BYTES,
        }
    }
}

const NEAR_BYTES: u64 = 1 << 20;
/// Reads one after the other before anything is fetched ahead.
const READS_IN_ORDER: u32 = 2;
/// A page of entries: what it holds, and the last of them, however long its path is.
const DIRECTORY_BYTES: usize = limits::MOUNT_DIRECTORY_BYTES + 2 * limits::PATH_BYTES_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn file(size: u64) -> OpenFile {
        let layout = Layout::new(size, None).unwrap();
        OpenFile::new(PointId::from_bytes([0; 16]), (*b"/a").into(), layout)
    }

    #[test]
    fn whoever_reads_in_order_is_read_ahead_of_and_nobody_else() {
        let window = limits::MOUNT_AHEAD_BYTES;
        let whole = file(10 * window);
        let step = 128 << 10;
        assert_eq!(whole.note(0..step), None);
        assert_eq!(whole.note(step..2 * step), Some(2 * step..2 * step + window));
        assert_eq!(whole.note(2 * step..3 * step), None, "that is on its way");
        let far = 5 * window;
        assert_eq!(whole.note(far..far + step), None, "somewhere else");
        assert_eq!(whole.note(9 * window..9 * window + step), None);
    }

    #[test]
    fn nothing_is_asked_for_behind_the_end() {
        let small = file(300 << 10);
        assert_eq!(small.note(0..128 << 10), None);
        assert_eq!(small.note(128 << 10..256 << 10), Some(256 << 10..300 << 10));
        assert_eq!(small.note(256 << 10..300 << 10), None);
    }

    #[test]
    fn so_many_are_open_and_no_more() {
        let handles = Handles::default();
        let open = || handles.open(Handle::File(Arc::new(file(1))));
        let numbers: Vec<_> = (0..limits::MOUNT_HANDLES_MAX).map(|_| open().unwrap()).collect();
        assert_eq!(open(), None);
        handles.close(numbers[3]);
        assert!(handles.file(numbers[3]).is_none() && handles.directory(numbers[4]).is_none());
        let again = open().unwrap();
        assert!(!numbers.contains(&again), "numbers are not given twice");
    }
}
