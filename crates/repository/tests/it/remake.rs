//! Packs that take others over: every number that is needed leads to the same frame as before,
//! under the same capsule, and nothing else comes along.

use crate::clear::{Clear, VAULT};
use holdfast_common::{ChunkId, ChunkKind, Code, limits};
use holdfast_repository::{
    ChunkNumber, Reach, Slot,
    collect::{Mark, PackSpan, Place, Plan, Remade, Remake, Source, TakenRun, Thresholds, Verdict},
    pack::{Footer, PackBuilder, PackView},
    segment::{ChunkLocation, Home, SegmentBuilder},
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A pack, and the numbers of its frames.
struct Known {
    view: PackView,
    footer: Footer,
    base: ChunkNumber,
    taken: Vec<TakenRun>,
}

impl Known {
    /// One frame for each of these chunks, each under one of two capsules.
    fn of(base: u64, chunks: &[u8]) -> Self {
        Self::holding(base, chunks, frame)
    }

    fn holding(base: u64, chunks: &[u8], frame: impl Fn(u8) -> Vec<u8>) -> Self {
        let mut builder = PackBuilder::new(VAULT, ChunkKind::Data);
        let capsules = [b"one".as_slice(), &[base as u8; 40]];
        let capsules = capsules.map(|capsule| builder.add_capsule(capsule).unwrap());
        for chunk in chunks {
            let frame = frame(*chunk);
            builder.push(id(*chunk), capsules[usize::from(chunk % 2)], &frame).unwrap();
        }
        let pack = builder.finish(&Clear).unwrap();
        let view = PackView::parse(&VAULT, pack.bytes).unwrap();
        let footer = view.open_footer(&Clear).unwrap();
        Self { view, footer, base: ChunkNumber::from_u64(base), taken: Vec::new() }
    }

    fn remade(base: u64, made: Remade) -> Self {
        let view = PackView::parse(&VAULT, made.pack.bytes).unwrap();
        let footer = view.open_footer(&Clear).unwrap();
        Self { view, footer, base: ChunkNumber::from_u64(base), taken: made.taken }
    }

    fn source(&self) -> Source<'_> {
        Source { view: &self.view, footer: &self.footer, base: self.base, taken: &self.taken }
    }

    /// What lies under each number: chunk, capsule, frame.
    fn numbers(&self) -> BTreeMap<u64, (ChunkId, Vec<u8>, Vec<u8>)> {
        let pack = self.view.id();
        let own = self.footer.locations(pack, Home::Pack, self.base);
        let taken = self.taken.iter().flat_map(|run| {
            self.footer.taken_locations(pack, Home::Pack, (run.number, run.slot, run.count))
        });
        own.chain(taken)
            .map(|(chunk, place)| (place.number().unwrap().as_u64(), self.at(chunk, place)))
            .collect()
    }

    fn at(&self, chunk: ChunkId, place: ChunkLocation) -> (ChunkId, Vec<u8>, Vec<u8>) {
        let capsule = self.view.capsules()[usize::from(place.capsule)].to_vec();
        let frame = self.view.frame_at(place.offset, place.length).unwrap();
        (chunk, capsule, frame.to_vec())
    }
}

fn id(chunk: u8) -> ChunkId {
    ChunkId::from_bytes([chunk; 32])
}

fn frame(chunk: u8) -> Vec<u8> {
    vec![chunk; limits::FRAME_OVERHEAD_BYTES + usize::from(chunk)]
}

fn mark(numbers: impl IntoIterator<Item = u64>) -> Mark {
    let (mut mark, mut reach) = (Mark::new(), Reach::new());
    for number in numbers {
        reach.insert(ChunkNumber::from_u64(number));
    }
    mark.add(&reach);
    mark
}

fn run(number: u64, slot: u16, count: u32) -> TakenRun {
    TakenRun { number: ChunkNumber::from_u64(number), slot: Slot::new(slot), count }
}

