//! A tree with everything a filesystem can hold, read by the source, written by the target, and
//! compared by reading it again.

use super::{Target, TargetOptions};
use crate::source::files::{
    ContentReader, FilesOptions, LinkGroups, LinkRole, Owners, Stability, Walk, describe,
};
use holdfast_common::ContentHash;
use holdfast_seal::manifest::entry::{Content, Entry, EntryKind, Profile};
use rustix::fs::{
    CWD, FileType, Mode, OFlags, XattrFlags, lsetxattr, makedev, mknodat, openat, setxattr,
};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// An entry with its content, as a pipeline would carry it.
pub(super) struct Saved {
    pub(super) entry: Entry,
    pub(super) stream: Vec<u8>,
}

/// Reads everything beneath `base`; paths in the entries are without it.
pub(super) fn save(base: &Path) -> Vec<Saved> {
    let options = FilesOptions { paths: vec![base.to_path_buf()], ..FilesOptions::default() };
    let (owners, mut links, mut saved) = (Owners::load(), LinkGroups::default(), Vec::new());
    for found in Walk::open(&options).unwrap().map(Result::unwrap) {
        let Some(relative) = found.path.strip_prefix(base.as_os_str().as_bytes()) else { continue };
        if relative.is_empty() {
            continue;
        }
        let described = describe(&found, &owners).unwrap();
        assert_eq!(described.lost, None);
        let mut entry = Entry { path: relative.to_vec().into(), ..described.entry };
        let role = links.role(&found.status);
        entry.hardlink_group = role.group();
        let mut stream = Vec::new();
        if entry.kind == EntryKind::File && !matches!(role, LinkRole::Later(_)) {
            let mut reader = ContentReader::open(&found).unwrap();
            stream.resize(usize::try_from(reader.stream_length()).unwrap(), 0);
            assert_eq!(reader.read_next(&mut stream).unwrap(), stream.len());
            let outcome = reader.finish().unwrap();
            assert_eq!(outcome.stability, Stability::Stable);
            entry.size = outcome.size;
            entry.content = Some(Content {
                profile: Profile::Whole,
                hash: ContentHash::from_bytes(*blake3::hash(&stream).as_bytes()),
                chunks: Some(Vec::new()),
                lists: None,
                ranges: outcome.ranges,
            });
        }
        saved.push(Saved { entry, stream });
    }
    saved
}

/// Writes everything: files first and backwards, so that nothing relies on the manifest's order.
pub(super) fn restore(target: &Target, saved: &[Saved]) {
    let mut firsts: HashMap<u64, &[u8]> = HashMap::new();
    for one in saved.iter().rev().filter(|one| one.entry.content.is_some()) {
        let writer = target.create_file(&one.entry).unwrap();
        assert_eq!(writer.stream_length(), one.stream.len() as u64);
        for (number, piece) in one.stream.chunks(3000).enumerate().collect::<Vec<_>>().iter().rev()
        {
            writer.write_at(*number as u64 * 3000, piece).unwrap();
        }
        writer.finish().unwrap();
        one.entry.hardlink_group.map(|group| firsts.insert(group, &one.entry.path));
    }
    for Saved { entry, .. } in saved {
        let first = entry.hardlink_group.and_then(|group| firsts.get(&group).copied());
        match (entry.kind, first) {
            (EntryKind::Directory, _) => target.make_directory(entry).unwrap(),
            (EntryKind::File, _) if entry.content.is_some() => {}
            (_, Some(first)) => target.place_hardlink(entry, first).unwrap(),
            (kind, None) => {
                match kind {
                    EntryKind::Symlink => target.place_symlink(entry).unwrap(),
                    _ => target.place_special(entry).unwrap(),
                }
                entry.hardlink_group.map(|group| firsts.insert(group, &entry.path));
            }
        }
    }
    assert_eq!(target.finish().unwrap().iter().collect::<Vec<_>>(), Vec::<&super::Note>::new());
}

/// What must come back. A restore cannot choose ctime and inode; ranges are compared with them.
fn essence(saved: &Saved) -> (Entry, &[u8]) {
    (Entry { ctime_ns: 0, inode: None, ..saved.entry.clone() }, &saved.stream)
}

