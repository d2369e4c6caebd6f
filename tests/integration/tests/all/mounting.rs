//! Points that are mounted: what was backed up is there to be read, and nothing else is.

use crate::{
    cluster::Cluster,
    harness::{
        Damage, Dev, Mount, Objects, Outcome, Scratch, Tree, binary, noise, set_xattr, wait_until,
        write,
    },
    members::scene::Members,
};
use rustix::{
    fs::{CWD, FileType, Mode, SeekFrom, makedev, mknodat, seek},
    process::Signal,
};
use std::{
    ffi::OsStr,
    fs::{self, File, Permissions},
    io::{Read, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::{Duration, UNIX_EPOCH},
};

const PATIENCE: Duration = Duration::from_secs(60);
const NOBODY: u32 = 65_534;
const EIO: i32 = 5;
const EROFS: i32 = 30;

/// Every kind of thing that a file system can hold.
fn furnish(root: &Path) {
    write(&root.join("small"), "a few bytes");
    write(&root.join("empty"), "");
    write(&root.join("large"), noise(1, 9_000_000));
    write(&root.join("text"), "the same line again and again\n".repeat(100_000));
    write(&root.join("deep/er/and/deeper/file"), noise(2, 70_000));
    write(&root.join(OsStr::from_bytes(b"not \xff utf-8 \xfe")), "named by bytes");
    write(&root.join("new\nline and \t tab"), "odd names are names");
    for number in 0..1500 {
        write(&root.join(format!("many/{number:04}")), format!("file {number}"));
    }
    fs::create_dir_all(root.join("no entries")).unwrap();
    symlink("small", root.join("link")).unwrap();
    symlink("/nowhere/at all", root.join("dangling")).unwrap();
    symlink(OsStr::from_bytes(b"\xff"), root.join("a link of bytes")).unwrap();
    for name in ["large too", "deep/large as well"] {
        fs::hard_link(root.join("large"), root.join(name)).unwrap();
    }
    for (name, kind, number) in [
        ("fifo", FileType::Fifo, 0),
        ("socket", FileType::Socket, 0),
        ("character", FileType::CharacterDevice, makedev(1, 3)),
        ("block", FileType::BlockDevice, makedev(259, 70_000)),
    ] {
        mknodat(CWD, root.join(name), kind, Mode::from_raw_mode(0o640), number).unwrap();
    }
    for (name, mode) in [("small", 0o4751), ("many", 0o1777), ("empty", 0), ("text", 0o600)] {
        fs::set_permissions(root.join(name), Permissions::from_mode(mode)).unwrap();
    }
    chown(root.join("text"), Some(1234), Some(4321)).unwrap();
    set_xattr(&root.join("text"), "user.holdfast", b"\x00\xffvalue");
    set_xattr(&root.join("deep"), "user.of a directory", b"");
    let rights = acl(&[(1, 7, !0), (2, 4, 1234), (4, 5, !0), (0x10, 5, !0), (0x20, 1, !0)]);
    set_xattr(&root.join("small"), "system.posix_acl_access", &rights);
    sparse(&root.join("sparse"));
    for (name, seconds, nanos) in
        [("small", 981_173_106, 123_456_789), ("deep/er", 1, 1), ("text", -77, 500)]
    {
        let base = if seconds < 0 { UNIX_EPOCH - Duration::from_secs(77) } else { UNIX_EPOCH };
        let time = base + Duration::new(seconds.max(0) as u64, nanos);
        File::open(root.join(name)).unwrap().set_modified(time).unwrap();
    }
}

/// A list of rights as the kernel keeps it: whose (1 the owner, 2 a user, 4 the group, 16 the mask,
/// 32 others), what, and the user's number.
fn acl(rows: &[(u16, u16, u32)]) -> Vec<u8> {
    let row = |(tag, rights, id): &(u16, u16, u32)| {
        [&tag.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    [2u32.to_le_bytes().to_vec(), rows.iter().flat_map(row).collect()].concat()
}

fn sparse(path: &Path) {
    let file = File::create(path).unwrap();
    file.set_len(64 << 20).unwrap();
    file.write_all_at(b"an island", 20 << 20).unwrap();
    file.write_all_at(&noise(3, 100_000), 50 << 20).unwrap();
}

struct Scene {
    scratch: Scratch,
    source: PathBuf,
    dev: Dev,
    point: String,
}

fn prepare(furnish: impl FnOnce(&Path)) -> Scene {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    fs::create_dir(&source).unwrap();
    furnish(&source);
    let dev = Dev::start(&scratch.join("d"));
    let point = dev.backup(&source);
    Scene { scratch, source, dev, point }
}

impl Scene {
    fn mount(&self, arguments: &[&str]) -> Mount {
        Mount::start(&self.dev.context(), arguments, &self.scratch.join("mnt"))
    }
}

/// Where data and holes begin, in turn.
fn edges(path: &Path) -> Vec<u64> {
    let (file, mut edges) = (File::open(path).unwrap(), vec![0]);
    loop {
        let at = *edges.last().unwrap();
        let whence = if edges.len() % 2 == 1 { SeekFrom::Data(at) } else { SeekFrom::Hole(at) };
        match seek(&file, whence) {
            Ok(next) => edges.push(next),
            Err(_) => return edges,
        }
    }
}

#[test]
fn a_mounted_point_is_the_tree_that_was_backed_up() {
    let scene = prepare(furnish);
    let right = Tree::of(&scene.source);
    let mount = scene.mount(&[&scene.point]);
    let there = mount.at(&scene.source);
    right.assert_same(&Tree::of(&there), "mounted");
    for path in right.0.keys() {
        let (ours, theirs) = (scene.source.join(path), there.join(path));
        let (ours, theirs) =
            (fs::symlink_metadata(ours).unwrap(), fs::symlink_metadata(theirs).unwrap());
        assert_eq!(ours.rdev(), theirs.rdev(), "{path:?}");
        assert_eq!((ours.ctime(), ours.ctime_nsec()), (theirs.ctime(), theirs.ctime_nsec()));
        if !ours.is_dir() {
            assert_eq!(ours.nlink(), theirs.nlink(), "{path:?}");
        }
    }
    let sparse = there.join("sparse");
    assert_eq!(edges(&sparse), edges(&scene.source.join("sparse")));
    assert!(fs::metadata(&sparse).unwrap().blocks() * 512 < 1 << 20, "holes take no room");
    // What is above what was backed up is there as well, and a second look finds the same numbers.
    assert_eq!(fs::read_dir(&mount.dir).unwrap().count(), 1);
    let number = |path: &Path| fs::metadata(path).unwrap().ino();
    assert_eq!(number(&there.join("large")), number(&there.join("deep/large as well")));
    assert_eq!(mount.log(), "", "nothing went wrong");
}

#[test]
fn any_range_of_a_file_is_read_by_several_at_once() {
    let right = noise(7, 30_000_000);
    let scene = prepare(|source| write(&source.join("file"), &right));
    let mount = scene.mount(&["--cache", "16M", &scene.point]);
    let file = File::open(mount.at(&scene.source).join("file")).unwrap();
    thread::scope(|scope| {
        for reader in 0..4u64 {
            let (file, right) = (&file, &right);
            scope.spawn(move || {
                let dice = noise(reader, 16 * 60);
                for pair in dice.chunks_exact(16) {
                    let number =
                        |at: usize| u64::from_le_bytes(pair[at..at + 8].try_into().unwrap());
                    let from = (number(0) % right.len() as u64) as usize;
                    let length = (number(8) % 500_000) as usize;
                    let end = right.len().min(from + length);
                    let mut read = vec![0; end - from];
                    file.read_exact_at(&mut read, from as u64).unwrap();
                    assert!(read == right[from..end], "{length} bytes from {from} on");
                }
            });
        }
        let mut whole = Vec::new();
        File::open(mount.at(&scene.source).join("file")).unwrap().read_to_end(&mut whole).unwrap();
        assert!(whole == right, "from its beginning to its end");
    });
}

#[test]
fn nothing_can_be_written() {
    let scene = prepare(|source| write(&source.join("file"), "content"));
    let mount = scene.mount(&[&scene.point]);
    let there = mount.at(&scene.source);
    let file = there.join("file");
    let refusals = [
        fs::write(there.join("new"), "x"),
        File::options().append(true).open(&file).map(drop),
        fs::create_dir(there.join("dir")),
        fs::remove_file(&file),
        fs::rename(&file, there.join("other")),
        fs::hard_link(&file, there.join("other")),
        symlink("file", there.join("other")),
        fs::set_permissions(&file, Permissions::from_mode(0o777)),
        chown(&file, Some(1), None),
        File::open(&file).unwrap().set_modified(UNIX_EPOCH),
    ];
    for (number, refused) in refusals.into_iter().enumerate() {
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(EROFS), "attempt {number}");
    }
    assert!(!set_xattr(&file, "user.x", b"y"));
    assert_eq!(fs::read(&file).unwrap(), b"content");
    let list = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let row = list.lines().find(|row| row.contains(mount.dir.to_str().unwrap())).unwrap();
    for option in ["ro,", "nosuid", "nodev"] {
        assert!(row.contains(option), "{option}: {row}");
    }
}

#[test]
fn a_damaged_chunk_is_an_error_and_never_a_wrong_byte() {
    let files = 6u64;
    let right = |number: u64| noise(number, 900_000);
    let scene = prepare(|source| {
        (0..files).for_each(|number| write(&source.join(number.to_string()), right(number)));
    });
    let objects = Objects::of(&scene.dev.dir.join("location"));
    let undo = objects.damage(&objects.below("packs")[0], Damage::FlipMiddle);
    let mount = scene.mount(&[&scene.point]);
    let there = mount.at(&scene.source);
    let read = |number: u64| fs::read(there.join(number.to_string()));
    let mut damaged = Vec::new();
    for number in 0..files {
        match read(number) {
            Ok(bytes) => assert!(bytes == right(number), "{number} has wrong bytes"),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(EIO), "{number}");
                damaged.push(number);
            }
        }
    }
    assert_eq!(damaged.len(), 1, "one flipped bit takes one chunk away");
    assert!(read(damaged[0]).is_err());
    let told = mount.log();
    let name = scene.source.join(damaged[0].to_string());
    assert_eq!(told.matches("cannot be read").count(), 1, "once: {told}");
    assert!(told.contains(name.to_str().unwrap()) && told.contains(&scene.point), "{told}");
    assert!(told.contains("chunk.content_damaged") || told.contains("pack."), "{told}");
    drop(undo);
    let healed = || read(damaged[0]).ok();
    assert!(wait_until("it can be read again", PATIENCE, healed) == right(damaged[0]));
}

