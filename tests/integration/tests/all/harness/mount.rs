//! One `holdfast mount` in a directory of its own: started, awaited, ended, and always taken away.

use super::{binary, wait_until};
use holdfast_common::limits::KIB;
use rustix::{
    mount::{UnmountFlags, unmount},
    process::{Pid, Signal, kill_process},
};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
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
        let mount = Self { child: Mutex::new(child), dir: dir.to_owned(), log };
        assert_eq!(line, format!("mounted {}\n", dir.display()), "{}", mount.log());
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
        let _not_mounted_any_more = unmount(&self.dir, UnmountFlags::DETACH);
        let child = self.child.get_mut().unwrap();
        let _already_gone = child.kill();
        let _reaped = child.wait();
        if std::thread::panicking() {
            eprintln!("--- {} ---\n{}", self.log.display(), self.log());
        }
    }
}
