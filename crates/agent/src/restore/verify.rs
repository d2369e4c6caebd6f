//! Full verification: every page and every chunk of a point is fetched, opened and named; nothing
//! is written. What is wrong is reported with the paths that it concerns.

use super::engine::{FileJob, Outcome, Progress, RestoreReport, Run, want_all, with_transfer};
use super::point::PointReader;
use crate::flow::Halt;
use holdfast_common::{Code, Result};
use holdfast_seal::manifest::entry::EntryKind;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Entries that could be restored whole.
    pub entries: u64,
    /// Content that was opened.
    pub bytes: u64,
    /// Paths that cannot be restored, and why.
    pub damaged: Vec<(Vec<u8>, Code)>,
}

/// How many paths a report names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    All,
    /// As many as have room; the others are counted.
    Bounded,
}

/// Opens everything that a restore of the point would need. Blocks; uses all cores.
pub fn verify(reader: &PointReader, progress: &Progress) -> Result<VerifyReport> {
    let report = verify_under(&Halt::new(), reader, progress, Names::All)?;
    let damaged = report.skipped;
    Ok(VerifyReport { entries: report.entries, bytes: report.bytes_written, damaged })
}

/// The same until the halt is set; told as a restore would tell it.
pub(super) fn verify_under(
    halt: &Arc<Halt>,
    reader: &PointReader,
    progress: &Progress,
    names: Names,
) -> Result<RestoreReport> {
    progress.entries_total.store(reader.record().entries, Relaxed);
    progress.bytes_total.store(reader.record().bytes, Relaxed);
    let run = Run::new(reader, progress, None, false, Arc::clone(halt));
    if names == Names::All {
        run.report().reasons.name_all();
    }
    with_transfer(&run, |transfer| {
        for entry in reader.manifest().entries()? {
            run.halt.check()?;
            let entry = entry?;
            if entry.kind != EntryKind::File {
                run.placed();
                continue;
            }
            let seat = run.files.enter(1, &run.halt)?;
            let job = Arc::new(FileJob::new(entry, None, Outcome::default(), seat));
            if let Err(error) = want_all(&run, transfer, &job, None) {
                run.halt.check()?;
                job.fail(error);
            }
            job.settle(&run);
        }
        Ok(())
    })?;
    Ok(run.into_report())
}
