//! Whole backups and restores of real directories, over real connections, against a double of the
//! cluster that keeps packs in memory.
//!
//! The double believes nothing that the coordinator would not: packs are parsed and hashed, footers
//! opened, signatures checked, offers bounded. What the agent may rely on is what the double does.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

mod backup;
mod damage;
mod double;
mod in_the_way;
mod lost_line;
mod races;
mod restore;
mod safety;
mod scene;
mod service;
mod trees;
