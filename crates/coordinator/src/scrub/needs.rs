//! Which points need an object that is not as it must be, at a cost that has a bound.
//!
//! What a point needs its reach says, which lies in the locations. Whether a location that follows
//! must have a pack, the reaches of the points there say together, each of which is read once in a
//! pass at most, and none behind the first that needs it. To name the points that need what nobody
//! could mend, so many are read in a pass at most: then it is only said that there are many.
//!
//! Each reach waits for its turn, as an object does. One that no location can give whole is told of
//! by itself; while a location does not answer, nothing is known of it, and nothing is concluded.

use holdfast_common::{Name, PointId, Result, VaultId, limits};
use holdfast_ledger::row::{PackRow, PointRow};
use holdfast_repository::Reach;

/// Where points and their reaches are, and who waits until what was read is paid for.
pub(super) trait Reaches: Send {
    /// Some points of any vault behind an id, in the order of their ids.
    fn points_behind(&self, after: Option<&PointId>) -> Result<Vec<PointRow>>;

    /// Returns when a reach may be read.
    fn turn(&mut self) -> impl Future<Output = Result<()>> + Send;

    /// None: no location has it whole. Fails where that is not known.
    fn read(&mut self, point: &PointRow) -> impl Future<Output = Result<Option<Reach>>> + Send;

    /// Two sets in one.
    fn unite(&self, all: Reach, reach: Reach) -> impl Future<Output = Result<Reach>> + Send;
}

/// What is known of it in a pass over a location.
pub(crate) struct Needs {
    placed: Placed,
    /// Reaches that may be read still to name points.
    left: usize,
}

/// What the points need together that lie there, up to one of them.
#[derive(Default)]
struct Placed {
    upto: Option<PointId>,
    reach: Reach,
}

impl Default for Needs {
    fn default() -> Self {
        Self { placed: Placed::default(), left: limits::CHECK_REACHES_MAX }
    }
}

impl Needs {
    /// Whether a point of a vault that lies in a location needs one of some packs.
    pub(super) async fn are_met(
        &mut self,
        reaches: &mut impl Reaches,
        (vault, place): (&VaultId, &Name),
        packs: &[PackRow],
    ) -> Result<bool> {
        if packs.is_empty() || meets(&self.placed.reach, packs) {
            return Ok(!packs.is_empty());
        }
        loop {
            let page = reaches.points_behind(self.placed.upto.as_ref())?;
            if page.is_empty() {
                return Ok(false);
            }
            for point in &page {
                if point.vault == *vault && point.locations.contains(place) {
                    let reach = in_turn(reaches, point).await??.unwrap_or_default();
                    let is_met = meets(&reach, packs);
                    // What was united is gone with an error: then all of it is read again.
                    let known = core::mem::take(&mut self.placed);
                    let reach = reaches.unite(known.reach, reach).await?;
                    self.placed = Placed { upto: Some(point.id), reach };
                    if is_met {
                        return Ok(true);
                    }
                }
                self.placed.upto = Some(point.id);
            }
            tokio::task::yield_now().await;
        }
    }

