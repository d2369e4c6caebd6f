//! The agents as one coordinator sees them: who is attached, what they are told to do, what they
//! were told of the ledger.
//!
//! ```text
//!   rows ─→ dispatch ─→ hub ─→ the agent's line        hub ─→ presence ─→ rows
//! ```

pub(crate) mod dispatch;
pub(crate) mod doubles;
pub(crate) mod forgotten;
pub(crate) mod history;
pub(crate) mod hub;
pub(crate) mod presence;
pub(crate) mod verifiers;
