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
//! nothing; and of each location the newest that lies there. One that is lost stands in for nothing
//! either, and one that holds far less than another not for that one. The ledger checks again what
//! must hold when a plan is carried out ([`outlives`], [`Size`], [`Ties`]).

mod calendar;
mod plan;
mod queries;
#[cfg(test)]
mod tests;
mod ties;

pub use plan::{Candidate, Verdict, plan};
pub use ties::{Tie, Ties};

use crate::row::{ClassRow, PointRow, PointState, PolicyRow, Retention, point::time_key};
use holdfast_common::{Timestamp, limits};

/// Why a point stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The newest holds so little that it may be junk.
    Anomaly,
    /// The newest that some location has: newer ones lie in others only.
    Copy,
    Daily,
    /// What would be left of its source needs something that is lost.
    Damaged,
    Held,
    Hourly,
    /// Somebody reads it, or goes on from it.
    InUse,
    Last,
    Monthly,
    /// No newer one of its source is whole and as good.
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
            Self::Anomaly => "anomaly",
            Self::Copy => "copy",
            Self::Daily => "daily",
            Self::Damaged => "damaged",
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
    /// A policy's own rules come before those of its class. Of what both protect the longer time
    /// counts: nobody gives up by silence what the class promises.
    pub fn of(policy: &PolicyRow, class: Option<&ClassRow>) -> Option<Self> {
        let class = class.filter(|class| policy.class.as_ref() == Some(&class.name));
        let (own, of_class) =
            (policy.retention.as_ref(), class.and_then(|class| class.retention.as_ref()));
        let chosen = own.filter(|own| own.keeps()).or(of_class).or(own)?;
        let said = [own, of_class].into_iter().flatten();
        let protect_secs = said.filter_map(|one| one.protect_secs).max();
        let retention = Retention { protect_secs, ..chosen.clone() };
        let since = policy.retained_since.unwrap_or_default();
        let since = class.map_or(since, |class| since.max(class.retained_since));
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

/// Whether `newer` is left of a source when `older` goes: of the same source, later, whole, and at
/// least as good.
pub fn outlives(newer: &PointRow, older: &PointRow) -> bool {
    is_scheduled(newer) && succeeds(newer, older)
}

/// The same, whichever way the newer one came about.
pub(crate) fn succeeds(newer: &PointRow, older: &PointRow) -> bool {
    let of = |point: &PointRow| (point.vault, point.policy.clone(), point.agent);
    let at = |point: &PointRow| time_key(point.committed, point.id.as_bytes());
    newer.lost.is_none()
        && of(newer) == of(older)
        && newer.source == older.source
        && at(newer) < at(older)
        && (newer.state == PointState::Complete || older.state == PointState::Partial)
}

/// How much a point holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// With the directories above what is backed up: there are always some.
    pub entries: u64,
    pub bytes: u64,
}

impl Size {
    pub fn of(point: &PointRow) -> Self {
        Self { entries: point.entries, bytes: point.bytes }
    }

    /// Whether a point of this size stands in for an older one: a source that shrank that much may
    /// be a disk that is not there, and the older one is the last that is good.
    pub fn stands_in_for(self, older: Self) -> bool {
        let few = self.entries.saturating_mul(limits::ENTRIES_FEWER_TIMES);
        older.entries <= few && (self.bytes > 0 || older.bytes == 0)
    }
}
