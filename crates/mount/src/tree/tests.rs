//! The tree as the kernel would walk and read it.

use super::*;
use crate::{
    double::{Books, Double, Hand, Made, noise},
    nodes::ROOT,
    point::{Listed, Listing},
};
use holdfast_seal::manifest::entry::{Entry, EntryKind, FLAG_ON_THE_WAY, Xattr};
use proptest::prelude::*;
use std::{sync::atomic::Ordering::Relaxed, thread};

const POINT: PointId = PointId::from_bytes([1; 16]);

struct Scene {
    books: Arc<Books>,
    clock: Arc<Hand>,
    tree: Tree,
}

fn mounted(point: &Arc<Double>, shown: Shown) -> Scene {
    let (books, clock) = (Books::of(&[(1, point), (2, point)]), Arc::new(Hand::default()));
    let options = Options { shown, cache_bytes: 0, ..Options::default() };
    let tree = Tree::new(books.clone(), clock.clone(), options).unwrap();
    Scene { books, clock, tree }
}

impl Scene {
    fn at(&self, path: &str) -> Answer<(u64, Node)> {
        let mut found = (ROOT, self.tree.node(ROOT)?);
        for name in path.split('/').filter(|name| !name.is_empty()) {
            found = self.tree.look_up(found.0, name.as_bytes())?;
        }
        Ok(found)
    }

    fn names(&self, path: &str) -> Vec<String> {
        let handle = self.tree.open_directory(self.at(path).unwrap().0).unwrap();
        let directory = self.tree.directory(handle).unwrap();
        let child = |at| self.tree.child(&directory, at).unwrap();
        let names = (0..).map_while(child).map(|child| String::from_utf8(child.name).unwrap());
        let names = names.collect();
        self.tree.close(handle);
        names
    }

    fn content(&self, path: &str, offset: u64, length: usize) -> Answer<Vec<u8>> {
        let handle = self.tree.open_file(self.at(path)?.0)?;
        let read = self.tree.read(handle, offset, length);
        self.tree.close(handle);
        read
    }
}

/// A file by its size and what of it is data.
fn shape() -> impl Strategy<Value = (usize, Option<Vec<(usize, usize)>>, usize)> {
    let cuts = prop::collection::vec(0usize..60_000, 0..12);
    (1usize..60_000, prop::option::of(cuts), 7usize..9_000).prop_map(|(size, cuts, chunk)| {
        let data = cuts.map(|cuts| {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut % size).collect();
            cuts.sort_unstable();
            cuts.dedup();
            cuts.chunks_exact(2).map(|pair| (pair[0], pair[1] - pair[0])).collect()
        });
        (size, data, chunk)
    })
}

fn with_holes(size: usize, data: Option<&Vec<(usize, usize)>>) -> Vec<u8> {
    let bytes = noise(size as u64, size);
    let Some(data) = data else { return bytes };
    let mut holed = vec![0; size];
    for (at, length) in data {
        holed[*at..at + length].copy_from_slice(&bytes[*at..at + length]);
    }
    holed
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_range_of_any_file_is_its_bytes(
        (size, data, chunk) in shape(),
        asked in prop::collection::vec((0u64..70_000, 0usize..70_000), 1..12),
    ) {
        let right = with_holes(size, data.as_ref());
        let mut made = Made::default();
        made.file("/file", &right, chunk, data.clone());
        let scene = mounted(&made.point(), Shown::Point(POINT));
        let handle = scene.tree.open_file(scene.at("/file").unwrap().0).unwrap();
        let expected = |at: u64, length: usize| {
            let from = right.len().min(at as usize);
            right[from..right.len().min(from + length)].to_vec()
        };
        thread::scope(|scope| {
            for half in asked.chunks(asked.len().div_ceil(2)) {
                let tree = &scene.tree;
                scope.spawn(move || for (at, length) in half {
                    let read = tree.read(handle, *at, *length).unwrap();
                    assert!(read == expected(*at, *length), "{length} bytes from {at} on");
                });
            }
        });
        // Where data and holes are, by the definition.
        let is_data = |at: usize| data.as_ref().is_none_or(|data| {
            data.iter().any(|(from, length)| (*from..from + length).contains(&at))
        });
        for (at, _) in asked {
            let rest = || at as usize..size;
            let next = rest().find(|at| is_data(*at)).map(|at| at as u64);
            prop_assert_eq!(scene.tree.seek(handle, at, Seek::Data).unwrap(), next);
            let hole = rest().find(|at| !is_data(*at)).unwrap_or(size) as u64;
            let hole = (at < size as u64).then_some(hole);
            prop_assert_eq!(scene.tree.seek(handle, at, Seek::Hole).unwrap(), hole);
        }
    }
}

