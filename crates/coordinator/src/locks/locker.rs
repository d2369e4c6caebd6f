//! Locks one location of one vault, and knows until when.
//!
//! ```text
//!   half of a lock is over, or nobody knows ─→ walk: every object that the ledger relies on
//!   what was stored since, other keys       ─→ as it comes
//!        └─ not there yet: asked for again, and no more is claimed until it is; the rest goes on
//! ```
//!
//! What is claimed holds for every point up to one, when every lock that they need read back as
//! long as that.

use crate::{house::House, places::Place, replicate::Queue};
use futures::{StreamExt, TryStreamExt, stream};
use holdfast_common::{Code, Error, Lock, Result, Timestamp, limits};
use holdfast_keyring::KeyObject;
use holdfast_ledger::{
    Actor,
    command::NoteLocks,
    row::{CopyProblem, LockRow, PackHome, PackRow, PackState, PointRow},
};
use holdfast_repository::layout::{Object, ObjectName};
use holdfast_storage::{Locking, ObjectStore};
use minicbor::bytes::ByteVec;
use std::{sync::Arc, time::Duration};

const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether locks have come to their half.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// Objects that are locked at once, each with some calls one after the other.
const AT_ONCE: usize = 16;
/// So many are asked for one by one; where more are missing, everything is gone through again.
const MISSING_MAX: usize = 10_000;

pub(super) struct Locker {
    house: Arc<House>,
    row: LockRow,
    queue: Arc<Queue>,
    /// Until when all was locked that was there when this member went through everything.
    walked: Option<Timestamp>,
    /// Keys that were locked then or since.
    keys: Vec<ObjectName>,
    /// What is to be locked still, and what may be claimed when it is.
    pending: Option<(Vec<ObjectName>, LockRow)>,
}

type Points<'a> = Box<dyn Iterator<Item = Result<PointRow>> + Send + 'a>;

impl Locker {
    pub(super) fn new(house: Arc<House>, row: LockRow, queue: Arc<Queue>) -> Self {
        Self { house, row, queue, walked: None, keys: Vec::new(), pending: None }
    }

