//! Where an agent is attached, and when it was last seen.
//!
//! Told now and then and in batches: what a run needs is decided by whoever holds the stream.

use super::row;
use holdfast_common::{AgentId, Timestamp};
use minicbor::{Decode, Encode};

#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct SeatRow {
    #[n(0)]
    pub agent: AgentId,
    /// The member it is attached to; none while it is away.
    #[n(1)]
    pub member: Option<u64>,
    #[n(2)]
    pub seen: Timestamp,
    /// Said by a verifier that knows the order to verify.
    #[n(3)]
    pub verifies: Option<bool>,
}

impl SeatRow {
    /// One of which no more is known than where it is.
    pub fn new(agent: AgentId, member: Option<u64>, seen: Timestamp) -> Self {
        Self { agent, member, seen, verifies: None }
    }
}

row!(SeatRow, Seat, "seat", |row| row.agent.as_bytes());
