//! The services this binary can be: a coordinator, an agent, both at once (`dev`).
//!
//! Everything that touches the crates `coordinator` and `agent` as running processes is here. Each
//! service is a task under one supervisor, says `ready ADDR` on stdout when it accepts calls, and
//! drains on a signal.

pub mod dev;
mod founding;
mod service;

pub use founding::{Founding, init};
pub use holdfast_coordinator::{RewrapOptions, rewrap};
pub use service::{agent, coordinator, join, repoint};