#[test]
fn a_file_whose_chunks_fill_pages_of_their_own_is_its_bytes() {
    let right = noise(9, 60_000);
    let mut made = Made::default();
    made.file("/file", &right, 7, None);
    let scene = mounted(&made.point(), Shown::Point(POINT));
    for (at, length) in
        [(0, 60_000), (28_665, 14), (28_671, 1), (28_672, 1), (59_999, 9), (60_000, 1)]
    {
        let end = right.len().min(at + length);
        assert_eq!(scene.content("/file", at as u64, length).unwrap(), right[at..end], "{at}");
    }
}

#[test]
fn a_chunk_whose_content_is_wrong_is_no_byte_and_is_told_once() {
    let mut made = Made::default();
    let right = noise(1, 3000);
    let file = made.file("/file", &right, 1000, None);
    let chunks = file.content.clone().unwrap().chunks.unwrap();
    let scene = mounted(&made.point(), Shown::Point(POINT));
    let point = Arc::clone(&lock(&scene.books.points)[&POINT]);
    lock(&point.damaged).insert(chunks[1].id);
    for _ in 0..3 {
        assert_eq!(scene.content("/file", 500, 1000), Err(Refused::Unreadable));
        assert_eq!(scene.content("/file", 0, 1000).unwrap(), right[..1000]);
        assert_eq!(scene.content("/file", 2000, 1000).unwrap(), right[2000..]);
    }
    let told = lock(&scene.books.told);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].path, b"/file");
    assert_eq!(told[0].error.code, holdfast_common::Code::ChunkDamaged);
}

#[test]
fn whoever_reads_in_order_finds_the_rest_at_hand() {
    let right = noise(1, 6 << 20);
    let mut made = Made::default();
    made.file("/file", &right, 100_000, None);
    let scene = mounted(&made.point(), Shown::Point(POINT));
    let point = Arc::clone(&lock(&scene.books.points)[&POINT]);
    let handle = scene.tree.open_file(scene.at("/file").unwrap().0).unwrap();
    for at in [0, 100_000] {
        scene.tree.read(handle, at, 100_000).unwrap();
    }
    let all = right.len().div_ceil(100_000);
    while point.opened.load(Relaxed) < all {
        thread::yield_now();
    }
    assert_eq!(scene.tree.read(handle, 0, right.len()).unwrap(), right);
    assert_eq!(point.opened.load(Relaxed), all, "nothing was fetched twice");
}

