//! A hold: what it is about stays, whatever the rules say, until it ends or is released.
//!
//! Operators hold points and policies. Of an agent whose rights were taken away everything is held
//! at once: nobody knows yet since when its points were not its own. One that has ended is known
//! for some time still: what goes by itself goes only when people had the time to see that.

use super::{PointRow, row};
use crate::Actor;
use core::{fmt, time::Duration};
use holdfast_common::{AgentId, HoldId, Name, PointId, Timestamp};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct HoldRow {
    #[n(0)]
    pub id: HoldId,
    #[n(1)]
    pub what: Held,
    #[n(2)]
    pub reason: String,
    /// Stamped by the ledger, like the time.
    #[n(3)]
    pub by: Actor,
    #[n(4)]
    pub since: Timestamp,
    /// Ledger time of its end; none: until it is released.
    #[n(5)]
    pub until: Option<Timestamp>,
    /// When it was released; stamped by the ledger.
    #[n(6)]
    pub released: Option<Timestamp>,
}

/// What is held.
#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
pub enum Held {
    /// Every point that it made.
    #[n(0)]
    Agent(#[n(0)] AgentId),
    #[n(1)]
    Point(#[n(0)] PointId),
    /// Every point of it, those to come too.
    #[n(2)]
    Policy(#[n(0)] Name),
}

impl HoldRow {
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.keeps(now, Duration::ZERO)
    }

    /// When it ends or ended; none: not before it is released.
    pub fn ends(&self) -> Option<Timestamp> {
        [self.until, self.released].into_iter().flatten().min()
    }

    /// Whether it still keeps what it is about, from whoever waits so long after its end.
    pub fn keeps(&self, now: Timestamp, grace: Duration) -> bool {
        self.ends().is_none_or(|ends| now < ends.plus(grace))
    }
}

impl Held {
    pub fn is_of(&self, point: &PointRow) -> bool {
        match self {
            Self::Agent(agent) => point.agent == *agent,
            Self::Point(id) => point.id == *id,
            Self::Policy(policy) => point.policy.as_ref() == Some(policy),
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(agent) => write!(f, "agent {agent}"),
            Self::Point(point) => write!(f, "point {point}"),
            Self::Policy(policy) => write!(f, "policy {policy}"),
        }
    }
}

row!(HoldRow, Hold, "hold", |row| row.id.as_bytes());
