//! Listing a directory tree in the order of the names, a page at a time.
//!
//! A folder sorts where its names do: as its own name with a `/`, so that `a-b` < `a/b` < `a0`.
//! Each folder on the way keeps at most a page of its entries in memory, however many it has; the
//! price is that a page of a large folder reads the whole folder. What is no object (links, special
//! files, foreign names, `tmp/`) is passed over.

use super::beneath;
use super::directory::Directory;
use crate::name::{TMP, is_part};
use crate::store::ObjectMeta;
use crate::{ObjectName, ObjectPrefix, refusal};
use holdfast_common::{Result, limits};
use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};

pub(super) fn page(
    directory: &Directory,
    prefix: &ObjectPrefix,
    after: Option<&ObjectName>,
    limit: usize,
) -> Result<Vec<ObjectMeta>> {
    let mut walk = Walk {
        prefix: prefix.as_str(),
        after: after.map_or("", ObjectName::as_str),
        limit: limit.clamp(1, limits::LIST_PAGE_ROWS),
        found: Vec::new(),
    };
    walk.folder(directory.root(), "")?;
    Ok(walk.found)
}

struct Walk<'a> {
    prefix: &'a str,
    after: &'a str,
    limit: usize,
    found: Vec<ObjectMeta>,
}

impl Walk<'_> {
    /// Takes what a folder holds, `way` being its path with the `/`. As deep as a name has parts.
    fn folder(&mut self, folder: BorrowedFd<'_>, way: &str) -> Result<()> {
        let mut from = String::new();
        loop {
            let (entries, more) = self.entries(folder, way, &from)?;
            for entry in &entries {
                self.entry(folder, way, entry)?;
                if self.found.len() >= self.limit {
                    return Ok(());
                }
            }
            match entries.last() {
                Some(last) if more => from.clone_from(last),
                _ => return Ok(()),
            }
        }
    }

    fn entry(&mut self, folder: BorrowedFd<'_>, way: &str, entry: &str) -> Result<()> {
        let refused = |errno| refusal::errno(format!("listing {entry}"), errno);
        let part = &entry[way.len()..];
        if let Some(part) = part.strip_suffix('/') {
            return match beneath::open_folder(folder, part) {
                Ok(inner) => self.folder(inner.as_fd(), entry),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
                Err(errno) => Err(refused(errno)),
            };
        }
        let Ok(name) = entry.parse::<ObjectName>() else { return Ok(()) };
        let stat = match rustix::fs::statat(folder, part, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(refused(errno)),
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            let length = u64::try_from(stat.st_size).unwrap_or_default();
            self.found.push(ObjectMeta { name, length, modified: beneath::modified(&stat) });
        }
        Ok(())
    }

    /// The first entries after `from` that lead to wanted names, and whether there are more.
    fn entries(
        &self,
        folder: BorrowedFd<'_>,
        way: &str,
        from: &str,
    ) -> Result<(BTreeSet<String>, bool)> {
        let refused = |errno| refusal::errno(format!("listing {way}"), errno);
        let (mut entries, mut more) = (BTreeSet::new(), false);
        for entry in rustix::fs::Dir::read_from(folder).map_err(refused)? {
            let entry = entry.map_err(refused)?;
            let Some(part) = entry.file_name().to_str().ok().filter(|part| is_part(part)) else {
                continue;
            };
            let Some(kind) = kind_of(folder, part, entry.file_type()).map_err(refused)? else {
                continue;
            };
            let slash = if kind == FileType::Directory { "/" } else { "" };
            let key = format!("{way}{part}{slash}");
            if key.as_str() <= from || !self.leads_on(&key) {
                continue;
            }
            entries.insert(key);
            if entries.len() > self.limit {
                entries.pop_last();
                more = true;
            }
        }
        Ok((entries, more))
    }

    fn leads_on(&self, key: &str) -> bool {
        if !key.ends_with('/') {
            return key.starts_with(self.prefix) && key > self.after;
        }
        key.strip_prefix(TMP) != Some("/")
            && key.len() < limits::OBJECT_NAME_BYTES_MAX
            && (key.starts_with(self.prefix) || self.prefix.starts_with(key))
            && (key > self.after || self.after.starts_with(key))
    }
}

/// File or directory; some file systems do not say it in the folder.
fn kind_of(
    folder: BorrowedFd<'_>,
    part: &str,
    told: FileType,
) -> rustix::io::Result<Option<FileType>> {
    let kind = match told {
        FileType::Unknown => match rustix::fs::statat(folder, part, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => FileType::from_raw_mode(stat.st_mode),
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno),
        },
        told => told,
    };
    Ok(matches!(kind, FileType::Directory | FileType::RegularFile).then_some(kind))
}
