//! What the threads of one restore share: where to, how, and the report as it grows.

use super::super::place::Target;
use super::super::point::PointReader;
use super::{Progress, RestoreReport};
use crate::flow::{Gate, Halt, lock};
use holdfast_common::Code;
use holdfast_common::limits::MIB;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard};

pub(in crate::restore) struct Run<'a> {
    pub(in crate::restore) reader: &'a PointReader,
    pub(in crate::restore) progress: &'a Progress,
    /// `None` where nothing is written: a verification, a dry run.
    pub(in crate::restore) target: Option<Target>,
    pub(in crate::restore) verify: bool,
    pub(in crate::restore) halt: Arc<Halt>,
    /// Frames and plaintext in flight.
    pub(in crate::restore) bytes: Arc<Gate>,
    /// Files that are open.
    pub(in crate::restore) files: Arc<Gate>,
    report: Mutex<RestoreReport>,
}

impl<'a> Run<'a> {
    pub(in crate::restore) fn new(
        reader: &'a PointReader,
        progress: &'a Progress,
        target: Option<Target>,
        verify: bool,
        halt: Arc<Halt>,
    ) -> Self {
        Self {
            reader,
            progress,
            target,
            verify,
            halt,
            bytes: Gate::new(BYTES_IN_FLIGHT),
            files: Gate::new(FILES_OPEN_MAX),
            report: Mutex::default(),
        }
    }

    pub(in crate::restore) fn report(&self) -> MutexGuard<'_, RestoreReport> {
        lock(&self.report)
    }

    /// An entry is in place.
    pub(in crate::restore) fn placed(&self) {
        self.report().entries += 1;
        self.progress.entries.fetch_add(1, Relaxed);
    }

    pub(in crate::restore) fn skip(&self, path: &[u8], code: Code) {
        self.report().skip(path.to_vec(), code);
        self.progress.entries.fetch_add(1, Relaxed);
    }

    pub(in crate::restore) fn into_report(self) -> RestoreReport {
        self.report.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Charged twice for each chunk: its frame and its plaintext.
const BYTES_IN_FLIGHT: usize = 64 * MIB;
/// Well below the usual limit of a process.
pub(in crate::restore) const FILES_OPEN_MAX: usize = 480;