    pub(super) async fn run(mut self) -> Result<()> {
        let mut pause = PAUSE_MIN;
        loop {
            match self.go().await {
                Ok(()) => {
                    pause = PAUSE_MIN;
                    tokio::select! {
                        () = self.queue.came() => {}
                        () = tokio::time::sleep(LOOK_INTERVAL) => {}
                    }
                }
                Err(error) => {
                    self.say(&error).await;
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    async fn go(&mut self) -> Result<()> {
        let vault = self.house.ledger.query().vault(&self.row.vault)?;
        let Some(terms) = vault.lock else { return Ok(()) };
        let (now, keys) = (self.house.ledger.now(), self.wanted_keys()?);
        let is_due = self.walked.is_none_or(|until| until.since(now) < terms.half_life());
        if !is_due && self.pending.is_none() && self.queue.is_empty() && keys == self.keys {
            return Ok(());
        }
        // A clock that went wrong must not lock anything until a day that is none.
        self.house.ledger.own_time().insist_on_clock()?;
        let location = &self.row.location;
        let place = (location.clone(), self.house.places.location(location).await?);
        insist_on_locks(&place).await?;
        // The newest point first: what is taken from the queue then has all that it needs.
        let covers = self.newest()?;
        self.queue.heard(self.house.ledger.applied_in_tables()?).await;
        let news = self.queue.take();
        let lock = self.at_least(terms.from(now));
        let claim = LockRow { covers, problem: None, ..self.row.clone() };
        if is_due || news.everything {
            self.walk(&place, &keys, lock, claim).await?;
        } else {
            let (awaited, claimed) = self.pending.take().unwrap_or((Vec::new(), claim.clone()));
            let records = |id| [ObjectName::reach(id), ObjectName::point(id)];
            let records = news.points.iter().flat_map(records);
            let mut names = keys.clone();
            names.extend(news.objects.iter().cloned().chain(records).chain(awaited));
            let claim = LockRow { covers, problem: None, ..claimed };
            // What is not locked when this ends early is not forgotten.
            self.pending = Some((names.clone(), claim.clone()));
            names.retain(|name| self.is_wanted(name));
            let (_, missing) = lock_all(&place, names, lock).await?;
            self.pending = Some((missing, claim));
        }
        self.keys = keys;
        self.claim().await
    }

    /// Says what is locked, unless something is still missing.
    async fn claim(&mut self) -> Result<()> {
        let Some((missing, claim)) = self.pending.take() else { return Ok(()) };
        let Some(first) = missing.first() else { return self.note(claim).await };
        let count = missing.len();
        let message = format!("{count} objects are not there to be locked, first {first}");
        if count < MISSING_MAX {
            self.pending = Some((missing, claim));
        } else {
            self.walked = None;
        }
        Err(Error::new(Code::LocationBehind, message))
    }

    /// What comes between two walks is locked as long as the rest is said to be.
    fn at_least(&self, lock: Lock) -> Lock {
        let until = [self.row.until, self.walked].into_iter().flatten().max();
        Lock { until: until.map_or(lock.until, |until| until.max(lock.until)), ..lock }
    }

    /// When the newest point was committed that is known here.
    fn newest(&self) -> Result<Option<Timestamp>> {
        for point in self.house.ledger.query().points(None) {
            let point = point?;
            if point.vault == self.row.vault {
                return Ok(Some(point.committed));
            }
        }
        Ok(None)
    }

    /// Locks everything, and notes what is not there. Keys first: without them the rest is of no
    /// use.
    async fn walk(
        &mut self,
        place: &Place,
        keys: &[ObjectName],
        lock: Lock,
        claim: LockRow,
    ) -> Result<()> {
        (self.walked, self.pending) = (None, None);
        let first = keys.iter().cloned().chain(["vault".parse()?]).collect();
        let (mut objects, mut missing) = lock_all(place, first, lock).await?;
        let (house, mut after) = (self.house.clone(), None);
        let mut took = |(locked, absent): (u64, Vec<ObjectName>)| {
            objects += locked;
            let room = MISSING_MAX.saturating_sub(missing.len());
            missing.extend(absent.into_iter().take(room));
        };
        loop {
            let page = house.ledger.query().packs(&self.row.vault, after.as_ref())?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            let names = page.iter().filter_map(|row| self.named(row).transpose());
            took(lock_all(place, names.collect::<Result<_>>()?, lock).await?);
        }
        let mut points: Points<'_> = Box::new(house.ledger.query().points_like(""));
        loop {
            let page: Vec<_> = points.by_ref().take(limits::LIST_PAGE_ROWS).collect();
            if page.is_empty() {
                break;
            }
            let mut names = Vec::new();
            for point in page {
                let point = point?;
                if point.vault == self.row.vault && point.lost.is_none() {
                    names.extend([ObjectName::reach(&point.id), ObjectName::point(&point.id)]);
                }
            }
            took(lock_all(place, names, lock).await?);
        }
        drop(points);
        self.walked = Some(lock.until);
        self.pending = Some((missing, LockRow { until: Some(lock.until), objects, ..claim }));
        Ok(())
    }

    /// The object that a pack lies in; with a point that is kept it is locked beside its record.
    fn named(&self, pack: &PackRow) -> Result<Option<ObjectName>> {
        if pack.state != PackState::Stored {
            return Ok(None);
        }
        match pack.home {
            PackHome::Object => Ok(Some(ObjectName::pack(&pack.id))),
            PackHome::Point(home, _) => {
                let is_gone = self.house.ledger.query().forgotten(&home)?.is_some();
                Ok(is_gone.then(|| ObjectName::point(&home)))
            }
        }
    }

    /// Whether the ledger still relies on an object that was not there before.
    fn is_wanted(&self, name: &ObjectName) -> bool {
        let query = self.house.ledger.query();
        match name.object() {
            Object::Pack(id) => {
                let row = query.pack(&self.row.vault, &id);
                row.is_ok_and(|row| row.is_some_and(|row| row.state == PackState::Stored))
            }
            Object::Point(id) | Object::Reach(id) => {
                query.point(&id).is_ok_and(|point| point.lost.is_none())
            }
            _ => true,
        }
    }

    /// All versions of the vault's keys, as they are wrapped now.
    fn wanted_keys(&self) -> Result<Vec<ObjectName>> {
        let query = self.house.ledger.query();
        let vault = query.vault(&self.row.vault)?;
        let older = query.key_versions(&vault.id)?.into_iter().map(|row| row.key_object);
        let name = |object: ByteVec| {
            let keys = KeyObject::from_bytes(&object)?;
            ObjectName::keys(keys.version(), keys.kek_version())
        };
        older.chain([vault.key_object]).map(name).collect()
    }

    async fn note(&mut self, row: LockRow) -> Result<()> {
        let before = std::mem::replace(&mut self.row, row);
        if before == self.row {
            return Ok(());
        }
        let command = NoteLocks { lock: self.row.clone() };
        self.house.ledger.propose(Actor::System, command).await.map(drop)
    }

    /// What was locked stays so; why there is no more of it is told once.
    async fn say(&mut self, error: &Error) {
        let problem = CopyProblem {
            code: error.code.name().to_owned(),
            message: error.message.chars().take(limits::PROBLEM_CHARS_MAX).collect(),
        };
        let is_known = self.row.problem.as_ref().is_some_and(|known| known.code == problem.code);
        if !is_known {
            tracing::warn!(location = %self.row.location, %error, "not locked");
            let row = LockRow { problem: Some(problem), ..self.row.clone() };
            if let Err(error) = self.note(row).await {
                tracing::debug!(%error, "not told");
            }
        }
    }
}

/// Nothing is locked where locks were not seen to hold.
async fn insist_on_locks((name, store): &Place) -> Result<()> {
    let said = match store.locking().await? {
        Locking::Enforced => return Ok(()),
        Locking::Off => "has no object lock",
        Locking::Ignored => "was seen to ignore locks",
    };
    Err(Error::new(Code::LocationLockAbsent, format!("`{name}` {said}")))
}

/// How many are locked as long as was wanted, and which are not there.
async fn lock_all(
    (_, store): &Place,
    names: Vec<ObjectName>,
    lock: Lock,
) -> Result<(u64, Vec<ObjectName>)> {
    let calls = names.into_iter().map(|name| lock_one(store.clone(), name, lock));
    let mut locked = stream::iter(calls.collect::<Vec<_>>()).buffer_unordered(AT_ONCE);
    let (mut count, mut missing) = (0, Vec::new());
    while let Some(absent) = locked.try_next().await? {
        match absent {
            None => count += 1,
            Some(name) => missing.push(name),
        }
    }
    Ok((count, missing))
}

/// The name, if there is no such object.
async fn lock_one(
    store: Arc<dyn ObjectStore>,
    name: ObjectName,
    lock: Lock,
) -> Result<Option<ObjectName>> {
    match store.lock(&name.as_str().parse()?, lock).await {
        Ok(_) => Ok(None),
        Err(error) if error.code == Code::ObjectMissing => Ok(Some(name)),
        Err(error) => Err(error),
    }
}
