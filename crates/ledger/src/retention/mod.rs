//! Which points stay and which go: values in, values out; no clock, no tables.
//!
//! ```text
//!   points of one source ─┐
//!   what else ties them ──┼─→ plan ─→ each point with every reason it stays for; none: it goes
//!   rules, ledger time ───┘
//! ```
//!
//! Only what went to its end under a policy counts for the rules. Checkpoints, safety points,
//! points of a path alone and points that were taken in from a location push nothing out and stand
//! in for nothing. The newest point of a source stays always, and so does the newest that skipped
//! nothing. The ledger checks again what must hold when a plan is carried out ([`outlives`],
//! [`Ties`]).

mod calendar;
mod plan;
#[cfg(test)]
mod tests;
mod ties;

pub use plan::{Candidate, Verdict, plan};
pub use ties::{Tie, Ties};

use crate::row::{ClassRow, PointRow, PointState, PolicyRow, Retention, point::time_key};
use holdfast_common::Timestamp;

/// Why a point stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    Daily,
    Held,
    Hourly,
    /// Somebody reads it, or goes on from it.
    InUse,
    Last,
    Monthly,
    /// The newest of its source, or the newest that skipped nothing.
    Newest,
    /// Nobody said how long points are kept.
    NoRules,
    /// It is not as old yet as anything must be that goes.
    Protected,
    /// It came about outside of the policy's backups.
    Unscheduled,
    Versions,
    Weekly,
    Within,
    Yearly,
}

impl Reason {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Held => "held",
            Self::Hourly => "hourly",
            Self::InUse => "in-use",
            Self::Last => "last",
            Self::Monthly => "monthly",
            Self::Newest => "newest",
            Self::NoRules => "no-rules",
            Self::Protected => "protected",
            Self::Unscheduled => "unscheduled",
            Self::Versions => "versions",
            Self::Weekly => "weekly",
            Self::Within => "within",
            Self::Yearly => "yearly",
        }
    }
}

/// The rules that hold for a policy, and since when they are these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    pub retention: Retention,
    pub since: Timestamp,
    /// The revisions that say so: whoever carries out a plan names them.
    pub revision: u64,
    pub class_revision: Option<u64>,
}

impl Rules {
    /// A policy's own rules come before those of its class.
    pub fn of(policy: &PolicyRow, class: Option<&ClassRow>) -> Option<Self> {
        let class = class.filter(|class| policy.class.as_ref() == Some(&class.name));
        let own = policy.retained_since.unwrap_or_default();
        let (retention, since) = match (&policy.retention, class) {
            (Some(retention), _) => (retention.clone(), own),
            (None, Some(class)) => (class.retention.clone()?, own.max(class.retained_since)),
            (None, None) => return None,
        };
        let class_revision = class.map(|class| class.revision);
        Some(Self { retention, since, revision: policy.revision, class_revision })
    }
}

/// Whether a point is of those that rules count.
pub fn is_scheduled(point: &PointRow) -> bool {
    point.state.is_scheduled() && point.policy.is_some() && point.recovered != Some(true)
}

/// Whether rules may let it go at all: they count it, or it was a step on the way to what they do.
/// What a restore saved and what was taken in from a location stays.
pub fn may_go(point: &PointRow) -> bool {
    is_scheduled(point) || is_step(point)
}

/// A checkpoint of a backup of a policy.
fn is_step(point: &PointRow) -> bool {
    point.state == PointState::Checkpoint && point.policy.is_some() && point.recovered != Some(true)
}

/// Whether `newer` is left of a source when `older` goes: of the same source, later, and at least
/// as good.
pub fn outlives(newer: &PointRow, older: &PointRow) -> bool {
    let of = |point: &PointRow| (point.vault, point.policy.clone(), point.agent);
    let at = |point: &PointRow| time_key(point.committed, point.id.as_bytes());
    is_scheduled(newer)
        && of(newer) == of(older)
        && newer.source == older.source
        && at(newer) < at(older)
        && (newer.state == PointState::Complete || older.state == PointState::Partial)
}
