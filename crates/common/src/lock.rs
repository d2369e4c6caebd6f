//! How an object is locked in its location: until its day nobody deletes it there, or makes the day
//! an earlier one.

use crate::Timestamp;
use core::fmt;
use minicbor::{Decode, Encode};

/// Against whom. The stronger one is the greater one.
#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cbor(index_only)]
pub enum LockClass {
    /// Against all who were not given the right to get around locks.
    #[n(1)]
    Governance,
    /// Against everybody.
    #[n(2)]
    Compliance,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    pub class: LockClass,
    pub until: Timestamp,
}

impl LockClass {
    pub const ALL: [Self; 2] = [Self::Governance, Self::Compliance];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Governance => "governance",
            Self::Compliance => "compliance",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }
}

impl Lock {
    /// Whether it is as strong and as long.
    pub fn covers(&self, other: &Self) -> bool {
        self.class >= other.class && self.until >= other.until
    }
}

impl fmt::Display for LockClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
