//! One file on its way back: chunks arrive in any order, the last one puts it into place.
//!
//! It counts what it waits for. The plan itself holds one of those, so that no file is complete
//! before its last chunk was even asked for. One failure is enough: the file stays out of place.

use super::super::place::FileWriter;
use super::run::Run;
use crate::flow::{Permit, lock};
use holdfast_common::{Code, Error, Result};
use holdfast_seal::manifest::entry::Entry;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

pub(in crate::restore) struct FileJob {
    pub(in crate::restore) entry: Entry,
    /// Shared by those who write, taken by who ends the file.
    writer: RwLock<Option<FileWriter>>,
    waiting: AtomicUsize,
    failure: Mutex<Option<Error>>,
    outcome: Outcome,
    _seat: Permit,
}

/// Why the first paths of groups of hard links are not in place.
pub(super) type Failures = Arc<Mutex<HashMap<u64, Code>>>;

/// Where it is noted that a file is not in place, for its hard links.
#[derive(Clone, Default)]
pub(in crate::restore) struct Outcome(Option<(u64, Failures)>);

impl Outcome {
    pub(super) fn of(group: u64, failures: Failures) -> Self {
        Self(Some((group, failures)))
    }

    pub(super) fn failed(&self, code: Code) {
        if let Some((group, failures)) = &self.0 {
            lock(failures).insert(*group, code);
        }
    }
}

impl FileJob {
    /// `writer` is `None` where content is only checked.
    pub(in crate::restore) fn new(
        entry: Entry,
        writer: Option<FileWriter>,
        outcome: Outcome,
        seat: Permit,
    ) -> Self {
        Self {
            entry,
            writer: RwLock::new(writer),
            waiting: AtomicUsize::new(1),
            failure: Mutex::default(),
            outcome,
            _seat: seat,
        }
    }

    /// One more chunk will come.
    pub(in crate::restore) fn expect(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::restore) fn write(&self, offset: u64, bytes: &[u8]) {
        if lock(&self.failure).is_some() {
            return;
        }
        let written = match &*self.writer.read().unwrap_or_else(PoisonError::into_inner) {
            Some(writer) => writer.write_at(offset, bytes),
            None => Ok(()),
        };
        if let Err(error) = written {
            self.fail(error);
        }
    }

    pub(in crate::restore) fn fail(&self, error: Error) {
        lock(&self.failure).get_or_insert(error);
    }

    /// One thing less to wait for; the last one ends the file.
    pub(in crate::restore) fn settle(&self, run: &Run<'_>) {
        if self.waiting.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let ended = self.end(run);
        match ended {
            Ok(()) => run.placed(),
            Err(error) => {
                tracing::debug!(code = error.code.name(), "a file was not put in place");
                self.outcome.failed(error.code);
                run.skip(&self.entry.path, error.code);
                if error.code == Code::DiskFull {
                    run.halt.fail(error);
                }
            }
        }
    }

    fn end(&self, run: &Run<'_>) -> Result<()> {
        let writer = self.writer.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(error) = lock(&self.failure).take() {
            return Err(error);
        }
        if let Some(writer) = writer {
            writer.finish()?;
            if run.verify {
                read_again(run, &self.entry)?;
            }
        }
        Ok(())
    }
}

/// Reads a file that was just put in place and compares its hash.
pub(super) fn read_again(run: &Run<'_>, entry: &Entry) -> Result<()> {
    let (Some(target), Some(content)) = (&run.target, &entry.content) else { return Ok(()) };
    let wrong = || {
        Error::new(Code::FileIoFailed, "a file does not hold what was written into it")
            .next("check the disk of this host")
    };
    let there = target.existing(entry)?.ok_or_else(wrong)?;
    let mut hasher = blake3::Hasher::new();
    let mut block = vec![0; READ_BYTES];
    let (mut offset, length) = (0u64, entry.content_bytes());
    while offset < length {
        let step = usize::try_from(length - offset).map_or(READ_BYTES, |n| n.min(READ_BYTES));
        if !there.read_stream(offset, &mut block[..step]) {
            return Err(wrong());
        }
        hasher.update(&block[..step]);
        offset += step as u64;
    }
    if hasher.finalize().as_bytes() != content.hash.as_bytes() {
        return Err(wrong());
    }
    run.report().verified += 1;
    Ok(())
}

const READ_BYTES: usize = 1 << 20;
