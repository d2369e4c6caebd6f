//! One time over all that is due in a vault: part after part, in every location.
//!
//! ```text
//!   a part ─→ every other region is heard of ─→ each location: is it this vault's, has it the log,
//!             is no epoch claimed? ─→ its objects are cleared ─→ gone from all: buried
//! ```
//!
//! A location that is away is left out for the rest of the pass; what it refuses one by one keeps
//! nothing else from going, there or elsewhere.

use super::{
    clearing::{Cleared, Gate, clear_behind},
    due::{DuePack, DuePoint, Wait, due_packs, due_points},
    heirs::Heirs,
    insist_on_peace,
};
use crate::{
    house::House,
    places::{Place, show},
    region::{insist_heard, insist_none_newer},
};
use futures::future::BoxFuture;
use holdfast_common::{Code, Error, Name, PackId, Result, Timestamp, limits};
use holdfast_ledger::{
    Actor,
    command::BuryPacks,
    row::{CollectionRow, VaultRow},
};
use holdfast_repository::layout::ObjectName;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// A location that follows has the log up to an entry when it lacked nothing so long after that lay
/// in the others.
const LOG_FOLLOWS: Duration = Duration::from_secs(30);

/// One time over all that is due in a vault.
pub(super) struct Pass<'a> {
    house: &'a Arc<House>,
    vault: &'a VaultRow,
    /// Since when it is known that all that says what goes was shipped.
    shipped: Timestamp,
    /// Up to when what was doomed is known to be gone from a location.
    clear: &'a BTreeMap<Name, Timestamp>,
    pub(super) wait: Wait,
    pub(super) buried: u64,
    /// Locations that did not do it all, and why.
    pub(super) problems: BTreeMap<Name, Error>,
    /// Those of them that cannot be asked at all: it would take as long to find out for each part.
    away: BTreeSet<Name>,
    /// What has to lie where something is to go.
    heirs: Heirs,
    /// When the oldest of what was not seen gone from everywhere was given up.
    pub(super) oldest: Option<Timestamp>,
}

/// An object that is to go; of a pack, when that was doomed.
type Doomed = (ObjectName, Option<Timestamp>);

impl<'a> Pass<'a> {
    pub(super) fn new(
        house: &'a Arc<House>,
        vault: &'a VaultRow,
        shipped: Timestamp,
        clear: &'a BTreeMap<Name, Timestamp>,
    ) -> Self {
        let (wait, problems) = (Wait::at(house.ledger.now()), BTreeMap::new());
        let (away, heirs, oldest) = (BTreeSet::new(), Heirs::default(), None);
        Self { house, vault, shipped, clear, wait, buried: 0, problems, away, heirs, oldest }
    }

    /// What keeps points from going is found out for packs once more.
    pub(super) async fn all(&mut self, round: &CollectionRow) -> Result<()> {
        let points = self.points(round.begun).await;
        points.and(self.all_packs().await)
    }

    async fn all_packs(&mut self) -> Result<()> {
        let mut after = None;
        loop {
            let (house, id, mut wait) = (self.house.clone(), self.vault.id, self.wait);
            let find = move || {
                let due = due_packs(house.ledger.query(), &id, &mut wait, after)?;
                Ok((due, wait))
            };
            let (due, wait) = self.house.tasks.run_blocking("doomed packs", find).await?;
            self.wait = wait;
            self.packs(&due.packs).await?;
            if due.after.is_none() {
                return Ok(());
            }
            after = due.after;
        }
    }

    async fn points(&mut self, before: Timestamp) -> Result<()> {
        let mut after = None;
        loop {
            let (house, id, mut wait) = (self.house.clone(), self.vault.id, self.wait);
            let find = move || {
                let due = due_points(house.ledger.query(), &id, &mut wait, before, after)?;
                Ok((due, wait))
            };
            let (due, wait) = self.house.tasks.run_blocking("forgotten points", find).await?;
            self.wait = wait;
            for part in due.points.chunks(limits::PACKS_COLLECTED_MAX) {
                self.forgotten(part).await?;
            }
            if due.after.is_none() {
                return Ok(());
            }
            after = due.after;
        }
    }

    async fn packs(&mut self, packs: &[DuePack]) -> Result<()> {
        self.heirs.forget();
        for pack in packs {
            let ledger = (self.house.ledger.query(), &self.vault.id);
            self.heirs.note(ledger, &ObjectName::pack(&pack.id), &[pack.id])?;
        }
        let name = |pack: &DuePack| (ObjectName::pack(&pack.id), Some(pack.doomed));
        let cleared = self.clear(packs.iter().map(name).collect()).await;
        let is_gone = |pack: &&DuePack| {
            cleared.as_ref().is_ok_and(|gone| gone.contains(&ObjectName::pack(&pack.id)))
        };
        let (gone, left): (Vec<&DuePack>, Vec<&DuePack>) = packs.iter().partition(is_gone);
        let left = left.into_iter().map(|pack| pack.doomed);
        self.oldest = left.chain(self.oldest).min();
        let gone = gone.into_iter().map(|pack| pack.id).collect();
        cleared?;
        self.bury(gone, Vec::new()).await
    }

