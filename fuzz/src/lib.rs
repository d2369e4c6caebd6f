//! Every parser of the house under hostile bytes.
//!
//! ```text
//!   parsers/*  one body per parser: parse, and check what holds for everything that parses
//!      │
//!   registry ──┬─ tests/every_parser.rs   random and mutated bytes, the saved corpus  (make test)
//!              └─ main.rs                 guided by coverage                       (make torture)
//! ```
//!
//! A body refuses or accepts; it never panics unless a promise is broken. What is promised beyond
//! that is said in the body: one spelling, the same value again, a key that opens nothing else. The
//! memory that a body takes is measured for all of them, in [`parser::Parser::run`].
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a broken promise is told by panicking, to a test or to the engine"
)]

pub mod dice;
pub mod examples;
pub mod mutate;
pub mod parser;
pub mod parsers;
pub mod registry;

pub use dice::Dice;
pub use parser::{Parser, Refused};
pub use registry::{PARSERS, named};
