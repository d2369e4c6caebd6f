//! Which packs, and through them which points, need each version of a vault's keys.
//!
//! ```text
//!   rows of packs ─→ version → numbers, packs, bytes      not looked into yet → numbers
//!   reach of a point ∩ the numbers of a version ─→ it needs that version
//! ```
//!
//! Pure: it reads rows, and is given reaches one after the other. All rows are looked at as of one
//! moment: a pack that is packed anew while they are would be seen neither before nor after, so
//! they are looked at again when something was given up meanwhile. From that moment on needs only
//! shrink, but for what is committed under a version that is not closed.

use holdfast_common::{Code, Error, PackId, Result, VaultId};
use holdfast_ledger::{
    Query,
    row::{PackRow, PackState},
};
use holdfast_repository::{ChunkNumber, Reach};
use std::collections::BTreeMap;

/// How often all packs are looked at while some are given up.
const LOOKS_MAX: usize = 8;
/// So many of those that nobody has looked into are named.
const NAMED_MAX: usize = 8;

/// What the packs of a vault need.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    pub(crate) versions: BTreeMap<u32, VersionNeeds>,
    pub(crate) unknown: UnknownPacks,
    /// The numbers of packs that are lost.
    pub(crate) lost: Reach,
}

/// What opens with one version of the keys, and with nothing else.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct VersionNeeds {
    pub(crate) packs: u64,
    pub(crate) bytes: u64,
    numbers: Reach,
}

/// Packs of which it is not known to which versions they are sealed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct UnknownPacks {
    pub(crate) packs: u64,
    pub(crate) first: Vec<PackId>,
    numbers: Reach,
}

impl Needs {
    /// Of all packs that there are at one moment.
    pub(crate) fn of(query: Query<'_>, vault: &VaultId) -> Result<Self> {
        for _ in 0..LOOKS_MAX {
            let before = given_up_at(query, vault)?;
            let needs = Self::look(query, vault)?;
            if given_up_at(query, vault)? == before {
                return Ok(needs);
            }
        }
        let message = "packs are packed anew faster than they are looked at";
        Err(Error::new(Code::ClusterBusy, message).next("try again in a moment"))
    }

    fn look(query: Query<'_>, vault: &VaultId) -> Result<Self> {
        let (mut needs, mut after) = (Self::default(), None);
        loop {
            let page = query.packs(vault, after.as_ref())?;
            let Some(last) = page.last() else { return Ok(needs) };
            after = Some(last.id);
            for row in page.iter().filter(|row| row.may_be_read()) {
                needs.note(row)?;
            }
        }
    }

    fn note(&mut self, row: &PackRow) -> Result<()> {
        if row.state == PackState::Lost {
            add(&mut self.lost, row)?;
        }
        let Some(versions) = &row.sealed_to else {
            self.unknown.packs += 1;
            if self.unknown.first.len() < NAMED_MAX {
                self.unknown.first.push(row.id);
            }
            return add(&mut self.unknown.numbers, row);
        };
        for version in versions {
            let needs = self.versions.entry(*version).or_default();
            needs.packs += 1;
            needs.bytes += u64::from(row.length);
            add(&mut needs.numbers, row)?;
        }
        Ok(())
    }

    /// The versions without which some of a point does not open.
    pub(crate) fn versions_of(&self, reach: &Reach) -> Vec<u32> {
        let needs = self.versions.iter().filter(|(_, needs)| needs.is_met_by(reach));
        needs.map(|(version, _)| *version).collect()
    }

    pub(crate) fn of_version(&self, version: u32) -> VersionNeeds {
        self.versions.get(&version).cloned().unwrap_or_default()
    }
}

impl VersionNeeds {
    /// Whether a point with this reach needs some of it.
    pub(crate) fn is_met_by(&self, reach: &Reach) -> bool {
        reach.overlaps(&self.numbers)
    }
}

impl UnknownPacks {
    pub(crate) fn is_met_by(&self, reach: &Reach) -> bool {
        reach.overlaps(&self.numbers)
    }
}

/// What is out of bounds for what is backed up from now on.
#[derive(Debug, PartialEq)]
pub(crate) struct ShutNumbers {
    pub(crate) numbers: Reach,
    /// When something was given up last, as far as it is known here.
    pub(crate) as_of: Option<u64>,
    /// Whether some of it is in packs that nobody has looked into.
    pub(crate) is_guessed: bool,
}

