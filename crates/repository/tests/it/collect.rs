//! The plan of a collection, beside an oracle that knows every slot and every number by itself.

use holdfast_common::{PointId, VaultId};
use holdfast_repository::{
    ChunkNumber, Reach, Slot,
    collect::{Mark, PackSpan, Place, Plan, TakenRun, Thresholds, Verdict},
};
use proptest::prelude::*;
use std::collections::BTreeSet;

const THRESHOLDS: Thresholds = Thresholds { live_percent_min: 50, length_min: 1000 };

fn number(number: u64) -> ChunkNumber {
    ChunkNumber::from_u64(number)
}

fn reach(numbers: impl IntoIterator<Item = u64>) -> Reach {
    let mut reach = Reach::new();
    for one in numbers {
        reach.insert(number(one));
    }
    reach
}

fn mark(points: &[Reach]) -> Mark {
    let mut mark = Mark::new();
    points.iter().for_each(|reach| mark.add(reach));
    mark
}

fn object(base: u64, slots: u32, length: u32) -> PackSpan<'static> {
    PackSpan { base: number(base), slots, length, place: Place::Object, taken: &[] }
}

fn verdict(needed: impl IntoIterator<Item = u64>, pack: &PackSpan<'_>) -> Verdict {
    Plan::new(mark(&[reach(needed)]), THRESHOLDS).judge(pack)
}

#[test]
fn one_number_that_one_point_needs_keeps_a_pack_from_being_condemned() {
    let pack = object(10, 10, 5000);
    assert_eq!(verdict([9, 20], &pack), Verdict::Condemn, "its neighbours say nothing");
    for needed in 10..20 {
        assert_eq!(verdict([needed], &pack), Verdict::Repack);
    }
    let points = [reach([]), reach([3]), reach([19])];
    assert_ne!(Plan::new(mark(&points), THRESHOLDS).judge(&pack), Verdict::Condemn);
}

#[test]
fn a_number_that_a_frame_took_over_keeps_the_pack_that_took_it() {
    let run = |number_from, slot, count| TakenRun {
        number: number(number_from),
        slot: Slot::new(slot),
        count,
    };
    let taken = [run(100, 0, 2), run(7, 1, 1), run(200, 8, 9)];
    let pack = PackSpan { taken: &taken, ..object(1000, 10, 5000) };
    let live = |numbers: &[u64]| pack.live_slots(&mark(&[reach(numbers.iter().copied())]));
    assert_eq!(live(&[99, 102, 6, 8, 199]), 0);
    assert_eq!(live(&[100]), 1);
    assert_eq!(live(&[101, 7, 1001]), 1, "three names of one slot");
    assert_eq!(live(&[201, 202, 208]), 1, "a run does not go beyond the pack");
    assert_eq!(live(&[100, 101, 200, 201, 1005]), 5);
    assert_eq!(verdict([7], &pack), Verdict::Repack);
}

#[test]
fn what_cannot_be_copied_is_kept_and_what_keeps_a_forgotten_point_is_moved() {
    let at = |place| PackSpan { place, ..object(0, 10, 500) };
    assert_eq!(verdict(0..1, &at(Place::Nowhere)), Verdict::Keep);
    assert_eq!(verdict(0..1, &at(Place::Point)), Verdict::Keep);
    assert_eq!(verdict(0..10, &at(Place::ForgottenPoint)), Verdict::Repack);
    assert_eq!(verdict(0..10, &at(Place::Object)), Verdict::Small);
    assert_eq!(verdict(0..5, &object(0, 10, 1000)), Verdict::Keep, "half is enough");
    assert_eq!(verdict(0..4, &object(0, 10, 1000)), Verdict::Repack);
    for place in [Place::Nowhere, Place::Point, Place::ForgottenPoint, Place::Object] {
        assert_eq!(verdict([], &at(place)), Verdict::Condemn);
    }
}

