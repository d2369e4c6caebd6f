//! Bringing a point back to a host.
//!
//! ```text
//!   ChunkSource ─┬─▶ PointReader: signature, manifest pages ──▶ entries in order
//!    (online,    │                                                 │
//!     offline)   └─▶ engine: plan ▸ fetch ▸ open ▸ write ◀─────────┘
//!                                              └─▶ place: the hand that writes
//! ```
//!
//! The promise of this folder: no wrong bytes. A chunk that does not authenticate, or whose id is
//! not what its content hashes to, leaves its file out of place and named; the others go on.
//! [`place`] knows paths, attributes and files, and nothing of points, keys or the network.

mod content;
mod engine;
mod online;
pub mod place;
mod point;
mod source;
mod verify;

pub use content::read_content;
pub use engine::{Progress, RestoreReport, RestoreRequest, restore};
pub use online::{OnlinePoint, open_online};
pub use point::{PointKeys, PointReader};
pub use source::{ChunkSource, FetchedFrame};
pub use verify::{VerifyReport, verify};
