//! Real servers for tests: started on free ports of loopback, each with a directory of its own,
//! ended with the process that started them.
//!
//! ```text
//!   Ministack · Moto · Ceph     S3      Azurite     Azure      FakeGcs     GCS
//!        └───────────┴───────────┴──────── Server ─────┴───────────┘
//! ```
//!
//! `.ci/setup test` installs them into the tools directory (`HOLDFAST_TOOLS`, else
//! `~/.cache/holdfast/tools`) and with apt. A server that is missing fails the test that needs it.

mod azurite;
mod buckets;
mod ceph;
mod gcs;
mod ministack;
mod moto;
mod server;
mod tools;

pub use azurite::Azurite;
pub use buckets::Bucket;
pub use ceph::Ceph;
pub use gcs::FakeGcs;
pub use ministack::Ministack;
pub use moto::Moto;
pub use server::Server;
