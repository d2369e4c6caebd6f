//! The walk on real filesystems: order, selection, depth, what vanishes and what refuses.

use super::{ContentReader, FilesOptions, Found, Owners, Walk, describe};
use crate::source::Skipped;
use holdfast_common::{Code, limits};
use holdfast_seal::manifest::entry::EntryKind;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, unlinkat};
use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

fn options(path: &Path) -> FilesOptions {
    FilesOptions { paths: vec![path.to_path_buf()], ..FilesOptions::default() }
}

fn walk(options: &FilesOptions) -> (Vec<Found>, Vec<Skipped>) {
    let (mut found, mut skipped) = (Vec::new(), Vec::new());
    for item in Walk::open(options).unwrap() {
        match item {
            Ok(one) => found.push(one),
            Err(one) => skipped.push(one),
        }
    }
    (found, skipped)
}

/// What was found beneath `base`, without its prefix.
fn beneath(base: &Path, found: &[Found]) -> Vec<String> {
    let prefix = base.as_os_str().as_bytes();
    found
        .iter()
        .filter_map(|found| found.path.strip_prefix(prefix))
        .filter(|rest| rest.starts_with(b"/"))
        .map(|rest| String::from_utf8_lossy(&rest[1..]).into_owned())
        .collect()
}

fn tree(files: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let base = scratch.path().canonicalize().unwrap();
    for file in files {
        let path = base.join(file.trim_end_matches('/'));
        if file.ends_with('/') {
            std::fs::create_dir_all(path).unwrap();
        } else {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file).unwrap();
        }
    }
    (scratch, base)
}

/// The manifest's order: `/` before every other byte.
fn manifest_key(path: &[u8]) -> Vec<u16> {
    path.iter().map(|b| if *b == b'/' { 0 } else { u16::from(*b) + 1 }).collect()
}

#[test]
fn paths_come_in_manifest_order_with_their_parents_before_them() {
    let (_scratch, base) = tree(&["a/x", "a!", "a/b/c", "a.d/", "B", "a/b!/z", "empty/"]);
    let (found, skipped) = walk(&options(&base));
    assert_eq!(skipped, []);
    let paths: Vec<&[u8]> = found.iter().map(|found| &found.path[..]).collect();
    assert!(paths.is_sorted_by_key(|path| manifest_key(path)), "{paths:?}");
    let expected = ["B", "a", "a/b", "a/b/c", "a/b!", "a/b!/z", "a/x", "a!", "a.d", "empty"];
    assert_eq!(beneath(&base, &found), expected);
    let seen: HashSet<&[u8]> = paths.iter().copied().collect();
    assert_eq!(seen.len(), paths.len(), "each path once");
    for parent in base.ancestors().filter(|parent| *parent != Path::new("/")) {
        assert!(seen.contains(parent.as_os_str().as_bytes()), "{}", parent.display());
    }
    assert!(!seen.contains(&b"/"[..]), "the root is no entry");
}

#[test]
fn what_only_leads_to_a_path_has_no_times_of_its_own() {
    let (_scratch, base) = tree(&["a/whole/x", "a/neighbour", "b/whole", "c/out/in"]);
    let paths = ["a/whole", "b", "b/whole", "c", "c/out/in"].map(|path| base.join(path));
    let exclude = vec!["out/".to_owned()];
    let options = FilesOptions { paths: paths.to_vec(), exclude, ..FilesOptions::default() };
    let (found, _) = walk(&options);
    let owners = Owners::load();
    for found in &found {
        let entry = describe(found, &owners).unwrap().entry;
        let under = found.path.strip_prefix(base.as_os_str().as_bytes());
        let leads = !matches!(under, Some([_, ..])) || matches!(under, Some(b"/a" | b"/c/out"));
        let path = String::from_utf8_lossy(&found.path);
        assert_eq!(entry.modified_ns(), (!leads).then_some(found.status.mtime_ns), "{path}");
        assert_eq!((entry.mtime_ns == 0, entry.ctime_ns == 0), (leads, leads), "{path}");
    }
}

