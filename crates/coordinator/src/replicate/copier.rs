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
    found::{Found, while_unclaimed},
    queue::{Backlog, Batch, Queue},
};
use crate::{
    budget::Budget,
    fill::{self, Filled, Lacking, Marks, Pace, Progress},
    house::House,
    places::is_silent,
    shipped::ship,
};
use holdfast_common::{Code, Error, Name, PointId, Result, limits};
use holdfast_ledger::{
    Actor,
    command::{NoteCopies, PlacePoints, TakeBack},
    row::{CopyProblem, CopyRow, CopyState, VaultRow},
};
use holdfast_repository::layout::ObjectName;
use holdfast_storage::layers::meter::Counts;
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
/// How often a location that lacks nothing shows that it is there.
const PRESENCE_INTERVAL: Duration = Duration::from_secs(30);
/// One that was brought nothing for so long does not answer; on a slow line each object may take
/// what the bound on it gives it, besides.
const SILENCE_MAX: Duration = Duration::from_secs(30);

pub(super) struct Copier {
    pub(super) house: Arc<House>,
    /// How it is now.
    pub(super) row: CopyRow,
    /// What is being done.
    state: CopyState,
    /// As the ledger was told last, and when.
    noted: (CopyRow, Instant),
    pub(super) queue: Arc<Queue>,
    /// Taken from the queue, and not all there yet.
    pending: Option<Batch>,
    /// Lost locations that may have what it lacks and nobody else has.
    may_have: Vec<Name>,
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
    /// How often it was away since it lacked nothing.
    failures: u32,
    /// When it last showed itself at rest.
    present: Instant,
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
            may_have: Vec::new(),
            backlog: Backlog::default(),
            left: Arc::default(),
            pace,
            marks: None,
            keys_there: None,
            tailed: None,
            begun: Instant::now(),
            budget: Arc::new(Budget::new(limits::COPY_BUDGET_BYTES)),
            still_away: None,
            failures: 0,
            present: Instant::now(),
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
        let to = self.unclaimed(&vault).await?;
        self.note_absent(&vault, &to).await?;
        let found = self.places_beside(&vault, to.clone()).await?;
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
            let bring = while_unclaimed(self.house.clone(), to, bring);
            filled = self.watched(Box::pin(bring)).await?;
        }
        self.bring_keys(&vault, &found).await?;
        self.find_again(&vault).await?;
        self.bring_what_was_shipped(&vault, &found).await?;
        let lacking = self.place_all(&vault, &found).await?;
        self.await_lost(&vault, &found, &lacking).await?;
        self.settle_damaged(&filled.lacks, found.is_all).await?;
        self.may_have = self.insist_on_whole(&vault, &found, &lacking).await?;
        (self.marks, self.tailed) = (Some(Marks::default()), None);
        Ok(())
    }

    /// No point is said to lie where the keys do not that it was sealed to.
    async fn bring_keys(&mut self, vault: &VaultRow, found: &Found) -> Result<()> {
        if self.keys_there.as_ref() == Some(&vault.key_object) {
            return Ok(());
        }
        let (to, of) = (found.to.clone(), vault.clone());
        let (found, heard) = found.counted();
        let (house, pace, budget) = (self.house.clone(), self.pace.clone(), self.budget.clone());
        let bring = async move { fill::keys(&house, &of, found.way(&pace, &budget)).await };
        let bring = while_unclaimed(self.house.clone(), to, bring);
        self.listened_to(Box::pin(bring), &heard).await?;
        self.keys_there = Some(vault.key_object.clone());
        Ok(())
    }

    /// What was on its way when a location came to be required lies in the others when everything
    /// up to then was shipped.
    async fn bring_what_was_shipped(&mut self, vault: &VaultRow, found: &Found) -> Result<()> {
        let holds_log = ship::catalog_vault(&self.house).is_ok_and(|holder| holder.id == vault.id);
        if !vault.required.contains(&self.row.location) || found.from.is_empty() || !holds_log {
            return Ok(());
        }
        self.house.shipped(self.row.opened).await?;
        self.bring_tail(vault, found, Marks::default()).await.map(drop)
    }

    /// Whatever coordinators wrote by themselves behind the marks; where they stand then.
    async fn bring_tail(&mut self, vault: &VaultRow, found: &Found, marks: Marks) -> Result<Marks> {
        let to = found.to.clone();
        let ((found, heard), vault) = (found.counted(), vault.clone());
        let (house, pace, budget) = (self.house.clone(), self.pace.clone(), self.budget.clone());
        let tail =
            async move { fill::tail(&house, &vault, found.way(&pace, &budget), marks).await };
        let tail = while_unclaimed(self.house.clone(), to, tail);
        self.listened_to(Box::pin(tail), &heard).await
    }

    /// Says of every point that is whole there that it lies there; what it lacks.
    async fn place_all(&mut self, vault: &VaultRow, found: &Found) -> Result<Lacking> {
        let (to, vault) = (found.to.clone(), vault.clone());
        let (found, heard) = found.counted();
        let (house, budget, opened) = (self.house.clone(), self.budget.clone(), self.row.opened);
        let place = async move {
            let place = (&found.to, &*budget);
            fill::place_points_shown(&house, &vault, place, Some(opened)).await
        };
        let place = while_unclaimed(self.house.clone(), to, place);
        let (_, lacking) = self.listened_to(Box::pin(place), &heard).await?;
        Ok(lacking)
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

    /// Brings what comes; returns when that is too much to be told one by one, or when locations
    /// are back, or forgotten, that may have had the rest.
    async fn follow(&mut self) -> Result<()> {
        loop {
            if !self.may_have.is_empty() && self.awaited()? != self.may_have {
                return Ok(());
            }
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
            self.place(points).await?;
        }
        Ok(())
    }

    /// All that was stored before these points were committed is here; what was given up is not.
    async fn place(&self, points: &[PointId]) -> Result<()> {
        let vault = self.vault()?;
        let to = self.places(&vault).await?.to;
        let (house, place) = (&self.house, (&to, &*self.budget));
        let points = Box::pin(fill::whole_points(house, &vault, place, points)).await?;
        let (vault, location, opened) =
            (vault.id, self.row.location.clone(), Some(self.row.opened));
        let command = PlacePoints { vault, location, points, opened };
        house.ledger.propose(Actor::System, command).await.map(drop)
    }

    async fn copy(&mut self, names: Vec<ObjectName>, bytes: u64) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let vault = self.vault()?;
        let found = self.places(&vault).await?;
        let (house, pace, left) = (self.house.clone(), self.pace.clone(), self.left.clone());
        let (budget, is_all, to) = (self.budget.clone(), found.is_all, found.to.clone());
        let copy = async move {
            let told = |now: Progress| left.store(bytes.saturating_sub(now.bytes), Relaxed);
            let way = found.way(&pace, &budget);
            fill::copy_shown(&house, &vault, way, &names, &told).await
        };
        let copy = while_unclaimed(self.house.clone(), to, copy);
        let filled = self.watched(Box::pin(copy)).await?;
        let settled = self.settle_damaged(&filled.lacks, is_all).await;
        settled.inspect_err(|_| self.marks = None)
    }

    /// Keys, epochs, the ledger's log and its snapshots.
    async fn tail(&mut self) -> Result<()> {
        let applied = *self.house.ledger.applied().borrow();
        let is_due = |(index, at): (u64, Instant)| index != applied && at.elapsed() > TAIL_INTERVAL;
        let Some(marks) = self.marks.clone().filter(|_| self.tailed.is_none_or(is_due)) else {
            return self.insist_on_presence().await;
        };
        let vault = self.vault()?;
        let found = self.places(&vault).await?;
        let marks = self.bring_tail(&vault, &found, marks).await?;
        (self.marks, self.tailed) = (Some(marks), Some((applied, Instant::now())));
        self.present = Instant::now();
        Ok(())
    }

    /// At rest nothing else would tell that it went away.
    async fn insist_on_presence(&mut self) -> Result<()> {
        if self.present.elapsed() > PRESENCE_INTERVAL {
            self.target(&self.vault()?).await?;
            self.present = Instant::now();
        }
        Ok(())
    }

    /// Waits for something that brings little, and tells that the location does not answer when
    /// nothing that was asked for came back. It is not given up: what hangs there would only hang
    /// once more.
    async fn listened_to<T>(
        &mut self,
        mut work: impl Future<Output = Result<T>> + Unpin,
        heard: &Counts,
    ) -> Result<T> {
        let (mut seen, mut since) = (0, Instant::now());
        loop {
            let patience = SILENCE_MAX + self.pace.takes(limits::SHIPPED_PART_BYTES as u64);
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(SHOW_INTERVAL) => self.show(),
            }
            let now = heard.snapshot().answered();
            if now != seen {
                (seen, since) = (now, Instant::now());
            } else if since.elapsed() > patience && self.still_away.is_none() {
                let silent = self.house.places.silent.note(&self.row.location);
                self.tell_away(&silent).await;
            }
        }
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
        (self.still_away, self.failures) = (None, 0);
        self.work_on(Backlog::default());
        (self.row.whole, self.row.problem) = (Some(self.house.ledger.now()), None);
        self.change(CopyState::Current);
    }

    pub(super) async fn be_away(&mut self, error: &Error) {
        self.begun = Instant::now();
        self.failures += 1;
        // Another disk may lie there when it is back, or the same one as it was long before; a line
        // that broke for a moment is no such thing.
        self.keys_there = None;
        if error.code != Code::LocationIoFailed || self.failures > 1 {
            self.marks = None;
        }
        let (location, vault) = (&self.row.location, &self.row.vault);
        tracing::warn!(%error, %location, %vault, "cannot be brought what it lacks now");
        // A disk that is mounted again is seen by whoever opens it again; one that hangs would hold
        // up everybody who does.
        if !is_silent(location, error) {
            self.house.places.close(location);
        }
        self.tell_away(error).await;
    }

    async fn tell_away(&mut self, error: &Error) {
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