#[test]
fn what_is_needed_of_packs_is_taken_over_in_runs_and_each_chunk_once() {
    let (one, two) = (Known::of(10, &[1, 2, 4, 3]), Known::of(20, &[4, 5, 6]));
    let mut remake = Remake::new(VAULT, ChunkKind::Data);
    let mark = mark([9, 11, 12, 14, 20, 22]);
    assert!(remake.take(&one.source(), &mark).unwrap());
    assert!(remake.take(&two.source(), &mark).unwrap());
    let made = remake.finish(&Clear).unwrap();
    assert_eq!(made.taken, [run(11, 0, 2), run(20, 1, 1), run(22, 2, 1)]);
    let made = Known::remade(30, made);
    assert_eq!(made.footer.rows.iter().map(|row| row.id).collect::<Vec<_>>(), [2, 4, 6].map(id));
    assert_eq!(made.footer.taken.len(), 4, "the footer says it too");
    let numbers = made.numbers();
    assert_eq!(numbers[&11], one.numbers()[&11]);
    assert_eq!((&numbers[&12], &numbers[&20]), (&one.numbers()[&12], &one.numbers()[&12]));
    assert_eq!(numbers[&22], two.numbers()[&22]);
}

#[test]
fn a_frame_is_shared_with_none_but_its_like() {
    let good = Known::of(30, &[2, 4]);
    let junk = Known::holding(10, &[1, 4], |chunk| vec![0xee; frame(chunk).len()]);
    let other = Known::of(50, &[3, 5]);
    let capsule = Known::of(70, &[5, 6]);
    let mark = mark(0..99);
    for (first, second) in [(&junk, &good), (&good, &junk), (&other, &capsule)] {
        let mut remake = Remake::new(VAULT, ChunkKind::Data);
        assert!(remake.take(&first.source(), &mark).unwrap());
        assert!(!remake.take(&second.source(), &mark).unwrap(), "bytes, or who opens them, differ");
        let made = Known::remade(90, remake.finish(&Clear).unwrap());
        let leads = made.numbers();
        assert!(first.numbers().iter().all(|(number, frame)| leads[number] == *frame));
    }
}

#[test]
fn a_pack_that_does_not_fit_leaves_nothing_behind() {
    let (one, two) = (Known::of(10, &[1, 2]), Known::of(20, &(3..90).collect::<Vec<_>>()));
    let mark = mark(0..200);
    let mut remake = Remake::with_bytes_max(VAULT, ChunkKind::Data, 2000);
    assert!(!remake.take(&two.source(), &mark).unwrap());
    assert!(remake.is_empty());
    assert!(remake.take(&one.source(), &mark).unwrap());
    assert!(!remake.take(&two.source(), &mark).unwrap());
    let made = remake.finish(&Clear).unwrap();
    let view = PackView::parse(&VAULT, made.pack.bytes.clone()).unwrap();
    assert_eq!(view.capsules().len(), 2, "nor its capsules");
    assert_eq!(made.taken, [run(10, 0, 2)]);
}

#[test]
fn no_pack_takes_more_runs_over_than_a_row_may_hold() {
    // Every second chunk of 250 in each of nine packs.
    let packs: Vec<Known> = (0..9)
        .map(|at| Known::of(at * 250, &(0..250).map(|it| it as u8).collect::<Vec<_>>()))
        .collect();
    let mark = mark((0..9 * 250).step_by(2));
    let mut remake = Remake::new(VAULT, ChunkKind::Data);
    let took: Vec<bool> =
        packs.iter().map(|pack| remake.take(&pack.source(), &mark).unwrap()).collect();
    // The same chunks: the runs are those of every pack.
    assert_eq!(took.iter().filter(|took| **took).count(), limits::TAKEN_RUNS_MAX / 125);
    assert!(!took[8]);
    assert_eq!(remake.finish(&Clear).unwrap().taken.len(), limits::TAKEN_RUNS_MAX);
}

#[test]
fn what_lies_too_scattered_for_one_pack_is_left_as_it_is() {
    let slots = 10 * limits::TAKEN_RUNS_MAX as u32;
    let pack = PackSpan {
        base: ChunkNumber::from_u64(0),
        slots,
        length: 16 << 20,
        place: Place::Object,
        taken: &[],
    };
    let verdict = |runs: usize| {
        let needed = (0..runs as u64).map(|run| 3 * run);
        Plan::new(mark(needed), Thresholds::default()).judge(&pack)
    };
    assert_eq!(verdict(limits::TAKEN_RUNS_MAX), Verdict::Repack);
    assert_eq!(verdict(limits::TAKEN_RUNS_MAX + 1), Verdict::Keep);
}

