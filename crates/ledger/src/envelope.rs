//! The one envelope that every command travels in, from the first day on.
//!
//! Version, idempotency key, actor, stamped time, epoch and trace parent are here once, so that no
//! command carries its own. The numbers of the fields are replicated and stored: never reused.

use crate::command::{Command, Outcome};
use holdfast_common::{AgentId, Code, Error, Name, Result, Timestamp};
use minicbor::{Decode, Encode};

pub const ENVELOPE_VERSION: u32 = 1;

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct Envelope {
    #[n(0)]
    pub version: u32,
    /// A command applied once is applied once: a second envelope with this key gets the first's
    /// reply and changes nothing.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub key: [u8; 16],
    #[n(2)]
    pub actor: Actor,
    #[n(3)]
    pub time: Timestamp,
    #[n(4)]
    pub epoch: u64,
    #[n(5)]
    pub traceparent: Option<String>,
    #[n(6)]
    pub command: Command,
}

/// Whose change it is.
#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
pub enum Actor {
    #[n(0)]
    System,
    #[n(1)]
    Operator(#[n(0)] Name),
    #[n(2)]
    Agent(#[n(0)] AgentId),
    /// Somebody who holds a token and no certificate yet.
    #[n(3)]
    Token,
}

impl core::fmt::Display for Actor {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::Operator(name) => write!(f, "operator:{name}"),
            Self::Agent(id) => write!(f, "agent:{id}"),
            Self::Token => f.write_str("token"),
        }
    }
}

/// What an identity may do. One identity has one role; the API's table says which call needs which.
#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq, PartialOrd, Ord)]
#[cbor(index_only)]
pub enum Role {
    #[n(0)]
    Admin,
    #[n(1)]
    Agent,
}

/// What a command came to. Refusals are replicated like everything else.
#[derive(Clone, Debug, Decode, Encode, PartialEq)]
pub enum Reply {
    #[n(0)]
    Done(#[n(0)] Outcome),
    #[n(1)]
    Refused(#[n(0)] Refusal),
}

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct Refusal {
    #[n(0)]
    pub code: String,
    #[n(1)]
    pub message: String,
    #[n(2)]
    pub next: Option<String>,
}

impl Reply {
    pub fn refused(error: &Error) -> Self {
        Self::Refused(Refusal {
            code: error.code.name().to_owned(),
            message: crate::audit::bounded(&error.message),
            next: error.next.as_deref().map(crate::audit::bounded),
        })
    }

    pub fn into_result(self) -> Result<Outcome> {
        match self {
            Self::Done(outcome) => Ok(outcome),
            Self::Refused(refusal) => {
                let code = Code::from_name(&refusal.code).unwrap_or(Code::InternalBug);
                Err(Error { code, message: refusal.message, cause: None, next: refusal.next })
            }
        }
    }
}
