//! The objects of a part in one location: looked for, deleted, and looked for once more.
//!
//! What refuses to go keeps nothing else from going. An object that is locked is expected to stay
//! until its lock ends. When nothing goes any more, the rest of the part is left for another time,
//! and the next part is tried as if nothing had been. Whether the location is there at all, and
//! whether a newer epoch is claimed in it, is asked of whoever deletes.

use futures::{StreamExt, future::BoxFuture, stream};
use holdfast_common::{Code, Error, Result};
use holdfast_repository::layout::ObjectName;
use holdfast_storage::ObjectStore;
use std::collections::BTreeSet;

/// So many objects of a location are deleted at once.
const DELETES: usize = 8;
/// After so many refusals in a row the rest of a part is left alone.
const REFUSALS_MAX: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Cleared {
    pub(super) gone: BTreeSet<ObjectName>,
    /// Why something is not, the last time.
    pub(super) refused: Option<Error>,
}

/// A location, before anything is deleted there and after.
pub(super) trait Gate: Send + Sync {
    /// It is there, and the vault's.
    fn shows(&self) -> BoxFuture<'_, Result<()>>;

    /// No newer epoch is claimed in it.
    fn is_unclaimed(&self) -> BoxFuture<'_, Result<()>>;
}

/// Clears objects of a location that says who it is. In what is not mounted everything looks gone:
/// it is asked before, and after. An error is one of the whole location.
pub(super) async fn clear_behind(
    gate: &dyn Gate,
    store: &dyn ObjectStore,
    names: Vec<ObjectName>,
    may: &(dyn Fn() -> Result<()> + Send + Sync),
) -> Result<Cleared> {
    gate.shows().await?;
    gate.is_unclaimed().await?;
    let cleared = clear(store, names, may).await?;
    // Once more: nothing else tells what is gone from what is away.
    gate.shows().await.map(|()| cleared)
}

/// An error is one of whoever deletes: nobody may go on.
async fn clear(
    store: &dyn ObjectStore,
    names: Vec<ObjectName>,
    may: &(dyn Fn() -> Result<()> + Send + Sync),
) -> Result<Cleared> {
    let delete = |name: ObjectName| async move {
        let deleted = delete_one(store, &name, may).await?;
        Ok::<_, Error>((name, deleted))
    };
    let mut deletes = stream::iter(names).map(delete).buffer_unordered(DELETES);
    let (mut cleared, mut in_a_row) = (Cleared::default(), 0);
    while let Some(deleted) = deletes.next().await {
        match deleted? {
            (name, Ok(())) => {
                cleared.gone.insert(name);
                in_a_row = 0;
            }
            (_, Err(error)) => {
                in_a_row += usize::from(error.code != Code::ObjectLocked);
                cleared.refused = Some(error);
            }
        }
        if in_a_row >= REFUSALS_MAX {
            break;
        }
    }
    Ok(cleared)
}