#[test]
fn a_large_directory_is_read_by_pages_forth_and_back() {
    let mut made = Made::default();
    for number in 0..2500 {
        made.add(Made::entry(EntryKind::File, &format!("/dir/{number:04}")));
    }
    // A file of its own, and a directory that has no entry but something in it.
    made.add(Made::entry(EntryKind::File, "/dir-2"));
    made.add(Made::entry(EntryKind::File, "/dir/2500/below"));
    let scene = mounted(&made.point(), Shown::Point(POINT));
    assert_eq!(scene.names("/"), ["dir", "dir-2"]);
    assert_eq!(scene.names("/dir").len(), 2501);
    assert_eq!(scene.names("/dir/2500"), ["below"]);
    assert_eq!(scene.at("/dir/2500").unwrap().1.attributes.kind, EntryKind::Directory);
    let handle = scene.tree.open_directory(scene.at("/dir").unwrap().0).unwrap();
    let directory = scene.tree.directory(handle).unwrap();
    for at in [2499, 0, 127, 128, 1024, 1023, 2500, 3, 2501, 9999, 1025] {
        let found = scene.tree.child(&directory, at).unwrap().map(|child| child.name);
        let expected = (at <= 2500).then(|| format!("{at:04}").into_bytes());
        assert_eq!(found, expected, "{at}");
    }
}

#[test]
fn the_names_of_a_hard_link_are_one_inode_with_its_content() {
    let mut made = Made::default();
    let right = noise(1, 3000);
    made.file("/a", &right, 1000, None).hardlink_group = Some(1);
    for name in ["/b", "/c/d"] {
        let later = made.add(Made::entry(EntryKind::File, name));
        (later.hardlink_group, later.size) = (Some(1), 3000);
    }
    let scene = mounted(&made.point(), Shown::Point(POINT));
    let (first, node) = scene.at("/a").unwrap();
    assert_eq!((node.attributes.names, node.attributes.bytes), (3, 3000));
    for name in ["/b", "/c/d"] {
        let (number, later) = scene.at(name).unwrap();
        assert_eq!((number, &later.attributes), (first, &node.attributes));
        assert_eq!(scene.content(name, 0, 9999).unwrap(), right);
    }
}

#[test]
fn names_that_nobody_could_be_asked_for_are_not_counted_as_none() {
    let mut made = Made::default();
    made.file("/a", &noise(1, 3000), 1000, None).hardlink_group = Some(1);
    for name in ["/b", "/c"] {
        let later = made.add(Made::entry(EntryKind::File, name));
        (later.hardlink_group, later.size) = (Some(1), 3000);
    }
    let point = made.point();
    let scene = mounted(&point, Shown::Point(POINT));
    let mut refused = 0;
    for left in 0.. {
        point.pages_left.store(left, Relaxed);
        match scene.at("/a") {
            Ok((_, node)) => {
                assert_eq!(node.attributes.names, 3, "after {left} pages");
                break;
            }
            Err(why) => assert_eq!(why, Refused::Unreadable),
        }
        refused += 1;
    }
    assert!(refused > 1, "it was asked for while the names were counted");
}

#[test]
fn to_ask_how_large_it_is_is_no_reading() {
    let mut made = Made::default();
    made.file("/a", &noise(1, 3000), 1000, None);
    let scene = mounted(&made.point(), Shown::Point(POINT));
    let before = scene.tree.totals();
    scene.clock.go_on(limits::MOUNT_IDLE_SECS / 2);
    scene.tree.totals();
    scene.clock.go_on(limits::MOUNT_IDLE_SECS / 2);
    scene.tree.keep();
    *lock(&scene.books.away) = Some(Error::new(holdfast_common::Code::ClusterUnreachable, "away"));
    assert_eq!(scene.tree.totals(), before);
    assert_eq!(*lock(&scene.books.opened), [POINT], "nobody has read, and it was not held");
}

