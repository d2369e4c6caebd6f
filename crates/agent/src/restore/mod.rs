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
//! [`remote`] does it for somebody else, under a run that grants it; [`ordered`] only opens what it
//! is granted, to see whether it could be restored.
//! [`place`] knows paths, attributes and files, and nothing of points, keys or the network.

mod content;
mod engine;
mod in_the_way;
mod online;
mod ordered;
pub mod place;
mod point;
mod remote;
mod renewal;
mod sealed;
mod source;
mod targets;
mod verify;

pub use content::{open_chunks, read_content};
pub use engine::{Progress, Reasons, RestoreReport, RestoreRequest, insist_on_paths, restore};
pub use online::{OnlinePoint, open_online};
pub use ordered::{VerifyOrder, verify_ordered};
pub use point::{PointKeys, PointReader};
pub use remote::{RestoreOrder, Restored, restore_ordered};
pub use sealed::{open_paths, open_report, parse_paths, parse_report, seal_paths, seal_report};
pub use source::{ChunkSource, FetchedFrame};
pub use targets::Targets;
pub use verify::{VerifyReport, verify};