#[test]
fn a_thousand_points_of_ten_million_chunks_are_marked_in_a_few_megabytes() {
    const NUMBERS: u64 = 10_000_000;
    const PACK_SLOTS: u32 = 100;
    let mut every = Mark::new();
    // Every point needs a stretch, and of every pack of the first half one chunk in ten.
    let sparse = reach((0..NUMBERS / 2).step_by(10));
    for point in 0..1000 {
        let mut one = Reach::new();
        let base = NUMBERS / 2 + point * (NUMBERS / 2) / 1000;
        one.insert_range(number(base), (NUMBERS / 4000) as u32).unwrap();
        if point.is_multiple_of(100) {
            one.union(&sparse);
        }
        every.add(&one);
    }
    assert_eq!(every.points(), 1000);
    assert_eq!(every.needed().len(), NUMBERS / 20 + NUMBERS / 4);
    let ids = (VaultId::from_bytes([0; 16]), PointId::from_bytes([0; 16]));
    assert!(every.needed().to_object(&ids.0, &ids.1).unwrap().len() < 2 << 20);
    let mut plan = Plan::new(every, THRESHOLDS);
    for base in (0..NUMBERS).step_by(PACK_SLOTS as usize) {
        plan.judge(&object(base, PACK_SLOTS, 10_000));
    }
    let tally = plan.tally();
    assert_eq!(
        (tally.repack.packs, tally.keep.packs, tally.condemn.packs),
        (50_000, 25_000, 25_000)
    );
    assert_eq!(tally.freed_bytes(), 25_000 * 10_000 + 50_000 * 9_000);
}

/// A pack of the oracle: each slot with all its numbers.
#[derive(Clone, Debug)]
struct Known {
    base: u64,
    slots: u32,
    length: u32,
    taken: Vec<(u64, u16, u32)>,
}

impl Known {
    fn live(&self, needed: &BTreeSet<u64>) -> u32 {
        let is_live = |slot: &u32| {
            let taken = self.taken.iter().filter_map(|(from, at, count)| {
                let along = slot.checked_sub(u32::from(*at))?;
                (along < *count).then(|| from + u64::from(along))
            });
            let mut numbers = taken.chain([self.base + u64::from(*slot)]);
            numbers.any(|number| needed.contains(&number))
        };
        (0..self.slots).filter(is_live).count() as u32
    }
}

fn known() -> impl Strategy<Value = Known> {
    let run = (0..2000u64, 0..40u16, 1..30u32);
    (0..2000u64, 1..40u32, 0..3000u32, prop::collection::vec(run, 0..4))
        .prop_map(|(base, slots, length, taken)| Known { base, slots, length, taken })
}

fn points() -> impl Strategy<Value = Vec<BTreeSet<u64>>> {
    prop::collection::vec(prop::collection::btree_set(0..2000u64, 0..200), 0..5)
}

proptest! {
    #[test]
    fn a_plan_says_what_an_oracle_says(
        points in points(),
        packs in prop::collection::vec(known(), 0..30),
        epoch in 0..3u64,
    ) {
        let shift = epoch << 40;
        let needed: BTreeSet<u64> = points.iter().flatten().copied().collect();
        let reaches: Vec<Reach> =
            points.iter().map(|point| reach(point.iter().map(|n| n + shift))).collect();
        let mut plan = Plan::new(mark(&reaches), THRESHOLDS);
        let mut sums = [(Verdict::Condemn, [0; 3]), (Verdict::Keep, [0; 3]),
            (Verdict::Repack, [0; 3]), (Verdict::Small, [0; 3])];
        for pack in &packs {
            let taken: Vec<TakenRun> = pack.taken.iter().map(|(from, slot, count)| TakenRun {
                number: number(from + shift), slot: Slot::new(*slot), count: *count,
            }).collect();
            let (base, slots, length) = (number(pack.base + shift), pack.slots, pack.length);
            let span = PackSpan { base, slots, length, place: Place::Object, taken: &taken };
            let live = pack.live(&needed);
            prop_assert_eq!(span.live_slots(plan.mark()), live);
            let expected = match live {
                0 => Verdict::Condemn,
                _ if live * 2 < slots => Verdict::Repack,
                _ if length < 1000 => Verdict::Small,
                _ => Verdict::Keep,
            };
            prop_assert_eq!(plan.judge(&span), expected);
            let sum = &mut sums.iter_mut().find(|(verdict, _)| *verdict == expected).unwrap().1;
            let live_bytes = u64::from(length) * u64::from(live) / u64::from(slots);
            for (part, more) in sum.iter_mut().zip([1, u64::from(length), live_bytes]) {
                *part += more;
            }
        }
        let tally = plan.tally();
        let told = [tally.condemn, tally.keep, tally.repack, tally.small];
        for (amount, (_, sum)) in told.iter().zip(sums) {
            prop_assert_eq!([amount.packs, amount.bytes, amount.live_bytes], sum);
        }
        prop_assert_eq!(tally.condemn.live_bytes, 0);
    }
}
