//! Room on the disk that the ledger lies on, and a reserve, so that what has begun can end.
//!
//! ```text
//!   much is free     everything goes on          the reserve is held: a file full of zeros
//!   little is free   nothing new begins          runs end, restores open, agents are revoked,
//!                                                out of the reserve, which is given up for it
//!   much again       everything goes on          the reserve is made again
//! ```
//!
//! A write that finds the disk full stops the ledger for good, because nobody knows then what is on
//! it. So room is looked at before a command is proposed, and refused there with a clear word.
//! Where so much is free that nobody could fill it meanwhile, one look is good for a moment.

use holdfast_common::{Code, Error, Result, limits};
use holdfast_ledger::{Command, row::RunKind};
use rustix::{
    fs::{FallocateFlags, fallocate, statvfs},
    io::Errno,
};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Bytes that are free on the disk.
type Free = dyn Fn() -> Result<u64> + Send + Sync;

pub(crate) struct Room {
    directory: PathBuf,
    free: Box<Free>,
    reserve_bytes: u64,
    is_reserve_held: Mutex<bool>,
    /// When so much was free that it need not be looked at again at once.
    plenty_seen: Mutex<Option<Instant>>,
}

impl Room {
    /// Looks at the disk of `directory` and takes the reserve, if there is room for it. On a disk
    /// without any, the reserve of an earlier process is given up: starting writes as well.
    pub(crate) fn open(directory: &Path, reserve_bytes: u64) -> Self {
        let disk = directory.to_owned();
        Self::on(directory, reserve_bytes, Box::new(move || free_on(&disk)))
    }

    fn on(directory: &Path, reserve_bytes: u64, free: Box<Free>) -> Self {
        let directory = directory.to_owned();
        let (is_reserve_held, plenty_seen) = (Mutex::new(false), Mutex::default());
        let room = Self { directory, free, reserve_bytes, is_reserve_held, plenty_seen };
        let path = room.reserve();
        let found = fs::metadata(&path).is_ok_and(|file| file.len() == reserve_bytes);
        let short = (room.free)().is_ok_and(|free| free < limits::LEDGER_LAST_BYTES);
        {
            let mut held = room.held();
            *held = found;
            if short {
                room.give_up(&mut held);
            } else {
                let _made_later = room.hold_if_free(&mut held);
            }
        }
        room
    }

    /// Whether there is room for this command.
    pub(super) fn admit(&self, command: &Command) -> Result<()> {
        if self.was_plenty() {
            return Ok(());
        }
        let mut held = self.held();
        if self.hold_if_free(&mut held)? {
            return Ok(());
        }
        let free = (self.free)()?;
        if begins(command) {
            return Err(full(free));
        }
        if *held {
            tracing::warn!(free, "the disk is nearly full; the reserve is given up for this");
            self.give_up(&mut held);
        }
        if (self.free)()? < limits::LEDGER_LAST_BYTES { Err(full(free)) } else { Ok(()) }
    }

    /// The refusal that whoever wants to begin something would get now.
    pub(crate) fn shortage(&self) -> Option<Error> {
        let mut held = self.held();
        match self.hold_if_free(&mut held) {
            Ok(true) => None,
            Ok(false) => Some(full((self.free)().unwrap_or(0))),
            Err(error) => Some(error),
        }
    }

    /// What others agreed to is written here whether there is room or not: out of the reserve, when
    /// nothing else is left.
    pub(super) fn yield_reserve(&self) {
        let mut held = self.held();
        if *held && (self.free)().is_ok_and(|free| free < limits::LEDGER_LAST_BYTES) {
            tracing::warn!("the disk is full; the reserve is given up for what others agree to");
            self.give_up(&mut held);
        }
    }

    /// Whether so much may be written beyond what is kept back.
    pub(super) fn fits(&self, bytes: u64) -> bool {
        (self.free)().is_ok_and(|free| free >= bytes.saturating_add(limits::LEDGER_FREE_BYTES_MIN))
    }

