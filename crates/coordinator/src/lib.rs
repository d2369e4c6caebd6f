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

mod admission;
mod api;
mod budget;
mod catalog;
mod certificates;
#[cfg(test)]
mod crowd;
mod custody;
mod dispatch;
pub mod door;
mod doubles;
mod fill;
mod history;
mod house;
mod hub;
mod ingest;
mod init;
mod join;
mod levels;
mod members;
mod options;
mod pki;
mod places;
mod presence;
mod raft;
mod reader;
mod reading;
mod recovery;
mod region;
mod restoring;
mod rewrap;
mod secrets;
mod seed;
mod serve;
mod ship;
mod shipped;
mod store;
mod vaults;
mod verify;
mod witness;

pub use holdfast_ledger::{LEVEL, level::LEVEL_FIRST};
pub use init::{InitOptions, init};
pub use join::{JoinOptions, Joined, join};
pub use recovery::{RecoverOptions, Recovered, recover};
pub use rewrap::{RewrapOptions, Rewrapped, rewrap};
pub use serve::{ServeOptions, serve};