/// As a restore has it: a file that was replaced between the two looks at its names.
#[test]
fn what_was_another_file_when_it_was_saved_is_no_name_of_it() {
    let mut made = Made::default();
    let right = noise(1, 3000);
    made.file("/a", &right, 1000, None).hardlink_group = Some(1);
    for (name, size, mtime_ns) in [("/later", 3000, 6), ("/longer", 3001, 5), ("/same", 3000, 5)] {
        let later = made.add(Made::entry(EntryKind::File, name));
        (later.hardlink_group, later.size, later.mtime_ns) = (Some(1), size, mtime_ns);
    }
    // Two that say the same and hold different bytes are one inode, whose pages are kept: the
    // content is that of the first.
    made.file("/own", &noise(2, 3000), 1000, None).hardlink_group = Some(1);
    made.file("/other", &noise(3, 2000), 1000, None).hardlink_group = Some(1);
    for name in ["/x", "/y"] {
        made.add(Made::entry(EntryKind::Directory, name)).hardlink_group = Some(1);
    }
    let scene = mounted(&made.point(), Shown::Point(POINT));
    let number = |name| scene.at(name).unwrap().0;
    for name in ["/a", "/same", "/own"] {
        assert_eq!(number(name), number("/a"), "{name}");
        assert_eq!(scene.content(name, 0, 9999).unwrap(), right, "{name}");
        assert_eq!(scene.at(name).unwrap().1.attributes.names, 3, "{name}");
    }
    for name in ["/later", "/longer", "/other"] {
        assert_ne!(number(name), number("/a"), "{name}");
        assert_eq!(scene.content(name, 0, 9999), Err(Refused::Unreadable), "{name}");
        assert_eq!(scene.at(name).unwrap().1.attributes.names, 1, "{name}");
    }
    assert_ne!(number("/x"), number("/y"), "a directory has one name");
    let told = lock(&scene.books.told);
    assert!(told.iter().all(|told| told.error.code == holdfast_common::Code::FileChanged));
}

#[test]
fn everything_that_an_entry_knows_is_shown() {
    let mut made = Made::default();
    let xattr = Xattr { name: b"user.x".to_vec().into(), value: vec![0, 255].into() };
    let top = made.add(Made::entry(EntryKind::Directory, "/"));
    top.mode = 0o1777;
    let link = made.add(Made::entry(EntryKind::Symlink, "/link"));
    link.link_target = Some(b"some\xffwhere".to_vec().into());
    made.add(Made::entry(EntryKind::Directory, "/way")).flags = Some(FLAG_ON_THE_WAY);
    let file = made.add(Made::entry(EntryKind::File, "/hole"));
    (file.size, file.xattrs) = (1 << 40, Some(vec![xattr.clone()]));
    let scene = mounted(&made.point(), Shown::Point(POINT));
    assert_eq!(scene.at("/").unwrap().1.attributes.mode, 0o1777);
    let (number, node) = scene.at("/link").unwrap();
    assert_eq!(scene.tree.read_link(number).unwrap(), b"some\xffwhere");
    assert_eq!((node.attributes.size, node.attributes.uid, node.attributes.gid), (10, 7, 8));
    assert_eq!((node.attributes.mtime_ns, node.attributes.ctime_ns), (5, 6));
    let (_, node) = scene.at("/way").unwrap();
    assert_eq!(node.attributes.mtime_ns, scene.tree.options.since.as_nanos());
    let (number, node) = scene.at("/hole").unwrap();
    assert_eq!((node.attributes.size, node.attributes.bytes), (1 << 40, 0));
    assert_eq!(scene.tree.xattrs(&node).unwrap(), [xattr]);
    assert_eq!(scene.tree.xattr(number, b"user.x").unwrap(), [0, 255]);
    assert_eq!(scene.tree.xattr(number, b"user.y"), Err(Refused::NoAttribute));
    assert_eq!(scene.content("/hole", (1 << 40) - 5, 99).unwrap(), [0; 5]);
    assert_eq!(scene.at("/missing").err(), Some(Refused::Missing));
    assert_eq!(scene.at("/link/below").err(), Some(Refused::NotADirectory));
    assert_eq!(scene.tree.totals(), (4, 0));
}

fn listed(id: u8, seconds: i64, policy: Option<&str>) -> Listed {
    let time = Timestamp::from_nanos(seconds * 1_000_000_000);
    Listed { point: PointId::from_bytes([id; 16]), time, policy: policy.map(Into::into) }
}

