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

use super::wanted::{Absent, Wanted};
use crate::{house::House, places::Place, replicate::Queue};
use futures::{StreamExt, TryStreamExt, stream};
use holdfast_common::{Code, Error, Lock, Result, Timestamp, limits};
use holdfast_keyring::KeyObject;
use holdfast_ledger::{
    Actor,
    command::NoteLocks,
    row::{CopyProblem, LockRow, PointRow},
};
use holdfast_repository::layout::ObjectName;
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
    pending: Option<(Vec<Wanted>, LockRow)>,
    /// What points that are lost lack here; it is looked at now and then whether they are whole.
    put_by: Vec<Wanted>,
}

type Points<'a> = Box<dyn Iterator<Item = Result<PointRow>> + Send + 'a>;

impl Locker {
    pub(super) fn new(house: Arc<House>, row: LockRow, queue: Arc<Queue>) -> Self {
        Self {
            house,
            row,
            queue,
            walked: None,
            keys: Vec::new(),
            pending: None,
            put_by: Vec::new(),
        }
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
        let back = self.whole_again()?;
        let is_idle = self.pending.is_none() && self.queue.is_empty() && back.is_empty();
        if !is_due && is_idle && keys == self.keys {
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
            let (awaited, claimed) = self.pending.take().unwrap_or((back, claim.clone()));
            let of_vault = keys.iter().cloned().map(Wanted::of_vault);
            let stored = news.objects.iter().cloned().map(Wanted::stored);
            let records = news.points.iter().flat_map(Wanted::of_point);
            let wanted: Vec<_> = of_vault.chain(stored).chain(records).chain(awaited).collect();
            let claim = LockRow { covers, problem: None, ..claimed };
            // What is not locked when this ends early is not forgotten.
            self.pending = Some((wanted.clone(), claim.clone()));
            let (_, missing) = lock_all(&place, wanted, lock).await?;
            let query = self.house.ledger.query();
            let absent = Absent::judge_homes(query, &self.row.vault, missing).await?;
            self.put_by(absent.put_by);
            self.pending = Some((absent.needed, claim));
        }
        self.keys = keys;
        self.claim().await
    }

    /// What was put by and is needed now; it is awaited from then on.
    fn whole_again(&mut self) -> Result<Vec<Wanted>> {
        let (query, all) = (self.house.ledger.query(), self.put_by.clone());
        let Absent { needed, put_by } = Absent::judge(query, &self.row.vault, all)?;
        self.put_by = put_by;
        if let Some((missing, _)) = self.pending.as_mut() {
            missing.extend(needed.iter().cloned());
        }
        Ok(needed)
    }

    fn put_by(&mut self, more: Vec<Wanted>) {
        let room = MISSING_MAX.saturating_sub(self.put_by.len());
        self.put_by.extend(more.into_iter().take(room));
    }

    /// Says what is locked, unless something is still missing.
    async fn claim(&mut self) -> Result<()> {
        let Some((missing, claim)) = self.pending.as_ref() else { return Ok(()) };
        let Some(first) = missing.first() else {
            // If this is not heard it is said again.
            self.note(claim.clone()).await?;
            self.pending = None;
            return Ok(());
        };
        let (count, name) = (missing.len(), &first.name);
        let message = format!("{count} objects are not there to be locked, first {name}");
        if count >= MISSING_MAX {
            (self.walked, self.pending) = (None, None);
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
        self.put_by.clear();
        let first = keys.iter().cloned().chain(["vault".parse()?]).map(Wanted::of_vault).collect();
        let (mut objects, mut missing) = lock_all(place, first, lock).await?;
        let (house, vault) = (self.house.clone(), self.row.vault);
        let mut took = |(locked, absent): (u64, Vec<Wanted>)| -> Result<()> {
            objects += locked;
            let absent = Absent::judge(house.ledger.query(), &vault, absent)?;
            let room = MISSING_MAX.saturating_sub(missing.len());
            missing.extend(absent.needed.into_iter().take(room));
            self.put_by(absent.put_by);
            Ok(())
        };
        let mut after = None;
        loop {
            let query = house.ledger.query();
            let page = query.packs(&vault, after.as_ref())?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            let wanted = page.iter().filter_map(|row| Wanted::by_pack(query, row).transpose());
            took(lock_all(place, wanted.collect::<Result<_>>()?, lock).await?)?;
        }
        let mut points: Points<'_> = Box::new(house.ledger.query().points_like(""));
        loop {
            let page: Vec<_> = points.by_ref().take(limits::LIST_PAGE_ROWS).collect();
            if page.is_empty() {
                break;
            }
            let mut wanted = Vec::new();
            for point in page {
                let point = point?;
                if point.vault == vault {
                    wanted.extend(Wanted::of_point(&point.id));
                }
            }
            took(lock_all(place, wanted, lock).await?)?;
        }
        drop(points);
        self.walked = Some(lock.until);
        self.pending = Some((missing, LockRow { until: Some(lock.until), objects, ..claim }));
        Ok(())
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
        if row != self.row {
            let command = NoteLocks { lock: row.clone() };
            self.house.ledger.propose(Actor::System, command).await?;
            self.row = row;
        }
        Ok(())
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
    wanted: Vec<Wanted>,
    lock: Lock,
) -> Result<(u64, Vec<Wanted>)> {
    let calls = wanted.into_iter().map(|wanted| lock_one(store.clone(), wanted, lock));
    let mut locked = stream::iter(calls.collect::<Vec<_>>()).buffer_unordered(AT_ONCE);
    let (mut count, mut missing) = (0, Vec::new());
    while let Some(absent) = locked.try_next().await? {
        match absent {
            None => count += 1,
            Some(wanted) => missing.push(wanted),
        }
    }
    Ok((count, missing))
}

/// The same, if there is no such object.
async fn lock_one(
    store: Arc<dyn ObjectStore>,
    wanted: Wanted,
    lock: Lock,
) -> Result<Option<Wanted>> {
    match store.lock(&wanted.name.as_str().parse()?, lock).await {
        Ok(_) => Ok(None),
        Err(error) if error.code == Code::ObjectMissing => Ok(Some(wanted)),
        Err(error) => Err(error),
    }
}
