//! A disk of a few mebibytes that a test may fill; needs root, for it is a mounted `tmpfs`.

use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
};
use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

/// Mounted as long as it lives, unmounted when the test fails as well.
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
