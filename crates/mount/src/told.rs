//! What went wrong, told to people once each: up to a bound, and again after an hour.
//!
//! When more goes wrong than is remembered, that is said, and the rest of the hour is silent.

use crate::{
    lock,
    point::{Library, Unreadable},
};
use core::time::Duration;
use holdfast_common::{Clock, Code, PointId, limits};
use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex},
};

pub(crate) struct Told {
    library: Arc<dyn Library>,
    clock: Arc<dyn Clock>,
    hasher: RandomState,
    told: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    told: HashSet<u64>,
    /// When the first of them was.
    since: Duration,
    is_silent: bool,
}

enum Say {
    It,
    Nothing,
    /// That nothing more is said.
    Silence,
}

impl Told {
    pub(crate) fn new(library: Arc<dyn Library>, clock: Arc<dyn Clock>) -> Self {
        Self { library, clock, hasher: RandomState::new(), told: Mutex::default() }
    }

    /// Tells what was not told lately.
    pub(crate) fn tell(&self, what: Unreadable) {
        let name = self.name(what.point.as_ref(), &what.path, what.error.code);
        match self.choose(name) {
            Say::It => self.library.tell(&what),
            Say::Nothing => {}
            Say::Silence => self.library.fall_silent(),
        }
    }

    fn choose(&self, name: u64) -> Say {
        let now = self.clock.elapsed();
        let mut memory = lock(&self.told);
        if memory.told.is_empty() || now.saturating_sub(memory.since) >= REMEMBERED {
            *memory = Memory { since: now, ..Memory::default() };
        }
        if memory.told.contains(&name) {
            return Say::Nothing;
        }
        if memory.told.len() < limits::MOUNT_TOLD_MAX {
            memory.told.insert(name);
            return Say::It;
        }
        match core::mem::replace(&mut memory.is_silent, true) {
            true => Say::Nothing,
            false => Say::Silence,
        }
    }

    /// The next time it will be told again.
    pub(crate) fn forget(&self, point: Option<&PointId>, path: &[u8], code: Code) {
        lock(&self.told).told.remove(&self.name(point, path, code));
    }

    fn name(&self, point: Option<&PointId>, path: &[u8], code: Code) -> u64 {
        self.hasher.hash_one((point, path, code))
    }
}

const REMEMBERED: Duration = Duration::from_secs(limits::MOUNT_TOLD_SECS);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::double::{Books, Hand};
    use holdfast_common::Error;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn when_too_much_goes_wrong_that_is_said_and_after_an_hour_all_is_told_again() {
        let (books, clock) = (Books::of(&[]), Arc::new(Hand::default()));
        let told = Told::new(books.clone(), clock.clone());
        let tell = |number: usize| {
            let error = Error::new(Code::ChunkDamaged, "it was damaged");
            told.tell(Unreadable { point: None, path: number.to_string().into_bytes(), error });
        };
        let said = || (lock(&books.told).len(), books.silences.load(Relaxed));
        let all = limits::MOUNT_TOLD_MAX;
        (0..all).chain(0..all).for_each(tell);
        assert_eq!(said(), (all, 0), "once each");
        (all..all + 10).for_each(tell);
        assert_eq!(said(), (all, 1), "and once that there is more");
        clock.go_on(limits::MOUNT_TOLD_SECS);
        tell(3);
        assert_eq!(said(), (all + 1, 1));
    }
}
