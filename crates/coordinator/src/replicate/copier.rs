//! Brings one location of one vault what it lacks.
//!
//! ```text
//!   look: listings in step ─→ what is not there ─→ points whose every object is there: placed
//!     ├─ required: it lacks nothing, and everything newer is put there anyway ─→ done
//!     └─ follows:  packs, segments as they are stored; points behind them; the ledger's log
//! ```
//!
//! Whatever goes wrong is told and tried again, further and further apart; what came meanwhile
//! waits in the queue, or is looked for.

use super::{
    found::Found,
    queue::{Backlog, Batch, Queue},
};
use crate::{
    budget::Budget,
    fill::{self, Filled, Lacking, LeftObject, Marks, Pace, Progress},
    house::House,
    shipped::ship,
    verify::{judge, lose_home},
};
use holdfast_common::{Code, Error, Result, limits};
use holdfast_ledger::{
    Actor,
    command::{LosePack, NoteCopies, PlacePoints, TakeBack},
    row::{CopyProblem, CopyRow, CopyState, PackState, VaultRow},
};
use holdfast_repository::layout::{Object, ObjectName};
use minicbor::bytes::ByteVec;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::Instant;

const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How long one that was passed over is looked after before it is required again.
const RETURN_AFTER: Duration = Duration::from_secs(10);
/// Whoever is no further behind than this has what there is.
const CLOSE: Duration = Duration::from_secs(5);

/// How often the ledger is told how far this is, while it is not there yet.
const NOTE_INTERVAL: Duration = Duration::from_secs(5);
/// How often people see how far this is.
const SHOW_INTERVAL: Duration = Duration::from_millis(250);
/// How often it is looked for what coordinators wrote by themselves.
const TAIL_INTERVAL: Duration = Duration::from_secs(10);

pub(super) struct Copier {
    pub(super) house: Arc<House>,
    /// How it is now.
    pub(super) row: CopyRow,
    /// What is being done.
    state: CopyState,
    /// As the ledger was told last, and when.
    noted: (CopyRow, Instant),
    queue: Arc<Queue>,
    /// Taken from the queue, and not all there yet.
    pending: Option<Batch>,
    /// What is being brought, beside what waits in the queue.
    backlog: Backlog,
    /// Bytes of that which are not there yet.
    left: Arc<AtomicU64>,
    pace: Arc<Pace>,
    /// None: it was not looked through yet, or has to be again.
    marks: Option<Marks>,
    /// The newest keys of the vault when all that open it were seen to be there.
    keys_there: Option<ByteVec>,
    /// Up to which entry the log was looked for, and when.
    tailed: Option<(u64, Instant)>,
    /// Since when somebody looks after this location here.
    begun: Instant,
    /// A place that is slow holds up no other one.
    budget: Arc<Budget>,
    /// It was away, and nothing was brought since: then it still is, for all that is known.
    still_away: Option<u64>,
}

impl Copier {
    pub(super) fn new(house: Arc<House>, row: CopyRow, queue: Arc<Queue>) -> Self {
        house.copies.set(&row);
        let (noted, pace) = ((row.clone(), Instant::now()), Arc::new(Pace::none()));
        Self {
            house,
            state: row.state,
            row,
            noted,
            queue,
            pending: None,
            backlog: Backlog::default(),
            left: Arc::default(),
            pace,
            marks: None,
            keys_there: None,
            tailed: None,
            begun: Instant::now(),
            budget: Arc::new(Budget::new(limits::COPY_BUDGET_BYTES)),
            still_away: None,
        }
    }

