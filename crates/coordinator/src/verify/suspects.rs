//! What was found damaged of packs and of the objects that they lie in, until it is said which
//! points need it. The findings themselves are told to whoever asked; here is where they lie.

use bytes::Bytes;
use holdfast_common::{Name, PointId};
use holdfast_ledger::row::PackRow;
use holdfast_repository::Reach;
use holdfast_wire::v1;
use std::ops::Range;

/// A point's object, as far as it was looked at.
pub(super) struct Home {
    /// Which of the findings are about it.
    pub(super) found: Vec<Range<usize>>,
    /// The locations that follow where it was looked at.
    pub(super) seen: Vec<Name>,
}

impl Home {
    /// Where it was not looked at yet.
    pub(super) fn unseen(&self, wanted: &[Name]) -> Vec<Name> {
        wanted.iter().filter(|name| !self.seen.contains(name)).cloned().collect()
    }
}

/// Packs that are not whole everywhere, and where the findings about them lie.
#[derive(Default)]
pub(super) struct Suspects(Vec<Suspect>);

struct Suspect {
    /// The first number of each run, and how many.
    numbers: Vec<(u64, u32)>,
    found: Range<usize>,
}

impl Suspects {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn note(&mut self, row: &PackRow, found: Range<usize>) {
        if !found.is_empty() {
            self.0.push(Suspect { numbers: row.numbers().collect(), found });
        }
    }

    /// The findings about packs of which the reach has a number.
    pub(super) fn needed_by(&self, reach: &Reach) -> Vec<Range<usize>> {
        let is_needed = |suspect: &&Suspect| reach.meets_any(suspect.numbers.iter().copied());
        self.0.iter().filter(is_needed).map(|suspect| suspect.found.clone()).collect()
    }
}

/// Each point once: the first is the one that was looked at, the last the one that is named now.
pub(super) fn name(findings: &mut [v1::Damage], found: Range<usize>, point: PointId) {
    let is_named = |one: Option<&Bytes>| one.is_some_and(|one| one[..] == point.as_bytes()[..]);
    for damage in findings.get_mut(found).into_iter().flatten() {
        if !is_named(damage.points.first()) && !is_named(damage.points.last()) {
            damage.points.push(Bytes::copy_from_slice(point.as_bytes()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::name as called;
    use holdfast_repository::ChunkNumber;

    fn pack(id: u8, base: u64, slots: u32) -> PackRow {
        PackRow { base, slots, ..crate::crowd::pack([id; 32]) }
    }

    fn reach(numbers: &[u64]) -> Reach {
        let mut reach = Reach::new();
        for number in numbers {
            reach.insert(ChunkNumber::from_u64(*number));
        }
        reach
    }

    #[test]
    fn an_object_is_looked_at_once_in_each_place_that_has_a_point_which_needs_it() {
        let (east, west) = (called("east"), called("west"));
        let home = Home { found: Vec::new(), seen: vec![east.clone()] };
        let both = [east, west.clone()];
        assert_eq!(home.unseen(&both[..1]), []);
        assert_eq!(home.unseen(&both), [west]);
    }

    #[test]
    fn a_finding_names_every_point_that_needs_the_object_and_each_once() {
        let [first, second, third] = [1, 2, 3].map(|id| PointId::from_bytes([id; 16]));
        let named = |id: PointId| Bytes::copy_from_slice(id.as_bytes());
        let of = |location: &str, points: &[PointId]| v1::Damage {
            location: location.to_owned(),
            points: points.iter().copied().map(named).collect(),
            ..Default::default()
        };
        // Two locations of a pack, and the object of the second point.
        let mut findings = vec![of("here", &[]), of("there", &[]), of("there", &[second])];
        let mut suspects = Suspects::default();
        suspects.note(&pack(1, 10, 10), 0..2);
        suspects.note(&pack(2, 20, 5), 2..3);
        // Two packs of one object.
        suspects.note(&pack(3, 30, 5), 2..3);
        suspects.note(&pack(4, 40, 5), 3..3);
        for (point, numbers) in
            [(first, &[10, 31][..]), (second, &[20, 30]), (third, &[19, 20, 34, 40])]
        {
            for found in suspects.needed_by(&reach(numbers)) {
                name(&mut findings, found, point);
            }
        }
        assert_eq!(findings[0].points, [named(first), named(third)]);
        assert_eq!(findings[1].points, findings[0].points);
        assert_eq!(findings[2].points, [named(second), named(first), named(third)]);
    }
}
