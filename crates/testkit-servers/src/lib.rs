//! Real servers for tests: started on free ports of loopback, each with a directory of its own,
//! ended with the process that started them.
//!
//! ```text
//!   Ministack · Moto · Ceph     S3      Azurite     Azure      FakeGcs     GCS
//!        └───────────┴───────────┴──────── Server ─────┴───────────┘
//!   S3sFs                           S3 too, in this process: of all writers of a name each wins
//!   Proxy                           before one of them, on a line that goes wrong
//!   OpenBao · SoftHsm · Kms         who keeps a KEK and never shows it
//! ```
//!
//! `.ci/setup test` installs them into the tools directory (`HOLDFAST_TOOLS`, else
//! `~/.cache/holdfast/tools`) and with apt. A server that is missing fails the test that needs it.

#![expect(clippy::panic, reason = "for tests alone: what is missing fails them, and says so")]

mod azurite;
mod buckets;
mod ceph;
mod gcs;
mod kms;
mod ministack;
mod moto;
mod openbao;
mod proxy;
mod s3s;
mod server;
mod softhsm;
mod tools;

pub use azurite::{ACCOUNT as AZURE_ACCOUNT, Azurite, BlobContainer, KEY as AZURE_KEY};
pub use buckets::Bucket;
pub use ceph::Ceph;
pub use gcs::{FakeGcs, GcsBucket};
pub use kms::Kms;
pub use ministack::Ministack;
pub use moto::Moto;
pub use openbao::OpenBao;
pub use proxy::{Fault, Proxy, Weather};
pub use s3s::S3sFs;
pub use server::Server;
pub use softhsm::{PIN as TOKEN_PIN, SoftHsm};
pub use tools::tools;