#[test]
fn overlapping_and_repeated_paths_are_taken_once_and_siblings_are_not() {
    let (_scratch, base) = tree(&["a/x", "a/y", "b/z", "c"]);
    let paths = vec![base.join("a/x"), base.join("a"), base.join("a/x"), base.join("b/z")];
    let (found, _) = walk(&FilesOptions { paths, ..FilesOptions::default() });
    assert_eq!(beneath(&base, &found), ["a", "a/x", "a/y", "b", "b/z"]);
}

#[test]
fn excluded_directories_are_not_entered_but_given_paths_are_taken() {
    let (_scratch, base) = tree(&["keep/a.o", "cache/x/y", "cache/z", "src/a.c", "src/a.o"]);
    let exclude = vec!["*.o".to_owned(), "cache/".to_owned(), "!keep/*".to_owned()];
    let (found, _) = walk(&FilesOptions { exclude: exclude.clone(), ..options(&base) });
    assert_eq!(beneath(&base, &found), ["keep", "keep/a.o", "src", "src/a.c"]);
    let paths = vec![base.clone(), base.join("cache/x")];
    let (found, _) = walk(&FilesOptions { exclude, paths, ..FilesOptions::default() });
    let expected = ["cache", "cache/x", "cache/x/y", "keep", "keep/a.o", "src", "src/a.c"];
    assert_eq!(beneath(&base, &found), expected, "and not its excluded sibling z");
}

#[test]
fn an_include_list_keeps_directories_and_what_it_names() {
    let (_scratch, base) = tree(&["a/x.dcm", "a/y.txt", "b/config/z"]);
    let include = vec!["*.dcm".to_owned(), "config/".to_owned()];
    let (found, _) = walk(&FilesOptions { include, ..options(&base) });
    assert_eq!(beneath(&base, &found), ["a", "a/x.dcm", "b", "b/config", "b/config/z"]);
}

#[test]
fn a_link_is_an_entry_and_is_not_followed() {
    let (_scratch, base) = tree(&["real/x"]);
    std::os::unix::fs::symlink("real", base.join("link")).unwrap();
    let (found, _) = walk(&options(&base));
    assert_eq!(beneath(&base, &found), ["link", "real", "real/x"]);
    let link = found.iter().find(|found| found.name() == b"link").unwrap();
    let described = describe(link, &Owners::load()).unwrap();
    assert_eq!(described.entry.link_target.unwrap().as_slice(), b"real");
    assert_eq!((described.entry.kind, described.entry.size), (EntryKind::Symlink, 4));
}

