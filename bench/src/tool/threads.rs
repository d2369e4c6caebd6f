//! What the threads of a process spend, by their names, those that end meanwhile too.

use crate::files;
use holdfast_common::{Code, Error, Result};
use rustix::param::clock_ticks_per_second;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// CPU seconds by thread name.
pub type Spent = BTreeMap<String, f64>;

/// Watches the process while `work` runs. What a thread spends after the last look at it is missed:
/// a hundredth of a second each.
pub fn watch<T>(process: u32, work: impl FnOnce() -> Result<T>) -> Result<(T, Spent)> {
    let directory = PathBuf::from(format!("/proc/{process}/task"));
    let before = look(&directory, BTreeMap::new());
    let over = AtomicBool::new(false);
    let (done, after) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = before.clone();
            while !over.load(Ordering::Relaxed) {
                seen = look(&directory, seen);
                std::thread::sleep(PAUSE);
            }
            look(&directory, seen)
        });
        let done = work();
        over.store(true, Ordering::Relaxed);
        (done, watcher.join())
    });
    let after = after.map_err(|_| Error::new(Code::InternalBug, "the watcher panicked"))?;
    let mut spent = Spent::new();
    for (thread, (name, ticks)) in after {
        let earlier = before.get(&thread).map_or(0, |(_, ticks)| *ticks);
        let seconds = ticks.saturating_sub(earlier) as f64 / clock_ticks_per_second() as f64;
        *spent.entry(name).or_default() += seconds;
    }
    Ok((done?, spent))
}

type Seen = BTreeMap<String, (String, u64)>;

/// Whoever ended between the listing and the look keeps what was seen of it last.
fn look(directory: &Path, mut seen: Seen) -> Seen {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let told = |file| files::read_text(&entry.path().join(file));
        if let (Ok(name), Ok(stat)) = (told("comm"), told("stat"))
            && let Some(ticks) = super::service::ticks(&stat)
        {
            let thread = entry.file_name().to_string_lossy().into_owned();
            seen.insert(thread, (name.trim().to_owned(), ticks));
        }
    }
    seen
}

const PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_ended_is_counted_under_its_name() {
        let burn = || {
            let mut hash = blake3::hash(b"");
            for _ in 0..4_000_000 {
                hash = blake3::hash(hash.as_bytes());
            }
            hash
        };
        let ((), spent) = watch(std::process::id(), || {
            let named = std::thread::Builder::new().name("burner".into()).spawn(burn).unwrap();
            assert_ne!(named.join().unwrap(), blake3::hash(b""));
            Ok(())
        })
        .unwrap();
        assert!(spent.get("burner").copied().unwrap_or_default() > 0.05, "{spent:?}");
    }
}
