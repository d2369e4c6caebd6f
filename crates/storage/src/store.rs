//! The one trait: immutable objects under names, written once, replaced only to heal one, listed
//! in order.
//!
//! Every location implements it and every layer wraps it, so the trait is object-safe and its calls
//! are boxed futures. What each call promises is written here once and proven by the `conformance`
//! suite. A future may be dropped at any moment: the object is then absent or whole, never torn.

use crate::{ObjectName, ObjectPrefix, layers::Operation};
use bytes::Bytes;
use core::{fmt, ops::Range, pin::Pin, time::Duration};
use holdfast_common::{Code, Error, Lock, Result, Timestamp};

/// A call under way.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

pub trait ObjectStore: Send + Sync + fmt::Debug {
    /// Writes an object under a name that is free. Acknowledged means durable. The same bytes
    /// already there are success with `existed`, other bytes are `ObjectConflict`.
    fn put_new<'a>(&'a self, name: &'a ObjectName, bytes: Bytes) -> Pending<'a, Receipt>;

    /// Puts the bytes under a name whatever lies there, for whoever heals an object that is
    /// damaged; nobody else may. At every moment the name has all it had before, or all of these
    /// bytes. Acknowledged means durable.
    fn replace<'a>(&'a self, name: &'a ObjectName, bytes: Bytes) -> Pending<'a, ()>;

    /// A whole object. One longer than `bytes_max` is refused before memory is taken for it.
    fn get<'a>(&'a self, name: &'a ObjectName, bytes_max: usize) -> Pending<'a, Bytes>;

    /// Exactly these bytes of an object; at most `limits::PACK_BYTES_MAX` of them. An object that
    /// ends before the range does is `ObjectDamaged`: whoever asks knows how long it must be.
    fn get_range<'a>(&'a self, name: &'a ObjectName, range: Range<u64>) -> Pending<'a, Bytes>;

    fn head<'a>(&'a self, name: &'a ObjectName) -> Pending<'a, Option<ObjectMeta>>;

    /// One page of the names that begin with `prefix` and come after `after`, in byte order. A page
    /// holds up to `limit` rows, and `limit` is taken as between 1 and `limits::LIST_PAGE_ROWS`.
    /// The listing is over when a page is empty.
    fn list<'a>(
        &'a self,
        prefix: &'a ObjectPrefix,
        after: Option<&'a ObjectName>,
        limit: usize,
    ) -> Pending<'a, Vec<ObjectMeta>>;

    /// Removes an object; says whether it was there. One that is locked is `ObjectLocked`.
    fn delete<'a>(&'a self, name: &'a ObjectName) -> Pending<'a, bool>;

    /// What the location was seen to enforce; it is tried once, and known from then on.
    fn keeps(&self) -> Pending<'_, Keeps>;

    /// Whether a lock was seen to hold there; it is tried once, and known from then on.
    fn locking(&self) -> Pending<'_, Locking> {
        Box::pin(async { Ok(Locking::Off) })
    }

    /// Locks an object until a day at least, and gives the lock that reads back, which covers what
    /// was asked for. One that is stronger or longer already stays.
    fn lock<'a>(&'a self, name: &'a ObjectName, lock: Lock) -> Pending<'a, Lock> {
        let message = format!("{name} lies where nothing can be locked until {}", lock.until);
        Box::pin(async { Err(Error::new(Code::LocationLockAbsent, message)) })
    }

    /// Tries what a location must be able to do, anew and for people to read. Leaves nothing
    /// behind, where it may delete.
    fn probe(&self) -> Pending<'_, Probe>;
}

/// Proof that an object is durable where it was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub name: ObjectName,
    pub length: u64,
    pub blake3: blake3::Hash,
    /// The same bytes were there before. After a lost acknowledgement it may have been this very
    /// caller who wrote them.
    pub existed: bool,
}

impl Receipt {
    pub(crate) fn of(name: &ObjectName, bytes: &[u8]) -> Self {
        Self {
            name: name.clone(),
            length: bytes.len() as u64,
            blake3: blake3::hash(bytes),
            existed: false,
        }
    }

    pub(crate) fn existed(self) -> Self {
        Self { existed: true, ..self }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    pub name: ObjectName,
    pub length: u64,
    /// By the location's clock.
    pub modified: Timestamp,
}

/// What the location itself sees to. What it does not, its store does by more calls, as well as
/// that can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeps {
    /// Of several writers of a name one wins, whatever they do at once. Only then a name can be a
    /// fence.
    pub create_only: bool,
    /// Bytes that changed on their way are refused; otherwise each object is read back.
    pub checked: bool,
}

impl Keeps {
    pub const ALL: Self = Self { create_only: true, checked: true };
}

/// What a location was seen to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// Why nothing can be written, if nothing can.
    pub write_refused: Option<Error>,
    /// Other calls that were refused.
    pub refused: Vec<(Operation, Error)>,
    /// See [`Keeps`].
    pub create_only: bool,
    /// See [`Keeps`]; none where nothing travels.
    pub checked: Option<bool>,
    /// What is deleted or replaced is kept as an older version; none where that is not known.
    pub versioned: Option<bool>,
    pub locking: Locking,
    /// Why locks could not be tried.
    pub locking_refused: Option<Error>,
    pub free_bytes: Option<u64>,
    /// How long calls took.
    pub took: Vec<(Operation, Duration)>,
    /// What time it is there.
    pub now: Option<Timestamp>,
}

/// Whether an object can be locked against everybody until a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Locking {
    #[default]
    Off,
    /// It is said to be on, and a locked object was deleted or forgot its day.
    Ignored,
    Enforced,
}

impl Probe {
    pub fn is_usable(&self) -> bool {
        self.write_refused.is_none() && self.refused.is_empty() && self.create_only
    }

    /// The first thing that stands against it.
    pub fn refusal(&self) -> Option<Error> {
        let first = self.write_refused.as_ref().or(self.refused.first().map(|(_, error)| error));
        match first {
            Some(refused) => Some(refused.clone()),
            None if !self.create_only => {
                let message = "a name that was written could be written again";
                Some(Error::new(Code::LocationUnfenced, message))
            }
            None => None,
        }
    }

    /// Makes a call, and notes how long it took or why it was refused. What may do better the next
    /// time is no finding.
    pub(crate) async fn note<T>(
        &mut self,
        operation: Operation,
        call: Pending<'_, T>,
    ) -> Result<Option<T>> {
        let start = tokio::time::Instant::now();
        match call.await {
            Ok(done) => {
                self.took.push((operation, start.elapsed()));
                Ok(Some(done))
            }
            Err(error) if error.code == Code::LocationIoFailed => Err(error),
            Err(error) => {
                self.refused.push((operation, error));
                Ok(None)
            }
        }
    }
}