    /// Shows the points that need one of some packs, as far as that may be looked for.
    pub(super) async fn name(
        &mut self,
        reaches: &mut impl Reaches,
        (vault, packs): (&VaultId, &[PackRow]),
        named: &mut Named,
    ) -> Result<()> {
        let mut after = None;
        while !packs.is_empty() {
            let page = reaches.points_behind(after.as_ref())?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id);
            for point in page.iter().filter(|point| point.vault == *vault) {
                if self.left == 0 {
                    named.count = limits::DAMAGE_POINTS_MANY;
                }
                if named.count == limits::DAMAGE_POINTS_MANY {
                    return Ok(());
                }
                self.left -= 1;
                let Ok(Some(reach)) = in_turn(reaches, point).await? else { continue };
                if meets(&reach, packs) {
                    named.note(point.id);
                }
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

/// What reading came to, unless nothing is to be read any more.
async fn in_turn(reaches: &mut impl Reaches, point: &PointRow) -> Result<Result<Option<Reach>>> {
    reaches.turn().await?;
    Ok(reaches.read(point).await)
}

fn meets(reach: &Reach, packs: &[PackRow]) -> bool {
    packs.iter().any(|row| reach.meets_any(row.numbers()))
}

/// Points that need an object: the first of them, and how many there are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) points: Vec<PointId>,
    pub(super) count: u64,
}

impl Named {
    /// Each is counted once. Those that are not named are not counted: there are many.
    pub(super) fn note(&mut self, id: PointId) {
        if self.points.contains(&id) || self.count == limits::DAMAGE_POINTS_MANY {
            return;
        }
        if self.points.len() == limits::DAMAGE_POINTS_MAX {
            self.count = limits::DAMAGE_POINTS_MANY;
            return;
        }
        self.points.push(id);
        self.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{Crowd, VAULT, id, name, pack};
    use holdfast_common::{Code, Error};
    use holdfast_repository::ChunkNumber;

    /// Points that each need the number that they are, and how they were asked for it.
    #[derive(Default)]
    struct Lying {
        points: Vec<PointRow>,
        /// No location has it whole.
        damaged: Option<u64>,
        /// The location that has it does not answer.
        silent: Option<u64>,
        turns: usize,
        reads: Vec<PointId>,
    }

    impl Lying {
        fn of(numbers: core::ops::Range<u64>) -> Self {
            let place = |number| {
                let locations = vec![name("far")];
                PointRow { locations, ..Crowd::row(number) }
            };
            Self { points: numbers.map(place).collect(), ..Self::default() }
        }
    }

    impl Reaches for Lying {
        fn points_behind(&self, after: Option<&PointId>) -> Result<Vec<PointRow>> {
            let is_behind = |row: &&PointRow| after.is_none_or(|after| row.id > *after);
            Ok(self.points.iter().filter(is_behind).take(3).cloned().collect())
        }

        async fn turn(&mut self) -> Result<()> {
            self.turns += 1;
            Ok(())
        }

        async fn read(&mut self, row: &PointRow) -> Result<Option<Reach>> {
            assert!(self.turns > self.reads.len(), "it waits for its turn");
            self.reads.push(row.id);
            let number = (0..99).find(|number| point(*number) == row.id).unwrap();
            if self.silent == Some(number) {
                return Err(Error::new(Code::LocationIoFailed, "the line is dead"));
            }
            let mut reach = Reach::new();
            reach.insert(ChunkNumber::from_u64(number));
            Ok(Some(reach).filter(|_| self.damaged != Some(number)))
        }

        async fn unite(&self, mut all: Reach, reach: Reach) -> Result<Reach> {
            all.union(&reach);
            Ok(all)
        }
    }

    fn point(number: u64) -> PointId {
        PointId::from_bytes(id(number))
    }

    /// A pack of this number alone.
    fn packs(number: u64) -> Vec<PackRow> {
        vec![PackRow { base: number, ..pack([9; 32]) }]
    }

    async fn is_needed(needs: &mut Needs, lying: &mut Lying, number: u64) -> Result<bool> {
        needs.are_met(lying, (&VAULT, &name("far")), &packs(number)).await
    }

    #[tokio::test]
    async fn each_reach_waits_for_its_turn_and_is_read_once_and_none_that_nobody_asks_for() {
        let (mut needs, mut lying) = (Needs::default(), Lying::of(1..9));
        lying.points[0].locations.clear();
        assert!(is_needed(&mut needs, &mut lying, 3).await.unwrap());
        assert_eq!(lying.reads, [point(2), point(3)], "one that lies elsewhere says nothing");
        assert!(is_needed(&mut needs, &mut lying, 2).await.unwrap());
        assert_eq!(lying.reads.len(), 2, "that is known");
        assert!(!is_needed(&mut needs, &mut lying, 1).await.unwrap());
        assert!(is_needed(&mut needs, &mut lying, 8).await.unwrap());
        assert_eq!((lying.reads.len(), lying.turns), (7, 7));
        assert!(!needs.are_met(&mut lying, (&VAULT, &name("far")), &[]).await.unwrap());
    }

    #[tokio::test]
    async fn while_a_reach_cannot_be_read_nothing_is_said_to_be_needed_by_nobody() {
        let (mut needs, mut lying) = (Needs::default(), Lying::of(1..9));
        (lying.silent, lying.damaged) = (Some(5), Some(4));
        for _again in 0..2 {
            let error = is_needed(&mut needs, &mut lying, 5).await.unwrap_err();
            assert_eq!(error.code, Code::LocationIoFailed);
        }
        assert_eq!(lying.reads.len(), 6, "what was read before is not read again");
        lying.silent = None;
        assert!(is_needed(&mut needs, &mut lying, 5).await.unwrap());
        assert!(is_needed(&mut needs, &mut lying, 3).await.unwrap());
        assert!(!is_needed(&mut needs, &mut lying, 4).await.unwrap(), "it is told of by itself");
    }

    #[tokio::test]
    async fn points_are_named_in_their_turns_and_so_many_reaches_are_read_at_most() {
        let (mut needs, mut lying) = (Needs::default(), Lying::of(1..9));
        (lying.silent, needs.left) = (Some(2), 12);
        let mut named = Named::default();
        needs.name(&mut lying, (&VAULT, &packs(3)), &mut named).await.unwrap();
        assert_eq!(named, Named { points: vec![point(3)], count: 1 });
        assert_eq!((lying.reads.len(), lying.turns), (8, 8));
        let mut named = Named::default();
        needs.name(&mut lying, (&VAULT, &packs(8)), &mut named).await.unwrap();
        assert_eq!(named, Named { points: vec![], count: limits::DAMAGE_POINTS_MANY });
        assert_eq!(lying.reads.len(), 12);
    }

    #[test]
    fn points_are_counted_as_long_as_they_are_named() {
        let mut named = Named::default();
        for number in (1..=limits::DAMAGE_POINTS_MAX as u64).flat_map(|number| [number, 1]) {
            named.note(PointId::from_bytes(id(number)));
        }
        assert_eq!(named.points.len(), limits::DAMAGE_POINTS_MAX);
        assert_eq!(named.count, limits::DAMAGE_POINTS_MAX as u64, "each once");
        named.note(PointId::from_bytes(id(99)));
        assert_eq!(named.points.len(), limits::DAMAGE_POINTS_MAX);
        assert_eq!(named.count, limits::DAMAGE_POINTS_MANY);
    }
}
