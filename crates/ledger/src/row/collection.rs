//! A round of collection in a vault, what came into the vault since it began, and the names of
//! packs that went.
//!
//! A vault has one row of its newest round, which stays when the round is over: its watermark says
//! when something was doomed last. Names of packs stay taken: a delete may be late, and must never
//! hit anything that was stored anew under the same name.

use super::row;
use crate::envelope::Refusal;
use holdfast_common::{PackId, PointId, Timestamp, VaultId};
use minicbor::{Decode, Encode};

/// How far a round is.
#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(index_only)]
pub enum Stage {
    /// What no point needs is condemned.
    #[n(1)]
    Marking,
    /// Nothing more is condemned; sessions that began before are waited for.
    #[n(2)]
    Sealed,
    /// They are gone; what came since the beginning is marked too, and the rest is doomed.
    #[n(3)]
    Clear,
    #[n(4)]
    Over,
}

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct CollectionRow {
    #[n(0)]
    pub vault: VaultId,
    /// The index of its first entry, by which rounds are told apart.
    #[n(1)]
    pub round: u64,
    #[n(2)]
    pub begun: Timestamp,
    #[n(3)]
    pub stage: Stage,
    /// Packs that were announced before it have numbers below this.
    #[n(4)]
    pub below: u64,
    /// The index at which it was sealed; 0 before.
    #[n(5)]
    pub sealed: u64,
    #[n(6)]
    pub condemned: u64,
    #[n(7)]
    pub spared: u64,
    #[n(8)]
    pub doomed: u64,
    #[n(9)]
    pub doomed_bytes: u64,
    /// The index at which something was last doomed in this vault, by whatever round; 0 for never.
    #[n(10)]
    pub doomed_at: u64,
    #[n(11)]
    pub ended: Option<Timestamp>,
    /// Why it ended before it was done.
    #[n(12)]
    pub problem: Option<Refusal>,
    /// The index at which it was cleared last; 0 before. A second mark is made after it.
    #[n(13)]
    pub cleared: u64,
    /// What was packed anew.
    #[n(14)]
    pub repacked: Option<Repacked>,
    /// How many points came since it began.
    #[n(15)]
    pub noted: u64,
}

/// Packs that were packed anew, and what became of them.
#[derive(Clone, Copy, Debug, Decode, Default, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct Repacked {
    #[n(0)]
    pub packs: u64,
    #[n(1)]
    pub bytes: u64,
    /// The packs that took over what is needed of them.
    #[n(2)]
    pub made: u64,
    #[n(3)]
    pub made_bytes: u64,
}

row!(CollectionRow, Collection, "collection", |row| row.vault.as_bytes());

/// A point that came while a round was open.
#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct NewPointRow {
    #[n(0)]
    pub vault: VaultId,
    /// The entry that brought it.
    #[n(1)]
    pub index: u64,
    #[n(2)]
    pub point: PointId,
}

row!(NewPointRow, NewPoint, "new point", |row| new_point_key(&row.vault, row.index));

/// In the order of the log, behind the beginning of the round that they were noted for.
pub fn new_point_key(vault: &VaultId, index: u64) -> Vec<u8> {
    [vault.as_bytes().as_slice(), &index.to_be_bytes()].concat()
}

/// A pack that lies nowhere any more. Its name is not given again.
#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct GoneRow {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub pack: PackId,
    #[n(2)]
    pub when: Timestamp,
    /// The pack that took over what was needed of it.
    #[n(3)]
    pub into: Option<PackId>,
}

row!(GoneRow, Gone, "gone pack", |row| super::pack::pack_key(&row.vault, &row.pack));

/// A point whose objects are to go: it was forgotten, or never came to be.
#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct LeavingRow {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub point: PointId,
    #[n(2)]
    pub since: Timestamp,
}

row!(LeavingRow, Leaving, "leaving point", |row| leaving_key(&row.vault, &row.point));

pub fn leaving_key(vault: &VaultId, point: &PointId) -> Vec<u8> {
    [vault.as_bytes().as_slice(), point.as_bytes()].concat()
}

/// A point that never came to be, and of which nothing lies anywhere any more. Of one that was
/// forgotten the row that is left says so.
#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct GonePointRow {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub point: PointId,
    #[n(2)]
    pub when: Timestamp,
}

row!(GonePointRow, GonePoint, "gone point", |row| row.point.as_bytes());

/// A pack inside the object of a point.
pub fn inline_key(vault: &VaultId, home: &PointId, pack: &PackId) -> Vec<u8> {
    [inline_prefix(vault, home).as_slice(), pack.as_bytes()].concat()
}