    pub(super) async fn run(mut self) -> Result<()> {
        let mut pause = PAUSE_MIN;
        loop {
            let begun = Instant::now();
            let Err(error) = self.go().await else { return Ok(()) };
            // Whatever went well for a while begins to be tried again at once.
            pause = if begun.elapsed() > PAUSE_MAX { PAUSE_MIN } else { pause };
            self.be_away(&error).await;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Ends when a required location lacks nothing.
    async fn go(&mut self) -> Result<()> {
        loop {
            if self.marks.is_none() {
                self.look().await?;
            }
            let vault = self.vault()?;
            if vault.required.contains(&self.row.location) {
                tracing::info!(location = %self.row.location, vault = %vault.name, "lacks nothing");
                self.be_whole();
                return self.note().await;
            }
            self.follow().await?;
            self.marks = None;
        }
    }

    pub(super) fn vault(&self) -> Result<VaultRow> {
        let vault = self.house.ledger.query().vault(&self.row.vault)?;
        self.pace.set(vault.beside.as_ref().map_or(0, |beside| beside.bytes_per_second_max));
        Ok(vault)
    }

    /// Looks through everything. What is stored from now on is in the queue.
    async fn look(&mut self) -> Result<()> {
        let vault = self.vault()?;
        let found = self.places(&vault).await?;
        self.note_absent(&found).await?;
        (self.pending, self.keys_there) = (None, None);
        drop(self.queue.take());
        let backlog = self.behind().await?;
        self.work_on(backlog);
        self.change(CopyState::Looking);
        let mut filled = Filled::default();
        if !found.from.is_empty() {
            let (house, pace, left) = (self.house.clone(), self.pace.clone(), self.left.clone());
            let (vault, found, budget) = (vault.clone(), found.clone(), self.budget.clone());
            let bring = async move {
                let told = |progress| left.store(left_of(progress), Relaxed);
                fill::fill_shown(&house, &vault, found.way(&pace, &budget), &told).await
            };
            self.change(CopyState::Copying);
            filled = self.watched(Box::pin(bring)).await?;
        }
        self.bring_keys(&vault, &found).await?;
        self.find_again(&found).await?;
        self.bring_what_was_shipped(&vault, &found).await?;
        let opened = Some(self.row.opened);
        let place = (&found.to, &*self.budget);
        let (_, lacking) =
            Box::pin(fill::place_points_shown(&self.house, &vault, place, opened)).await?;
        insist_on_all(&filled, found.is_all)?;
        self.await_lost(&vault, &found, &lacking).await?;
        self.insist_on_whole(&vault, &found, &lacking).await?;
        (self.marks, self.tailed) = (Some(Marks::default()), None);
        Ok(())
    }

    /// No point is said to lie where the keys do not that it was sealed to.
    async fn bring_keys(&mut self, vault: &VaultRow, found: &Found) -> Result<()> {
        if self.keys_there.as_ref() == Some(&vault.key_object) {
            return Ok(());
        }
        let way = found.way(&self.pace, &self.budget);
        Box::pin(fill::keys(&self.house, vault, way)).await?;
        self.keys_there = Some(vault.key_object.clone());
        Ok(())
    }

    /// What was on its way when a location came to be required lies in the others when everything
    /// up to then was shipped.
    async fn bring_what_was_shipped(&self, vault: &VaultRow, found: &Found) -> Result<()> {
        let holds_log = ship::catalog_vault(&self.house).is_ok_and(|holder| holder.id == vault.id);
        if !vault.required.contains(&self.row.location) || found.from.is_empty() || !holds_log {
            return Ok(());
        }
        self.house.shipped(self.row.opened).await?;
        let way = found.way(&self.pace, &self.budget);
        Box::pin(fill::tail(&self.house, vault, way, Marks::default())).await.map(drop)
    }

    /// Everything that the ledger relies on is there, or came while it was looked for: what no
    /// source could show is missing all the same.
    async fn insist_on_whole(
        &self,
        vault: &VaultRow,
        found: &Found,
        lacking: &Lacking,
    ) -> Result<()> {
        let applied = *self.house.ledger.applied().borrow();
        self.queue.heard(applied).await;
        // Into a required location it was put when it was stored; nobody brings what is queued.
        let follows = !vault.required.contains(&self.row.location);
        if lacking.count == 0 || follows && self.queue.awaits(lacking) {
            return Ok(());
        }
        for id in &lacking.packs {
            let name = ObjectName::pack(id);
            let row = self.house.ledger.query().pack(&vault.id, id)?;
            let length = row.filter(|row| row.state == PackState::Stored).map(|row| row.length);
            let Some(length) = length.filter(|_| !(follows && self.queue.has(&name))) else {
                continue;
            };
            if found.has(&name, length).await? {
                continue;
            }
            if !found.is_all || found.another_has(&name, length).await? {
                return Err(lacks(lacking.count, &name));
            }
            // No backup may rest on it any more, whatever lost it.
            tracing::error!(object = %name, "no location has it");
            let (vault, pack) = (vault.id, *id);
            self.house.ledger.propose(Actor::System, LosePack { vault, pack }).await?;
        }
        for id in &lacking.points {
            for name in [ObjectName::reach(id), ObjectName::point(id)] {
                if self.is_lost(&name, found, (follows, lacking.count)).await? {
                    judge(&self.house, *id, false).await?;
                    if name == ObjectName::point(id) {
                        lose_home(&self.house, vault.id, *id).await?;
                    }
                }
            }
        }
        for id in &lacking.homes {
            if self.is_lost(&ObjectName::point(id), found, (follows, lacking.count)).await? {
                lose_home(&self.house, vault.id, *id).await?;
            }
        }
        match lacking.all_are_named() {
            true => Ok(()),
            false => Err(Error::new(Code::LocationBehind, "what it lacks is looked for again")),
        }
    }

    /// Whether no location has a point's object, all of which could be read. It is not said to lie
    /// here, and nothing else is held up by it. What a source has, and nobody brought, is damaged
    /// there: that is for verification to say.
    async fn is_lost(
        &self,
        name: &ObjectName,
        found: &Found,
        (follows, lacking): (bool, u64),
    ) -> Result<bool> {
        let object = name.as_str().parse()?;
        if follows && self.queue.has(name) || found.to.1.head(&object).await?.is_some() {
            return Ok(false);
        }
        if !found.is_all {
            return Err(lacks(lacking, name));
        }
        tracing::error!(object = %name, "no location has it whole");
        for (_, store) in &found.from {
            if store.head(&object).await?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Committed points that are not known to lie there.
    async fn behind(&self) -> Result<Backlog> {
        let (house, row) = (self.house.clone(), self.row.clone());
        let count = move || {
            let mut behind = Backlog::default();
            for point in house.ledger.query().points(None) {
                let point = point?;
                let is_there = point.locations.contains(&row.location) && row.confirms();
                if point.vault == row.vault && !is_there {
                    behind.note(&point);
                }
            }
            Ok(behind)
        };
        self.house.tasks.run_blocking("points", count).await
    }

    /// Brings what comes; returns when that is too much to be told one by one.
    async fn follow(&mut self) -> Result<()> {
        loop {
            if self.pending.is_none() {
                self.pending = Some(self.queue.take()).filter(|batch| !batch.is_empty());
            }
            match &self.pending {
                Some(batch) if batch.everything => return Ok(()),
                Some(_) => {
                    let taken = Instant::now();
                    self.bring().await?;
                    self.pending = None;
                    self.tail().await?;
                    // Something always comes while backups go on: a moment behind is not behind.
                    if taken.elapsed() < CLOSE {
                        self.settle().await?;
                    }
                }
                None => {
                    self.tail().await?;
                    self.settle().await?;
                    let is_returning = self.vault()?.returning().contains(&self.row.location);
                    let pause = if is_returning { RETURN_AFTER } else { TAIL_INTERVAL };
                    tokio::select! {
                        () = self.queue.came() => {}
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
        }
    }

    /// Brings what is pending: the points last, when all that they need is there.
    async fn bring(&mut self) -> Result<()> {
        let Some(batch) = &self.pending else { return Ok(()) };
        let (objects, points) = (batch.objects.clone(), batch.points.clone());
        let backlog = Backlog::of(batch);
        self.work_on(backlog);
        self.change(CopyState::Copying);
        self.copy(objects, backlog.bytes).await?;
        let vault = self.vault()?;
        if !points.is_empty() && self.keys_there.as_ref() != Some(&vault.key_object) {
            let found = self.places(&vault).await?;
            self.bring_keys(&vault, &found).await?;
        }
        for points in points.chunks(limits::POINTS_PLACED_MAX) {
            let records =
                points.iter().flat_map(|id| [ObjectName::reach(id), ObjectName::point(id)]);
            self.copy(records.collect(), 0).await?;
            let (vault, location) = (self.row.vault, self.row.location.clone());
            let opened = Some(self.row.opened);
            let command = PlacePoints { vault, location, points: points.to_vec(), opened };
            self.house.ledger.propose(Actor::System, command).await?;
        }
        Ok(())
    }

    async fn copy(&mut self, names: Vec<ObjectName>, bytes: u64) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let vault = self.vault()?;
        let found = self.places(&vault).await?;
        let (house, pace, left) = (self.house.clone(), self.pace.clone(), self.left.clone());
        let (budget, is_all) = (self.budget.clone(), found.is_all);
        let copy = async move {
            let told = |now: Progress| left.store(bytes.saturating_sub(now.bytes), Relaxed);
            let way = found.way(&pace, &budget);
            fill::copy_shown(&house, &vault, way, &names, &told).await
        };
        let filled = self.watched(Box::pin(copy)).await?;
        insist_on_all(&filled, is_all).inspect_err(|_| self.marks = None)
    }

    /// Keys, epochs, the ledger's log and its snapshots.
    async fn tail(&mut self) -> Result<()> {
        let applied = *self.house.ledger.applied().borrow();
        let is_due = |(index, at): (u64, Instant)| index != applied && at.elapsed() > TAIL_INTERVAL;
        let Some(marks) = self.marks.clone().filter(|_| self.tailed.is_none_or(is_due)) else {
            return Ok(());
        };
        let vault = self.vault()?;
        let found = self.places(&vault).await?;
        let way = found.way(&self.pace, &self.budget);
        let marks = Box::pin(fill::tail(&self.house, &vault, way, marks)).await?;
        (self.marks, self.tailed) = (Some(marks), Some((applied, Instant::now())));
        Ok(())
    }

    /// It lacks nothing; one that was passed over is required again.
    async fn settle(&mut self) -> Result<()> {
        self.be_whole();
        if self.noted.0.state != CopyState::Current {
            self.note().await?;
        }
        let vault = self.vault()?;
        // One that comes and goes is not taken back each time.
        let is_steady = self.begun.elapsed() > RETURN_AFTER;
        if vault.returning().contains(&self.row.location) && is_steady {
            self.house.places.prove(&vault, &self.row.location).await?;
            self.house.places.write_again(&vault, &self.row.location).await?;
            let (vault, location) = (self.row.vault, self.row.location.clone());
            self.house.ledger.propose(Actor::System, TakeBack { vault, location }).await?;
        }
        Ok(())
    }

    fn be_whole(&mut self) {
        self.still_away = None;
        self.work_on(Backlog::default());
        (self.row.whole, self.row.problem) = (Some(self.house.ledger.now()), None);
        self.change(CopyState::Current);
    }

    pub(super) async fn be_away(&mut self, error: &Error) {
        self.begun = Instant::now();
        // Another disk may lie there when it is back.
        self.keys_there = None;
        if error.code != Code::LocationIoFailed {
            self.marks = None;
        }
        let (location, vault) = (&self.row.location, &self.row.vault);
        tracing::warn!(%error, %location, %vault, "cannot be brought what it lacks now");
        // A disk that is mounted again is seen by whoever opens it again.
        self.house.places.close(location);
        let because = error.cause.as_ref().map(|cause| format!(" ({cause})")).unwrap_or_default();
        let message = format!("{}{because}", error.message);
        let message: String = message.chars().take(limits::PROBLEM_CHARS_MAX).collect();
        self.row.problem = Some(CopyProblem { code: error.code.name().to_owned(), message });
        let is_news =
            self.noted.0.state != CopyState::Away || self.noted.0.problem != self.row.problem;
        self.still_away = None;
        self.change(CopyState::Away);
        self.still_away = Some(self.left.load(Relaxed));
        if is_news && let Err(error) = self.note().await {
            tracing::debug!(%error, "the ledger was not told");
        }
    }

    fn change(&mut self, state: CopyState) {
        self.state = state;
        self.show();
    }

    fn work_on(&mut self, backlog: Backlog) {
        self.backlog = backlog;
        self.left.store(backlog.bytes, Relaxed);
        self.still_away = self.still_away.map(|_| backlog.bytes);
    }

    /// How far this is, with what came meanwhile.
    fn show(&mut self) {
        if self.still_away.is_some_and(|before| self.left.load(Relaxed) < before) {
            (self.still_away, self.row.problem) = (None, None);
        }
        self.row.state = if self.still_away.is_some() { CopyState::Away } else { self.state };
        let work = Backlog { bytes: self.left.load(Relaxed), ..self.backlog };
        let Backlog { points, bytes, oldest } = work.and(self.queue.waiting());
        (self.row.points, self.row.bytes, self.row.oldest) = (points, bytes, oldest);
        self.house.copies.set(&self.row);
    }

    /// Shows how far some work is, and tells the ledger now and then.
    async fn watched<T>(&mut self, mut work: impl Future<Output = Result<T>> + Unpin) -> Result<T> {
        loop {
            self.show();
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(SHOW_INTERVAL) => {}
            }
            // A bound that was changed counts from now on.
            self.vault()?;
            if self.still_away.is_none()
                && self.noted.1.elapsed() > NOTE_INTERVAL
                && let Err(error) = self.note().await
            {
                tracing::debug!(%error, "the ledger was not told");
            }
        }
    }

    async fn note(&mut self) -> Result<()> {
        let command = NoteCopies { copies: vec![self.row.clone()] };
        self.house.ledger.propose(Actor::System, command).await?;
        self.noted = (self.row.clone(), Instant::now());
        Ok(())
    }
}

fn left_of(progress: Progress) -> u64 {
    progress.of_bytes_hint.unwrap_or(0).saturating_sub(progress.bytes)
}

fn lacks(count: u64, first: &ObjectName) -> Error {
    let message = format!("{count} objects are in no location that can be read, first {first}");
    Error::new(Code::LocationBehind, message)
        .next("see to the vault's other locations: `holdfast location list`")
}

/// Refuses to call whole what lacks something that the ledger relies on. A point that is whole in
/// none of all the vault's places is never said to lie here; it holds nothing else up.
fn insist_on_all(filled: &Filled, is_all: bool) -> Result<()> {
    let is_point =
        |left: &LeftObject| matches!(left.name.object(), Object::Point(_) | Object::Reach(_));
    let is_told = filled.lacks.count == filled.lacks.first.len() as u64;
    if is_all && is_told && filled.lacks.first.iter().all(is_point) {
        return Ok(());
    }
    let Some(first) = filled.lacks.first.first() else { return Ok(()) };
    let message = format!("{} objects are whole in no location, first {first}", filled.lacks.count);
    Err(Error::new(Code::ObjectDamaged, message).next("holdfast verify --all --level storage"))
}
