//! Who belongs to the cluster: founding it, joining it, and the leader's care for its members.
//!
//! ```text
//!   init ─→ the first member      token ─→ join ─(admission)─→ a later one, or a witness
//!   rows of what is wanted ─→ members, levels ─→ who votes, who leads, what may be proposed
//! ```

pub(crate) mod admission;
pub(crate) mod init;
pub(crate) mod join;
pub(crate) mod levels;
pub(crate) mod making;
pub(crate) mod members;
pub(crate) mod seed;
pub(crate) mod witness;