fn attribute(path: &Path, name: &str, value: &[u8]) {
    lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

fn mode(path: &Path, bits: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(bits)).unwrap();
}

/// version 2, then `tag, permissions, id` for owner, user 1234, group, mask, others.
fn acl() -> Vec<u8> {
    let rows: [(u16, u16, u32); 5] =
        [(1, 6, !0), (2, 4, 1234), (4, 4, !0), (0x10, 6, !0), (0x20, 0, !0)];
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in rows {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

fn files(base: &Path) {
    for (name, bits) in [("setuid", 0o4755), ("setgid", 0o2711), ("none", 0), ("all", 0o7777)] {
        let path = base.join(name);
        std::fs::write(&path, name.repeat(2000)).unwrap();
        lchown(&path, Some(4321), Some(50)).unwrap();
        mode(&path, bits);
    }
    std::fs::write(base.join("empty"), b"").unwrap();
    std::fs::write(base.join(OsStr::from_bytes(b"not utf-8 \xff\xfe \n\x1b")), b"x").unwrap();
    std::fs::write(base.join("n".repeat(255)), b"long").unwrap();
    let sparse = std::fs::File::create(base.join("sparse")).unwrap();
    sparse.set_len((1 << 20) + 5).unwrap();
    sparse.write_all_at(&[1; 5000], 65536).unwrap();
    sparse.write_all_at(b"end", 1 << 20).unwrap();
    std::fs::File::create(base.join("hole")).unwrap().set_len(1 << 16).unwrap();
    std::fs::write(base.join("attributes"), b"y").unwrap();
    attribute(&base.join("attributes"), "user.text", b"value");
    attribute(&base.join("attributes"), "user.empty", b"");
    attribute(&base.join("attributes"), "trusted.binary", &[0, 1, 255]);
    attribute(&base.join("attributes"), "system.posix_acl_access", &acl());
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    std::fs::write(base.join("ping"), b"elf").unwrap();
    attribute(&base.join("ping"), "security.capability", &capability);
    let old = UNIX_EPOCH - Duration::new(86_400, 123_456_789);
    let times = std::fs::FileTimes::new().set_modified(old);
    std::fs::File::options()
        .write(true)
        .open(base.join("empty"))
        .unwrap()
        .set_times(times)
        .unwrap();
}

fn everything(base: &Path) {
    files(base);
    symlink("nowhere/at all", base.join("dangling")).unwrap();
    symlink("/etc/passwd", base.join("absolute")).unwrap();
    lchown(base.join("dangling"), Some(77), Some(88)).unwrap();
    attribute(&base.join("dangling"), "trusted.link", b"of a link");
    for (name, file_type, number) in [
        ("fifo", FileType::Fifo, 0),
        ("socket", FileType::Socket, 0),
        ("char", FileType::CharacterDevice, makedev(1, 3)),
        ("block", FileType::BlockDevice, makedev(259, 70_000)),
    ] {
        mknodat(CWD, base.join(name), file_type, Mode::from_raw_mode(0o640), number).unwrap();
        lchown(base.join(name), Some(9), Some(10)).unwrap();
    }
    mode(&base.join("fifo"), 0o1622);
    for directory in ["d", "d/closed", "d/closed/e", "d/empty", "d/sticky", "default"] {
        std::fs::create_dir(base.join(directory)).unwrap();
    }
    std::fs::write(base.join("d/closed/e/deep"), b"deep").unwrap();
    for (one, other) in [("setuid", "d/linked"), ("setuid", "a second"), ("dangling", "d/link")] {
        std::fs::hard_link(base.join(one), base.join(other)).unwrap();
    }
    std::fs::hard_link(base.join("fifo"), base.join("d/fifo")).unwrap();
    std::fs::write(base.join("default/before"), b"made before the default ACL").unwrap();
    setxattr(base.join("default"), "system.posix_acl_default", &acl(), XattrFlags::empty())
        .unwrap();
    std::fs::write(base.join("default/after"), b"inherits").unwrap();
    mode(&base.join("d/sticky"), 0o1777);
    mode(&base.join("d/empty"), 0o2750);
    lchown(base.join("d/empty"), Some(5), Some(6)).unwrap();
    mode(&base.join("d/closed"), 0);
    attribute(&base.join("d"), "user.directory", b"too");
}

#[test]
fn a_tree_with_everything_comes_back_as_it_was() {
    let scratch = tempfile::tempdir().unwrap();
    let scratch = scratch.path().canonicalize().unwrap();
    let (from, to) = (scratch.join("from"), scratch.join("to"));
    std::fs::create_dir(&from).unwrap();
    everything(&from);
    let saved = save(&from);
    let kinds: std::collections::HashSet<EntryKind> =
        saved.iter().map(|saved| saved.entry.kind).collect();
    assert_eq!(kinds.len(), 7, "every kind is there");
    let target = Target::open(&to, TargetOptions::default()).unwrap();
    restore(&target, &saved);
    let again = save(&to);
    assert_eq!(saved.len(), again.len());
    for (before, after) in saved.iter().zip(&again) {
        assert_eq!(essence(before), essence(after));
    }
    let inode = |name: &str| to.join(name).symlink_metadata().unwrap().ino();
    assert_eq!(inode("setuid"), inode("d/linked"));
    assert_eq!(inode("dangling"), inode("d/link"));
    assert_ne!(inode("setuid"), inode("setgid"));
    let blocks = |base: &Path| base.join("sparse").metadata().unwrap().blocks();
    assert_eq!(blocks(&from), blocks(&to), "holes stay holes");
    let parts = std::fs::read_dir(&to).unwrap().map(|part| part.unwrap().file_name());
    assert!(parts.into_iter().all(|name| !name.as_bytes().starts_with(b".holdfast")));
}

#[test]
fn restoring_over_the_result_with_force_changes_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let scratch = scratch.path().canonicalize().unwrap();
    let (from, to) = (scratch.join("from"), scratch.join("to"));
    std::fs::create_dir(&from).unwrap();
    everything(&from);
    let saved = save(&from);
    let force = TargetOptions { overwrite: super::Overwrite::Force, ..TargetOptions::default() };
    for _ in 0..2 {
        restore(&Target::open(&to, force).unwrap(), &saved);
    }
    let again = save(&to);
    assert_eq!(saved.len(), again.len(), "no temporary name is left");
    for (before, after) in saved.iter().zip(&again) {
        assert_eq!(essence(before), essence(after));
    }
}

#[test]
fn paths_longer_than_the_kernel_takes_come_back_and_can_be_removed() {
    let scratch = tempfile::tempdir().unwrap();
    let scratch = scratch.path().canonicalize().unwrap();
    let (from, to) = (scratch.join("from"), scratch.join("to"));
    std::fs::create_dir(&from).unwrap();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut at = openat(CWD, &from, flags, Mode::empty()).unwrap();
    for depth in 0..60 {
        let name = format!("{depth:0>200}");
        rustix::fs::mkdirat(&at, &*name, Mode::from_raw_mode(0o750)).unwrap();
        at = openat(&at, &*name, flags, Mode::empty()).unwrap();
    }
    let leaf = openat(&at, "leaf", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
    rustix::io::write(&leaf, b"far away").unwrap();
    let saved = save(&from);
    assert!(saved.iter().any(|saved| saved.entry.path.len() > 2 * 4096));
    let target = Target::open(&to, TargetOptions::default()).unwrap();
    restore(&target, &saved);
    let again = save(&to);
    assert_eq!(saved.len(), again.len());
    for (before, after) in saved.iter().zip(&again) {
        assert_eq!(essence(before), essence(after));
    }
    let sources = Target::open(&from, TargetOptions::default()).unwrap();
    for target in [target, sources] {
        let top = saved[0].entry.path.as_slice();
        assert_eq!(target.remove_tree(top).unwrap().entries, 61);
        assert!(target.list_children(b"/").unwrap().is_empty());
        assert!(target.notes().is_empty());
    }
}
