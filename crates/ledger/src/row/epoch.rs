//! Which regions lead, by number: whoever takes the lead after a region was lost takes the next
//! epoch, and what is of an older one is superseded.
//!
//! A cluster that never changed regions has no such row: it is in its first epoch, which every
//! region holds. Rows stay, the newest first.

use super::{MemberRow, MemberState, row};
use holdfast_common::{Name, Timestamp, VaultId};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct EpochRow {
    #[n(0)]
    pub number: u64,
    /// The regions that hold it.
    #[n(1)]
    pub regions: Vec<Name>,
    /// The member that claimed it.
    #[n(2)]
    pub member: u64,
    /// The last entry of the log that comes from before it.
    #[n(3)]
    pub base: u64,
    #[n(4)]
    pub since: Timestamp,
    /// Who asked for it, and why.
    #[n(5)]
    pub operator: String,
    #[n(6)]
    pub reason: Option<String>,
    /// Locations of regions that do not hold it: nothing new goes there.
    #[n(7)]
    pub suspended: Vec<Suspended>,
    /// Locations that follow, and are required while what their vaults required is suspended; never
    /// there and empty.
    #[n(8)]
    pub taken: Option<Vec<Taken>>,
    /// The first entry that a shipped snapshot must show: the log of before may have gaps where a
    /// location was taken. It stays, whatever becomes of that location.
    #[n(9)]
    pub gap: Option<u64>,
}

impl EpochRow {
    /// Whether it is of a region that was given up and is neither back nor forgotten: it may know
    /// of what nobody here does.
    pub fn has_lost(&self, member: &MemberRow) -> bool {
        member.state == MemberState::Superseded && !self.regions.contains(&member.region)
    }

    /// Locations that stand in for those that are suspended.
    pub fn taken(&self) -> &[Taken] {
        self.taken.as_deref().unwrap_or_default()
    }

    /// Whether something stands in for what a vault required.
    pub fn has_taken_for(&self, vault: &VaultId) -> bool {
        self.taken().iter().any(|taken| taken.vault == *vault)
    }

    /// What a vault required and is suspended.
    pub fn suspended_of(&self, vault: &VaultId) -> impl Iterator<Item = &Name> {
        let parts = self.suspended.iter().filter(move |part| part.vault == *vault);
        parts.flat_map(|part| &part.locations)
    }

    #[must_use]
    pub(crate) fn with_taken(self, taken: Vec<Taken>) -> Self {
        Self { taken: (!taken.is_empty()).then_some(taken), ..self }
    }
}

/// Locations that a vault required before.
#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct Suspended {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub locations: Vec<Name>,
    /// They were all that it required: what stands in for them may lack what lies there.
    #[n(2)]
    pub alone: Option<bool>,
}

/// A location that followed, and is required for a vault that has no other one where it leads.
#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct Taken {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub location: Name,
}

pub const FIRST_EPOCH: u64 = 1;

row!(EpochRow, Epoch, "epoch", |row| (u64::MAX - row.number).to_be_bytes());
