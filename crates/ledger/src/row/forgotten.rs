//! What is left of a point that was forgotten: its whole row, with when, by whom and why.
//!
//! It is in no list and cannot be restored. Its objects stay where they are until they are
//! collected; whoever finds them knows from here that nobody lost them. Another point may still
//! rely on packs that lie inside its object.

use super::{PointRow, row};
use crate::Actor;
use holdfast_common::Timestamp;
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct ForgottenRow {
    #[n(0)]
    pub point: PointRow,
    #[n(1)]
    pub when: Timestamp,
    #[n(2)]
    pub by: Actor,
    #[n(3)]
    pub why: String,
    /// Its objects were seen gone from every location then.
    #[n(4)]
    pub gone: Option<Timestamp>,
    /// It was readable until this version of its vault's keys was destroyed.
    #[n(5)]
    pub key_version: Option<u32>,
}

row!(ForgottenRow, Forgotten, "forgotten point", |row| row.point.id.as_bytes());
