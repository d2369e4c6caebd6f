//! The vocabulary of the house and nothing more: ids, names, limits, time, chance, secrets, errors.
//!
//! Every other crate speaks these words. Nothing here does I/O beyond the two doors that must exist
//! somewhere (the system's clock and its source of randomness), and nothing here knows of tokio,
//! TLS, protobuf or storage. A type belongs here only when at least two crates need the same word.

pub mod clock;
pub mod codes;
pub mod entropy;
pub mod error;
pub mod id;
pub mod kind;
pub mod limits;
pub mod lock;
pub mod name;
pub mod record;
pub mod secret;

pub use clock::{Clock, SystemClock, Timestamp};
pub use codes::Code;
pub use entropy::{Entropy, SystemEntropy};
pub use error::{Error, Result};
pub use id::{
    AgentId, CapsuleId, ChunkId, ClusterId, ContentHash, HoldId, PackId, PointId, RequestId, RunId,
    SegmentId, SessionId, VaultId,
};
pub use kind::ChunkKind;
pub use lock::{Lock, LockClass};
pub use name::Name;
pub use secret::Secret;
