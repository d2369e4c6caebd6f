//! Layers: stores around a store, each adding one thing and changing no promise.
//!
//! Whoever composes them chooses the order; the usual one, outermost first, is retry, meter,
//! throttle. Then each attempt is counted and waits its turn, and a wait between attempts holds no
//! turn. [`Unreliable`] goes innermost, in tests only.

pub mod meter;
pub mod retry;
pub mod throttle;
pub mod unreliable;

pub use meter::Meter;
pub use retry::Retry;
pub use throttle::Throttle;
pub use unreliable::Unreliable;

/// The calls of a store, as counters and faults name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    Delete,
    Get,
    GetRange,
    Head,
    Keeps,
    List,
    Lock,
    Locking,
    Probe,
    Put,
    Replace,
}

impl Operation {
    pub const ALL: [Self; 11] = [
        Self::Delete,
        Self::Get,
        Self::GetRange,
        Self::Head,
        Self::Keeps,
        Self::List,
        Self::Lock,
        Self::Locking,
        Self::Probe,
        Self::Put,
        Self::Replace,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Get => "get",
            Self::GetRange => "get_range",
            Self::Head => "head",
            Self::Keeps => "keeps",
            Self::List => "list",
            Self::Lock => "lock",
            Self::Locking => "locking",
            Self::Probe => "probe",
            Self::Put => "put",
            Self::Replace => "replace",
        }
    }
}
