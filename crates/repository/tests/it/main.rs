//! The crate as its users see it: packs, segments, reaches, points and names, whole and damaged.
//!
//! One binary, one file per object. [`clear`] holds the transparent sealers, which keep plaintexts
//! readable in golden files and still notice a flipped bit. Golden bytes are under `tests/golden/`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod check;
mod clear;
mod collect;
mod golden;
mod hostile;
mod layout;
mod pack;
mod point;
mod reach;
mod remake;
mod segment;
mod vault_object;
