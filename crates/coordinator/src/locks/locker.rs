//! Locks one location of one vault, and knows until when.
//!
//! A walk is whole when every object that the ledger relies on was there and its lock read back as
//! long as was wanted. What is not there yet, since it is still being copied, is waited for:
//! nothing is said to be locked that was not seen to be.

use crate::{house::House, places::Place, replicate::Queue};
use futures::{StreamExt, TryStreamExt, stream};
use holdfast_common::{Code, Error, Lock, Result, Timestamp, limits};
use holdfast_keyring::KeyObject;
use holdfast_ledger::{
    Actor,
    command::NoteLocks,
    row::{CopyProblem, LockRow, PackHome, PackRow, PackState, PointRow},
};
use holdfast_repository::layout::ObjectName;
use holdfast_storage::{Locking, ObjectName as StoredName, ObjectStore};
use minicbor::bytes::ByteVec;
use std::{sync::Arc, time::Duration};

const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether locks have come to their half.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// Objects that are locked at once, each with some calls one after the other.
const AT_ONCE: usize = 16;
/// Whatever lacks more is gone through once more when it has it.
const MISSING_MAX: usize = 10_000;

pub(super) struct Locker {
    house: Arc<House>,
    row: LockRow,
    queue: Arc<Queue>,
    /// Everything was gone through since this member leads; what came since is in the queue.
    walked: bool,
    pending: Option<Pending>,
}

/// What was not there when it was to be locked.
struct Pending {
    names: Vec<StoredName>,
    lock: Lock,
    /// What is so when they are locked too.
    row: LockRow,
}

type Points<'a> = Box<dyn Iterator<Item = Result<PointRow>> + Send + 'a>;

impl Locker {
    pub(super) fn new(house: Arc<House>, row: LockRow, queue: Arc<Queue>) -> Self {
        Self { house, row, queue, walked: false, pending: None }
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
                    self.walked &= self.pending.is_some();
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
        let now = self.house.ledger.now();
        let is_due = self.row.until.is_none_or(|until| until.since(now) < terms.half_life());
        let is_idle = self.pending.is_none() && self.queue.is_empty();
        if self.walked && !is_due && is_idle {
            return Ok(());
        }
        // A clock that went wrong must not lock anything until a day that is none.
        self.house.ledger.own_time().insist_on_clock()?;
        let location = &self.row.location;
        let place = (location.clone(), self.house.places.location(location).await?);
        insist_on_locks(&place).await?;
        if let Some(Pending { names, lock, row }) = self.pending.take() {
            let (_, missing) = lock_all(&place, names, lock).await?;
            self.settle(missing, lock, row).await?;
        }
        let applied = *self.house.ledger.applied().borrow();
        self.queue.heard(applied).await;
        let covers = self.newest()?;
        let news = self.queue.take();
        let (lock, row, missing) = if self.walked && !is_due && !news.everything {
            let lock = self.at_least(terms.from(now));
            let points = news.points.iter();
            let records = points.flat_map(|id| [ObjectName::reach(id), ObjectName::point(id)]);
            let names = self.keys()?.into_iter().chain(news.objects.iter().cloned()).chain(records);
            let names = names.map(|name| stored(&name)).collect::<Result<_>>()?;
            let (_, missing) = lock_all(&place, names, lock).await?;
            (lock, self.row.clone(), missing)
        } else {
            let lock = self.at_least(terms.from(now));
            let (objects, missing) = self.walk(&place, lock).await?;
            (lock, LockRow { until: Some(lock.until), objects, ..self.row.clone() }, missing)
        };
        self.walked = true;
        self.settle(missing, lock, LockRow { covers, problem: None, ..row }).await
    }

    /// Says what is locked, unless something is still missing.
    async fn settle(&mut self, missing: Vec<StoredName>, lock: Lock, row: LockRow) -> Result<()> {
        let Some(first) = missing.first() else { return self.note(row).await };
        let message =
            format!("{} objects are not there to be locked, first {first}", missing.len());
        let is_much = missing.len() >= MISSING_MAX;
        self.pending = (!is_much).then_some(Pending { names: missing, lock, row });
        Err(Error::new(Code::LocationBehind, message))
    }

    /// What comes between two walks is locked as long as the rest is said to be.
    fn at_least(&self, lock: Lock) -> Lock {
        Lock { until: self.row.until.map_or(lock.until, |until| until.max(lock.until)), ..lock }
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

    /// Keys first: without them the rest is of no use. How many objects are locked, and which are
    /// not there.
    async fn walk(&self, place: &Place, lock: Lock) -> Result<(u64, Vec<StoredName>)> {
        let keys = self.keys()?;
        let keys = keys.iter().map(stored).chain([Ok("vault".parse()?)]).collect::<Result<_>>()?;
        let (mut objects, mut missing) = lock_all(place, keys, lock).await?;
        let (query, mut after) = (self.house.ledger.query(), None);
        while missing.len() < MISSING_MAX {
            let page = query.packs(&self.row.vault, after.as_ref())?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            let names = page.iter().filter_map(|row| self.named(row).transpose());
            let names = names.collect::<Result<_>>()?;
            let (locked, absent) = lock_all(place, names, lock).await?;
            objects += locked;
            missing.extend(absent);
        }
        let mut points: Points<'_> = Box::new(query.points_like(""));
        while missing.len() < MISSING_MAX {
            let mut names = Vec::new();
            let page: Vec<_> = points.by_ref().take(limits::LIST_PAGE_ROWS).collect();
            let is_last = page.is_empty();
            for point in page {
                let PointRow { id, vault, .. } = point?;
                if vault == self.row.vault {
                    names.push(stored(&ObjectName::reach(&id))?);
                    names.push(stored(&ObjectName::point(&id))?);
                }
            }
            let (locked, absent) = lock_all(place, names, lock).await?;
            objects += locked;
            missing.extend(absent);
            if is_last {
                break;
            }
        }
        Ok((objects, missing))
    }

    /// The object that a pack lies in; with a point that is kept it is locked beside its record.
    fn named(&self, pack: &PackRow) -> Result<Option<StoredName>> {
        if pack.state != PackState::Stored {
            return Ok(None);
        }
        match pack.home {
            PackHome::Object => stored(&ObjectName::pack(&pack.id)).map(Some),
            PackHome::Point(home, _) => {
                let is_gone = self.house.ledger.query().forgotten(&home)?.is_some();
                is_gone.then(|| stored(&ObjectName::point(&home))).transpose()
            }
        }
    }

    /// All versions of the vault's keys, as they are wrapped now.
    fn keys(&self) -> Result<Vec<ObjectName>> {
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
    names: Vec<StoredName>,
    lock: Lock,
) -> Result<(u64, Vec<StoredName>)> {
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
    name: StoredName,
    lock: Lock,
) -> Result<Option<StoredName>> {
    match store.lock(&name, lock).await {
        Ok(_) => Ok(None),
        Err(error) if error.code == Code::ObjectMissing => Ok(Some(name)),
        Err(error) => Err(error),
    }
}

fn stored(name: &ObjectName) -> Result<StoredName> {
    name.as_str().parse()
}
