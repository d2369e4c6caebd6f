//! The newest rows in memory, over the tables on disk.
//!
//! ```text
//!   write ─→ open layer ─ large enough ─→ frozen layer ─ one batch, by the settler ─→ below
//!   read  ─→ open, frozen from the newest on, below
//!   view  ─→ what is frozen now, and below; what comes later waits above it until the view is gone
//! ```
//!
//! A layer goes below whole and in order, and the applied index is one of its rows: what lies below
//! is always a state that was, if not the newest. A crash loses the layers, and the log has what
//! they held. While a view is open writes go on, in layers of a bounded size, since what is below
//! takes many times the memory of a batch while it takes it in; when they come to more than memory
//! may hold, they wait for it. Whoever writes without a settler (a simulation has one thread)
//! settles himself.

mod layers;
mod merge;
#[cfg(test)]
mod tests;

use holdfast_common::{Code, Error, Result, limits};
use holdfast_ledger::{Batch, StateKv, kv::KeyValue};
use layers::{Layer, Layers, first_changes};
use merge::scan_merged;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak, mpsc};

pub(crate) struct Overlay {
    shared: Arc<Shared>,
    bell: Option<Bell>,
}

/// Wakes the settler, who ends when the last of these is gone.
type Bell = mpsc::SyncSender<()>;

impl Overlay {
    /// Over `below`, which nobody else writes to, with a thread that settles.
    pub(crate) fn start(below: Arc<dyn StateKv>) -> Result<Arc<Self>> {
        let shared = Arc::new(Shared::over(below, limits::TABLE_LAYER_BYTES));
        let (bell, rings) = mpsc::sync_channel(1);
        // Who waits for a ring must not keep the files open.
        let settler = Arc::downgrade(&shared);
        let settle = move || while rings.recv().is_ok() && settle_due(&settler).is_some() {};
        std::thread::Builder::new()
            .name("tables-settler".into())
            .spawn(settle)
            .map_err(|error| Error::io("the tables' settler cannot start", &error))?;
        Ok(Arc::new(Self { shared, bell: Some(bell) }))
    }

    /// The same without a thread: a write that makes the open layer `settle_at` bytes settles it.
    #[cfg(test)]
    pub(crate) fn without_settler(below: Arc<dyn StateKv>, settle_at: usize) -> Arc<Self> {
        Arc::new(Self { shared: Arc::new(Shared::over(below, settle_at)), bell: None })
    }

    /// All rows as they are now, for as long as it is held.
    pub(crate) fn view(&self) -> View {
        let mut layers = self.shared.lock();
        layers.freeze(1);
        let number = layers.newest;
        layers.held.push(number);
        let frozen = layers.frozen.iter().rev().map(|(_, layer)| layer.clone()).collect();
        View { shared: self.shared.clone(), bell: self.bell.clone(), number, frozen }
    }

    /// Forgets what is in memory and has `install` replace what is below. No view may be open.
    pub(crate) fn replace<T>(&self, install: impl FnOnce(&dyn StateKv) -> Result<T>) -> Result<T> {
        let _alone = self.shared.alone();
        {
            let mut layers = self.shared.lock();
            if !layers.held.is_empty() {
                return Err(Error::new(Code::InternalBug, "rows are replaced under a view"));
            }
            layers.open = Layer::default();
            layers.frozen.clear();
        }
        install(self.shared.below.as_ref())
    }

    /// Whether a write would not have to wait.
    pub(crate) fn has_room(&self) -> bool {
        self.shared.lock().bytes() < limits::TABLE_LAYERS_BYTES_MAX
    }

    fn wait_for_room(&self) -> Result<MutexGuard<'_, Layers>> {
        let mut layers = self.shared.lock();
        while self.bell.is_some()
            && layers.failed.is_none()
            && layers.bytes() >= limits::TABLE_LAYERS_BYTES_MAX
        {
            layers = self.shared.room.wait(layers).unwrap_or_else(PoisonError::into_inner);
        }
        match &layers.failed {
            Some(error) => Err(error.clone()),
            None => Ok(layers),
        }
    }
}

