//! What every process needs: identity and TLS, supervised tasks, telemetry, files, shutdown.
//!
//! The coordinator, the agent and the command line are built on the same few things:
//!
//! ```text
//! pki       the cluster's own authority: requests in, certificates out; names set by the issuer
//! identity  who a certificate says its holder is
//! tls       TLS 1.3 both ways, replaced while running; accept loop, connector, windows
//! tasks     every spawned task has a kind, an owner who waits, and a policy for its errors
//! shutdown  signals;   telemetry  logs;   files, context  what lies on disk;   memory  allocator
//! ```
//!
//! Nothing here knows a message, a table or a vault. Errors become wire statuses in `wire`.

pub mod context;
pub mod files;
pub mod identity;
pub mod memory;
pub mod pki;
pub mod shutdown;
pub mod tasks;
pub mod telemetry;
pub mod tls;

pub use context::Context;
pub use identity::{Identity, IdentityKind, PeerCertificate};
pub use shutdown::{Signal, Signals};
pub use tasks::{OnError, Tasks};
pub use tls::{ChannelKind, ClientTls, ServerTls, connect};