/// A tmpfs that goes away with the test.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(at: PathBuf) -> Self {
        let done = Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&at).status().unwrap();
        assert!(done.success(), "this test needs to be root");
        Self(at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn one_file_system_records_a_mount_point_and_stays_out_of_it() {
    let (_scratch, base) = tree(&["mount/", "x"]);
    let mounted = Mounted::tmpfs(base.join("mount"));
    std::fs::create_dir(mounted.0.join("sub")).unwrap();
    std::fs::write(mounted.0.join("sub/inside"), b"").unwrap();
    let everything = ["mount", "mount/sub", "mount/sub/inside", "x"];
    assert_eq!(beneath(&base, &walk(&options(&base)).0), everything);
    let confined = FilesOptions { one_file_system: true, ..options(&base) };
    assert_eq!(beneath(&base, &walk(&confined).0), ["mount", "x"]);
    let named = FilesOptions {
        paths: vec![base.clone(), base.join("mount/sub")],
        one_file_system: true,
        ..FilesOptions::default()
    };
    assert_eq!(beneath(&base, &walk(&named).0), everything, "a path that was given is taken");
}

#[test]
fn what_vanishes_while_walking_is_reported_and_the_walk_goes_on() {
    let (_scratch, base) = tree(&["a", "b", "d/x", "d/y", "e"]);
    let mut walk = Walk::open(&options(&base)).unwrap();
    let first = walk.by_ref().map(Result::unwrap).find(|found| found.name() == b"a").unwrap();
    assert_eq!(first.status.kind, EntryKind::File);
    std::fs::remove_file(base.join("b")).unwrap();
    let gone = walk.next().unwrap().unwrap_err();
    assert_eq!(gone, Skipped::new(base.join("b").as_os_str().as_bytes(), Code::FileMissing));
    assert_eq!(walk.next().unwrap().unwrap().name(), b"d");
    std::fs::remove_dir_all(base.join("d")).unwrap();
    let gone = walk.next().unwrap().unwrap_err();
    assert_eq!(gone, Skipped::new(base.join("d").as_os_str().as_bytes(), Code::FileMissing));
    assert_eq!(walk.next().unwrap().unwrap().name(), b"e");
    assert!(walk.next().is_none());
}

#[test]
fn a_directory_that_is_swapped_for_another_is_not_entered() {
    let (_scratch, base) = tree(&["d/x", "other/secret"]);
    for swap_in_a_link in [false, true] {
        let mut walk = Walk::open(&options(&base.join("d"))).unwrap();
        walk.by_ref().map(Result::unwrap).find(|found| found.name() == b"d").unwrap();
        std::fs::rename(base.join("d"), base.join("aside")).unwrap();
        if swap_in_a_link {
            std::os::unix::fs::symlink("other", base.join("d")).unwrap();
        } else {
            std::fs::create_dir(base.join("d")).unwrap();
            std::fs::write(base.join("d/secret"), b"").unwrap();
        }
        let refused = walk.next().unwrap().unwrap_err();
        assert!([Code::FileChanged, Code::FileMissing].contains(&refused.code), "{refused:?}");
        assert!(walk.next().is_none(), "nothing of the other directory is given out");
        let _ = std::fs::remove_file(base.join("d"));
        let _ = std::fs::remove_dir_all(base.join("d"));
        std::fs::rename(base.join("aside"), base.join("d")).unwrap();
    }
}

/// Runs as a user with no privileges, in a thread of its own.
fn as_nobody<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let (uid, gid) = (rustix::fs::Uid::from_raw(65534), rustix::fs::Gid::from_raw(65534));
            rustix::thread::set_thread_groups(&[]).unwrap();
            rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
            rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
            work()
        });
        thread.join().unwrap()
    })
}

fn mode(path: &Path, bits: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(bits)).unwrap();
}

#[test]
fn what_refuses_to_be_read_is_reported_and_the_walk_goes_on() {
    let (_scratch, base) = tree(&["closed/x", "passed/given", "passed/other", "secret", "z"]);
    for (name, bits) in [("", 0o755), ("closed", 0o700), ("passed", 0o711), ("secret", 0o600)] {
        mode(&base.join(name), bits);
    }
    let paths = vec![base.join("passed/given")];
    let given = FilesOptions { paths, ..FilesOptions::default() };
    let (all, one) = as_nobody(|| (walk(&options(&base)), walk(&given)));
    assert_eq!(beneath(&base, &all.0), ["closed", "passed", "secret", "z"]);
    let refused = |name: &str| {
        Skipped::new(base.join(name).as_os_str().as_bytes(), Code::FilePermissionDenied)
    };
    assert_eq!(all.1, [refused("closed"), refused("passed")]);
    let secret = all.0.iter().find(|found| found.name() == b"secret").unwrap();
    let opened = as_nobody(|| ContentReader::open(secret).map(|_| ()));
    assert_eq!(opened, Err(refused("secret")));
    assert_eq!(beneath(&base, &one.0), ["passed", "passed/given"], "to pass is enough");
    assert_eq!(one.1, []);
}

