//! The brain of the house: takes streams from agents, places packs, keeps the ledger.
//!
//! ```text
//!   agents ─┐            ┌─ ingest ─→ places (locations)
//!   cli ────┼─ api (gate)┼─ reading ←─┘        ↑
//!           │            ├─ dispatch ← ledger ─┤ raft: log (files) → tables (sled)
//!           └─ enrol     └─ verify             └ catalog: chunk → pack, a cache
//! ```
//!
//! It sees ciphertext, counts and ids. It has no edge to the crate that opens chunks.

mod agents;
mod api;
mod budget;
mod catalog;
mod cluster;
mod collect;
#[cfg(test)]
mod crowd;
pub mod door;
mod errands;
mod fill;
mod house;
mod identity;
mod ingest;
mod keys;
mod locks;
mod options;
mod places;
mod raft;
mod reading;
mod recovery;
mod region;
mod replicate;
mod retain;
mod scrub;
mod serve;
mod shipped;
mod store;
mod trial;
mod vaults;
mod verify;

pub use cluster::init::{InitOptions, init};
pub use cluster::join::{JoinOptions, Joined, join};
pub use holdfast_ledger::{LEVEL, level::LEVEL_FIRST};
pub use keys::rewrap::{RewrapOptions, Rewrapped, rewrap};
pub use recovery::{RecoverOptions, Recovered, recover};
pub use serve::{ServeOptions, serve};