pub fn inline_prefix(vault: &VaultId, home: &PointId) -> Vec<u8> {
    [vault.as_bytes().as_slice(), home.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{PackHome, PackRow, PackState, TakenRun};
    use holdfast_common::{AgentId, SessionId, record};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn vault() -> VaultId {
        VaultId::from_bytes([1; 16])
    }

    fn pack() -> PackRow {
        PackRow {
            id: PackId::from_bytes([2; 32]),
            vault: vault(),
            kind: 1,
            base: 10,
            slots: 3,
            length: 1000,
            writer: AgentId::from_bytes([3; 16]),
            session: SessionId::from_bytes([4; 16]),
            state: PackState::Stored,
            home: PackHome::Object,
            digest: [5; 32],
            condemned: None,
            doomed: None,
            live: None,
            taken: None,
            into: None,
            sealed_to: None,
        }
    }

    #[test]
    fn rows_of_collection_keep_their_bytes() {
        let row = CollectionRow {
            vault: vault(),
            round: 7,
            begun: Timestamp::from_nanos(8),
            stage: Stage::Clear,
            below: 9,
            sealed: 10,
            condemned: 11,
            spared: 12,
            doomed: 13,
            doomed_bytes: 14,
            doomed_at: 15,
            ended: None,
            problem: None,
            cleared: 16,
            repacked: None,
            noted: 17,
        };
        let id = "01".repeat(16);
        let stored =
            format!("ad0050{id}01070208030304090 50a060b070c080d090e0a0f0d100f11").replace(" ", "");
        assert_eq!(hex(&record::to_bytes(&row)), stored);
        let point = PointId::from_bytes([6; 16]);
        let new = NewPointRow { vault: vault(), index: 7, point };
        assert_eq!(hex(&record::to_bytes(&new)), format!("a30050{id}01070250{}", "06".repeat(16)));
        let when = Timestamp::from_nanos(8);
        let gone = GoneRow { vault: vault(), pack: pack().id, when, into: None };
        let stored = format!("a30050{id}015820{}0208", "02".repeat(32));
        assert_eq!(hex(&record::to_bytes(&gone)), stored);
        let stored = format!("a30050{id}0150{}0208", "06".repeat(16));
        let (since, when) = (Timestamp::from_nanos(8), Timestamp::from_nanos(8));
        let leaving = LeavingRow { vault: vault(), point, since };
        assert_eq!(hex(&record::to_bytes(&leaving)), stored);
        let gone = GonePointRow { vault: vault(), point, when };
        assert_eq!(hex(&record::to_bytes(&gone)), stored);
    }

    #[test]
    fn a_pack_that_collection_leaves_alone_is_stored_as_it_always_was() {
        let before = "ab005820".to_owned()
            + &"02".repeat(32)
            + "0150"
            + &"01".repeat(16)
            + "0201030a0403051903e80650"
            + &"03".repeat(16)
            + "0750"
            + &"04".repeat(16)
            + "08020982018"
            + "00a5820"
            + &"05".repeat(32);
        assert_eq!(hex(&record::to_bytes(&pack())), before);
        let doomed = PackRow {
            state: PackState::Doomed,
            condemned: Some(7),
            doomed: Some(Timestamp::from_nanos(8)),
            ..pack()
        };
        let after = before.replacen("ab", "ad", 1).replacen("0802098201", "0804098201", 1);
        assert_eq!(hex(&record::to_bytes(&doomed)), after + "0b070c08");
        assert_eq!(
            record::from_bytes::<PackRow>("pack", &record::to_bytes(&doomed)).unwrap(),
            doomed
        );
    }

    #[test]
    fn a_pack_that_was_made_of_others_keeps_its_bytes() {
        let taken = Some(vec![TakenRun { number: 300, slot: 1, count: 2 }]);
        let row = PackRow { live: Some(true), taken, into: Some(pack().id), ..pack() };
        let stored = hex(&record::to_bytes(&row));
        let end = format!("0df50e818319012c01020f5820{}", "02".repeat(32));
        assert!(stored.starts_with("ae") && stored.ends_with(&end), "{stored}");
        assert_eq!(row.numbers().collect::<Vec<_>>(), [(10, 3), (300, 2)]);
        let repacked = Repacked { packs: 1, bytes: 2, made: 3, made_bytes: 4 };
        assert_eq!(hex(&record::to_bytes(&repacked)), "a40001010202030304");
    }
}
