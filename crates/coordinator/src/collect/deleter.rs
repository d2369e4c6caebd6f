//! Carries out what the ledger has agreed on: objects of doomed packs and of forgotten points go
//! from every location, a day after their entry.
//!
//! ```text
//!   a part of what is due ─→ each location of the vault: is it this vault's? is no epoch claimed?
//!                             delete, look whether it is gone ─→ gone everywhere: buried
//! ```
//!
//! Only names that are dead for good are deleted, so it does no harm when it is done twice, late,
//! or by somebody who slept: nothing is ever stored under them again. What cannot be deleted now,
//! since its location is away, disabled or locked, is tried again later; its row stays until then.

use super::{
    due::{DuePoint, Wait, due_packs, due_points},
    insist_on_peace,
};
use crate::{
    house::House,
    places::{Place, show},
    region::{insist_heard, insist_none_newer},
};
use futures::{StreamExt, stream};
use holdfast_common::{Code, Error, Name, PackId, Result, Timestamp, VaultId, limits};
use holdfast_ledger::{
    Actor,
    command::BuryPacks,
    level::COLLECTED,
    row::{CollectionRow, VaultRow},
};
use holdfast_repository::layout::ObjectName;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::CancellationToken;

const TICK: Duration = Duration::from_secs(2);
/// When something could not be deleted.
const AGAIN_MIN: Duration = Duration::from_secs(600);
const AGAIN_MAX: Duration = Duration::from_secs(6 * 3600);
/// When a location may lack the end of the log, which it is brought soon.
const AGAIN_SOON: Duration = Duration::from_secs(10);
/// So many objects of a location are deleted at once.
const DELETES: usize = 8;
/// After so many refusals a location is left alone for this time.
const REFUSALS_MAX: usize = 8;
/// A location that follows has the log up to an entry when it lacked nothing so long after that lay
/// in the others.
const LOG_FOLLOWS: Duration = Duration::from_secs(30);

pub(crate) async fn delete(house: Arc<House>, shutdown: CancellationToken) -> Result<()> {
    let mut desks = BTreeMap::<VaultId, Desk>::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(TICK) => {}
        }
        let looked = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            looked = look(&house, &mut desks) => looked,
        };
        if let Err(error) = looked {
            tracing::debug!(%error, "nothing is deleted now; trying again");
        }
    }
}

/// What was seen of a vault last, and when to look again.
#[derive(Default)]
struct Desk {
    seen: Option<Sign>,
    /// Up to which entry the log is known to be shipped, and since when.
    shipped: Option<(u64, Timestamp)>,
    due: Option<Timestamp>,
    again: Option<Duration>,
    /// Between two tries, longer and longer.
    pause: Duration,
}

/// What differs when there may be more to delete: the round, what was doomed last, and which
/// locations are in use.
type Sign = (u64, u64, Vec<(Name, bool)>);

async fn look(house: &Arc<House>, desks: &mut BTreeMap<VaultId, Desk>) -> Result<()> {
    if !house.ledger.leads() {
        desks.clear();
        return Ok(());
    }
    if house.ledger.query().level()? < COLLECTED {
        return Ok(());
    }
    insist_on_peace(house)?;
    let mut first = Ok(());
    for vault in house.ledger.query().vaults()? {
        let Some(round) = house.ledger.query().collection(&vault.id)? else { continue };
        let desk = desks.entry(vault.id).or_default();
        let sign = sign(house, &vault, &round)?;
        if desk.is_due(house, &sign) {
            let gone = desk.go(house, &vault, &round).await;
            desk.seen = Some(sign);
            // What one vault waits for keeps nothing from going in another.
            first = first.and(gone);
        }
    }
    first
}

fn sign(house: &House, vault: &VaultRow, round: &CollectionRow) -> Result<Sign> {
    let in_use = |name: &Name| Ok((name.clone(), house.places.row(name)?.disabled.is_none()));
    let places = vault.holding().map(in_use).collect::<Result<_>>()?;
    Ok((round.round, round.doomed_at, places))
}

impl Desk {
    fn is_due(&self, house: &House, sign: &Sign) -> bool {
        let is_new = self.seen.as_ref() != Some(sign);
        let is_old = self.due.is_some_and(|due| due <= house.ledger.now());
        is_new || is_old || self.again.is_some_and(|again| again <= house.clock.elapsed())
    }

    async fn go(
        &mut self,
        house: &Arc<House>,
        vault: &VaultRow,
        round: &CollectionRow,
    ) -> Result<()> {
        // Whoever rebuilds the ledger from the locations must not believe in what is gone.
        let end = round.doomed_at.max(round.round);
        self.again = Some(house.clock.elapsed() + AGAIN_SOON);
        house.shipped(end).await?;
        let known = self.shipped.filter(|(known, _)| *known >= end);
        let (_, shipped) = *self.shipped.insert(known.unwrap_or((end, house.ledger.now())));
        let mut pass = Pass::new(house, vault, shipped);
        let ended = pass.all(round).await;
        self.due = pass.wait.next;
        let is_whole = ended.is_ok() && pass.problems.is_empty();
        let is_behind = |error: &Error| error.code == Code::LocationBehind;
        let is_soon = pass.problems.values().all(is_behind);
        self.pause = if is_whole || is_soon { AGAIN_SOON } else { longer(self.pause) };
        self.again = (!is_whole).then(|| house.clock.elapsed() + self.pause);
        for (location, error) in &pass.problems {
            tracing::info!(%error, %location, "what was collected is not all deleted there yet");
        }
        if pass.buried > 0 {
            let (vault, objects) = (&vault.name, pass.buried);
            tracing::info!(%vault, objects, "collected objects are gone");
        }
        ended
    }
}