    /// Whether there is room for everything, the reserve included; takes it when it was given up.
    fn hold_if_free(&self, held: &mut bool) -> Result<bool> {
        let free = (self.free)()?;
        if *held || self.reserve_bytes == 0 {
            let is_plenty = free >= limits::LEDGER_PLENTY_BYTES;
            *self.plenty() = is_plenty.then(Instant::now);
            return Ok(free >= limits::LEDGER_FREE_BYTES_MIN);
        }
        if free < limits::LEDGER_FREE_BYTES_MIN + self.reserve_bytes {
            return Ok(false);
        }
        *held = self.take();
        Ok(*held)
    }

    fn was_plenty(&self) -> bool {
        self.plenty().is_some_and(|seen| seen.elapsed() < PLENTY_AGE)
    }

    fn plenty(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.plenty_seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> bool {
        let take = || -> std::io::Result<()> {
            let file = File::create(self.reserve())?;
            match fallocate(&file, FallocateFlags::empty(), 0, self.reserve_bytes) {
                // A file system that promises no room: the length stands for it.
                Err(Errno::OPNOTSUPP) => file.set_len(self.reserve_bytes),
                taken => Ok(taken?),
            }
        };
        take()
            .inspect_err(|error| {
                tracing::warn!(%error, "the reserve could not be taken");
                drop(fs::remove_file(self.reserve()));
            })
            .is_ok()
    }

    fn give_up(&self, held: &mut bool) {
        match fs::remove_file(self.reserve()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, "the reserve could not be given up");
            }
            _ => *held = false,
        }
    }

    fn reserve(&self) -> PathBuf {
        self.directory.join("reserve")
    }

    fn held(&self) -> std::sync::MutexGuard<'_, bool> {
        self.is_reserve_held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn free_on(directory: &Path) -> Result<u64> {
    match statvfs(directory) {
        Ok(space) => Ok(space.f_bavail.saturating_mul(space.f_frsize)),
        Err(error) => {
            let message = "the disk of the coordinator's data does not say how much is free";
            Err(Error::new(Code::FileIoFailed, message).cause(error))
        }
    }
}

/// What begins something, as opposed to what ends it, shuts somebody out or brings data back.
fn begins(command: &Command) -> bool {
    match command {
        Command::BeginCollection(_)
        | Command::BeginSession(_)
        | Command::CondemnPacks(_)
        | Command::CreateToken(_)
        | Command::EnrolAgent(_)
        | Command::IntendPacks(_)
        | Command::IntendRepack(_)
        | Command::PutClass(_)
        | Command::PutLocation(_)
        | Command::PutPolicy(_)
        | Command::PutVault(_) => true,
        Command::StartRun(start) => start.run.kind == RunKind::Backup,
        _ => false,
    }
}

/// How long plenty is believed: who fills it meanwhile writes 20 GB a second.
const PLENTY_AGE: Duration = Duration::from_millis(50);