#[test]
fn all_points_are_shown_and_new_ones_when_somebody_looks() {
    let mut made = Made::default();
    made.file("/file", b"content", 100, None);
    let point = made.point();
    let scene = mounted(&point, Shown::All);
    assert_eq!(scene.names("/"), ["by-policy", "by-time", "points"]);
    assert!(scene.names("/points").is_empty() && scene.names("/by-policy").is_empty());
    let first = listed(1, 86_400, Some("nightly"));
    *lock(&scene.books.listing) = Listing { latest: Some(first.point), points: vec![first] };
    assert!(scene.names("/points").is_empty(), "the list is young");
    scene.clock.go_on(limits::MOUNT_REFRESH_SECS);
    assert_eq!(scene.names("/"), ["by-policy", "by-time", "points", "latest"]);
    let id = POINT.to_string();
    assert_eq!(scene.names("/points"), [id.as_str()]);
    assert_eq!(scene.names("/by-policy/nightly"), ["1970-01-02T00-00-00Z", "latest"]);
    let link = |path: &str| {
        let (number, _) = scene.at(path).unwrap();
        String::from_utf8(scene.tree.read_link(number).unwrap()).unwrap()
    };
    assert_eq!(link("/latest"), format!("points/{id}"));
    assert_eq!(link("/by-time/1970-01-02T00-00-00Z"), format!("../points/{id}"));
    let of_policy = link("/by-policy/nightly/1970-01-02T00-00-00Z");
    assert_eq!(of_policy, format!("../../points/{id}"));
    assert_eq!(link("/by-policy/nightly/latest"), "1970-01-02T00-00-00Z");
    assert!(lock(&scene.books.opened).is_empty(), "nothing is opened for a list");
    assert_eq!(scene.content(&format!("/points/{id}/file"), 0, 99).unwrap(), b"content");
    assert_eq!(*lock(&scene.books.opened), [POINT]);
    assert_eq!(scene.at(&format!("/points/{}", "02".repeat(16))).err(), Some(Refused::Missing));
}

#[test]
fn the_list_is_not_old_for_long_because_nobody_answered_for_long() {
    let scene = mounted(&Made::default().point(), Shown::All);
    scene.clock.go_on(limits::MOUNT_REFRESH_SECS);
    *lock(&scene.books.slow) = Some((scene.clock.clone(), 60));
    assert!(scene.names("/points").is_empty());
    *lock(&scene.books.slow) = None;
    let new = listed(1, 86_400, None);
    *lock(&scene.books.listing) = Listing { latest: None, points: vec![new] };
    assert!(scene.names("/points").is_empty(), "what takes long is asked for less often");
    scene.clock.go_on(limits::MOUNT_REFRESH_SECS_MAX);
    assert_eq!(scene.names("/points").len(), 1);
}

#[test]
fn a_point_that_is_not_there_cannot_be_mounted() {
    let point = Made::default().point();
    let (books, clock) = (Books::of(&[(2, &point)]), Arc::new(Hand::default()));
    let options = Options { shown: Shown::Point(POINT), ..Options::default() };
    let refused = Tree::new(books, clock, options).err().unwrap();
    assert_eq!(refused.code, holdfast_common::Code::PointMissing);
}

#[test]
fn an_entry_whose_chunks_do_not_fit_its_ranges_is_refused() {
    let mut made = Made::default();
    made.file("/file", &noise(1, 100), 100, None).size = 99;
    let good = made.file("/good", &noise(2, 100), 100, None).clone();
    made.add(Entry { path: b"/longer".to_vec().into(), size: 101, ..good });
    let scene = mounted(&made.point(), Shown::Point(POINT));
    for path in ["/file", "/longer"] {
        assert_eq!(scene.content(path, 0, 10), Err(Refused::Unreadable), "{path}");
    }
    assert_eq!(scene.content("/good", 0, 10).unwrap(), noise(2, 100)[..10]);
}
