//! The hands on every host: they read sources, seal what they read, and bring it back.
//!
//! ```text
//!   service ── orders ──▶ pipeline ── source ▸ seal ▸ packs ──▶ line ──▶ coordinators
//!      │                      └── cache                           ▲
//!   join, renew: who this agent is                                │
//!                         restore ◀── frames, one key per chunk ──┘
//! ```
//!
//! An agent is write-only: it holds nothing that opens what it or anyone else backed up. What a
//! restore opens, it was granted for one point and for the time of the restore. Nothing here talks
//! to a location, and nothing decides what is kept.

pub mod cache;
mod flow;
pub mod join;
pub mod line;
pub mod options;
pub mod pipeline;
mod renew;
pub mod restore;
pub mod service;
pub mod source;

pub use cache::CacheStore;