fn full(free: u64) -> Error {
    let kept = limits::LEDGER_FREE_BYTES_MIN >> 20;
    let message = format!(
        "the disk of the coordinator's data is full: {} MiB are free, and {kept} are kept to end \
         what has begun",
        free >> 20
    );
    Error::new(Code::DiskFull, message)
        .next("free space on the coordinator's disk; it goes on by itself")
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::RunId;
    use holdfast_ledger::command::CancelRun;
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    const MIB: u64 = 1 << 20;

    /// A disk of 100 MiB that others fill as a test wants it.
    struct SmallDisk {
        directory: tempfile::TempDir,
        filled: Arc<AtomicU64>,
    }

    impl SmallDisk {
        fn new() -> Self {
            Self { directory: tempfile::tempdir().unwrap(), filled: Arc::default() }
        }

        fn fill(&self, mib: u64) {
            self.filled.store(mib * MIB, Ordering::Relaxed);
        }

        fn room(&self) -> Room {
            let (reserve, filled) = (self.reserve(), self.filled.clone());
            let free = move || {
                let held = fs::metadata(&reserve).map_or(0, |file| file.len());
                Ok((100 * MIB).saturating_sub(filled.load(Ordering::Relaxed) + held))
            };
            let directory = self.directory.path();
            Room::on(directory, limits::LEDGER_RESERVE_BYTES, Box::new(free))
        }

        fn reserve(&self) -> PathBuf {
            self.directory.path().join("reserve")
        }
    }

    fn ends() -> Command {
        CancelRun { run: RunId::from_bytes([1; 16]) }.into()
    }

    fn starts() -> Command {
        crate::raft::tests::location(1).into()
    }

    #[test]
    fn with_little_room_nothing_begins_and_what_has_begun_ends() {
        let disk = SmallDisk::new();
        let room = disk.room();
        assert!(disk.reserve().exists());
        room.admit(&starts()).unwrap();
        disk.fill(68);
        let refusal = room.admit(&starts()).unwrap_err();
        assert_eq!(refusal.code, Code::DiskFull);
        assert!(refusal.next.is_some());
        assert!(disk.reserve().exists(), "a refusal needs no room");
        room.admit(&ends()).unwrap();
        assert!(!disk.reserve().exists(), "given up for it");
        room.admit(&starts()).expect_err("room that was the reserve's is not for beginnings");
        assert_eq!(room.shortage().unwrap().code, Code::DiskFull);
    }

    #[test]
    fn a_disk_without_any_room_refuses_all_and_goes_on_by_itself() {
        let disk = SmallDisk::new();
        let room = disk.room();
        disk.fill(95);
        room.admit(&ends()).unwrap_err();
        room.admit(&starts()).unwrap_err();
        disk.fill(30);
        room.admit(&starts()).unwrap();
        assert!(disk.reserve().exists(), "taken again");
        assert!(room.shortage().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn plenty_is_looked_at_again_after_a_moment_and_less_at_every_command() {
        let (looks, free) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(1 << 40)));
        let (count, now) = (looks.clone(), free.clone());
        let look = move || {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(now.load(Ordering::Relaxed))
        };
        let directory = tempfile::tempdir().unwrap();
        let room = Room::on(directory.path(), 0, Box::new(look));
        let looks_for = |admit: &dyn Fn()| {
            looks.store(0, Ordering::Relaxed);
            admit();
            looks.load(Ordering::Relaxed)
        };
        tokio::time::advance(2 * PLENTY_AGE).await;
        let admit_ten = || (0..10).for_each(|_| room.admit(&starts()).unwrap());
        assert_eq!(looks_for(&admit_ten), 1);
        free.store(limits::LEDGER_PLENTY_BYTES - 1, Ordering::Relaxed);
        tokio::time::advance(PLENTY_AGE).await;
        assert_eq!(looks_for(&admit_ten), 10);
        free.store(MIB, Ordering::Relaxed);
        room.admit(&ends()).unwrap_err();
    }

    #[test]
    fn a_member_on_a_full_disk_gives_its_reserve_up_for_what_others_agree_to() {
        let disk = SmallDisk::new();
        let room = disk.room();
        disk.fill(60);
        room.yield_reserve();
        assert!(disk.reserve().exists(), "there is room yet");
        disk.fill(95);
        room.yield_reserve();
        assert!(!disk.reserve().exists());
        assert!(room.shortage().is_some());
    }

    #[test]
    fn a_start_on_a_full_disk_gives_the_reserve_of_the_last_process_up() {
        let disk = SmallDisk::new();
        drop(disk.room());
        disk.fill(66);
        drop(disk.room());
        assert!(!disk.reserve().exists());
        disk.fill(40);
        let room = disk.room();
        assert!(!disk.reserve().exists(), "not at the cost of what must be free");
        room.admit(&ends()).unwrap();
        room.admit(&starts()).unwrap_err();
    }
}
