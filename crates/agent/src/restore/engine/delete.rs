//! Removing what the point does not have, so that a directory is what it was.
//!
//! Only beneath the paths that the backup was asked for: a directory that was merely on the way to
//! one of them is in the manifest too, and its other children are nobody's to remove. A file system
//! that is mounted beneath such a path is left alone: the point may be older than the mount, and
//! the mount alone does not make what is in it too much. It is cleaned where its own path is given.
//!
//! What the backup skipped is kept with all that lies in it, since the point cannot bring it back.
//! When it does not know all of what it skipped, or which paths it was made of, that is said before
//! anything is restored; so it is for a checkpoint, which has only the beginning.

use super::super::place::Target;
use super::super::point::PointReader;
use super::plan::for_each;
use super::roots;
use super::run::Run;
use holdfast_common::{Code, Error, Result};
use holdfast_repository::PointState;
use holdfast_seal::manifest::entry::EntryKind;
use holdfast_seal::manifest::path;
use std::collections::HashSet;

/// What may be removed for a point, known before anything is touched.
pub(super) struct Sweep {
    roots: Vec<Vec<u8>>,
    kept: Vec<(Vec<u8>, Code)>,
}

/// What becomes of what the point does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hand {
    /// It is counted.
    Count,
    /// It is left and told, since something was refused for this reason.
    Leave(Code),
    Remove,
}

impl Sweep {
    pub(super) fn plan(reader: &PointReader) -> Result<Self> {
        let (record, kept) = (reader.record(), reader.skipped()?);
        if record.state == PointState::Checkpoint {
            return Err(unknown("the point is a checkpoint and does not have all that was there"));
        }
        if kept.len() as u64 != record.skipped {
            return Err(unknown("the point does not know all of what its backup skipped"));
        }
        Ok(Self { roots: roots::of(reader, &kept)?, kept })
    }

    pub(super) fn perform(&self, run: &Run<'_>, paths: &[Vec<u8>], hand: Hand) -> Result<()> {
        let Some(target) = &run.target else { return Ok(()) };
        let broom = Broom { run, target, kept: &self.kept, hand };
        // The mount that was met last, and is stayed out of.
        let mut mounted: Option<Vec<u8>> = None;
        let mut each = |directory: &[u8]| {
            let holds =
                |top: &&Vec<u8>| top.as_slice() == directory || path::is_below(top, directory);
            let wanted = paths.is_empty() || paths.iter().any(|top| holds(&top));
            let rooted = self.roots.iter().any(|root| holds(&root));
            if !wanted || !rooted {
                return Ok(());
            }
            if mounted.as_ref().is_some_and(|mount| path::is_below(mount, directory)) {
                return Ok(());
            }
            // The nearest path that somebody gave says which file system is meant.
            let base = self.roots.iter().chain(paths).filter(holds).max_by_key(|top| top.len());
            let base = base.map_or(directory, Vec::as_slice);
            if !broom.clean(base, directory)? {
                mounted = Some(directory.to_vec());
            }
            Ok(())
        };
        // It is no entry of its own.
        each(b"/")?;
        for_each(run.reader, paths, run, |entry| {
            if entry.kind == EntryKind::Directory { each(&entry.path) } else { Ok(()) }
        })
    }
}

struct Broom<'s, 'a> {
    run: &'s Run<'a>,
    target: &'s Target,
    kept: &'s [(Vec<u8>, Code)],
    hand: Hand,
}

impl Broom<'_, '_> {
    /// Says whether the directory may be cleaned, being of its base's file system.
    fn clean(&self, base: &[u8], directory: &[u8]) -> Result<bool> {
        let children = self.run.reader.manifest().list(directory)?;
        let known: HashSet<Vec<u8>> =
            children.map(|entry| Ok(entry?.path.to_vec())).collect::<Result<_>>()?;
        let looked = self
            .target
            .is_mounted_beneath(base, directory)
            .and_then(|mounted| Ok((mounted, self.target.list_children(directory)?)));
        let (mounted, there) = match looked {
            Ok(looked) => looked,
            // It is not there yet, or could not be made: nothing lies in it.
            Err(error) if self.hand != Hand::Remove && is_no_directory(error.code) => {
                return Ok(true);
            }
            Err(error) => {
                self.run.skip(directory, error.code);
                return Ok(false);
            }
        };
        for name in there.iter() {
            let above = directory.strip_suffix(b"/").unwrap_or(directory);
            let path = [above, b"/", name].concat();
            // What was skipped, what it lies in, and what lies in it: a directory that could not
            // be listed is in the manifest, without what it held.
            let is_kept = |kept: &[u8]| {
                *kept == path || path::is_below(&path, kept) || path::is_below(kept, &path)
            };
            if known.contains(&path) || self.kept.iter().any(|(kept, _)| is_kept(kept)) {
                continue;
            }
            match self.hand {
                _ if mounted => self.target.note_removal(&path, Code::FileExists),
                Hand::Leave(code) => self.target.note_removal(&path, code),
                Hand::Count | Hand::Remove => self.take(&path),
            }
        }
        Ok(!mounted)
    }

    fn take(&self, path: &[u8]) {
        let taken = match self.hand {
            Hand::Remove => self.target.remove_tree(path),
            Hand::Count | Hand::Leave(_) => self.target.count_tree(path),
        };
        match taken {
            Ok(removed) => self.run.report().removed += removed.entries,
            Err(error) => self.run.skip(path, error.code),
        }
    }
}

/// Before anything is restored: it is not known what would be too much.
pub(super) fn unknown(why: &str) -> Error {
    Error::new(Code::ConfirmMissing, format!("{why}, so nothing can be removed for it"))
        .next("restore without --delete, and remove by hand what does not belong there")
}

fn is_no_directory(code: Code) -> bool {
    matches!(code, Code::FileMissing | Code::FileExists | Code::TargetEscape)
}
