//! Which points need an object that is not as it must be, at a cost that has a bound.
//!
//! What a point needs its reach says, which lies in the locations. Whether a location that follows
//! must have a pack, all reaches of the points there say together, which are read once in a pass.
//! To name the points that need what nobody could mend, so many are read in a pass at most: then it
//! is only said that there are many. Whatever is read is paid for with the object it is read for.

use crate::house::{House, Vault};
use holdfast_common::{Name, PointId, Result, limits};
use holdfast_ledger::row::{PackRow, PointRow};
use holdfast_repository::Reach;
use std::sync::Arc;

/// What is known of it in a pass over a location.
pub(crate) struct Needs {
    /// What the points need together that lie there.
    placed: Option<Arc<Reach>>,
    /// Reaches that may be read still to name points.
    left: usize,
    /// Bytes that nobody paid for yet.
    read: u64,
}

impl Default for Needs {
    fn default() -> Self {
        Self { placed: None, left: limits::CHECK_REACHES_MAX, read: 0 }
    }
}

impl Needs {
    /// Whether a point that lies in a location needs one of some packs.
    pub(super) async fn are_met(
        &mut self,
        (house, vault): (&House, &Vault),
        place: &Name,
        packs: &[PackRow],
    ) -> Result<bool> {
        if packs.is_empty() {
            return Ok(false);
        }
        let placed = match self.placed.take() {
            Some(placed) => placed,
            None => self.all_of((house, vault), place).await?,
        };
        let are_met = meets(&placed, packs);
        self.placed = Some(placed);
        Ok(are_met)
    }

    async fn all_of(
        &mut self,
        (house, vault): (&House, &Vault),
        place: &Name,
    ) -> Result<Arc<Reach>> {
        let mut all = Reach::new();
        for point in house.ledger.query().points(None) {
            let point: PointRow = point?;
            if point.vault != vault.row.id || !point.locations.contains(place) {
                continue;
            }
            // One whose reach cannot be read is told of by itself.
            let Ok(reach) = self.reach((house, vault), &point).await else { continue };
            let unite = move || {
                all.union(&reach);
                Ok(all)
            };
            all = house.tasks.run_blocking("reach", unite).await?;
        }
        Ok(Arc::new(all))
    }

    /// Shows the points that need one of some packs, as far as that may be looked for.
    pub(super) async fn name(
        &mut self,
        (house, vault): (&House, &Vault),
        packs: &[PackRow],
        named: &mut Named,
    ) -> Result<()> {
        if packs.is_empty() {
            return Ok(());
        }
        for point in house.ledger.query().points(None) {
            let point: PointRow = point?;
            if point.vault != vault.row.id {
                continue;
            }
            if self.left == 0 {
                named.count = limits::DAMAGE_POINTS_MANY;
            }
            if named.count == limits::DAMAGE_POINTS_MANY {
                return Ok(());
            }
            self.left -= 1;
            let Ok(reach) = self.reach((house, vault), &point).await else { continue };
            if meets(&reach, packs) {
                named.note(point.id);
            }
        }
        Ok(())
    }

    async fn reach(&mut self, (house, vault): (&House, &Vault), point: &PointRow) -> Result<Reach> {
        let (reach, bytes) = house.read_sized_reach(vault, point).await?;
        self.read += bytes;
        Ok(reach)
    }

    /// What was read since this was asked.
    pub(super) fn take_read(&mut self) -> u64 {
        core::mem::take(&mut self.read)
    }
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
    use crate::crowd::id;

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