    /// The packs inside first: what is left of a point leads to them.
    async fn forgotten(&mut self, points: &[DuePoint]) -> Result<()> {
        self.heirs.forget();
        for point in points {
            for name in point.names() {
                let ledger = (self.house.ledger.query(), &self.vault.id);
                self.heirs.note(ledger, &name, &point.packs)?;
            }
        }
        let names = points.iter().flat_map(DuePoint::names).map(|name| (name, None));
        let cleared = self.clear(names.collect()).await;
        let gone = cleared.as_ref().cloned().unwrap_or_default();
        let is_gone = |point: &&DuePoint| point.names().iter().all(|name| gone.contains(name));
        let (points, left): (Vec<&DuePoint>, Vec<&DuePoint>) = points.iter().partition(is_gone);
        let left = left.into_iter().map(|point| point.since);
        self.oldest = left.chain(self.oldest).min();
        cleared?;
        let packs: Vec<_> = points.iter().flat_map(|point| point.packs.iter().copied()).collect();
        for packs in packs.chunks(limits::PACKS_COLLECTED_MAX) {
            self.bury(packs.to_vec(), Vec::new()).await?;
        }
        self.bury(Vec::new(), points.iter().map(|point| point.id).collect()).await
    }

    async fn bury(
        &mut self,
        packs: Vec<PackId>,
        points: Vec<holdfast_common::PointId>,
    ) -> Result<()> {
        if packs.is_empty() && points.is_empty() {
            return Ok(());
        }
        self.buried += (packs.len() + points.len()) as u64;
        let bury = BuryPacks { vault: self.vault.id, packs, points };
        self.house.ledger.propose(Actor::System, bury).await.map(drop)
    }

    /// Deletes objects in every location; which of them were seen gone in all.
    async fn clear(&mut self, objects: Vec<Doomed>) -> Result<BTreeSet<ObjectName>> {
        let mut gone: BTreeSet<_> = objects.iter().map(|(name, _)| name.clone()).collect();
        if objects.is_empty() {
            return Ok(gone);
        }
        // Whoever took the lead elsewhere claimed it there, and not where this side looks.
        insist_heard(self.house).await?;
        for location in self.vault.holding() {
            insist_on_peace(self.house)?;
            let known = self.clear.get(location);
            let is_clear =
                |doomed: Option<Timestamp>| doomed.zip(known).is_some_and(|(d, k)| d <= *k);
            let (clear, asked): (Vec<_>, Vec<_>) =
                objects.iter().cloned().partition(|(_, doomed)| is_clear(*doomed));
            let mut cleared: BTreeSet<_> = clear.into_iter().map(|(name, _)| name).collect();
            if !asked.is_empty() && !self.away.contains(location) {
                let asked = asked.into_iter().map(|(name, _)| name).collect();
                let (seen, problem) = match self.clear_in(location, asked).await {
                    Ok(Cleared { gone, refused }) => (gone, refused),
                    Err(error) => {
                        self.away.insert(location.clone());
                        (BTreeSet::new(), Some(error))
                    }
                };
                cleared.extend(seen);
                self.problems.extend(problem.map(|error| (location.clone(), error)));
            }
            gone.retain(|name| cleared.contains(name));
        }
        Ok(gone)
    }

    /// An error is one of the whole location.
    async fn clear_in(&self, location: &Name, names: Vec<ObjectName>) -> Result<Cleared> {
        self.insist_on_log(location)?;
        let store = self.house.places.location(location).await?;
        let place = (location.clone(), store.clone());
        let gate = Door { house: self.house, vault: self.vault, place };
        // A member that hears of a newer epoch deletes nothing from there on.
        let may = || self.house.ledger.peers().insist_on_epoch();
        let (names, early) = self.heirs.let_go(&gate.place, names).await?;
        let mut cleared = clear_behind(&gate, store.as_ref(), names, &may).await?;
        cleared.refused = cleared.refused.or(early);
        Ok(cleared)
    }

    /// A following location has the log a moment later than it has everything else.
    fn insist_on_log(&self, location: &Name) -> Result<()> {
        if self.vault.required.contains(location) {
            return Ok(());
        }
        let row = self.house.ledger.query().copies_in(&self.vault.id, location)?;
        let whole = row.map(|row| self.house.copies.newest(row)).and_then(|row| row.whole);
        if has_log(whole, self.shipped) {
            return Ok(());
        }
        let message = format!("`{location}` may lack the end of the ledger's log");
        Err(Error::new(Code::LocationBehind, message))
    }
}

/// Whether a location that follows has the log, by when it lacked nothing last.
fn has_log(whole: Option<Timestamp>, shipped: Timestamp) -> bool {
    whole.is_some_and(|whole| whole >= shipped.plus(LOG_FOLLOWS))
}

/// A location of the vault, as whoever deletes there asks it.
struct Door<'a> {
    house: &'a House,
    vault: &'a VaultRow,
    place: Place,
}

impl Gate for Door<'_> {
    fn shows(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(show(self.vault, &self.place))
    }

    fn is_unclaimed(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            let epoch = self.house.ledger.epoch()?;
            insist_none_newer(self.house, &self.place, epoch).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::moment;

    #[test]
    fn a_location_that_follows_has_the_log_when_it_lacked_nothing_a_while_after_that_was_shipped() {
        let follows = LOG_FOLLOWS.as_secs();
        assert!(!has_log(None, moment(100)));
        assert!(!has_log(Some(moment(100)), moment(100)), "of what came before");
        assert!(!has_log(Some(moment(99 + follows)), moment(100)));
        assert!(has_log(Some(moment(100 + follows)), moment(100)));
    }
}
