//! Removing what the point does not have, so that a directory is what it was.
//!
//! Only beneath the paths that the backup was asked for: a directory that was merely on the way to
//! one of them is in the manifest too, and its other children are nobody's to remove. A file system
//! that is mounted beneath such a path is left alone: the point may be older than the mount, and
//! the mount alone does not make what is in it too much. It is cleaned where its own path is given.
//!
//! What the backup skipped is kept, since the point cannot bring it back; when it does not know all
//! of what it skipped, nothing is removed at all.

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
    // The mount that was met last, and is stayed out of.
    let mut mounted: Option<Vec<u8>> = None;
    for_each(run.reader, paths, run, |entry| {
        let holds = |top: &&Vec<u8>| {
            top.as_slice() == entry.path.as_slice() || path::is_below(top, &entry.path)
        };
        let wanted = paths.is_empty() || paths.iter().any(|top| holds(&top));
        let rooted = roots.iter().any(|root| holds(&root));
        if entry.kind != EntryKind::Directory || !wanted || !rooted {
            return Ok(());
        }
        if mounted.as_ref().is_some_and(|mount| path::is_below(mount, &entry.path)) {
            return Ok(());
        }
        // The nearest path that somebody gave says which file system is meant.
        let base = roots.iter().chain(paths).filter(holds).max_by_key(|top| top.len());
        let base = base.map_or(entry.path.as_slice(), Vec::as_slice);
        if !clean(run, base, &entry.path, &kept)? {
            mounted = Some(entry.path.to_vec());
        }
        Ok(())
    })
}

/// Says whether the directory may be cleaned, being of its base's file system.
fn clean(run: &Run<'_>, base: &[u8], directory: &[u8], kept: &[(Vec<u8>, Code)]) -> Result<bool> {
    let Some(target) = &run.target else { return Ok(true) };
    let children = run.reader.manifest().list(directory)?;
    let known: HashSet<Vec<u8>> =
        children.map(|entry| Ok(entry?.path.to_vec())).collect::<Result<_>>()?;
    let looked = target
        .is_mounted_beneath(base, directory)
        .and_then(|mounted| Ok((mounted, target.list_children(directory)?)));
    let (mounted, there) = match looked {
        Ok(looked) => looked,
        Err(error) => {
            run.skip(directory, error.code);
            return Ok(false);
        }
    };
    for at in 0..there.len() {
        let Some(name) = there.get(at) else { break };
        let path = [directory, b"/", name].concat();
        let was_skipped = kept.iter().any(|(kept, _)| *kept == path || path::is_below(&path, kept));
        if known.contains(&path) || was_skipped {
            continue;
        }
        if mounted {
            target.note_removal(&path, Code::FileExists);
            continue;
        }
        match target.remove_tree(&path) {
            Ok(removed) => run.report().removed += removed.entries,
            Err(error) => run.skip(&path, error.code),
        }
    }
    Ok(!mounted)
}

/// The paths that the source was given. Beneath one with a comma in it nothing is removed: where
/// it ends cannot be told.
fn roots(source: &str) -> Vec<Vec<u8>> {
    let parts: Vec<_> = source.strip_prefix("files:").unwrap_or("").split(',').collect();
    let is_whole = |at: usize| parts.get(at + 1).is_none_or(|next| next.starts_with('/'));
    let whole = parts.iter().enumerate().filter(|(at, _)| is_whole(*at)).map(|(_, part)| part);
    let paths = whole.filter(|part| part.starts_with('/') && part.len() > 1);
    paths.map(|part| part.trim_end_matches('/').as_bytes().to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_removed_beneath_a_path_that_cannot_be_told() {
        let roots = |source: &str| -> Vec<String> {
            roots(source).into_iter().map(|path| String::from_utf8(path).unwrap()).collect()
        };
        assert_eq!(roots("files:/srv,/etc/"), ["/srv", "/etc"]);
        assert_eq!(roots("files:/data,old,/data/pg"), ["/data/pg"]);
        assert!(roots("files:/").is_empty() && roots("safety:00").is_empty());
    }
}
