//! PINs that a token refused, and when one of them is tried again.
//!
//! Tokens lock after a few wrong PINs. So one that was refused is tried again only when its file
//! was written anew: by that somebody says that the token takes it now. Programs write files too,
//! so this is believed twice and no more. Of a PIN a hash is kept, under a key of this process.

use holdfast_keyring::SecretPlace;
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    os::unix::fs::MetadataExt,
    sync::{Mutex, MutexGuard, PoisonError},
};

#[derive(Default)]
pub(crate) struct RefusedPins {
    hasher: RandomState,
    held: Mutex<HashMap<u64, Refused>>,
}

struct Refused {
    written: Option<Written>,
    times: u32,
}

/// Which writing of a file it is; a variable is never written anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    inode: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Written {
    pub(crate) fn of(place: &SecretPlace) -> Option<Self> {
        let SecretPlace::File(path) = place else { return None };
        let file = std::fs::metadata(path).ok()?;
        Some(Self { inode: file.ino(), seconds: file.mtime(), nanoseconds: file.mtime_nsec() })
    }
}

impl RefusedPins {
    pub(crate) fn may_try(&self, token: &str, pin: &str, written: Option<Written>) -> bool {
        let held = self.lock();
        match held.get(&self.hash(token, pin)) {
            None => held.len() < PINS_MAX,
            Some(refused) => {
                refused.times < TRIES_MAX && written.is_some() && refused.written != written
            }
        }
    }

    pub(crate) fn note_refused(&self, token: &str, pin: &str, written: Option<Written>) {
        let mut held = self.lock();
        let times = held.get(&self.hash(token, pin)).map_or(0, |refused| refused.times) + 1;
        held.insert(self.hash(token, pin), Refused { written, times });
    }

    pub(crate) fn note_taken(&self, token: &str, pin: &str) {
        self.lock().remove(&self.hash(token, pin));
    }

    fn hash(&self, token: &str, pin: &str) -> u64 {
        self.hasher.hash_one((token, pin))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Refused>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of one PIN that is refused each time, by one process.
const TRIES_MAX: u32 = 3;
/// Different ones that were refused: after that nothing new is tried.
const PINS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(seconds: i64) -> Option<Written> {
        Some(Written { inode: 1, seconds, nanoseconds: 0 })
    }

    #[test]
    fn one_that_was_refused_is_tried_again_when_it_was_written_anew_and_not_for_ever() {
        let pins = RefusedPins::default();
        for time in 0..3 {
            assert!(pins.may_try("a", "1", written(time)), "{time}");
            pins.note_refused("a", "1", written(time));
            assert!(!pins.may_try("a", "1", written(time)), "the same writing");
        }
        assert!(!pins.may_try("a", "1", written(9)), "a program writes it again and again");
        assert!(pins.may_try("b", "1", written(0)) && pins.may_try("a", "2", written(0)));
    }

    #[test]
    fn one_that_is_in_a_variable_is_not_tried_again() {
        let pins = RefusedPins::default();
        assert!(pins.may_try("a", "1", None));
        pins.note_refused("a", "1", None);
        assert!(!pins.may_try("a", "1", None));
    }

    #[test]
    fn one_that_the_token_took_begins_anew() {
        let pins = RefusedPins::default();
        for time in 0..2 {
            pins.note_refused("a", "1", written(time));
        }
        pins.note_taken("a", "1");
        for time in 2..5 {
            assert!(pins.may_try("a", "1", written(time)));
            pins.note_refused("a", "1", written(time));
        }
        assert!(!pins.may_try("a", "1", written(5)));
    }

    #[test]
    fn ever_new_ones_are_not_tried_without_end() {
        let pins = RefusedPins::default();
        for pin in 0..PINS_MAX {
            assert!(pins.may_try("a", &pin.to_string(), None));
            pins.note_refused("a", &pin.to_string(), None);
        }
        assert!(!pins.may_try("a", "new", None));
    }

    #[test]
    fn a_file_that_is_written_anew_is_seen_to_be() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pin");
        let place = SecretPlace::File(path.clone());
        assert_eq!(Written::of(&place), None);
        std::fs::write(&path, "1").unwrap();
        let first = Written::of(&place);
        assert!(first.is_some() && Written::of(&place) == first);
        let later = std::time::UNIX_EPOCH + std::time::Duration::from_secs(7);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert_ne!(Written::of(&place), first);
        assert_eq!(Written::of(&SecretPlace::Env("PIN".to_owned())), None);
    }
}