/// What the location says to it, unless nobody may ask it to.
async fn delete_one(
    store: &dyn ObjectStore,
    object: &ObjectName,
    may: &(dyn Fn() -> Result<()> + Send + Sync),
) -> Result<Result<()>> {
    let name = object.as_str().parse()?;
    match store.head(&name).await {
        Ok(None) => return Ok(Ok(())),
        Ok(Some(_)) => {}
        Err(error) => return Ok(Err(error)),
    }
    may()?;
    if let Err(error) = store.delete(&name).await {
        return Ok(Err(error));
    }
    Ok(match store.head(&name).await {
        Ok(None) => Ok(()),
        Ok(Some(_)) => {
            let message = format!("{name} was deleted, and is there still");
            Err(Error::new(Code::LocationIoFailed, message))
        }
        Err(error) => Err(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use holdfast_common::{PackId, SystemClock};
    use holdfast_storage::{
        Keeps, MemoryStore, ObjectMeta, ObjectPrefix, Pending, Probe, Receipt, name,
    };
    use std::{
        ops::Range,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::SeqCst},
        },
    };

    /// A store that deletes all but some names, and counts what it is asked to.
    #[derive(Debug)]
    struct Refusing {
        inner: MemoryStore,
        refused: Vec<String>,
        with: Code,
        deletes: AtomicUsize,
    }

    impl Refusing {
        async fn of(names: &[ObjectName], refused: &[ObjectName], with: Code) -> Self {
            let inner = MemoryStore::new(Arc::new(SystemClock::start()));
            for name in names {
                let name = name.as_str().parse().unwrap();
                inner.put_new(&name, Bytes::from_static(b"it")).await.unwrap();
            }
            let refused = refused.iter().map(|name| name.as_str().to_owned()).collect();
            Self { inner, refused, with, deletes: AtomicUsize::new(0) }
        }

        async fn clear(&self, names: &[ObjectName]) -> Cleared {
            clear(self, names.to_vec(), &|| Ok(())).await.unwrap()
        }

        fn asked(&self) -> usize {
            self.deletes.swap(0, SeqCst)
        }
    }

    impl ObjectStore for Refusing {
        fn put_new<'a>(&'a self, name: &'a name::ObjectName, bytes: Bytes) -> Pending<'a, Receipt> {
            self.inner.put_new(name, bytes)
        }

        fn replace<'a>(&'a self, name: &'a name::ObjectName, bytes: Bytes) -> Pending<'a, ()> {
            self.inner.replace(name, bytes)
        }

        fn get<'a>(&'a self, name: &'a name::ObjectName, bytes_max: usize) -> Pending<'a, Bytes> {
            self.inner.get(name, bytes_max)
        }

        fn get_range<'a>(
            &'a self,
            name: &'a name::ObjectName,
            range: Range<u64>,
        ) -> Pending<'a, Bytes> {
            self.inner.get_range(name, range)
        }

        fn head<'a>(&'a self, name: &'a name::ObjectName) -> Pending<'a, Option<ObjectMeta>> {
            self.inner.head(name)
        }

        fn list<'a>(
            &'a self,
            prefix: &'a ObjectPrefix,
            after: Option<&'a name::ObjectName>,
            limit: usize,
        ) -> Pending<'a, Vec<ObjectMeta>> {
            self.inner.list(prefix, after, limit)
        }

        fn delete<'a>(&'a self, name: &'a name::ObjectName) -> Pending<'a, bool> {
            self.deletes.fetch_add(1, SeqCst);
            if self.refused.iter().any(|refused| refused == name.as_str()) {
                let with = self.with;
                return Box::pin(async move { Err(Error::new(with, "it stays")) });
            }
            self.inner.delete(name)
        }

        fn keeps(&self) -> Pending<'_, Keeps> {
            self.inner.keeps()
        }

        fn probe(&self) -> Pending<'_, Probe> {
            self.inner.probe()
        }
    }

    /// Shows itself so often, and is claimed or is not.
    struct Shown {
        left: AtomicUsize,
        is_claimed: bool,
    }

    impl Gate for Shown {
        fn shows(&self) -> BoxFuture<'_, Result<()>> {
            let left = self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
            let away = || Error::new(Code::LocationIoFailed, "it is not mounted");
            Box::pin(async move { left.map(drop).map_err(|_| away()) })
        }

        fn is_unclaimed(&self) -> BoxFuture<'_, Result<()>> {
            let over = || Error::new(Code::EpochSuperseded, "it is over");
            Box::pin(async move { if self.is_claimed { Err(over()) } else { Ok(()) } })
        }
    }

    /// How it ends, and how many objects were deleted.
    async fn cleared_behind(shown: usize, is_claimed: bool) -> (Result<usize, Code>, usize) {
        let all = names(3);
        let store = Refusing::of(&all, &[], Code::ObjectLocked).await;
        let gate = Shown { left: AtomicUsize::new(shown), is_claimed };
        let ended = clear_behind(&gate, &store, all, &|| Ok(())).await;
        (ended.map(|cleared| cleared.gone.len()).map_err(|error| error.code), store.asked())
    }

    #[tokio::test]
    async fn a_location_in_which_a_newer_epoch_is_claimed_keeps_what_it_has() {
        assert_eq!(cleared_behind(2, false).await, (Ok(3), 3));
        assert_eq!(cleared_behind(2, true).await, (Err(Code::EpochSuperseded), 0));
    }

    #[tokio::test]
    async fn what_is_not_seen_in_a_location_that_is_gone_by_then_is_not_gone() {
        assert_eq!(cleared_behind(1, false).await, (Err(Code::LocationIoFailed), 3));
        assert_eq!(cleared_behind(0, false).await, (Err(Code::LocationIoFailed), 0));
    }

    fn names(count: u8) -> Vec<ObjectName> {
        (0..count).map(|number| ObjectName::pack(&PackId::from_bytes([number; 32]))).collect()
    }

    #[tokio::test]
    async fn what_refuses_to_go_keeps_nothing_else_from_going() {
        let all = names(100);
        let store = Refusing::of(&all, &all[3..4], Code::LocationIoFailed).await;
        let cleared = store.clear(&all).await;
        assert_eq!((cleared.gone.len(), store.asked()), (99, 100));
        assert!(!cleared.gone.contains(&all[3]));
        assert_eq!(cleared.refused.unwrap().code, Code::LocationIoFailed);
        // Nobody is asked to delete what is gone.
        let again = store.clear(&all).await;
        assert_eq!((again.gone.len(), store.asked()), (99, 1));
    }

    #[tokio::test]
    async fn where_nothing_goes_the_rest_of_a_part_is_left_alone_unless_it_is_locked() {
        let all = names(100);
        let store = Refusing::of(&all, &all[..60], Code::LocationIoFailed).await;
        let cleared = store.clear(&all).await;
        assert_eq!(cleared.gone.len(), 0);
        assert!(store.asked() < 2 * (REFUSALS_MAX + DELETES));
        let locked = Refusing::of(&all, &all[..60], Code::ObjectLocked).await;
        let cleared = locked.clear(&all).await;
        assert_eq!((cleared.gone.len(), locked.asked()), (40, 100));
        assert_eq!(cleared.refused.unwrap().code, Code::ObjectLocked);
    }

    #[tokio::test]
    async fn whoever_may_not_go_on_deletes_nothing() {
        let all = names(3);
        let store = Refusing::of(&all, &[], Code::ObjectLocked).await;
        let may = || Err(Error::new(Code::EpochSuperseded, "it is over"));
        let ended = clear(&store, all.clone(), &may).await;
        assert_eq!(ended.unwrap_err().code, Code::EpochSuperseded);
        assert_eq!(store.asked(), 0);
    }
}
