//! Reads one location of one vault back, object by object, and remembers how far it is.

use super::{
    course::{Course, Step},
    homes::Homes,
    look::{Followed, Look, Seen},
    memory,
    needs::Needs,
    schedule::{Budget, Next},
};
use crate::{
    house::{House, Vault},
    places::{Place, show},
};
use holdfast_common::{Code, Name, Result, VaultId, limits};
use holdfast_ledger::{
    level::CHECKS,
    row::{CheckPass, CheckRow, CopyState, DamageRow, VaultRow},
};
use holdfast_repository::layout::ObjectName;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::Instant;

const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Who has nothing to do looks so often whether that is still so.
const IDLE: Duration = Duration::from_secs(2);
/// The ledger is told so often at most, and when so much was read or so much time went by.
const NOTE_INTERVAL: Duration = Duration::from_secs(60);
const NOTE_INTERVAL_MAX: Duration = Duration::from_secs(600);
const NOTE_BYTES: u64 = 8 << 20;

pub(super) struct Scrubber {
    house: Arc<House>,
    vault: VaultId,
    location: Name,
    /// As far as this is; none before it was looked up, and after something went wrong.
    memory: Option<CheckRow>,
    /// When the ledger was told last, and what was read since.
    noted: (Instant, u64),
    followed: Option<Followed>,
    homes: Homes,
    needs: Needs,
    /// What was found damaged in this pass, if it began here.
    found: Option<BTreeSet<String>>,
}

/// One location as it is now.
struct Scene {
    vault: Vault,
    place: Place,
    others: Vec<Place>,
}

impl Scrubber {
    pub(super) fn new(house: Arc<House>, vault: VaultId, location: Name) -> Self {
        let noted = (Instant::now(), 0);
        let (memory, followed, found) = (None, None, None);
        let (homes, needs) = (Homes::default(), Needs::default());
        Self { house, vault, location, memory, noted, followed, homes, needs, found }
    }