/// The numbers of packs that are closed, as far as anybody may have had them since. Where packs are
/// packed anew all the while, rather too many.
pub(crate) fn shut_numbers(query: Query<'_>, vault: &VaultId) -> Result<ShutNumbers> {
    let answers = |row: &PackRow| row.state != PackState::Doomed;
    for _ in 0..LOOKS_MAX {
        let before = given_up_at(query, vault)?;
        let shut = look_for_shut(query, vault, answers)?;
        if given_up_at(query, vault)? == before {
            return Ok(ShutNumbers { as_of: Some(before), ..shut });
        }
    }
    look_for_shut(query, vault, |row| answers(row) || row.into.is_some())
}

fn look_for_shut(
    query: Query<'_>,
    vault: &VaultId,
    answers: impl Fn(&PackRow) -> bool,
) -> Result<ShutNumbers> {
    let closed = query.closed_keys(vault)?;
    let mut shut = ShutNumbers { numbers: Reach::new(), as_of: None, is_guessed: false };
    let mut after = None;
    loop {
        let page = query.packs(vault, after.as_ref())?;
        let Some(last) = page.last() else { return Ok(shut) };
        after = Some(last.id);
        for row in page.iter().filter(|row| answers(row) && closed.shuts(row)) {
            shut.is_guessed |= row.sealed_to.is_none();
            add(&mut shut.numbers, row)?;
        }
    }
}

fn add(numbers: &mut Reach, row: &PackRow) -> Result<()> {
    for (first, count) in row.numbers() {
        numbers.insert_range(ChunkNumber::from_u64(first), count)?;
    }
    Ok(())
}

