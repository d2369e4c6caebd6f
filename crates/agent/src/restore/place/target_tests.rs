//! What the target promises to honest callers: protection, atomic replacement, comparison with what
//! is there, removal, and a restore without privileges.

use super::{Durability, NoteKind, Overwrite, Target, TargetOptions};
use holdfast_common::{Code, ContentHash, Error};
use holdfast_seal::manifest::entry::{Content, Device, Entry, EntryKind, Profile, Range, Xattr};
use std::fs::Permissions;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;

pub(super) fn entry(path: &str, kind: EntryKind) -> Entry {
    Entry {
        path: path.as_bytes().to_vec().into(),
        kind,
        mode: 0o644,
        uid: 0,
        gid: 0,
        user: None,
        group: None,
        mtime_ns: 1_700_000_000_123_456_789,
        ctime_ns: 0,
        size: 0,
        xattrs: None,
        link_target: None,
        device: None,
        hardlink_group: None,
        inode: None,
        content: None,
        flags: None,
    }
}

pub(super) fn content(entry: Entry, bytes: &[u8]) -> Entry {
    let content = Content {
        profile: Profile::Whole,
        hash: ContentHash::from_bytes(*blake3::hash(bytes).as_bytes()),
        chunks: Some(Vec::new()),
        lists: None,
        ranges: None,
    };
    Entry { size: bytes.len() as u64, content: Some(content), ..entry }
}

pub(super) fn text(target: &Target, path: &str, bytes: &[u8]) {
    let writer = target.create_file(&content(entry(path, EntryKind::File), bytes)).unwrap();
    writer.write_at(0, bytes).unwrap();
    writer.finish().unwrap();
}

fn open(overwrite: Overwrite) -> (tempfile::TempDir, PathBuf, Target) {
    let scratch = tempfile::tempdir().unwrap();
    let base = scratch.path().canonicalize().unwrap();
    let options = TargetOptions { overwrite, ..TargetOptions::default() };
    let target = Target::open(&base, options).unwrap();
    (scratch, base, target)
}

fn link(path: &str, target: &str) -> Entry {
    let target = Some(target.as_bytes().to_vec().into());
    Entry { link_target: target, ..entry(path, EntryKind::Symlink) }
}

