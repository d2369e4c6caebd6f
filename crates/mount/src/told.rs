//! What went wrong, told to people once each, up to a bound.

use crate::{
    lock,
    point::{Library, Unreadable},
};
use holdfast_common::{Code, PointId, limits};
use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex},
};

pub(crate) struct Told {
    library: Arc<dyn Library>,
    hasher: RandomState,
    told: Mutex<HashSet<u64>>,
}

impl Told {
    pub(crate) fn new(library: Arc<dyn Library>) -> Self {
        Self { library, hasher: RandomState::new(), told: Mutex::default() }
    }

    /// Tells what was not told yet. Beyond the bound nothing is told any more.
    pub(crate) fn tell(&self, what: Unreadable) {
        let name = self.name(what.point.as_ref(), &what.path, what.error.code);
        let is_new = {
            let mut told = lock(&self.told);
            told.len() < limits::MOUNT_TOLD_MAX && told.insert(name)
        };
        if is_new {
            self.library.tell(&what);
        }
    }

    /// The next time it will be told again.
    pub(crate) fn forget(&self, point: Option<&PointId>, path: &[u8], code: Code) {
        lock(&self.told).remove(&self.name(point, path, code));
    }

    fn name(&self, point: Option<&PointId>, path: &[u8], code: Code) -> u64 {
        self.hasher.hash_one((point, path, code))
    }
}
