//! Points as a file system: mounted read-only, fetched as it is read, bounded in memory.
//!
//! ```text
//!   kernel ─▶ shell (fuser) ─▶ Tree ─┬─ nodes: what the kernel knows, by number
//!                                    ├─ calendar: points by id, by time, by policy
//!                                    ├─ held: points open for reading, given up when idle
//!                                    └─ layout ▸ cache ▸ ahead: a range of a file, chunk by chunk
//! ```
//!
//! The tree knows nothing of the kernel's messages, and of points only what [`Library`] and
//! [`Point`] say: whoever mounts brings those, out of a cluster or out of a location. No byte is
//! given out whose chunk was not authenticated; what cannot be read is an error, told once with its
//! reason. Everything that grows has a bound in `limits.rs`.

mod ahead;
mod cache;
mod calendar;
#[cfg(test)]
mod double;
mod handles;
mod held;
mod layout;
mod links;
mod mountpoint;
mod nodes;
mod point;
mod shell;
mod told;
mod tree;

pub use mountpoint::Directory;
pub use point::{Library, Listed, Listing, Point, Unreadable};
pub use shell::{Ends, Mounted, mount};
pub use tree::{Options, Shown};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A lock whose holder panicked still guards plain data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