#[test]
fn a_directory_that_the_kernel_cannot_list_is_reported_even_to_root() {
    // The network of a process that has ended and is not reaped yet.
    let mut child = Command::new("true").spawn().unwrap();
    let zombie = PathBuf::from(format!("/proc/{}", child.id()));
    while !std::fs::read_to_string(zombie.join("stat")).unwrap().contains(") Z ") {
        std::thread::yield_now();
    }
    let (found, skipped) = walk(&options(&zombie.join("net")));
    child.wait().unwrap();
    assert_eq!(found.last().map(Found::name), Some(&b"net"[..]));
    let path = zombie.join("net").as_os_str().as_bytes().to_vec();
    assert_eq!(skipped, [Skipped { path, code: Code::FileIoFailed }]);
}

#[test]
fn trees_deeper_than_any_path_are_walked_with_few_open_directories() {
    const DEPTH: usize = 4000;
    let (_scratch, base) = tree(&["top/"]);
    let top = base.join("top");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut at = openat(CWD, &top, flags, Mode::empty()).unwrap();
    for _ in 0..DEPTH {
        mkdirat(&at, "dir", Mode::RWXU).unwrap();
        mkdirat(&at, "zz", Mode::RWXU).unwrap();
        at = openat(&at, "dir", flags, Mode::empty()).unwrap();
    }
    drop(openat(&at, "leaf", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap());
    let fds = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let (before, mut most, mut count, mut leaf) = (fds(), 0, 0, None);
    for (number, item) in Walk::open(&options(&top)).unwrap().enumerate() {
        let found = item.unwrap();
        count += 1;
        if number % 100 == 0 {
            most = most.max(fds());
        }
        leaf = if found.name() == b"leaf" { Some(found) } else { leaf };
    }
    let parents = top.components().count() - 1;
    assert_eq!(count, parents + 2 * DEPTH + 1);
    // Other tests of this process open files too.
    assert!(most < before + limits::WALK_OPEN_MAX + 300, "{before} {most}");
    let leaf = leaf.unwrap();
    assert!(leaf.path.len() > 3 * 4096);
    let described = describe(&leaf, &Owners::load()).unwrap();
    assert_eq!((described.lost, described.entry.path.len()), (None, leaf.path.len()));
    assert_eq!(ContentReader::open(&leaf).unwrap().size(), 0);
    remove_deep(&top);
}

/// `remove_dir_all` of the standard library gives up where paths end.
fn remove_deep(top: &Path) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut at = openat(CWD, top, flags, Mode::empty()).unwrap();
    let mut depth = 0;
    while let Ok(next) = openat(&at, "dir", flags, Mode::empty()) {
        unlinkat(&at, "zz", AtFlags::REMOVEDIR).unwrap();
        at = next;
        depth += 1;
    }
    unlinkat(&at, "leaf", AtFlags::empty()).unwrap();
    for _ in 0..depth {
        at = openat(&at, "..", flags, Mode::empty()).unwrap();
        unlinkat(&at, "dir", AtFlags::REMOVEDIR).unwrap();
    }
}

#[test]
fn a_path_beyond_the_limit_is_reported_and_not_entered() {
    const DEPTH: usize = 257;
    let (_scratch, base) = tree(&["top/"]);
    let top = base.join("top");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let name = "n".repeat(255);
    let mut at = openat(CWD, &top, flags, Mode::empty()).unwrap();
    for _ in 0..DEPTH {
        mkdirat(&at, &*name, Mode::RWXU).unwrap();
        at = openat(&at, &*name, flags, Mode::empty()).unwrap();
    }
    let (found, skipped) = walk(&options(&top));
    assert!(found.iter().all(|found| found.path.len() <= limits::PATH_BYTES_MAX));
    assert_eq!(skipped.len(), 1);
    assert_eq!(skipped[0].code, Code::LimitExceeded);
    for _ in 0..DEPTH {
        at = openat(&at, "..", flags, Mode::empty()).unwrap();
        unlinkat(&at, &*name, AtFlags::REMOVEDIR).unwrap();
    }
}
