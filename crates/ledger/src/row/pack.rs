//! A pack that is stored or about to be. The row exists before the first byte is written.

use super::{epoch::FIRST_EPOCH, row};
use holdfast_common::{AgentId, PackId, PointId, SegmentId, SessionId, Timestamp, VaultId};
use minicbor::{Decode, Encode};

#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(index_only)]
pub enum PackState {
    /// Announced; perhaps stored, perhaps not.
    #[n(1)]
    Intended,
    /// Durable in every required location.
    #[n(2)]
    Stored,
    /// No location has it whole; only a restore may still look for it.
    #[n(3)]
    Lost,
    /// Nobody needs it: its objects may go at any moment, and its name is never used again.
    #[n(4)]
    Doomed,
}

/// The numbers of an epoch; above them stands which one it is.
pub(crate) const NUMBERS_OF_EPOCH: u64 = 1 << 40;

/// Where its bytes lie.
#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
pub enum PackHome {
    #[n(1)]
    Object,
    /// Inside the point's own object, at this offset.
    #[n(2)]
    Point(#[n(0)] PointId, #[n(1)] u32),
}

impl PackHome {
    /// Whether it is the object of this point.
    pub fn is_within(&self, point: &PointId) -> bool {
        matches!(self, Self::Point(home, _) if home == point)
    }
}

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct PackRow {
    #[n(0)]
    pub id: PackId,
    #[n(1)]
    pub vault: VaultId,
    /// 1 data, 2 pages.
    #[n(2)]
    pub kind: u8,
    /// The number of its first chunk; the others follow by slot.
    #[n(3)]
    pub base: u64,
    #[n(4)]
    pub slots: u32,
    #[n(5)]
    pub length: u32,
    #[n(6)]
    pub writer: AgentId,
    #[n(7)]
    pub session: SessionId,
    #[n(8)]
    pub state: PackState,
    #[n(9)]
    pub home: PackHome,
    /// BLAKE3 of everything before the footer: with it the footer opens without the frames.
    #[cbor(n(10), with = "minicbor::bytes")]
    pub digest: [u8; 32],
    /// The round that found that nobody needs it. Offers are answered as if it were absent.
    #[n(11)]
    pub condemned: Option<u64>,
    #[n(12)]
    pub doomed: Option<Timestamp>,
    /// It was condemned though points need some of it: it goes by being packed anew, or stays.
    #[n(13)]
    pub live: Option<bool>,
    /// Numbers of other packs that its frames answer to besides their own.
    #[n(14)]
    pub taken: Option<Vec<TakenRun>>,
    /// The pack that has taken over what any point needs of it.
    #[n(15)]
    pub into: Option<PackId>,
    /// The versions of the vault's keys without which something of it does not open, ascending:
    /// those of its capsules, and that of its footer. Absent: nobody has looked yet.
    #[n(16)]
    pub sealed_to: Option<Vec<u32>>,
}

/// Numbers in a row that frames in a row took over.
#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq, PartialOrd, Ord)]
pub struct TakenRun {
    #[n(0)]
    pub number: u64,
    #[n(1)]
    pub slot: u32,
    #[n(2)]
    pub count: u32,
}

impl PackRow {
    /// Whether its bytes are, or were, somewhere for whoever needs them.
    pub fn may_be_read(&self) -> bool {
        matches!(self.state, PackState::Stored | PackState::Lost)
    }

    /// Every number that its frames answer to, in runs: the first of each, and how many.
    pub fn numbers(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        let taken = self.taken().iter().map(|run| (run.number, run.count));
        std::iter::once((self.base, self.slots)).chain(taken)
    }

    pub fn taken(&self) -> &[TakenRun] {
        self.taken.as_deref().unwrap_or_default()
    }

    /// Nobody's garbage any more.
    pub fn spared(self) -> Self {
        Self { condemned: None, live: None, ..self }
    }

    /// Whether a version of the keys opens some of it that no other one opens; none where that is
    /// not known.
    pub fn needs_version(&self, version: u32) -> Option<bool> {
        self.sealed_to.as_ref().map(|versions| versions.contains(&version))
    }

    /// Whether its numbers were given before this epoch. Those of the first one carry none.
    pub fn is_before(&self, epoch: u64) -> bool {
        (self.base / NUMBERS_OF_EPOCH).max(FIRST_EPOCH) < epoch
    }

    /// Whether what is backed up from now on may rely on it.
    pub fn is_offered(&self) -> bool {
        self.state == PackState::Stored && self.condemned.is_none()
    }
}

/// Packs are found by vault, then id.
pub fn pack_key(vault: &VaultId, id: &PackId) -> Vec<u8> {
    [vault.as_bytes().as_slice(), id.as_bytes()].concat()
}

row!(PackRow, Pack, "pack", |row| pack_key(&row.vault, &row.id));

/// An index segment that lies in the vault's locations.
#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct SegmentRow {
    #[n(0)]
    pub id: SegmentId,
    #[n(1)]
    pub vault: VaultId,
    #[n(2)]
    pub rows: u32,
    #[n(3)]
    pub length: u64,
    /// BLAKE3 of the object.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub hash: [u8; 32],
}

row!(SegmentRow, Segment, "segment", |row| [row.vault.as_bytes().as_slice(), row.id.as_bytes()]
    .concat());