fn longer(pause: Duration) -> Duration {
    (2 * pause).clamp(AGAIN_MIN, AGAIN_MAX)
}

/// One time over all that is due in a vault.
struct Pass<'a> {
    house: &'a Arc<House>,
    vault: &'a VaultRow,
    /// Since when it is known that all that says what goes was shipped.
    shipped: Timestamp,
    wait: Wait,
    buried: u64,
    /// Locations that did not do it all, and why.
    problems: BTreeMap<Name, Error>,
}

impl<'a> Pass<'a> {
    fn new(house: &'a Arc<House>, vault: &'a VaultRow, shipped: Timestamp) -> Self {
        let (wait, problems) = (Wait::at(house.ledger.now()), BTreeMap::new());
        Self { house, vault, shipped, wait, buried: 0, problems }
    }

    async fn all(&mut self, round: &CollectionRow) -> Result<()> {
        self.points(round.begun).await?;
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

    async fn packs(&mut self, packs: &[PackId]) -> Result<()> {
        let names: Vec<_> = packs.iter().map(ObjectName::pack).collect();
        let gone = self.clear(&names).await?;
        let is_gone = |id: &&PackId| gone.contains(&ObjectName::pack(id));
        let packs = packs.iter().filter(is_gone).copied().collect();
        self.bury(packs, Vec::new()).await
    }

    /// The packs inside first: what is left of a point leads to them.
    async fn forgotten(&mut self, points: &[DuePoint]) -> Result<()> {
        let names: Vec<_> = points.iter().flat_map(DuePoint::names).collect();
        let gone = self.clear(&names).await?;
        let is_gone = |point: &&DuePoint| point.names().iter().all(|name| gone.contains(name));
        let points: Vec<&DuePoint> = points.iter().filter(is_gone).collect();
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
    async fn clear(&mut self, names: &[ObjectName]) -> Result<BTreeSet<ObjectName>> {
        let mut gone: BTreeSet<_> = names.iter().cloned().collect();
        if names.is_empty() {
            return Ok(gone);
        }
        // Whoever took the lead elsewhere claimed it there, and not where this side looks.
        insist_heard(self.house).await?;
        for location in self.vault.holding() {
            insist_on_peace(self.house)?;
            let cleared = match self.problems.contains_key(location) {
                // It would take as long to find out for each part.
                true => BTreeSet::new(),
                false => match self.clear_in(location, names).await {
                    Ok(cleared) => cleared,
                    Err(error) => {
                        self.problems.insert(location.clone(), error);
                        BTreeSet::new()
                    }
                },
            };
            gone.retain(|name| cleared.contains(name));
        }
        Ok(gone)
    }

    async fn clear_in(
        &mut self,
        location: &Name,
        names: &[ObjectName],
    ) -> Result<BTreeSet<ObjectName>> {
        self.insist_on_log(location)?;
        let place = (location.clone(), self.house.places.location(location).await?);
        // In what is not mounted everything looks gone: it is asked before, and after.
        let shows = || show(self.vault, &place);
        shows().await?;
        let epoch = self.house.ledger.epoch()?;
        insist_none_newer(self.house, &place, epoch).await?;
        let (house, place_of) = (self.house, &place);
        let delete = |name: ObjectName| async move {
            let gone = delete_one(house, place_of, &name).await?;
            Ok::<_, Error>(gone.then_some(name))
        };
        let mut deletes = stream::iter(names.to_vec()).map(delete).buffer_unordered(DELETES);
        let (mut gone, mut refused) = (BTreeSet::new(), 0);
        while let Some(deleted) = deletes.next().await {
            match deleted {
                Ok(name) => gone.extend(name),
                Err(error) if refused < REFUSALS_MAX => {
                    refused += 1;
                    self.problems.insert(location.clone(), error);
                }
                Err(error) => return Err(error),
            }
        }
        drop(deletes);
        shows().await?;
        Ok(gone)
    }

    /// A following location has the log a moment later than it has everything else.
    fn insist_on_log(&self, location: &Name) -> Result<()> {
        if self.vault.required.contains(location) {
            return Ok(());
        }
        let row = self.house.ledger.query().copies_in(&self.vault.id, location)?;
        let whole = row.map(|row| self.house.copies.newest(row)).and_then(|row| row.whole);
        if whole.is_some_and(|whole| whole >= self.shipped.plus(LOG_FOLLOWS)) {
            return Ok(());
        }
        let message = format!("`{location}` may lack the end of the ledger's log");
        Err(Error::new(Code::LocationBehind, message))
    }
}

/// Whether it is gone.
async fn delete_one(house: &House, place: &Place, name: &ObjectName) -> Result<bool> {
    let name = name.as_str().parse()?;
    // A member that hears of a newer epoch deletes nothing from there on.
    house.ledger.peers().insist_on_epoch()?;
    place.1.delete(&name).await?;
    Ok(place.1.head(&name).await?.is_none())
}
