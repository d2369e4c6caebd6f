//! One `holdfast mount` in a directory of its own: started, awaited, ended, and always taken away,
//! whoever still waits for it in the kernel: nobody could kill that.

use super::{binary, wait_until};
use holdfast_common::limits::KIB;
use rustix::{
    fs::minor,
    mount::{MountFlags, UnmountFlags, mount, unmount},
    process::{Pid, Signal, kill_process},
};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Mutex,
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(30);

pub struct Mount {
    child: Mutex<Child>,
    pub dir: PathBuf,
    log: PathBuf,
    /// What the kernel calls it.
    number: u32,
}

impl Mount {
    /// Runs `holdfast mount <arguments> DIR` and waits until it says that it is mounted.
    pub fn start(context: &Path, arguments: &[&str], dir: &Path) -> Self {
        fs::create_dir_all(dir).unwrap();
        let log = dir.with_extension("log");
        let stderr = File::options().create(true).append(true).open(&log).unwrap();
        let mut child = Command::new(binary())
            .env("HOLDFAST_CONTEXT", context)
            .arg("mount")
            .args(arguments)
            .arg(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut mount = Self { child: Mutex::new(child), dir: dir.to_owned(), log, number: 0 };
        assert_eq!(line, format!("mounted {}\n", dir.display()), "{}", mount.log());
        mount.number = minor(fs::metadata(dir).unwrap().dev());
        mount
    }

    /// Where a path of the host is in the mount of its point.
    pub fn at(&self, path: &Path) -> PathBuf {
        self.dir.join(path.strip_prefix("/").unwrap())
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn is_mounted(&self) -> bool {
        let list = fs::read_to_string("/proc/self/mountinfo").unwrap();
        list.lines().any(|line| line.split(' ').nth(4) == self.dir.to_str())
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child.lock().unwrap()), signal).unwrap();
    }

    /// As `umount` does it.
    pub fn unmount(&self) {
        unmount(&self.dir, UnmountFlags::empty()).unwrap();
    }

    /// How the process ends, by itself or because it was told to.
    pub fn end(&self) -> ExitStatus {
        let ended = || self.child.lock().unwrap().try_wait().unwrap();
        wait_until("the mount has ended", PATIENCE, ended)
    }

    pub fn id(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    /// How many wait for an answer.
    pub fn waiting(&self) -> u32 {
        let waiting = self.in_the_kernel(|dir| fs::read_to_string(dir.join("waiting")).unwrap());
        waiting.trim().parse().unwrap()
    }

    /// Does something with what the kernel knows of it.
    fn in_the_kernel<T>(&self, look: impl FnOnce(&Path) -> T) -> T {
        let dir = self.dir.with_extension("kernel");
        fs::create_dir_all(&dir).unwrap();
        mount("none", &dir, "fusectl", MountFlags::empty(), None).unwrap();
        let seen = look(&dir.join(self.number.to_string()));
        unmount(&dir, UnmountFlags::DETACH).unwrap();
        seen
    }

    /// The most that it ever held in memory.
    pub fn resident_bytes_max(&self) -> usize {
        let id = self.child.lock().unwrap().id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kib: usize = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib * KIB
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let is_there = matches!(self.child.get_mut().unwrap().try_wait(), Ok(None));
        if is_there && self.number > 0 {
            let _gone_by_now = self.in_the_kernel(|dir| fs::write(dir.join("abort"), "1"));
        }
        let _not_mounted_any_more = unmount(&self.dir, UnmountFlags::DETACH);
        let child = self.child.get_mut().unwrap();
        let _already_gone = child.kill();
        let _reaped = child.wait();
        if std::thread::panicking() {
            eprintln!("--- {} ---\n{}", self.log.display(), self.log());
        }
    }
}
