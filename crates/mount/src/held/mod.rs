//! Points that are open for reading: opened on first use, kept while they are used, given up when
//! nobody has read for hours or others need the place, and opened again on the next use.
//!
//! A point that is open is held by a read session; nothing that it needs goes away meanwhile.

use crate::{
    links::Links,
    lock,
    point::{Library, Point},
};
use core::time::Duration;
use holdfast_common::{Clock, Code, PointId, Result, limits};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock},
};

pub(crate) struct Held {
    library: Arc<dyn Library>,
    clock: Arc<dyn Clock>,
    idle: Duration,
    open: Mutex<HashMap<PointId, Slot>>,
    /// One point is opened at a time; what came of it is everybody's who waited.
    opening: Mutex<Option<Opening>>,
}

type Opening = Arc<OnceLock<(PointId, Result<HeldPoint>)>>;

struct Slot {
    held: HeldPoint,
    used: Duration,
}

/// A point that is open, and what was learnt of it as a whole.
#[derive(Clone)]
pub(crate) struct HeldPoint {
    pub(crate) id: PointId,
    pub(crate) point: Arc<dyn Point>,
    links: Arc<OnceLock<Links>>,
}

impl HeldPoint {
    /// Reads the manifest through the first time. What fails and may pass is asked for again; of
    /// what is damaged as much is known as could be read, which is nothing.
    pub(crate) fn links(&self) -> Result<&Links> {
        if let Some(links) = self.links.get() {
            return Ok(links);
        }
        let counted = Links::of(&*self.point, limits::MOUNT_LINK_BYTES_MAX);
        let links = match counted {
            Err(error) if error.is_retryable() => return Err(error),
            Err(error) => {
                tracing::debug!(%error, "the hard links of a point were not counted");
                Links::default()
            }
            Ok(links) => links,
        };
        Ok(self.links.get_or_init(|| links))
    }
}

impl Held {
    pub(crate) fn new(library: Arc<dyn Library>, clock: Arc<dyn Clock>, idle: Duration) -> Self {
        Self { library, clock, idle, open: Mutex::default(), opening: Mutex::default() }
    }

    /// The point, open. Blocks while it is opened; where another one was while this one waited,
    /// and nobody answered, nobody is asked again.
    pub(crate) fn get(&self, point: &PointId) -> Result<HeldPoint> {
        loop {
            if let Some(held) = self.find(point) {
                return Ok(held);
            }
            let opening = Arc::clone(lock(&self.opening).get_or_insert_default());
            let (opened, outcome) = opening.get_or_init(|| (*point, self.open(point)));
            lock(&self.opening).take_if(|latest| Arc::ptr_eq(latest, &opening));
            match outcome {
                Err(error) if error.code == Code::ClusterUnreachable => return Err(error.clone()),
                outcome if opened == point => return outcome.clone(),
                _ => {}
            }
        }
    }

    fn open(&self, point: &PointId) -> Result<HeldPoint> {
        // It may have been opened just now.
        if let Some(held) = self.find(point) {
            return Ok(held);
        }
        // Its place first: what makes room is closed before another is asked for.
        drop(self.make_room());
        let opened = self.library.open(point)?;
        let held = HeldPoint { id: *point, point: opened, links: Arc::default() };
        let slot = Slot { held: held.clone(), used: self.clock.elapsed() };
        lock(&self.open).insert(*point, slot);
        Ok(held)
    }

    /// Keeps what was used lately, and lets go of the rest and of what cannot be kept.
    pub(crate) fn keep(&self) {
        let now = self.clock.elapsed();
        let is_idle = |slot: &Slot| now.saturating_sub(slot.used) >= self.idle;
        let (idle, used) = {
            let mut open = lock(&self.open);
            let gone: Vec<_> =
                open.extract_if(|_, slot| is_idle(slot)).map(|(_, slot)| slot.held).collect();
            (gone, open.values().map(|slot| slot.held.clone()).collect::<Vec<_>>())
        };
        for held in &idle {
            tracing::debug!(point = %held.id, "nobody has read for long: not held any more");
        }
        drop(idle);
        for held in used {
            match held.point.keep() {
                Ok(()) => {}
                Err(error) if error.is_retryable() => {
                    tracing::debug!(%error, "nobody heard that a point is still being read");
                }
                Err(error) => {
                    tracing::warn!(%error, point = %held.id, "the point is not held any more");
                    lock(&self.open).remove(&held.id);
                }
            }
        }
    }

    /// Lets go of all of them.
    pub(crate) fn close(&self) {
        let open = core::mem::take(&mut *lock(&self.open));
        drop(open);
    }

    fn find(&self, point: &PointId) -> Option<HeldPoint> {
        let mut open = lock(&self.open);
        let slot = open.get_mut(point)?;
        slot.used = self.clock.elapsed();
        Some(slot.held.clone())
    }

    fn make_room(&self) -> Option<Slot> {
        let mut open = lock(&self.open);
        if open.len() < limits::MOUNT_POINTS_OPEN_MAX {
            return None;
        }
        let oldest = open.iter().min_by_key(|(_, slot)| slot.used).map(|(point, _)| *point)?;
        open.remove(&oldest)
    }
}

#[cfg(test)]
mod tests;
