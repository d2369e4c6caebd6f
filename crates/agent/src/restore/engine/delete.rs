//! Removing what the point does not have, so that a directory is what it was.
//!
//! Only beneath the paths that the backup was asked for: a directory that was merely on the way to
//! one of them is in the manifest too, and its other children are nobody's to remove. What the
//! backup skipped is kept, since the point cannot bring it back; when it does not know all of what
//! it skipped, nothing is removed at all.

use super::plan::for_each;
use super::run::Run;
use holdfast_common::{Code, Error, Result};
use holdfast_seal::manifest::entry::EntryKind;
use holdfast_seal::manifest::path;
use std::collections::HashSet;

pub(super) fn delete_extra(run: &Run<'_>, paths: &[Vec<u8>]) -> Result<()> {
    let record = run.reader.record();
    let kept = run.reader.skipped()?;
    if kept.len() as u64 != record.skipped {
        return Err(Error::new(
            Code::ConfirmMissing,
            "nothing was removed: the point does not know all of what its backup skipped",
        )
        .next("everything else was restored; remove by hand what does not belong there"));
    }
    let roots = roots(&record.source);
    for_each(run.reader, paths, run, |entry| {
        let inside = |root: &Vec<u8>| {
            root.as_slice() == entry.path.as_slice() || path::is_below(root, &entry.path)
        };
        let selected = |top: &Vec<u8>| {
            top.as_slice() == entry.path.as_slice() || path::is_below(top, &entry.path)
        };
        let wanted = paths.is_empty() || paths.iter().any(selected);
        if entry.kind == EntryKind::Directory && wanted && roots.iter().any(inside) {
            clean(run, &entry.path, &kept)?;
        }
        Ok(())
    })
}

fn clean(run: &Run<'_>, directory: &[u8], kept: &[(Vec<u8>, Code)]) -> Result<()> {
    let Some(target) = &run.target else { return Ok(()) };
    let children = run.reader.manifest().list(directory)?;
    let known: HashSet<Vec<u8>> =
        children.map(|entry| Ok(entry?.path.to_vec())).collect::<Result<_>>()?;
    let there = match target.list_children(directory) {
        Ok(names) => names,
        Err(error) => {
            run.skip(directory, error.code);
            return Ok(());
        }
    };
    for at in 0..there.len() {
        let Some(name) = there.get(at) else { break };
        let path = [directory, b"/", name].concat();
        let was_skipped = kept.iter().any(|(kept, _)| *kept == path || path::is_below(&path, kept));
        if known.contains(&path) || was_skipped {
            continue;
        }
        match target.remove_tree(&path) {
            Ok(removed) => run.report().removed += removed.entries,
            Err(error) => run.skip(&path, error.code),
        }
    }
    Ok(())
}

/// The paths that the source was given. A path with a comma in it is not recognised, and then
/// nothing beneath it is removed.
fn roots(source: &str) -> Vec<Vec<u8>> {
    let list = source.strip_prefix("files:").unwrap_or("");
    let parts = list.split(',').filter(|part| part.starts_with('/') && part.len() > 1);
    parts.map(|part| part.trim_end_matches('/').as_bytes().to_vec()).collect()
}