fn names(base: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(base)
        .unwrap()
        .map(|name| name.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn what_is_there_is_protected_unless_forced() {
    let (_scratch, base, target) = open(Overwrite::Protect);
    std::fs::write(base.join("x"), b"old").unwrap();
    let file = content(entry("/x", EntryKind::File), b"new!");
    let refused = [
        target.create_file(&file).map(|_| ()),
        target.place_symlink(&link("/x", "y")),
        target.place_special(&entry("/x", EntryKind::Fifo)),
        target.make_directory(&entry("/x", EntryKind::Directory)),
        target.make_directory(&entry("/x/beneath", EntryKind::Directory)),
        target.existing(&file).and_then(|there| target.keep(&file, there.unwrap())).map(|_| ()),
    ];
    for refusal in refused {
        assert_eq!(refusal.unwrap_err().code, Code::FileExists);
    }
    // A file that appears while another of its name is written is protected as well.
    let late = target.create_file(&content(entry("/late", EntryKind::File), b"")).unwrap();
    std::fs::write(base.join("late"), b"mine").unwrap();
    assert_eq!(late.finish().unwrap_err().code, Code::FileExists);
    assert_eq!(std::fs::read(base.join("late")).unwrap(), b"mine");
    assert_eq!(std::fs::read(base.join("x")).unwrap(), b"old");
    assert_eq!(names(&base), ["late", "x"]);
    let options = TargetOptions { overwrite: Overwrite::Force, ..TargetOptions::default() };
    let forced = Target::open(&base, options).unwrap();
    text(&forced, "/x", b"new!");
    assert_eq!(std::fs::read(base.join("x")).unwrap(), b"new!");
}

#[test]
fn a_file_has_its_old_content_until_the_new_one_is_whole() {
    let (_scratch, base, target) = open(Overwrite::Force);
    std::fs::write(base.join("x"), b"old").unwrap();
    let file = content(entry("/x", EntryKind::File), b"newer");
    let writer = target.create_file(&file).unwrap();
    writer.write_at(3, b"er").unwrap();
    assert_eq!(std::fs::read(base.join("x")).unwrap(), b"old");
    let incomplete = writer.finish().unwrap_err();
    assert_eq!(incomplete.code, Code::InternalBug, "three bytes are missing");
    assert_eq!(std::fs::read(base.join("x")).unwrap(), b"old");
    assert_eq!(names(&base), ["x"], "the temporary file is gone");
    let writer = target.create_file(&file).unwrap();
    writer.write_at(3, b"er").unwrap();
    writer.write_at(0, b"new").unwrap();
    writer.finish().unwrap();
    assert_eq!(std::fs::read(base.join("x")).unwrap(), b"newer");
    assert_eq!(base.join("x").metadata().unwrap().mtime_nsec(), 123_456_789);
}

#[test]
fn a_file_has_no_name_until_it_is_whole_or_a_temporary_one_where_none_is_not_possible() {
    for (nameless, meanwhile) in [(true, 0), (false, 1)] {
        for overwrite in [Overwrite::Protect, Overwrite::Force] {
            let (_scratch, base, target) = open(overwrite);
            target.0.links_open_files.store(nameless, Ordering::Relaxed);
            let file = content(entry("/x", EntryKind::File), b"new");
            let writer = target.create_file(&file).unwrap();
            writer.write_at(0, b"new").unwrap();
            assert_eq!(names(&base).len(), meanwhile, "{nameless}");
            drop(writer);
            assert_eq!(names(&base).len(), 0, "a dropped one leaves nothing");
            text(&target, "/x", b"new");
            let writer = target.create_file(&content(entry("/y", EntryKind::File), b"mine"));
            let writer = writer.unwrap();
            writer.write_at(0, b"mine").unwrap();
            std::fs::write(base.join("y"), b"late").unwrap();
            let (finished, holds) = match overwrite {
                Overwrite::Protect => (Err(Code::FileExists), &b"late"[..]),
                Overwrite::Force => (Ok(()), &b"mine"[..]),
            };
            assert_eq!(writer.finish().map_err(|error| error.code), finished);
            assert_eq!(std::fs::read(base.join("y")).unwrap(), holds);
            assert_eq!(std::fs::read(base.join("x")).unwrap(), b"new");
            assert_eq!(names(&base), ["x", "y"]);
            assert_eq!(base.join("y").metadata().unwrap().nlink(), 1);
        }
    }
}

/// As in a container with few capabilities, where `fs.protected_hardlinks` is 1.
#[test]
fn a_file_that_was_given_away_and_may_not_be_linked_is_copied() {
    use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
    for overwrite in [Overwrite::Protect, Overwrite::Force] {
        let (_scratch, base, target) = open(overwrite);
        let mut given = content(entry("/given", EntryKind::File), b"at the end");
        (given.size, given.uid, given.gid) = (1 << 20, 1234, 1234);
        let end = Range { offset: (1 << 20) - 10, length: 10 };
        given.content.as_mut().unwrap().ranges = Some(vec![end]);
        // Capabilities are a thread's own.
        let restore = || {
            let has = capabilities(None).unwrap();
            let keeps = CapabilitySet::CHOWN;
            let few = CapabilitySets { effective: has.effective & keeps, ..has };
            set_capabilities(None, few).unwrap();
            let writer = target.create_file(&given).unwrap();
            writer.write_at(0, b"at the end").unwrap();
            assert_eq!(names(&base).len(), 0, "it began without a name");
            writer.finish()
        };
        std::thread::scope(|scope| scope.spawn(restore).join()).unwrap().unwrap();
        assert!(!target.0.links_open_files.load(Ordering::Relaxed), "it could be linked");
        assert_eq!(names(&base), ["given"]);
        let bytes = std::fs::read(base.join("given")).unwrap();
        assert_eq!((bytes.len(), &bytes[bytes.len() - 10..]), (1 << 20, &b"at the end"[..]));
        let there = base.join("given").metadata().unwrap();
        assert_eq!((there.uid(), there.gid(), there.nlink()), (1234, 1234, 1));
        assert!(there.blocks() * 512 < 1 << 20, "the hole stays one");
        let notes = target.notes();
        let kinds: Vec<_> = notes.iter().map(|note| (note.kind, note.count)).collect();
        let told_once = [(NoteKind::Mode, 1), (NoteKind::Times, 1)];
        assert_eq!(kinds, told_once, "what only an owner may set");
    }
}

#[test]
fn a_kept_file_that_has_its_attributes_is_not_touched() {
    let (_scratch, base, target) = open(Overwrite::Force);
    let file = content(entry("/x", EntryKind::File), b"same");
    text(&target, "/x", b"same");
    let keep = |entry: &Entry| {
        let before = base.join("x").metadata().unwrap();
        assert!(target.keep(entry, target.existing(entry).unwrap().unwrap()).unwrap());
        let after = base.join("x").metadata().unwrap();
        let same = (before.ctime(), before.ctime_nsec()) == (after.ctime(), after.ctime_nsec());
        (same, after.mode() & 0o7777, after.uid(), after.mtime())
    };
    assert_eq!(keep(&file), (true, 0o644, 0, 1_700_000_000));
    let others = [
        (Entry { mode: 0o4755, ..file.clone() }, (false, 0o4755, 0, 1_700_000_000)),
        // The owner changes, which takes set-id bits away.
        (Entry { mode: 0o4755, uid: 7, ..file.clone() }, (false, 0o4755, 7, 1_700_000_000)),
        (Entry { mtime_ns: 5_000_000_000, ..file.clone() }, (false, 0o644, 0, 5)),
    ];
    for (entry, expected) in others {
        assert_eq!(keep(&entry), expected);
    }
    // An ACL with a narrow mask takes from the mode that was there, which is then set again.
    assert_eq!(keep(&Entry { mode: 0o664, ..file.clone() }).1, 0o664);
    let rows = [(1u16, 6u16), (4, 4), (0x10, 4), (0x20, 0)].map(|(tag, may)| {
        [&tag.to_le_bytes()[..], &may.to_le_bytes(), &u32::MAX.to_le_bytes()].concat()
    });
    let acl = [&2u32.to_le_bytes()[..], &rows.concat()].concat();
    let name = b"system.posix_acl_access".to_vec();
    let xattrs = Some(vec![Xattr { name: name.into(), value: acl.into() }]);
    assert_eq!(keep(&Entry { mode: 0o664, xattrs, ..file }).1, 0o664);
}

#[test]
fn force_replaces_an_empty_directory_but_never_a_full_one() {
    let (_scratch, base, target) = open(Overwrite::Force);
    std::fs::create_dir_all(base.join("full/x")).unwrap();
    std::fs::create_dir(base.join("empty")).unwrap();
    text(&target, "/empty", b"now a file");
    let refused = target.create_file(&content(entry("/full", EntryKind::File), b"")).unwrap_err();
    assert_eq!(refused.code, Code::FileExists);
    assert!(base.join("full/x").is_dir());
    target.make_directory(&entry("/empty", EntryKind::Directory)).unwrap();
    assert!(base.join("empty").is_dir(), "and the other way round");
}

#[test]
fn directories_get_their_attributes_last_and_missing_parents_are_private() {
    let (_scratch, base, target) = open(Overwrite::Protect);
    let closed = Entry { mode: 0o555, ..entry("/d", EntryKind::Directory) };
    target.make_directory(&closed).unwrap();
    text(&target, "/d/x", b"x");
    text(&target, "/unlisted/x", b"x");
    let mode = |name: &str| base.join(name).metadata().unwrap().mode() & 0o7777;
    assert_eq!((mode("d"), mode("unlisted")), (0o700, 0o700));
    target.finish().unwrap();
    assert_eq!((mode("d"), mode("unlisted")), (0o555, 0o700));
    let mtime = base.join("d").metadata().unwrap().mtime_nsec();
    assert_eq!(mtime, 123_456_789, "writing into it came before");
}

#[test]
fn the_target_itself_keeps_its_attributes() {
    let (_scratch, base, target) = open(Overwrite::Force);
    let before = base.metadata().unwrap();
    let root = Entry { mode: 0o777, uid: 7, ..entry("/", EntryKind::Directory) };
    target.make_directory(&root).unwrap();
    target.finish().unwrap();
    let after = base.metadata().unwrap();
    assert_eq!((after.mode(), after.uid()), (before.mode(), before.uid()));
    assert_ne!((after.mode() & 0o7777, after.uid()), (0o777, 7));
}

fn set_xattr(path: &Path, name: &str) {
    rustix::fs::setxattr(path, name, b"old", rustix::fs::XattrFlags::empty()).unwrap();
}

#[test]
fn attributes_that_lay_on_a_directory_give_way_to_those_of_the_entry_by_force() {
    let (_scratch, base, target) = open(Overwrite::Force);
    std::fs::create_dir(base.join("d")).unwrap();
    set_xattr(&base.join("d"), "user.gone");
    set_xattr(&base.join("d"), "user.changed");
    let changed = Xattr { name: b"user.changed".to_vec().into(), value: b"new".to_vec().into() };
    let directory = Entry { xattrs: Some(vec![changed]), ..entry("/d", EntryKind::Directory) };
    target.make_directory(&directory).unwrap();
    assert!(target.finish().unwrap().is_empty());
    let mut value = [0; 8];
    let read = |name: &str, value: &mut [u8]| rustix::fs::getxattr(base.join("d"), name, value);
    assert!(read("user.gone", &mut value).is_err());
    let length = read("user.changed", &mut value).unwrap();
    assert_eq!(&value[..length], b"new");
}

#[test]
fn a_directory_that_was_there_keeps_its_own_attributes_unless_they_are_the_same() {
    let (_scratch, base, target) = open(Overwrite::Protect);
    for name in ["mode", "owner", "labelled", "same"] {
        std::fs::create_dir(base.join(name)).unwrap();
        std::fs::set_permissions(base.join(name), Permissions::from_mode(0o644)).unwrap();
        target.make_directory(&entry(&format!("/{name}"), EntryKind::Directory)).unwrap();
    }
    assert!(target.finish().unwrap().is_empty(), "all four are the same");
    assert_eq!(base.join("mode").metadata().unwrap().mtime_nsec(), 123_456_789);
    std::fs::set_permissions(base.join("mode"), Permissions::from_mode(0o700)).unwrap();
    chown(base.join("owner"), Some(1), None).unwrap();
    set_xattr(&base.join("labelled"), "user.label");
    for name in ["mode", "owner", "labelled", "same"] {
        std::fs::write(base.join(name).join("more"), b"").unwrap();
        target.make_directory(&entry(&format!("/{name}"), EntryKind::Directory)).unwrap();
    }
    let notes = target.finish().unwrap();
    let told: Vec<_> = notes.iter().map(|note| (note.kind, note.code, note.count)).collect();
    assert_eq!(told, [(NoteKind::Mode, Code::FileExists, 3)]);
    assert_eq!(base.join("mode").metadata().unwrap().mode() & 0o7777, 0o700);
    assert_eq!(base.join("owner").metadata().unwrap().uid(), 1);
    assert!(rustix::fs::getxattr(base.join("labelled"), "user.label", &mut [0; 8]).is_ok());
    assert_ne!(base.join("mode").metadata().unwrap().mtime_nsec(), 123_456_789);
    assert_eq!(base.join("same").metadata().unwrap().mtime_nsec(), 123_456_789);
}

#[test]
fn an_existing_file_offers_its_bytes_at_the_places_of_the_entry() {
    let (_scratch, base, target) = open(Overwrite::Force);
    let file = std::fs::File::create(base.join("x")).unwrap();
    file.set_len(1 << 20).unwrap();
    file.write_all_at(b"first", 4096).unwrap();
    file.write_all_at(b"second", 65536).unwrap();
    let mut wanted = content(entry("/x", EntryKind::File), b"firstsecond");
    wanted.size = 1 << 20;
    let range = |offset, length| Range { offset, length };
    wanted.content.as_mut().unwrap().ranges = Some(vec![range(4096, 5), range(65536, 6)]);
    let there = target.existing(&wanted).unwrap().unwrap();
    let mut bytes = [0; 11];
    assert!(there.read_stream(0, &mut bytes));
    assert_eq!(&bytes, b"firstsecond");
    assert!(there.read_stream(4, &mut bytes[..3]));
    assert_eq!(&bytes[..3], b"tse");
    assert!(!there.read_stream(1, &mut bytes), "beyond the stream");
    assert!(target.keep(&wanted, there).unwrap());
    assert_eq!(base.join("x").metadata().unwrap().mtime_nsec(), 123_456_789);
    // Bytes where the entry has a hole: every chunk is found, and still the file is another one.
    file.write_all_at(b"!", 60_000).unwrap();
    let there = target.existing(&wanted).unwrap().unwrap();
    assert!(there.read_stream(0, &mut bytes));
    assert!(!target.keep(&wanted, there).unwrap());
}

#[test]
fn a_file_that_is_shorter_longer_linked_or_changed_does_not_stay() {
    let (_scratch, base, target) = open(Overwrite::Force);
    let wanted = content(entry("/x", EntryKind::File), b"four");
    assert!(target.existing(&wanted).unwrap().is_none());
    for (bytes, offers, stays) in
        [(&b"fou"[..], false, false), (b"four", true, true), (b"fours", true, false)]
    {
        std::fs::write(base.join("x"), bytes).unwrap();
        let there = target.existing(&wanted).unwrap().unwrap();
        assert_eq!(there.read_stream(0, &mut [0; 4]), offers);
        assert_eq!(target.keep(&wanted, there).unwrap(), stays);
    }
    std::fs::write(base.join("x"), b"four").unwrap();
    let there = target.existing(&wanted).unwrap().unwrap();
    std::fs::write(base.join("x"), b"five").unwrap();
    assert!(!target.keep(&wanted, there).unwrap(), "changed since it was opened");
    std::fs::hard_link(base.join("x"), base.join("other")).unwrap();
    let there = target.existing(&wanted).unwrap().unwrap();
    assert!(!target.keep(&wanted, there).unwrap(), "another name has the same inode");
    let grouped = Entry { hardlink_group: Some(1), ..wanted };
    let there = target.existing(&grouped).unwrap().unwrap();
    assert!(target.keep(&grouped, there).unwrap(), "as it should be");
    let directory = entry("/absent/x", EntryKind::File);
    assert!(target.existing(&directory).unwrap().is_none());
}

struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn removal_stops_at_mounts_even_of_the_same_filesystem() {
    let (_scratch, base, target) = open(Overwrite::Force);
    for path in ["d/mount", "d/bound", "d/gone/deep", "source"] {
        std::fs::create_dir_all(base.join(path)).unwrap();
    }
    std::fs::write(base.join("source/precious"), b"").unwrap();
    let mount = |arguments: &[&str], at: &str| {
        let mounted = Mounted(base.join(at));
        let done = Command::new("mount").args(arguments).arg(&mounted.0).status().unwrap();
        assert!(done.success(), "this test needs to be root");
        mounted
    };
    let source = base.join("source");
    let tmpfs = mount(&["-t", "tmpfs", "none"], "d/mount");
    let bound = mount(&["--bind", source.to_str().unwrap()], "d/bound");
    std::fs::write(tmpfs.0.join("precious"), b"").unwrap();
    assert_eq!(target.remove_tree(b"/d").unwrap().entries, 2, "gone and gone/deep");
    assert_eq!(names(&base.join("d")), ["bound", "mount"]);
    assert_eq!(names(&tmpfs.0), ["precious"]);
    assert_eq!(names(&bound.0), ["precious"]);
    let notes = target.notes();
    let note = notes.iter().next().unwrap();
    assert_eq!((note.kind, note.count), (NoteKind::Removal, 2));
    drop((tmpfs, bound));
    assert_eq!(target.remove_tree(b"/d").unwrap().entries, 3);
    assert_eq!(target.remove_tree(b"/d").unwrap().entries, 0, "what is gone is gone");
}

#[test]
fn deep_trees_are_removed_with_few_open_directories() {
    let (_scratch, base, target) = open(Overwrite::Force);
    let mut path = String::new();
    for _ in 0..200 {
        path.push_str("/d");
        target.make_directory(&entry(&path, EntryKind::Directory)).unwrap();
        text(&target, &format!("{path}/x"), b"");
    }
    assert_eq!(target.remove_tree(b"/d").unwrap().entries, 400);
    assert_eq!(names(&base), [""; 0]);
}

#[test]
fn children_are_listed_in_order_and_only_of_directories() {
    let (_scratch, base, target) = open(Overwrite::Protect);
    for name in ["b", "a!", "a"] {
        std::fs::write(base.join(name), b"").unwrap();
    }
    let listed = target.list_children(b"/").unwrap();
    assert_eq!(listed.iter().collect::<Vec<_>>(), [&b"a"[..], b"a!", b"b"]);
    assert_eq!(target.list_children(b"/a").unwrap_err().code, Code::FileExists);
    assert_eq!(target.list_children(b"/none").unwrap_err().code, Code::FileMissing);
}

#[test]
fn without_privileges_owners_are_noted_once_and_set_id_bits_are_left_off() {
    let (_scratch, base, _) = open(Overwrite::Protect);
    let home = base.join("home");
    std::fs::create_dir(&home).unwrap();
    std::fs::set_permissions(&base, Permissions::from_mode(0o755)).unwrap();
    chown(&home, Some(65534), Some(65534)).unwrap();
    let secret = Xattr { name: b"trusted.x".to_vec().into(), value: b"y".to_vec().into() };
    let device = Device { major: 1, minor: 3 };
    let (notes, refused) = std::thread::scope(|scope| {
        let restore = scope.spawn(|| {
            let (uid, gid) = (rustix::fs::Uid::from_raw(65534), rustix::fs::Gid::from_raw(65534));
            rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
            rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
            let target = Target::open(&home, TargetOptions::default()).unwrap();
            for name in ["/d/program", "/d/other"] {
                let file = Entry { mode: 0o6755, ..content(entry(name, EntryKind::File), b"") };
                target.create_file(&file).unwrap().finish().unwrap();
            }
            let xattrs = Some(vec![secret.clone()]);
            let file = content(entry("/d/labelled", EntryKind::File), b"");
            target
                .create_file(&Entry { xattrs, uid: 65534, gid: 65534, ..file })
                .unwrap()
                .finish()
                .unwrap();
            let closed =
                Entry { mode: 0, uid: 65534, gid: 65534, ..entry("/d", EntryKind::Directory) };
            target.make_directory(&closed).unwrap();
            let deeper = Entry { mode: 0o2750, path: b"/d/e".to_vec().into(), ..closed };
            target.make_directory(&deeper).unwrap();
            let null = Entry { device: Some(device), ..entry("/null", EntryKind::CharDevice) };
            let refused = target.place_special(&null).unwrap_err();
            (target.finish().unwrap(), refused)
        });
        restore.join().unwrap()
    });
    assert_eq!(refused.code, Code::FilePermissionDenied);
    let told: Vec<_> =
        notes.iter().map(|note| (note.kind, note.code, &note.path[..], note.count)).collect();
    let denied = Code::FilePermissionDenied;
    let expected: [(NoteKind, Code, &[u8], u64); 2] =
        [(NoteKind::Owner, denied, b"/d/program", 2), (NoteKind::Xattr, denied, b"/d/labelled", 1)];
    assert_eq!(told, expected);
    let mode = |name: &str| home.join(name).metadata().unwrap().mode() & 0o7777;
    assert_eq!((mode("d/program"), mode("d"), mode("d/e")), (0o755, 0, 0o2750));
    assert_eq!(names(&home), ["d"]);
}

#[test]
fn owners_go_by_name_unless_by_number() {
    let owned = Entry { user: Some("daemon".into()), uid: 9999, ..entry("/f", EntryKind::Fifo) };
    for (numeric_ids, uid) in [(false, 1), (true, 9999)] {
        let scratch = tempfile::tempdir().unwrap();
        let options = TargetOptions { numeric_ids, ..TargetOptions::default() };
        let target = Target::open(scratch.path(), options).unwrap();
        target.place_special(&owned).unwrap();
        assert_eq!(scratch.path().join("f").metadata().unwrap().uid(), uid);
    }
}

#[test]
fn every_durability_writes_the_same() {
    for durability in [Durability::EveryFile, Durability::Filesystem, Durability::Never] {
        let scratch = tempfile::tempdir().unwrap();
        let options = TargetOptions { durability, ..TargetOptions::default() };
        let target = Target::open(&scratch.path().join("a/new/one"), options).unwrap();
        text(&target, "/d/x", b"bytes");
        assert!(target.finish().unwrap().is_empty());
        assert_eq!(std::fs::read(scratch.path().join("a/new/one/d/x")).unwrap(), b"bytes");
    }
}

#[test]
fn a_sync_that_failed_early_is_told_at_the_end() {
    let (_scratch, _base, target) = open(Overwrite::Force);
    target.sync_early();
    assert!(target.finish().is_ok());
    for code in [Code::DiskFull, Code::FileIoFailed] {
        target.unsynced(Err(Error::new(code, "the disk, early")));
    }
    assert_eq!(target.finish().unwrap_err().code, Code::DiskFull, "the first one");
}

#[test]
fn entries_that_lack_what_their_kind_needs_are_refused() {
    let (_scratch, base, target) = open(Overwrite::Force);
    let refused = [
        target.place_symlink(&entry("/x", EntryKind::Symlink)),
        target.place_symlink(&link("/x", "")),
        target.place_special(&entry("/x", EntryKind::CharDevice)),
        target.place_special(&entry("/x", EntryKind::File)),
    ];
    for refusal in refused {
        assert_eq!(refusal.unwrap_err().code, Code::ManifestDamaged);
    }
    assert_eq!(names(&base), [""; 0]);
}

#[test]
fn files_may_be_written_by_several_threads() {
    let (_scratch, base, target) = open(Overwrite::Protect);
    let bytes: Vec<u8> = (0..400_000u32).map(|number| number.to_le_bytes()[0]).collect();
    let writer = target.create_file(&content(entry("/x", EntryKind::File), &bytes)).unwrap();
    std::thread::scope(|scope| {
        for (number, piece) in bytes.chunks(100_000).enumerate() {
            let writer = &writer;
            scope.spawn(move || writer.write_at(number as u64 * 100_000, piece).unwrap());
        }
    });
    writer.finish().unwrap();
    assert_eq!(std::fs::read(base.join("x")).unwrap(), bytes);
}
