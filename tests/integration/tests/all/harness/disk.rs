//! Disks that a test may fill or have fail; they are mounted, which needs root.

use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
};
use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

/// A `tmpfs` of a few mebibytes, unmounted when it goes, when the test fails as well.
pub struct SmallDisk {
    pub path: PathBuf,
}

impl SmallDisk {
    pub fn mount(path: &Path, mib: u64) -> Self {
        std::fs::create_dir_all(path).unwrap();
        let size = format!("size={mib}m,mode=0700");
        let mut mount = Command::new("mount");
        let done = mount.args(["-t", "tmpfs", "-o", &size, "holdfast-test"]).arg(path).status();
        assert!(done.unwrap().success(), "a tmpfs can be mounted at {}", path.display());
        Self { path: path.to_owned() }
    }

    /// Takes what is free now, but for so many bytes; what becomes free meanwhile stays free.
    /// Others may write at the same time: then it takes what it still can.
    pub fn fill_up_to(&self, free: u64) {
        let file = File::options().create(true).append(true).open(self.filler()).unwrap();
        let mut take = self.free().saturating_sub(free);
        while take > 0 {
            let from = file.metadata().unwrap().len();
            match fallocate(&file, FallocateFlags::empty(), from, take) {
                Ok(()) => return,
                Err(Errno::NOSPC) => take = take.min(self.free()).saturating_sub(4096),
                Err(errno) => panic!("the disk cannot be filled: {errno}"),
            }
        }
    }

    /// Takes everything that is free.
    pub fn fill(&self) {
        self.fill_up_to(0);
    }

    pub fn make_room(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    pub fn free(&self) -> u64 {
        let space = rustix::fs::statvfs(&self.path).unwrap();
        space.f_bavail * space.f_frsize
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process of a failed test may still have files open there.
        let gone = Command::new("umount").arg("-l").arg(&self.path).status();
        assert!(std::thread::panicking() || gone.unwrap().success(), "unmounted");
    }
}

/// A file system on a file, whose kernel can be told that its disk has failed: from then on nothing
/// can be written, and what was not synced is gone, until it is mounted anew.
pub struct FailingDisk {
    pub path: PathBuf,
    image: PathBuf,
}

impl FailingDisk {
    /// Mounted at `path`; its bytes lie in `image`.
    pub fn mount(path: &Path, image: &Path, mib: u64) -> Self {
        std::fs::create_dir_all(path).unwrap();
        File::create(image).unwrap().set_len(mib << 20).unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image));
        let disk = Self { path: path.to_owned(), image: image.to_owned() };
        disk.attach();
        disk
    }

    /// As after an error of the disk: the file system ends its journal and can only be read.
    pub fn fail(&self) {
        run(Command::new("mount").args(["-o", "remount,abort"]).arg(&self.path));
    }

    /// Another disk controller, say: what was synced is there.
    pub fn mend(&self) {
        run(Command::new("umount").arg(&self.path));
        self.attach();
    }

    /// Whatever writes there waits from now on, until it thaws.
    pub fn freeze(&self) -> Frozen<'_> {
        run(Command::new("fsfreeze").arg("--freeze").arg(&self.path));
        Frozen(self)
    }

    pub fn is_writable(&self) -> bool {
        let probe = self.path.join("probe");
        let written = std::fs::write(&probe, b"probe").is_ok();
        drop(std::fs::remove_file(probe));
        written
    }

    fn attach(&self) {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.path));
    }
}

impl Drop for FailingDisk {
    fn drop(&mut self) {
        let gone = Command::new("umount").arg("-l").arg(&self.path).status();
        assert!(std::thread::panicking() || gone.unwrap().success(), "unmounted");
    }
}

/// Dropped, it thaws: also when the test fails, as nobody could unmount it otherwise.
pub struct Frozen<'a>(&'a FailingDisk);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        run(Command::new("fsfreeze").arg("--unfreeze").arg(&self.0.path));
    }
}

#[track_caller]
fn run(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}