#[test]
fn readers_go_on_when_the_coordinator_comes_back() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut cluster = Cluster::start_at(&free.to_string(), "coordinator", &["location"]);
    let agent = cluster.agent("one");
    let source = cluster.scratch.join("source");
    for number in 0..4 {
        write(&source.join(number.to_string()), noise(number, 3_000_000));
    }
    let made = cluster.run(&["backup", "--path", source.to_str().unwrap()]).ok().object();
    let point = made["point"].as_str().unwrap();
    let context = cluster.scratch.join("c/operator.toml");
    let mount = Mount::start(&context, &[point], &cluster.scratch.join("mnt"));
    let there = mount.at(&source);
    let read = |number: u64| fs::read(there.join(number.to_string()));
    assert!(read(0).unwrap() == noise(0, 3_000_000));
    cluster.coordinator.kill_in_place();
    let late = thread::scope(|scope| {
        let late = scope.spawn(|| read(1).unwrap());
        cluster.coordinator = Cluster::coordinator(&cluster.scratch);
        late.join().unwrap()
    });
    assert!(late == noise(1, 3_000_000), "it was asked for while nobody was there");
    assert!(read(2).unwrap() == noise(2, 3_000_000));
    assert_eq!(mount.log(), "", "nobody noticed");
    drop(agent);
}

