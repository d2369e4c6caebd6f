//! The end of a mount, whoever waits for it and whatever was mounted meanwhile.

use crate::harness::{Dev, Mount, Scratch, wait_until, write};
use rustix::{
    fs::{CWD, Dir, Mode, OFlags, openat},
    mount::{MountFlags, UnmountFlags, mount, unmount},
    process::{Resource, Rlimit, Signal, getrlimit, setrlimit},
};
use std::{
    cell::RefCell,
    fs::{self, File},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(60);
/// With paths as long as these, more than a mount lets the kernel know without asking it to forget.
const FILES: usize = 10_500;
const LEVELS: usize = 12;

struct Scene {
    scratch: Scratch,
    source: PathBuf,
    dev: Dev,
    point: String,
}

fn prepare(furnish: impl FnOnce(&Path)) -> Scene {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    furnish(&source);
    let dev = Dev::start(&scratch.join("d"));
    let point = dev.backup(&source);
    Scene { scratch, source, dev, point }
}

impl Scene {
    fn mount(&self, arguments: &[&str], name: &str) -> Mount {
        Mount::start(&self.dev.context(), arguments, &self.scratch.join(name))
    }

    fn sessions_ended(&self) -> usize {
        let told = self.dev.json(&["audit", "list"]).ok().object();
        let rows = told["entries"].as_array().unwrap();
        rows.iter().filter(|row| row["action"] == "session.end").count()
    }
}

fn deep(source: &Path) -> PathBuf {
    (0..LEVELS).fold(source.to_owned(), |path, level| path.join(format!("{level:0240}")))
}

/// Has the kernel know all names of a directory for as long as what is returned is kept.
fn hold(dir: &Path) -> Vec<OwnedFd> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let flags = OFlags::DIRECTORY | OFlags::RDONLY;
    let opened = openat(CWD, dir, flags, Mode::empty()).unwrap();
    let names = Dir::read_from(&opened).unwrap().map(|entry| entry.unwrap());
    let names = names.filter(|entry| !entry.file_name().to_bytes().starts_with(b"."));
    let held = names.map(|entry| {
        openat(&opened, entry.file_name(), OFlags::PATH | OFlags::NOFOLLOW, Mode::empty()).unwrap()
    });
    held.collect()
}

/// How often the thread that lets the kernel forget has gone to sleep.
fn naps(mount: &Mount) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", mount.id())).unwrap();
    let task = tasks.map(|task| task.unwrap().path()).find(|task| {
        fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "forget")
    });
    let status = fs::read_to_string(task.unwrap().join("status")).unwrap();
    let naps = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    naps.unwrap().trim().parse().unwrap()
}

/// Somebody who asks for a name that is not known yet. A process: it can be left alone.
fn ask(path: &Path) -> Child {
    Command::new("stat").arg(path).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn it_ends_while_somebody_waits_and_the_kernel_is_asked_to_forget() {
    let scene = prepare(|source| {
        let dir = deep(source);
        (0..FILES).for_each(|number| write(&dir.join(format!("{number:0200}")), ""));
        write(&source.join("beside/file"), "content");
    });
    for signal in [Signal::TERM, Signal::KILL] {
        let name = format!("{signal:?}");
        let mount = scene.mount(&["--idle", "1s", &scene.point], &name);
        let there = mount.at(&scene.source);
        let beside = File::open(there.join("beside")).unwrap();
        let mut beside = Dir::read_from(&beside).unwrap();
        assert_eq!(beside.by_ref().count(), 3);
        let ended = scene.sessions_ended();
        let dir = deep(&there);
        let held = hold(&dir);
        assert_eq!(held.len(), FILES);
        let let_go = || (scene.sessions_ended() > ended).then_some(());
        wait_until("nobody reads the point any more", PATIENCE, let_go);

        // From here on nobody answers.
        scene.dev.service.signal(Signal::STOP);
        let reader = RefCell::new(ask(&dir.join("missing")));
        wait_until("somebody waits", PATIENCE, || (mount.waiting() > 0).then_some(()));
        let before = naps(&mount);
        beside.rewind();
        assert_eq!(beside.by_ref().count(), 3);
        wait_until("it is to forget", PATIENCE, || (naps(&mount) > before).then_some(()));
        mount.signal(signal);
        let ended = mount.end();
        assert_eq!(ended.code(), (signal == Signal::TERM).then_some(0), "{ended}");
        assert_eq!(mount.is_mounted(), signal == Signal::KILL);
        wait_until("the reader hears of it", PATIENCE, || reader.borrow_mut().try_wait().unwrap());
        scene.dev.service.signal(Signal::CONT);
        drop(held);
    }
}

#[test]
fn what_somebody_else_mounted_there_stays() {
    let scene = prepare(|source| write(&source.join("file"), "content"));
    let mounted = scene.mount(&[&scene.point], "mnt");
    let open = File::open(mounted.at(&scene.source).join("file")).unwrap();
    unmount(&mounted.dir, UnmountFlags::DETACH).unwrap();
    mount("none", &mounted.dir, "tmpfs", MountFlags::empty(), None).unwrap();
    write(&mounted.dir.join("theirs"), "");
    mounted.signal(Signal::TERM);
    assert_eq!(mounted.end().code(), Some(0));
    assert!(mounted.dir.join("theirs").exists(), "it was taken away");
    drop(open);

    // The same where nobody has anything open: it ends by itself.
    unmount(&mounted.dir, UnmountFlags::empty()).unwrap();
    let again = scene.mount(&[&scene.point], "again");
    again.signal(Signal::STOP);
    again.unmount();
    mount("none", &again.dir, "tmpfs", MountFlags::empty(), None).unwrap();
    write(&again.dir.join("theirs"), "");
    again.signal(Signal::CONT);
    assert_eq!(again.end().code(), Some(0));
    assert!(again.dir.join("theirs").exists(), "it was taken away");
    unmount(&again.dir, UnmountFlags::empty()).unwrap();
}
