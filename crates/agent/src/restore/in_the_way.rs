//! What lies where a restore goes, so that it can be saved first.
//!
//! ```text
//!   the point, from `/` down ─▶ tops: what was asked for, and what links led to ─▶ what lies there
//!                                 (directories on the way are passed through)
//! ```
//!
//! The rule is that nothing is overwritten or removed which is not saved; more may be saved than is
//! overwritten: what lies beneath a top, whether the point has it or not. Only the directories on
//! the way are read of the point, never all of it.

use super::engine::RestoreRequest;
use super::point::PointReader;
use crate::source::files::FilesOptions;
use holdfast_common::{Error, Result};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// What to save before a restore of a point that was made of `source` below `target`.
pub(super) fn of(
    reader: &PointReader,
    source: &FilesOptions,
    request: &RestoreRequest,
    target: &Path,
) -> Result<FilesOptions> {
    let children = |directory: &Path| -> Result<Vec<PathBuf>> {
        let listed = reader.manifest().list(directory.as_os_str().as_bytes())?;
        listed.take(CHILDREN_MAX + 1).map(|entry| Ok(path_of(&entry?.path))).collect()
    };
    // Without the slash that may stand behind one.
    let wanted = |path: &Vec<u8>| path_of(path).components().collect();
    let wanted: Vec<PathBuf> = request.paths.iter().map(wanted).collect();
    let mut tops = tops(&source.paths, &wanted, &children)?;
    if source.one_file_system {
        let table = std::fs::read(MOUNTS)
            .map_err(|error| Error::io("cannot tell what is mounted here", &error))?;
        add_mounts(&mut tops, &mount_points(&table), target, &children)?;
    }
    let mut paths: Vec<PathBuf> = tops.iter().filter_map(|top| lies_at(target, top)).collect();
    paths.sort();
    paths.dedup();
    // What a link led to was taken whatever the patterns say.
    let is_given = |top: &PathBuf| source.paths.iter().any(|path| top.starts_with(path));
    let applied = !may_touch_excluded(request, target) && tops.iter().all(is_given);
    let exclude = if applied { source.exclude.clone() } else { Vec::new() };
    let one_file_system = source.one_file_system;
    Ok(FilesOptions { paths, exclude, include: Vec::new(), one_file_system, links_only: true })
}

/// The paths of the point that together hold all that is restored of it, and all beneath which
/// something may be removed. A directory on the way to what was asked for is passed through. What
/// is neither was reached by a link: then the way goes on for as long as it does not fork.
fn tops(
    source: &[PathBuf],
    wanted: &[PathBuf],
    children: &dyn Fn(&Path) -> Result<Vec<PathBuf>>,
) -> Result<Vec<PathBuf>> {
    let everything = [PathBuf::from("/")];
    let wanted = if wanted.is_empty() { &everything } else { wanted };
    let is_wanted = |path: &&PathBuf| wanted.iter().any(|wanted| path.starts_with(wanted));
    let mut tops: Vec<PathBuf> = source.iter().filter(is_wanted).cloned().collect();
    let mut waiting = wanted.to_vec();
    while let Some(path) = waiting.pop() {
        if source.iter().any(|asked| path.starts_with(asked)) {
            tops.push(path);
            continue;
        }
        let below = children(&path)?;
        let is_on_the_way = source.iter().any(|asked| asked.starts_with(&path));
        let passed = if is_on_the_way { 1..=CHILDREN_MAX } else { 1..=1 };
        match passed.contains(&below.len()) {
            true => waiting.extend(below),
            false => tops.push(path),
        }
    }
    Ok(tops)
}

/// Adds the file systems in which the point has something: the one that it was read from may have
/// been another.
fn add_mounts(
    tops: &mut Vec<PathBuf>,
    mounts: &[PathBuf],
    target: &Path,
    children: &dyn Fn(&Path) -> Result<Vec<PathBuf>>,
) -> Result<()> {
    for mount in mounts {
        let Ok(relative) = mount.strip_prefix(target) else { continue };
        let inside = Path::new("/").join(relative);
        if tops.iter().any(|top| inside.starts_with(top)) && !children(&inside)?.is_empty() {
            tops.push(inside);
        }
    }
    Ok(())
}

/// What lies at a top, or in the way of the directories that lead to it. What cannot be looked at
/// is taken to be there, and fails where it is saved.
fn lies_at(target: &Path, top: &Path) -> Option<PathBuf> {
    let mut here = target.to_owned();
    for part in top.strip_prefix("/").unwrap_or(top) {
        here.push(part);
        match here.symlink_metadata() {
            Ok(there) if there.is_dir() => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            _ => return Some(here),
        }
    }
    Some(here)
}

/// What the backup left out is not in the point, so it is not overwritten, but it may be removed.
/// The patterns speak of where things were.
fn may_touch_excluded(request: &RestoreRequest, target: &Path) -> bool {
    request.delete || target != Path::new("/")
}