#[test]
fn readers_go_on_when_the_leader_is_killed() {
    let mut members = Members::three();
    let agent = members.agent("host");
    let source = members.scratch.join("source");
    for number in 0..3 {
        write(&source.join(number.to_string()), noise(number, 3_000_000));
    }
    let made = members.run(&["backup", "--path", source.to_str().unwrap()]).ok().object();
    let context = members.scratch.join("c/operator.toml");
    let mount =
        Mount::start(&context, &[made["point"].as_str().unwrap()], &members.scratch.join("mnt"));
    let read = |number: u64| fs::read(mount.at(&source).join(number.to_string())).unwrap();
    assert!(read(0) == noise(0, 3_000_000));
    members.kill(&members.leader());
    assert!(read(1) == noise(1, 3_000_000), "without the one that led");
    members.leader();
    assert!(read(2) == noise(2, 3_000_000), "with another one");
    assert_eq!(mount.log(), "", "nobody noticed");
    drop(agent);
}

fn applied(scene: &Scene) {
    let file = scene.scratch.join("nightly.toml");
    let policy = format!(
        "kind=\"policy\"\nname=\"nightly\"\n[spec]\nagent=\"local\"\nvault=\"main\"\n\
         source={{type=\"files\", paths=[\"{}\"]}}\nlocations={{required=[\"main\"]}}\n",
        scene.source.display()
    );
    write(&file, policy);
    scene.dev.json(&["apply", "-f", file.to_str().unwrap()]).ok();
}

