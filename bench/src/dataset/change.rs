//! A day's work on a data set, in place.
//!
//! Of each kind a few files (one, and one more per five hundred) are deleted, renamed and made
//! anew. Two of a hundred pages of every database are rewritten where they lie, scattered; one of
//! a hundred texts gets some lines somewhere. Nothing else is touched.

use super::{Kind, Writer, database, text};
use crate::{chance::Chance, files};
use holdfast_common::Result;
use serde::Serialize;
use std::{
    collections::BTreeSet,
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// What was done.
#[derive(Debug, Default, Serialize)]
pub struct Changes {
    pub created: Vec<PathBuf>,
    pub deleted: Vec<PathBuf>,
    pub edited: Vec<PathBuf>,
    pub pages: u64,
    pub renamed: Vec<(PathBuf, PathBuf)>,
}

pub fn change(dir: &Path, seed: u64) -> Result<Changes> {
    let mut changes = Changes::default();
    let writer = Writer::new(seed);
    for kind in Kind::ALL {
        let mut chance = Chance::new(seed, "change", kind as u64);
        let mut left = files::list(&dir.join(kind.name()))?;
        let sizes: Vec<u64> = left.iter().map(|file| file.bytes).collect();
        come_and_go(kind, dir, &writer, &mut left, &mut chance, &mut changes)?;
        for file in &left {
            match kind {
                Kind::Database => changes.pages += rewrite_pages(&file.path, &mut chance)?,
                Kind::Archive | Kind::Image | Kind::Text => {}
            }
        }
        if kind == Kind::Text {
            for at in scattered(&mut chance, left.len(), sizes.len().div_ceil(EDITED_ONE_IN)) {
                insert_lines(&left[at].path, &writer, &mut chance)?;
                changes.edited.push(left[at].path.clone());
            }
        }
    }
    Ok(changes)
}

/// Takes deleted files off `left` and gives renamed ones their new path; the made ones stay out.
fn come_and_go(
    kind: Kind,
    dir: &Path,
    writer: &Writer,
    left: &mut Vec<files::Found>,
    chance: &mut Chance,
    changes: &mut Changes,
) -> Result<()> {
    let before: Vec<u64> = left.iter().map(|file| file.bytes).collect();
    for number in 0..1 + before.len() / CHURN_ONE_IN {
        if left.len() > 2 {
            let gone = left.remove(chance.below(left.len() as u64) as usize).path;
            std::fs::remove_file(&gone).map_err(|e| files::failed("delete", &gone, &e))?;
            changes.deleted.push(gone);
            let moved = &mut left[number].path;
            let to = moved.with_file_name(format!("{}.1", file_name(moved)));
            std::fs::rename(&*moved, &to).map_err(|e| files::failed("rename", moved, &e))?;
            changes.renamed.push((moved.clone(), to.clone()));
            *moved = to;
        }
        let path = kind.path(dir, NEW_FROM + number as u64);
        let like = *chance.pick(&before);
        let bytes = match kind {
            Kind::Database => pages(like / 16).max(1) * database::PAGE as u64,
            Kind::Archive | Kind::Image | Kind::Text => like,
        };
        writer.write(kind, NEW_FROM + number as u64, bytes, &path)?;
        changes.created.push(path);
    }
    Ok(())
}

/// In place, page-aligned; gives back how many.
fn rewrite_pages(path: &Path, chance: &mut Chance) -> Result<u64> {
    let failed = |error| files::failed("change", path, &error);
    let file = File::options().read(true).write(true).open(path).map_err(failed)?;
    let all = pages(file.metadata().map_err(failed)?.len()) as usize;
    let chosen = scattered(chance, all, all.div_ceil(PAGES_ONE_IN));
    let mut page = vec![0; database::PAGE];
    for number in &chosen {
        let at = *number as u64 * database::PAGE as u64;
        file.read_exact_at(&mut page, at).map_err(failed)?;
        database::touch(&mut page, chance);
        file.write_all_at(&page, at).map_err(failed)?;
    }
    Ok(chosen.len() as u64)
}

fn insert_lines(path: &Path, writer: &Writer, chance: &mut Chance) -> Result<()> {
    let mut bytes = std::fs::read(path).map_err(|error| files::failed("read", path, &error))?;
    let near = chance.below(bytes.len() as u64) as usize;
    let at = bytes[..near].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let wanted = chance.between(20, 400) as usize;
    let new = text::lines(&writer.words, chance, wanted);
    bytes.splice(at..at, new);
    std::fs::write(path, bytes).map_err(|error| files::failed("write", path, &error))
}

/// `count` different numbers below `all`, in order.
fn scattered(chance: &mut Chance, all: usize, count: usize) -> BTreeSet<usize> {
    let mut chosen = BTreeSet::new();
    while chosen.len() < count.min(all) {
        chosen.insert(chance.below(all as u64) as usize);
    }
    chosen
}

fn pages(bytes: u64) -> u64 {
    bytes / database::PAGE as u64
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

const PAGES_ONE_IN: usize = 50;
const EDITED_ONE_IN: usize = 100;
const CHURN_ONE_IN: usize = 500;
/// New files are numbered from here.
const NEW_FROM: u64 = 900_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::generate;
    use std::collections::BTreeMap;

    fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let read = |file: files::Found| (file.path.clone(), std::fs::read(&file.path).unwrap());
        files::list(dir).unwrap().into_iter().map(read).collect()
    }

    #[test]
    fn a_change_touches_what_it_says_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        generate(dir.path(), 5, 0.005).unwrap();
        let before = contents(dir.path());
        let changes = change(dir.path(), 6).unwrap();
        let after = contents(dir.path());

        assert_eq!(changes.created.len(), 4, "one of each kind");
        assert!(changes.created.iter().all(|path| !before.contains_key(path)));
        assert!(changes.deleted.iter().all(|path| !after.contains_key(path)));
        assert_eq!(changes.edited.len(), 3, "one of a hundred of 250");
        let moved: BTreeMap<_, _> = changes.renamed.iter().map(|(a, b)| (b, a)).collect();
        let (mut pages, mut all) = (0, 0);
        for (path, now) in after.iter().filter(|(path, _)| !changes.created.contains(path)) {
            let was = &before[moved.get(path).copied().unwrap_or(path)];
            if path.starts_with(dir.path().join("databases")) {
                assert_eq!(was.len(), now.len(), "{path:?} keeps its size");
                let both = was.chunks(database::PAGE).zip(now.chunks(database::PAGE));
                pages += both.filter(|(was, now)| was != now).count() as u64;
                all += was.len().div_ceil(database::PAGE) as u64;
            } else if changes.edited.contains(path) {
                assert!(was.len() < now.len(), "{path:?} got lines");
            } else {
                assert!(was == now, "{path:?} was not to be touched");
            }
        }
        assert_eq!(pages, changes.pages);
        assert!((all / 50..=all / 50 + 6).contains(&pages), "{pages} of {all} pages");
        let gone = before.len() - changes.deleted.len() + changes.created.len();
        assert_eq!(after.len(), gone);
    }

    #[test]
    fn the_same_seed_changes_the_same() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for dir in [&one, &other] {
            generate(dir.path(), 5, 0.001).unwrap();
            change(dir.path(), 6).unwrap();
        }
        let digest = |dir: &Path| files::digest(dir).unwrap();
        assert_eq!(digest(one.path()), digest(other.path()));
    }
}