#[test]
fn a_number_that_lies_before_its_slot_begins_a_pack_of_its_own() {
    // Numbers of two epochs: those of the newer one begin low.
    let (old, new) = (Known::of(10, &[1, 2, 3, 4, 5, 6]), Known::of(1 << 40, &[7, 8]));
    let mark = mark((10..16).chain([1 << 40, (1 << 40) + 1]));
    let mut remake = Remake::new(VAULT, ChunkKind::Data);
    assert!(remake.take(&old.source(), &mark).unwrap());
    assert!(!remake.take(&new.source(), &mark).unwrap());
    let mut remake = Remake::new(VAULT, ChunkKind::Data);
    assert!(remake.take(&new.source(), &mark).unwrap());
    let made = Known::remade(100, remake.finish(&Clear).unwrap());
    assert_eq!(made.numbers()[&(1 << 40)], new.numbers()[&(1 << 40)]);
}

#[test]
fn kinds_are_not_mixed() {
    let mut pages = Remake::new(VAULT, ChunkKind::Page);
    let error = pages.take(&Known::of(0, &[1]).source(), &mark([0])).unwrap_err();
    assert_eq!(error.code, Code::InternalBug);
}

proptest! {
    #[test]
    fn every_number_that_is_needed_leads_where_it_led(
        packs in prop::collection::vec(prop::collection::btree_set(0..60u8, 1..20), 1..6),
        needed in prop::collection::btree_set(0..400u64, 0..80),
        again in prop::collection::btree_set(0..400u64, 0..40),
    ) {
        let packs: Vec<Known> = packs.iter().zip(1..).map(|(chunks, at)| {
            Known::of(at * 60, &chunks.iter().copied().collect::<Vec<_>>())
        }).collect();
        let (Some(made), before) = made(&packs, &needed) else { return Ok(()) };
        let now = insist_on_same(&made, &before, &needed)?;
        // And once more, of what it took over and of numbers of its own.
        let own = again.iter().map(|number| number + 400);
        let again: BTreeSet<u64> = again.iter().copied().chain(own).collect();
        let once_more = [made];
        if let (Some(made), _) = self::made(&once_more, &again) {
            insist_on_same(&made, &now, &again)?;
        }
    }
}

/// Of those sources that fit together, and what was under their numbers.
fn made(sources: &[Known], needed: &BTreeSet<u64>) -> (Option<Known>, Numbers) {
    let mut before = Numbers::new();
    let mut remake = Remake::new(VAULT, ChunkKind::Data);
    let mark = mark(needed.iter().copied());
    for source in sources {
        if remake.take(&source.source(), &mark).unwrap() {
            before.extend(source.numbers());
        }
    }
    let made = (!remake.is_empty()).then(|| Known::remade(500, remake.finish(&Clear).unwrap()));
    (made, before)
}

type Numbers = BTreeMap<u64, (ChunkId, Vec<u8>, Vec<u8>)>;

fn insist_on_same(
    made: &Known,
    before: &Numbers,
    needed: &BTreeSet<u64>,
) -> Result<Numbers, TestCaseError> {
    let now = made.numbers();
    let mut frames = BTreeSet::new();
    for number in needed {
        let Some(known) = before.get(number) else { continue };
        prop_assert_eq!(known, &now[number]);
        frames.insert(known.0);
    }
    prop_assert_eq!(made.footer.rows.len(), frames.len(), "and nothing else comes along");
    let expanded: BTreeSet<(u16, u64)> = made
        .taken
        .iter()
        .flat_map(|run| {
            (0..run.count)
                .map(|at| (run.slot.as_u16() + at as u16, run.number.as_u64() + u64::from(at)))
        })
        .collect();
    let told: BTreeSet<(u16, u64)> = made
        .footer
        .taken
        .iter()
        .map(|taken| (taken.slot.as_u16(), taken.number.as_u64()))
        .collect();
    prop_assert_eq!(expanded, told);
    // A segment takes them all.
    let mut segment = SegmentBuilder::new(VAULT, holdfast_common::SegmentId::from_bytes([1; 16]));
    for run in &made.taken {
        let run = (run.number, run.slot, run.count);
        for (chunk, place) in made.footer.taken_locations(made.view.id(), Home::Pack, run) {
            segment.push(chunk, &place).unwrap();
        }
    }
    let table = segment.build();
    prop_assert!(table.rows().check().is_ok());
    Ok(now)
}