impl StateKv for Overlay {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let change = self
            .shared
            .lock()
            .newest_first()
            .find_map(|layer| layer.rows.changes.get(key).cloned());
        change.map_or_else(|| self.shared.below.read(key), Ok)
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<KeyValue>> {
        let changes = |after: Option<&[u8]>, count| {
            first_changes(self.shared.lock().newest_first(), (prefix, after), count)
        };
        scan_merged(self.shared.below.as_ref(), changes, (prefix, after), limit)
    }

    fn write(&self, batch: Batch) -> Result<()> {
        let mut layers = self.wait_for_room()?;
        layers.open.take(batch);
        let is_due = layers.is_due(self.shared.settle_at);
        layers.freeze(self.shared.settle_at.saturating_mul(LAYER_GROWTH_MAX));
        drop(layers);
        match &self.bell {
            _ if !is_due => Ok(()),
            Some(bell) => {
                ring(bell);
                Ok(())
            }
            None => self.shared.settle(self.shared.settle_at),
        }
    }

    /// Also under a view, but then only as far as that shows.
    fn flush(&self) -> Result<()> {
        self.shared.settle(1)?;
        self.shared.below.flush()
    }
}

/// The rows as they were at one moment.
pub(crate) struct View {
    shared: Arc<Shared>,
    bell: Option<Bell>,
    number: u64,
    /// The newest first.
    frozen: Vec<Arc<Layer>>,
}

impl StateKv for View {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let change = self.frozen.iter().find_map(|layer| layer.rows.changes.get(key).cloned());
        change.map_or_else(|| self.shared.below.read(key), Ok)
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<KeyValue>> {
        let changes = |after: Option<&[u8]>, count| {
            first_changes(self.frozen.iter().map(AsRef::as_ref), (prefix, after), count)
        };
        scan_merged(self.shared.below.as_ref(), changes, (prefix, after), limit)
    }

    fn write(&self, _: Batch) -> Result<()> {
        Err(Error::new(Code::InternalBug, "a view is not written to"))
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let mut layers = self.shared.lock();
        if let Some(place) = layers.held.iter().position(|held| *held == self.number) {
            layers.held.swap_remove(place);
        }
        drop(layers);
        if let Some(bell) = &self.bell {
            ring(bell);
        }
    }
}

struct Shared {
    below: Arc<dyn StateKv>,
    /// From so many bytes on the open layer goes below.
    settle_at: usize,
    layers: Mutex<Layers>,
    /// Told when a layer has gone below, or none will any more.
    room: Condvar,
    /// One at a time writes below.
    alone: Mutex<()>,
}

impl Shared {
    fn over(below: Arc<dyn StateKv>, settle_at: usize) -> Self {
        let (layers, room, alone) = (Mutex::default(), Condvar::new(), Mutex::default());
        Self { below, settle_at, layers, room, alone }
    }

    /// Writes what is frozen below, and before that freezes what is open, if it is so large.
    fn settle(&self, at_least: usize) -> Result<()> {
        let _alone = self.alone();
        {
            let mut layers = self.lock();
            if layers.held.is_empty() {
                layers.freeze(at_least);
            }
        }
        loop {
            let oldest = self.lock().oldest()?;
            let Some(layer) = oldest else { return Ok(()) };
            let written = self.below.write_copy(&layer.rows);
            let mut layers = self.lock();
            match &written {
                Ok(()) => drop(layers.frozen.pop_front()),
                // Nobody knows what is below now.
                Err(error) => layers.failed = Some(error.clone()),
            }
            drop(layers);
            self.room.notify_all();
            written?;
        }
    }

    fn is_due(&self) -> bool {
        self.lock().is_due(self.settle_at)
    }

    fn lock(&self) -> MutexGuard<'_, Layers> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.alone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many times its size a layer may grow to while none goes below.
const LAYER_GROWTH_MAX: usize = 4;

/// The settler's work after a ring; nothing when there is none any more.
fn settle_due(shared: &Weak<Shared>) -> Option<()> {
    let shared = shared.upgrade()?;
    while shared.is_due() {
        let settled = shared.settle(shared.settle_at);
        settled
            .inspect_err(|error| tracing::error!(%error, "the tables cannot be written"))
            .ok()?;
    }
    Some(())
}

fn ring(bell: &Bell) {
    // One that was not heard yet is enough; and with nobody to hear, the next write says so.
    let _heard = bell.try_send(());
}
