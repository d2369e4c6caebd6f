//! The replicated truth, pure: what was agreed, in what order, and what follows from it.
//!
//! ```text
//!   propose → [log] → apply(envelope) ──┬─ command/*  one file per command: checks, then rows
//!                                       ├─ overlay    what this group wrote, over the tables
//!                                       ├─ audit      the hash chain over every command
//!                                       └─ Batch      written to a StateKv in one piece
//! ```
//!
//! Given the same log, every member computes the same tables: no clock, no randomness, no network,
//! no tokio. The leader stamps time, ids and chance into the [`Envelope`] before it proposes.
//! A refusal is an outcome like any other: replicated, audited, and the same everywhere.

pub mod apply;
pub mod audit;
mod collection;
pub mod command;
pub mod envelope;
pub mod kv;
pub mod level;
mod pages;
pub mod query;
pub mod retention;
pub mod row;
mod say;
pub mod tables;

pub use apply::apply;
pub use command::{Command, Outcome};
pub use envelope::{Actor, Envelope, Reply, Role};
pub use kv::{Batch, MemoryKv, StateKv};
pub use level::LEVEL;
pub use query::Query;
pub use tables::{Row, Table, Tables};