fn names(dir: &Path) -> Vec<String> {
    let listed = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        listed.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn all_points_are_shown_by_time_and_by_policy_and_new_ones_appear() {
    let scene = prepare(|source| write(&source.join("file"), "before"));
    let mount = scene.mount(&[]);
    assert_eq!(names(&mount.dir), ["by-policy", "by-time", "latest", "points"]);
    assert_eq!(names(&mount.dir.join("points")), [scene.point.as_str()]);
    assert!(names(&mount.dir.join("by-policy")).is_empty(), "it was made by no policy");
    let inside = scene.source.strip_prefix("/").unwrap();
    let content = |at: &str| fs::read_to_string(mount.dir.join(at).join(inside).join("file")).ok();
    assert_eq!(content("latest").unwrap(), "before");

    applied(&scene);
    write(&scene.source.join("file"), "after");
    let made = scene.dev.json(&["backup", "nightly"]).ok().object();
    let second = made["point"].as_str().unwrap();
    let appeared = || content("by-policy/nightly/latest");
    assert_eq!(wait_until("the new point is shown", PATIENCE, appeared), "after");
    let shown = names(&mount.dir.join("by-policy/nightly"));
    assert_eq!((shown.len(), shown[1].as_str()), (2, "latest"), "{shown:?}");
    let link = fs::read_link(mount.dir.join("by-policy/nightly").join(&shown[0])).unwrap();
    assert_eq!(link, Path::new("../../points").join(second));
    assert_eq!(names(&mount.dir.join("by-time")).len(), 2);
    for time in names(&mount.dir.join("by-time")) {
        assert!(content(&format!("by-time/{time}")).is_some(), "{time}");
    }
    assert_eq!(content(&format!("points/{}", scene.point)).unwrap(), "before");
    let gone = || fs::read_link(mount.dir.join("latest")).is_err().then_some(());
    wait_until("`latest` of two sources is none", PATIENCE, gone);
    mount.unmount();
    assert_eq!(mount.end().code(), Some(0));

    let of_policy = scene.mount(&["--policy", "nightly"]);
    assert_eq!(names(&of_policy.dir.join("points")), [second]);
    assert_eq!(
        fs::read_link(of_policy.dir.join("latest")).unwrap(),
        Path::new("points").join(second)
    );
}

#[test]
fn it_ends_when_it_is_unmounted_and_when_it_is_told_to() {
    let scene = prepare(|source| write(&source.join("file"), noise(1, 3_000_000)));
    let sessions = |action: &str| {
        let told = scene.dev.json(&["audit", "list"]).ok().object();
        let rows = told["entries"].as_array().unwrap().clone();
        rows.iter().filter(|row| row["action"] == action).count()
    };
    let ended = sessions("session.end");
    let mount = scene.mount(&[&scene.point]);
    mount.unmount();
    assert_eq!(mount.end().code(), Some(0));
    for (number, signal) in [(1, Signal::TERM), (2, Signal::INT)] {
        let mount = scene.mount(&[&scene.point]);
        mount.signal(signal);
        assert_eq!(mount.end().code(), Some(0), "{signal:?}");
        assert!(!mount.is_mounted());
        assert_eq!(sessions("session.end") - ended, number + 1, "it let go of the point");
    }
    // Whoever has a file open does not keep it, nor is kept waiting.
    let mount = scene.mount(&[&scene.point]);
    let mut open = File::open(mount.at(&scene.source).join("file")).unwrap();
    mount.signal(Signal::TERM);
    assert_eq!(mount.end().code(), Some(0));
    assert!(!mount.is_mounted() && names(&mount.dir).is_empty());
    assert!(open.read_to_end(&mut Vec::new()).is_err());
}

#[test]
fn memory_has_a_bound_however_large_a_file_is() {
    let length = 160 << 20;
    let scene = prepare(|source| {
        let mut file = File::create(source.join("file")).unwrap();
        (0..160).for_each(|seed| file.write_all(&noise(seed, 1 << 20)).unwrap());
    });
    let mount = scene.mount(&["--cache", "16M", &scene.point]);
    let before = mount.resident_bytes_max();
    let mut file = File::open(mount.at(&scene.source).join("file")).unwrap();
    let (mut block, mut read) = (vec![0; 1 << 20], 0);
    for seed in 0..160 {
        file.read_exact(&mut block).unwrap();
        assert!(block == noise(seed, 1 << 20), "MiB {seed}");
        read += block.len();
    }
    assert_eq!(read, length);
    let grown = mount.resident_bytes_max() - before;
    assert!(grown < 96 << 20, "it grew by {} MiB", grown >> 20);
}

#[test]
fn a_point_that_nobody_reads_is_let_go_of_and_opened_again() {
    let scene = prepare(|source| {
        write(&source.join("a"), noise(1, 100_000));
        write(&source.join("b"), noise(2, 100_000));
    });
    let mount = scene.mount(&["--idle", "1s", &scene.point]);
    let there = mount.at(&scene.source);
    assert!(fs::read(there.join("a")).unwrap() == noise(1, 100_000));
    let count = |action: &str| {
        let told = scene.dev.json(&["audit", "list"]).ok().object();
        let rows = told["entries"].as_array().unwrap().clone();
        rows.iter().filter(|row| row["action"] == action).count()
    };
    let (begun, ended) = (count("point.read"), count("session.end"));
    wait_until("the point is let go of", PATIENCE, || (count("session.end") > ended).then_some(()));
    assert_eq!(count("point.read"), begun);
    assert!(fs::read(there.join("b")).unwrap() == noise(2, 100_000));
    assert_eq!(count("point.read"), begun + 1, "the next reader opened it");
}

/// Runs a command as somebody who is not root.
fn as_nobody(arguments: &[&str], path: &Path) -> Output {
    let mut command = Command::new(arguments[0]);
    command.args(&arguments[1..]).arg(path).uid(NOBODY).gid(NOBODY).output().unwrap()
}

#[test]
fn others_get_in_only_when_they_are_let_and_only_to_what_is_theirs_to_read() {
    let scene = prepare(|source| {
        // What is on the way to it is everybody's, on the host and so in the mount.
        fs::set_permissions(source.parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
        for (name, mode) in [("open", 0o644), ("closed", 0o600), ("listed", 0o640)] {
            write(&source.join(name), "content");
            fs::set_permissions(source.join(name), Permissions::from_mode(mode)).unwrap();
        }
        let nobody_no = [(1, 6, !0), (2, 0, NOBODY), (4, 4, !0), (0x10, 4, !0), (0x20, 4, !0)];
        set_xattr(&source.join("listed"), "system.posix_acl_access", &acl(&nobody_no));
    });
    let read = |mount: &Mount, name: &str| {
        as_nobody(&["cat"], &mount.at(&scene.source).join(name)).status.success()
    };
    let mount = scene.mount(&[&scene.point]);
    assert!(!read(&mount, "open"));
    mount.unmount();
    mount.end();
    let mount = scene.mount(&["--allow-other", &scene.point]);
    assert!(read(&mount, "open"));
    assert!(!read(&mount, "closed"), "its mode");
    assert!(!read(&mount, "listed"), "its list of rights");
}

#[test]
fn a_point_is_mounted_from_a_location_with_no_cluster() {
    let scene = prepare(|source| write(&source.join("file"), noise(1, 3_000_000)));
    let location = format!("local:{}", scene.dev.dir.join("location").display());
    let kek = format!("file:{}", scene.dev.dir.join("kek").display());
    let context = scene.dev.context();
    let Scene { scratch, source, dev, point } = scene;
    assert_eq!(dev.service.stop().code(), Some(0));
    let from = ["--from-location", &location, "--kek", &kek];
    let mount = Mount::start(&context, &from, &scratch.join("mnt"));
    let inside = source.strip_prefix("/").unwrap();
    let read = |at: &Path| fs::read(mount.dir.join(at).join(inside).join("file")).unwrap();
    assert!(read(&Path::new("points").join(point)) == noise(1, 3_000_000));
    assert!(read(Path::new("latest")) == noise(1, 3_000_000));
}

#[test]
fn what_cannot_be_mounted_is_refused_with_its_reason() {
    let scene = prepare(|source| write(&source.join("file"), "content"));
    let (empty, taken) = (scene.scratch.join("empty"), scene.scratch.join("taken"));
    fs::create_dir(&empty).unwrap();
    write(&taken.join("file"), "x");
    let run = |arguments: &[&str], dir: &Path| {
        scene.dev.json(&[&["mount"], arguments, &[dir.to_str().unwrap()]].concat())
    };
    run(&[&scene.point], &scene.scratch.join("missing")).fails(3, "file.path_missing");
    run(&[&scene.point], &taken).fails(4, "mount.directory_taken");
    run(&[&scene.point], &taken.join("file")).fails(4, "mount.directory_taken");
    run(&["00000000"], &empty).fails(3, "point.id_unknown");
    run(&["--cache", "1M", &scene.point], &empty).fails(2, "usage.argument_malformed");
    let mount = scene.mount(&[&scene.point]);
    run(&[&scene.point], &mount.dir).fails(4, "mount.directory_taken");
    // One whose process was killed is dead, and said to be.
    mount.signal(Signal::KILL);
    mount.end();
    let told = run(&[&scene.point], &mount.dir).ends(4).error();
    assert_eq!(told["code"], "mount.directory_taken", "{told}");
    assert!(told["next"].as_str().unwrap().contains("umount"), "{told}");
}

#[test]
fn where_the_kernel_lets_nobody_mount_that_is_said() {
    let scene = prepare(|source| write(&source.join("file"), "content"));
    let (dir, bare) = (scene.scratch.join("mnt"), scene.scratch.join("bare"));
    [&dir, &bare].into_iter().for_each(|dir| fs::create_dir(dir).unwrap());
    let (dir, binary) = (dir.to_str().unwrap(), binary());
    let mount = |by: &[&str]| {
        let mut command = Command::new(by[0]);
        command.args(&by[1..]).arg(&binary).args(["--output", "json", "mount", "latest", dir]);
        Outcome::of(Some(&scene.dev.context()), &mut command)
    };
    let without = format!("mount --bind {} /dev && exec \"$0\" \"$@\"", bare.display());
    mount(&["unshare", "-m", "sh", "-c", &without]).fails(4, "mount.device_missing");
    let unprivileged = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"];
    mount(&unprivileged).fails(4, "mount.permission_denied");
}

#[test]
fn points_that_are_mounted_are_not_backed_up_again() {
    let scene = prepare(|source| write(&source.join("file"), noise(1, 300_000)));
    let there = scene.source.join("points");
    let mount = Mount::start(&scene.dev.context(), &[&scene.point], &there);
    let backup = ["backup", "--path", scene.source.to_str().unwrap()];
    let made = scene.dev.json(&backup).ok().object();
    let listed = scene.dev.run(&["ls", made["point"].as_str().unwrap()]).ok();
    let listed = listed.text();
    assert!(listed.contains("source/file") && listed.contains("source/points"), "{listed}");
    assert!(!listed.contains("source/points/"), "{listed}");
    assert_eq!(made["state"], "done", "{made}");
    drop(mount);
}