/// The fifth field of each line, where the kernel writes some bytes as three octal digits.
fn mount_points(table: &[u8]) -> Vec<PathBuf> {
    let lines = table.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(|field| {
            let mut pieces = field.split(|byte| *byte == b'\\');
            let mut path = pieces.next().unwrap_or_default().to_vec();
            for piece in pieces {
                let (digits, rest) = piece.split_at(piece.len().min(3));
                let octal = |byte: u8, digit: &u8| (byte << 3) | (digit & 7);
                path.push(digits.iter().fold(0, octal));
                path.extend_from_slice(rest);
            }
            path_of(&path)
        })
        .collect()
}

fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}

/// A directory on the way with more in it than this is saved whole.
const CHILDREN_MAX: usize = 1000;
const MOUNTS: &str = "/proc/self/mountinfo";

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn paths(list: &[&str]) -> Vec<PathBuf> {
        list.iter().map(PathBuf::from).collect()
    }

    /// What a manifest of these entries lists.
    fn listing<'a>(entries: &'a [&'a str]) -> impl Fn(&Path) -> Result<Vec<PathBuf>> + 'a {
        |directory| {
            let is_child = |entry: &&&str| Path::new(entry).parent() == Some(directory);
            Ok(entries.iter().filter(is_child).map(PathBuf::from).collect())
        }
    }

    fn tops_of(source: &[&str], wanted: &[&str], entries: &[&str]) -> Vec<PathBuf> {
        let mut tops = tops(&paths(source), &paths(wanted), &listing(entries)).unwrap();
        tops.sort();
        tops.dedup();
        tops
    }

    #[test]
    fn tops_are_what_was_asked_for_and_what_links_led_to() {
        let entries = [
            "/data",
            "/data/real",
            "/data/real/x",
            "/data/real/y",
            "/etc",
            "/etc/a",
            "/srv",
            "/srv/link",
            "/srv/own",
            "/srv/own/z",
        ];
        let source = ["/srv/link", "/srv/own", "/etc"];
        let all = ["/data/real", "/etc", "/srv/link", "/srv/own"];
        assert_eq!(tops_of(&source, &[], &entries), paths(&all));
        assert_eq!(tops_of(&source, &["/srv"], &entries), paths(&all[2..]));
        assert_eq!(tops_of(&source, &["/srv/own/z"], &entries), paths(&["/srv/own/z"]));
        assert_eq!(tops_of(&source, &["/data"], &entries), paths(&all[..1]));
        assert_eq!(tops_of(&["/"], &[], &entries), paths(&["/"]), "no mount point of its own");
        // A point of what was in the way has entries that nobody asked for.
        assert_eq!(tops_of(&["/srv/a"], &[], &["/srv", "/x"]), paths(&["/srv", "/srv/a", "/x"]));
    }

    #[test]
    fn what_lies_on_the_way_to_a_top_is_in_its_way() {
        let scratch = tempfile::tempdir().unwrap();
        let base = scratch.path();
        std::fs::create_dir_all(base.join("srv/a")).unwrap();
        std::fs::write(base.join("srv/file"), b"").unwrap();
        symlink("srv", base.join("link")).unwrap();
        symlink("nowhere", base.join("dangling")).unwrap();
        for (top, there) in [
            ("/srv/a", Some("srv/a")),
            ("/srv/b", None),
            ("/srv/file/below/it", Some("srv/file")),
            ("/link/a", Some("link")),
            ("/link/missing", Some("link")),
            ("/dangling", Some("dangling")),
            ("/", Some("")),
        ] {
            let expected = there.map(|there| base.join(there));
            assert_eq!(lies_at(base, Path::new(top)), expected, "{top}");
        }
    }

    #[test]
    fn a_file_system_is_added_where_the_point_has_something_in_it() {
        let listed = listing(&["/srv/new", "/srv/new/file", "/srv/empty", "/other/x"]);
        let mounts = paths(&["/", "/to", "/to/srv/new", "/to/srv/empty", "/to/other", "/srv/new"]);
        let mut tops = paths(&["/srv"]);
        add_mounts(&mut tops, &mounts, Path::new("/to"), &listed).unwrap();
        assert_eq!(tops, paths(&["/srv", "/srv/new"]));
        let table = b"22 1 0:21 / /with\\040space rw - tmpfs none rw\n23 1 0:5 / /b rw - x y rw\n";
        assert_eq!(mount_points(table), paths(&["/with space", "/b"]));
    }

    #[test]
    fn what_was_left_out_is_saved_where_it_may_be_removed() {
        let in_place = RestoreRequest { in_place: true, ..RestoreRequest::default() };
        let deleting = RestoreRequest { delete: true, ..in_place.clone() };
        let root = Path::new("/");
        assert!(!may_touch_excluded(&in_place, root));
        assert!(may_touch_excluded(&deleting, root));
        assert!(may_touch_excluded(&in_place, Path::new("/to")));
    }
}
