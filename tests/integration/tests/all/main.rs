//! What the `holdfast` binary promises to people and scripts, kept by real processes.
//!
//! Every test has its own directory, its own cluster and its own ports, and ends every process that
//! it started, by its id. Waits look at a condition and have a deadline; they never hope.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "all of this crate is tests: they read real clocks and fail by panicking"
)]

mod harness;

mod buckets;
mod canary;
mod clock;
mod cluster;
mod collecting;
mod copies;
mod damage;
mod dev;
mod doubles;
mod ends;
mod exit_codes;
mod following;
mod full_disk;
mod healing;
mod hostile;
mod index;
mod json;
mod keys;
mod kill_loop;
mod killing;
mod location;
mod locking;
mod looking;
mod members;
mod mounting;
mod mounts;
mod names;
mod offline;
mod operators;
mod partial;
mod places;
mod providers;
mod remote_restore;
mod repacking;
mod resources;
mod retaining;
mod round_trip;
mod scrubbing;
mod sharing;
mod unmounting;
mod verifying;