/// Where something was doomed or packed anew last.
pub(super) fn given_up_at(query: Query<'_>, vault: &VaultId) -> Result<u64> {
    Ok(query.collection(vault)?.map_or(0, |row| row.doomed_at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{Crowd, VAULT, pack, round};
    use holdfast_common::Timestamp;
    use holdfast_ledger::{
        Batch, MemoryKv, StateKv, Table,
        kv::KeyValue,
        row::{CollectionRow, KeyVersionRow, Stage, TakenRun},
        tables::full_key,
    };
    use std::sync::Mutex;

    fn row(id: u8, sealed_to: Option<&[u32]>) -> PackRow {
        let base = u64::from(id) * 10;
        let sealed_to = sealed_to.map(<[u32]>::to_vec);
        PackRow { base, slots: 10, length: 100, sealed_to, ..pack([id; 32]) }
    }

    fn reach(numbers: &[u64]) -> Reach {
        let mut reach = Reach::new();
        for number in numbers {
            reach.insert(ChunkNumber::from_u64(*number));
        }
        reach
    }

    fn crowd(rows: &[PackRow]) -> Crowd {
        let mut crowd = Crowd::default();
        rows.iter().for_each(|row| crowd.put(row));
        crowd
    }

    #[test]
    fn a_point_needs_the_versions_of_the_packs_that_it_needs() {
        let rows = [
            row(1, Some(&[1])),
            row(2, Some(&[2])),
            row(3, Some(&[1, 2])),
            row(4, None),
            PackRow { state: PackState::Intended, ..row(5, Some(&[3])) },
        ];
        crowd(&rows).ask(|query| {
            let needs = Needs::of(query, &VAULT).unwrap();
            assert_eq!(needs.versions_of(&reach(&[10])), [1]);
            assert_eq!(needs.versions_of(&reach(&[29])), [2]);
            assert_eq!(needs.versions_of(&reach(&[19, 20])), [1, 2]);
            assert_eq!(needs.versions_of(&reach(&[39])), [1, 2]);
            assert!(needs.versions_of(&reach(&[9, 40, 50])).is_empty());
            assert!(needs.unknown.is_met_by(&reach(&[40])));
            assert!(!needs.unknown.is_met_by(&reach(&[39, 50])));
            let [one, two] = [1, 2].map(|version| needs.of_version(version));
            assert_eq!((one.packs, one.bytes, two.packs, two.bytes), (2, 200, 2, 200));
            assert_eq!((needs.unknown.packs, needs.of_version(3).packs), (1, 0));
        });
    }

    #[test]
    fn what_is_lost_is_known_whatever_it_needs() {
        let lost = |id, sealed_to| PackRow { state: PackState::Lost, ..row(id, sealed_to) };
        crowd(&[lost(1, Some(&[1])), lost(2, None), row(3, Some(&[1]))]).ask(|query| {
            let needs = Needs::of(query, &VAULT).unwrap();
            assert!(needs.lost.overlaps(&reach(&[10])) && needs.lost.overlaps(&reach(&[29])));
            assert!(!needs.lost.overlaps(&reach(&[9, 30])));
            assert_eq!(needs.versions_of(&reach(&[10])), [1], "it needs its version all the same");
        });
    }

    #[test]
    fn numbers_that_another_pack_took_over_need_what_that_one_needs() {
        let taken = Some(vec![TakenRun { number: 12, slot: 0, count: 2 }]);
        let into = Some(holdfast_common::PackId::from_bytes([2; 32]));
        let rows = [
            PackRow { state: PackState::Doomed, into, ..row(1, Some(&[1, 2])) },
            PackRow { taken, ..row(2, Some(&[1])) },
        ];
        crowd(&rows).ask(|query| {
            let needs = Needs::of(query, &VAULT).unwrap();
            assert_eq!(needs.versions_of(&reach(&[12, 13])), [1]);
            assert!(needs.versions_of(&reach(&[10, 14])).is_empty(), "nobody needs these");
        });
    }

    /// Rows one by one; behind the first pack that is read, others are written.
    struct Moving {
        kv: MemoryKv,
        then: Mutex<Option<Batch>>,
    }

    impl StateKv for Moving {
        fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
            self.kv.read(key)
        }

        fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<KeyValue>> {
            let is_of_packs = prefix.starts_with(&full_key(Table::Pack, &[]));
            let rows = self.kv.scan(prefix, after, if is_of_packs { 1 } else { limit })?;
            let then = self.then.lock().unwrap().take_if(|_| is_of_packs);
            then.map_or(Ok(()), |batch| self.kv.write(batch))?;
            Ok(rows)
        }

        fn write(&self, batch: Batch) -> Result<()> {
            self.kv.write(batch)
        }

        fn flush(&self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_packed_anew_while_it_is_looked_for_is_shut_all_the_same() {
        let taken = Some(vec![TakenRun { number: 20, slot: 0, count: 10 }]);
        let into = Some(PackId::from_bytes([1; 32]));
        let made = PackRow { state: PackState::Intended, ..row(1, Some(&[1])) };
        let mut before = crowd(&[made.clone(), row(2, Some(&[1]))]);
        before.put(&KeyVersionRow {
            vault: VAULT,
            version: 1,
            key_object: Vec::new().into(),
            made: Timestamp::ZERO,
            retired: Timestamp::ZERO,
            closed: Some(Timestamp::ZERO),
            closed_at: Some(7),
        });
        let mut after = crowd(&[
            PackRow { state: PackState::Stored, taken, ..made },
            PackRow { state: PackState::Doomed, into, ..row(2, Some(&[1])) },
        ]);
        after.put(&CollectionRow { doomed_at: 9, ..round(Stage::Marking) });
        let moving = Moving { kv: before.into_kv(), then: Mutex::new(Some(after.into_batch())) };
        let shut = shut_numbers(Query::over(&moving), &VAULT).unwrap();
        assert_eq!((shut.as_of, shut.is_guessed), (Some(9), false));
        let shut = shut.numbers;
        assert!(shut.overlaps(&reach(&[20, 29])), "they were in neither pack when it was read");
        assert!(moving.then.lock().unwrap().is_none());
    }

    #[test]
    fn what_is_closed_or_not_known_is_shut_and_nothing_is_while_no_version_is_closed() {
        let rows = [row(1, Some(&[1])), row(2, Some(&[2])), row(3, Some(&[1, 2])), row(4, None)];
        let shut = |is_closed: bool| {
            let mut crowd = crowd(&rows);
            for version in [1, 2] {
                let is_closed = is_closed && version == 1;
                crowd.put(&KeyVersionRow {
                    vault: VAULT,
                    version,
                    key_object: Vec::new().into(),
                    made: Timestamp::ZERO,
                    retired: Timestamp::ZERO,
                    closed: is_closed.then_some(Timestamp::ZERO),
                    closed_at: is_closed.then_some(7),
                });
            }
            crowd.ask(|query| shut_numbers(query, &VAULT).unwrap())
        };
        let none = shut(false);
        assert!(none.numbers.is_empty() && !none.is_guessed);
        let shut = shut(true);
        assert!(shut.is_guessed, "one of them is not known");
        let shut = shut.numbers;
        assert_eq!(shut.len(), 30);
        assert!(shut.overlaps(&reach(&[10])) && shut.overlaps(&reach(&[30])));
        assert!(shut.overlaps(&reach(&[49])) && !shut.overlaps(&reach(&[20, 29])));
    }
}
