//! A dry run: the plan of a restore walked over what lies there, and nothing written.
//!
//! It asks the target for what a restore would be refused with, compares content as one would, and
//! counts what one would remove. What only shows when it is done (a full disk, a device that needs
//! privileges, damage in a chunk) it cannot tell.

use super::super::place::{ExistingFile, Meeting, Target};
use super::super::point::PointReader;
use super::delete::{Hand, Sweep};
use super::file::Outcome;
use super::links::Links;
use super::plan::{for_each, is_the_file};
use super::run::Run;
use super::{Progress, RestoreReport, RestoreRequest};
use crate::flow::Halt;
use holdfast_common::{Code, Error, Result};
use holdfast_seal::manifest::entry::{Entry, EntryKind};
use holdfast_seal::manifest::path;
use std::cell::RefCell;
use std::sync::Arc;

/// What a restore would do to the target; `None` when it would have to be made.
pub(super) fn rehearse(
    halt: &Arc<Halt>,
    reader: &PointReader,
    request: &RestoreRequest,
    (target, progress): (Option<Target>, &Progress),
) -> Result<RestoreReport> {
    let sweep = request.delete.then(|| Sweep::plan(reader)).transpose()?;
    let run = Run::new(reader, progress, target, false, Arc::clone(halt));
    let stage = Stage { run: &run, cleared: RefCell::default() };
    let mut links = Links::default();
    for_each(reader, &request.paths, &run, |entry| {
        if let Some(group) = entry.hardlink_group
            && !links.is_first(group, &entry)
        {
            return Ok(());
        }
        let outcome = links.outcome(&entry);
        stage.place(&entry, &outcome)
    })?;
    if links.any_orphans() {
        links.adopt(&run, |entry, outcome| stage.place(&entry, &outcome))?;
    }
    if links.any() {
        links.place(&run, &request.paths, |entry, first| stage.link(entry, first))?;
    }
    let refused = run.report().reasons.first();
    if let Some(sweep) = sweep {
        let failed = run.report().failure().is_some();
        match refused {
            None => sweep.perform(&run, &request.paths, Hand::Count)?,
            Some(_) if failed => {}
            Some(code) => sweep.perform(&run, &request.paths, Hand::Leave(code))?,
        }
    }
    let notes = run.target.as_ref().map(Target::notes).unwrap_or_default();
    Ok(RestoreReport { notes, ..run.into_report() })
}

struct Stage<'r, 'a> {
    run: &'r Run<'a>,
    /// What a directory would take the place of: nothing lies beneath it then.
    cleared: RefCell<Option<Vec<u8>>>,
}

impl Stage<'_, '_> {
    fn place(&self, entry: &Entry, outcome: &Outcome) -> Result<()> {
        match self.meet(entry).and_then(|meeting| self.count(entry, meeting)) {
            Ok(()) => self.run.placed(),
            Err(error) => {
                self.run.halt.check()?;
                outcome.failed(error.code);
                self.run.skip(&entry.path, error.code);
            }
        }
        Ok(())
    }

    fn link(&self, entry: &Entry, first: &[u8]) -> Result<()> {
        match self.looked_at(entry) {
            Some(target) => target.meet_link(entry, first).map(drop),
            None => Ok(()),
        }
    }

    /// The target, unless nothing can lie where the entry belongs.
    fn looked_at(&self, entry: &Entry) -> Option<&Target> {
        let cleared = self.cleared.borrow();
        let is_cleared = cleared.as_ref().is_some_and(|top| path::is_below(top, &entry.path));
        self.run.target.as_ref().filter(|_| !is_cleared)
    }

    fn meet(&self, entry: &Entry) -> Result<Meeting> {
        let Some(target) = self.looked_at(entry) else { return Ok(Meeting::Free) };
        let meeting = target.meet(entry)?;
        if matches!(meeting, Meeting::Free) {
            target.insist_on_room(entry)?;
            if entry.kind == EntryKind::Directory {
                *self.cleared.borrow_mut() = Some(entry.path.to_vec());
            }
        }
        Ok(meeting)
    }

    fn count(&self, entry: &Entry, meeting: Meeting) -> Result<()> {
        if entry.kind != EntryKind::File {
            return Ok(());
        }
        let Meeting::File(existing) = meeting else {
            self.run.report().bytes_written += entry.content_bytes();
            return Ok(());
        };
        if is_the_file(self.run, entry, &existing)? {
            self.run.report().bytes_reused += entry.content_bytes();
            return Ok(());
        }
        match self.run.target.as_ref().filter(|target| target.overwrites()) {
            Some(target) => target.insist_on_room(entry)?,
            None => return Err(Error::new(Code::FileExists, "another file lies there")),
        }
        self.compare(entry, &existing)
    }

    /// Which chunks of a file lie in the one that would be replaced.
    fn compare(&self, entry: &Entry, existing: &ExistingFile) -> Result<()> {
        let Some(content) = &entry.content else { return Ok(()) };
        let reader = self.run.reader;
        let (mut offset, mut reused, mut buffer) = (0, 0, Vec::new());
        for chunk in reader.manifest().chunks(content) {
            self.run.halt.check()?;
            let chunk = chunk?;
            buffer.resize(chunk.bytes(), 0);
            if existing.read_stream(offset, &mut buffer)
                && reader.ids().data_id(&buffer) == chunk.id
            {
                reused += u64::from(chunk.length);
            }
            offset += u64::from(chunk.length);
        }
        let mut report = self.run.report();
        report.bytes_reused += reused;
        report.bytes_written += offset - reused;
        Ok(())
    }
}