    pub(super) async fn run(mut self) -> Result<()> {
        let mut pause = PAUSE_MIN;
        loop {
            let begun = Instant::now();
            let Err(error) = self.go().await else { return Ok(()) };
            let location = &self.location;
            match error.code {
                Code::ClusterBusy => tracing::debug!(%location, %error, "not read back now"),
                _ => tracing::warn!(%location, %error, "cannot be read back now"),
            }
            (self.memory, self.followed, self.found) = (None, None, None);
            pause = if begun.elapsed() > PAUSE_MAX { PAUSE_MIN } else { pause };
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn go(&mut self) -> Result<()> {
        loop {
            let Some(vault) = self.is_due()? else {
                tokio::time::sleep(IDLE).await;
                continue;
            };
            self.recall(&vault).await?;
            let now = self.house.ledger.now();
            let Some(memory) = &mut self.memory else { continue };
            match budget(&vault).next(memory, now) {
                Next::Wait(wait) => {
                    tokio::time::sleep(wait.min(IDLE)).await;
                    continue;
                }
                Next::Begin => {
                    (memory.pass, memory.cursor) = (Some(CheckPass::begun(now)), None);
                    (self.followed, self.found) = (None, Some(BTreeSet::new()));
                    (self.homes, self.needs) = (Homes::default(), Needs::default());
                }
                Next::GoOn => {}
            }
            self.show();
            let scene = self.scene(&vault).await?;
            self.stretch(&scene).await?;
        }
    }

    /// The vault, when this location of it is to be read back now. One that is brought what it
    /// lacks is for its copier to see to.
    fn is_due(&self) -> Result<Option<VaultRow>> {
        let query = self.house.ledger.query();
        if query.level()? < CHECKS {
            return Ok(None);
        }
        let vault = query.vault(&self.vault)?;
        let row = query.copies_in(&self.vault, &self.location)?;
        let is_there = match row.map(|row| self.house.copies.newest(row)) {
            None => vault.required.contains(&self.location),
            Some(row) => {
                let is_steady = matches!(row.state, CopyState::Copying | CopyState::Current);
                let follows = vault.following().contains(&self.location);
                follows && is_steady && row.confirms() && row.whole.is_some()
            }
        };
        let is_used = self.house.places.row(&self.location)?.disabled.is_none();
        Ok(Some(vault).filter(|vault| is_there && is_used && vault.check_bytes_per_day() > 0))
    }

    /// Where the ledger says that somebody else knows better, that counts.
    async fn recall(&mut self, vault: &VaultRow) -> Result<()> {
        let told = self.house.ledger.query().check_of(&self.vault, &self.location)?;
        let is_same = |own: &CheckRow| {
            let other = told.as_ref().map(|told| (told.opened, told.last));
            other == Some((own.opened, own.last))
        };
        if self.memory.as_ref().is_some_and(is_same) {
            return Ok(());
        }
        (self.noted, self.followed, self.found) = ((Instant::now(), 0), None, None);
        self.memory = match told {
            Some(told) => Some(told),
            None => {
                let now = self.house.ledger.now();
                let opened = CheckRow::new(vault.id, self.location.clone(), now);
                memory::tell(&self.house, opened, Vec::new(), Vec::new()).await?
            }
        };
        Ok(())
    }

    async fn scene(&self, vault: &VaultRow) -> Result<Scene> {
        let house = &self.house;
        let place = (self.location.clone(), house.places.location(&self.location).await?);
        if let Err(error) = show(vault, &place).await {
            // A disk that is mounted again is seen by whoever opens it again.
            house.places.close(&self.location);
            return Err(error);
        }
        let names = vault.holding().filter(|name| **name != self.location).cloned().collect();
        let (mut others, _) = house.places.open_of(vault, names).await;
        let mut shown = Vec::with_capacity(others.len());
        for other in others.drain(..) {
            let is_whole = house
                .ledger
                .query()
                .copies_in(&vault.id, &other.0)?
                .is_none_or(|row| row.confirms());
            if is_whole && show(vault, &other).await.is_ok() {
                shown.push(other);
            }
        }
        Ok(Scene { vault: house.vault(&vault.id)?, place, others: shown })
    }

    /// The next objects, each when its time comes; the end of a pass when there are none.
    async fn stretch(&mut self, scene: &Scene) -> Result<()> {
        let house = self.house.clone();
        let (vault, place, others) = (&scene.vault.row, &scene.place, &scene.others[..]);
        let course = Course { house: &house, vault, place, others };
        let cursor = self.memory.as_ref().and_then(|memory| memory.cursor.clone());
        let cursor: Option<ObjectName> = cursor.map(|name| name.parse()).transpose()?;
        let steps = course.behind(cursor.as_ref(), &mut self.homes).await?;
        if steps.is_empty() {
            return self.end_pass(scene).await;
        }
        let known = house.ledger.query().damage(Some((&self.vault, &self.location)))?;
        for step in &steps {
            let Some(vault) = self.turn().await? else { return Ok(()) };
            let mut followed = self.followed.take();
            let mut needs = core::mem::take(&mut self.needs);
            let (house, vault_now) = (&*house, &scene.vault);
            let look = Look {
                house,
                vault: vault_now,
                course: &course,
                followed: &mut followed,
                needs: &mut needs,
            };
            let seen = look_at(look, step).await;
            (self.followed, self.needs) = (followed, needs);
            self.count(&vault, step, seen?, &known).await?;
        }
        Ok(())
    }

    /// Waits for the time of the next object; none when something changed meanwhile.
    async fn turn(&mut self) -> Result<Option<VaultRow>> {
        loop {
            let Some(vault) = self.is_due()? else { return Ok(None) };
            let told = self.house.ledger.query().check_of(&self.vault, &self.location)?;
            let Some(memory) = &mut self.memory else { return Ok(None) };
            if told.is_none_or(|told| (told.opened, told.last) != (memory.opened, memory.last)) {
                return Ok(None);
            }
            match budget(&vault).next(memory, self.house.ledger.now()) {
                Next::GoOn => return Ok(Some(vault)),
                Next::Begin => return Ok(None),
                Next::Wait(wait) => tokio::time::sleep(wait.min(IDLE)).await,
            }
        }
    }

    async fn count(
        &mut self,
        vault: &VaultRow,
        step: &Step,
        seen: Seen,
        known: &[DamageRow],
    ) -> Result<()> {
        let (name, now) = (step.name()?, self.house.ledger.now());
        let damaged = seen.here(&self.location).next().is_some();
        let is_whole = seen.here(&self.location).all(|found| found.healed_from.is_some());
        let Some(memory) = &mut self.memory else { return Ok(()) };
        memory.paid = budget(vault).pay(memory.paid, now, seen.bytes);
        memory.cursor = Some(name.as_str().to_owned());
        if let Some(pass) = &mut memory.pass {
            pass.objects += 1;
            pass.bytes += seen.bytes;
            pass.damaged += u64::from(damaged);
            pass.healed += u64::from(damaged && is_whole);
        }
        self.noted.1 += seen.bytes;
        self.show();
        let was_damaged = known.iter().any(|row| row.object == name.as_str());
        let whole = (is_whole && was_damaged).then(|| name.as_str().to_owned());
        let since = self.noted.0.elapsed();
        let is_due = since > NOTE_INTERVAL && self.noted.1 > NOTE_BYTES;
        if let Some(found) = &mut self.found {
            let here = seen.here(&self.location);
            found.extend(here.map(|found| found.damage.object.clone()));
        }
        let left = seen.found.into_iter().filter(|found| found.healed_from.is_none());
        let left: Vec<DamageRow> = left.map(|found| found.damage).collect();
        let is_news = damaged || whole.is_some() || !left.is_empty();
        if is_news || is_due || since > NOTE_INTERVAL_MAX {
            self.note(left, whole.into_iter().collect()).await?;
        }
        Ok(())
    }

    async fn note(&mut self, left: Vec<DamageRow>, whole: Vec<String>) -> Result<()> {
        let Some(memory) = self.memory.clone() else { return Ok(()) };
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|row| row.location == self.location);
        for row in elsewhere {
            memory::tell_of(&self.house, row).await?;
        }
        self.memory = memory::tell(&self.house, memory, here, whole).await?;
        self.noted = (Instant::now(), 0);
        self.show();
        Ok(())
    }

    fn show(&self) {
        if let Some(memory) = &self.memory {
            self.house.checks.set(memory);
        }
    }

    /// A location that went away in the middle has an end of its own.
    async fn end_pass(&mut self, scene: &Scene) -> Result<()> {
        show(&scene.vault.row, &scene.place).await?;
        let now = self.house.ledger.now();
        let Some(memory) = &mut self.memory else { return Ok(()) };
        // A pass over next to nothing is not made again and again.
        memory.paid = memory.paid.max(now).plus(PAUSE_MIN);
        memory.last = memory.pass.take().map(|pass| CheckPass { ended: Some(now), ..pass });
        memory.cursor = None;
        let location = &self.location;
        if let Some(CheckPass { objects, bytes, damaged, healed, .. }) = memory.last {
            tracing::info!(%location, objects, bytes, damaged, healed, "all was read back");
        }
        // What was not seen again in all of it is damage no more, or nobody needs it.
        let mut whole = Vec::new();
        if let Some(found) = self.found.take() {
            let known = self.house.ledger.query().damage(Some((&self.vault, &self.location)))?;
            let is_over = |row: &DamageRow| !found.contains(&row.object);
            whole = known.into_iter().filter(is_over).map(|row| row.object).collect();
            whole.truncate(limits::DAMAGE_NOTED_MAX);
        }
        self.note(Vec::new(), whole).await
    }
}

async fn look_at(mut look: Look<'_>, step: &Step) -> Result<Seen> {
    Box::pin(look.at(step)).await
}

fn budget(vault: &VaultRow) -> Budget {
    Budget { bytes_per_day: vault.check_bytes_per_day(), every: vault.check_every() }
}
