//! What stages are joined with: bounded queues, a gate that counts bytes, and one way to stop.
//!
//! ```text
//!   stage ──▶ Queue ──▶ stage ──▶ Queue ──▶ stage        every wait ends when Halt is set
//!     └─ Gate: bytes in flight, given back when a permit is dropped
//! ```
//!
//! Stages are threads that block; nothing here knows of tokio's tasks, of chunks or of the network.
//! A wait ends early for one reason only: somebody halted the run, and then every stage gets the
//! same first error.

mod gate;
mod halt;
mod queue;

pub(crate) use gate::{Gate, Permit};
pub(crate) use halt::{Halt, HaltOnPanic};
pub(crate) use queue::{Popped, Queue};

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a blocked stage sleeps before it looks whether the run was halted. Nothing else waits
/// for this: work wakes a sleeper at once.
const HALT_LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// A lock whose holder panicked still guards plain data; the panic itself halts the run.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn wait<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    at_most: Duration,
) -> MutexGuard<'a, T> {
    condvar
        .wait_timeout(guard, at_most.min(HALT_LOOK_INTERVAL))
        .unwrap_or_else(PoisonError::into_inner)
        .0
}
