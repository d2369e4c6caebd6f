//! Where what a location lacks can be read, as far as it can be read now.

use super::copier::Copier;
use crate::{
    budget::Budget,
    fill::{Pace, Way},
    house::House,
    places::{Place, show},
    region::{end_of, insist_unclaimed},
};
use holdfast_common::{Code, Error, Name, Result};
use holdfast_ledger::row::VaultRow;
use holdfast_repository::layout::ObjectName;
use holdfast_storage::{Meter, layers::meter::Counts};
use std::{sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};

/// What another location is given to show itself.
const SOURCE_PATIENCE: Duration = Duration::from_secs(10);
/// What the location itself is given: then it is told that it does not answer.
const TARGET_PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked for a claim while something is brought.
const CLAIM_INTERVAL: Duration = Duration::from_secs(10);
/// How long a look takes at most.
const CLAIM_PATIENCE: Duration = Duration::from_secs(10);
/// So many looks in turn that nothing came of end nothing: a store that throttles, or a line that
/// breaks for a moment, is not worth the hours that something may have gone on for.
const CLAIM_LOOKS_MISSED_MAX: u32 = 5;

/// Where what a location lacks is, and the location itself.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) from: Vec<Place>,
    pub(super) to: Place,
    /// Every place that may have something of the vault could be read.
    pub(super) is_all: bool,
}

impl Found {
    /// Whether the location has an object of this length.
    pub(super) async fn has(&self, name: &ObjectName, length: u32) -> Result<bool> {
        is_in(&self.to, name, length).await
    }

    /// Whether it could be read from elsewhere.
    pub(super) async fn another_has(&self, name: &ObjectName, length: u32) -> Result<bool> {
        for place in &self.from {
            if is_in(place, name, length).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The same places, with a count of what is answered there to whoever has these.
    pub(super) fn counted(&self) -> (Self, Arc<Counts>) {
        let counts = Arc::<Counts>::default();
        let count = |(name, store): &Place| -> Place {
            (name.clone(), Arc::new(Meter::counting(store.clone(), counts.clone())))
        };
        let (from, to) = (self.from.iter().map(count).collect(), count(&self.to));
        (Self { from, to, is_all: self.is_all }, counts)
    }

    pub(super) fn way<'a>(&'a self, pace: &'a Pace, budget: &'a Budget) -> Way<'a> {
        Way { from: &self.from, to: &self.to, pace, budget }
    }
}

async fn is_in((_, store): &Place, name: &ObjectName, length: u32) -> Result<bool> {
    let there = store.head(&name.as_str().parse()?).await?;
    Ok(there.is_some_and(|there| there.length == u64::from(length)))
}

/// Of the place where it lay before: nothing is said of where it lies now.
fn left_is_silent(name: &Name) -> Error {
    let message = format!("the place where `{name}` lay before does not answer");
    Error::new(Code::LocationIoFailed, message)
}

/// Brings something that may take long, as long as nobody has claimed the place: whoever took the
/// lead without this side relies on what is there, and this side may hear of it nowhere else.
pub(super) async fn while_unclaimed<T>(
    house: Arc<House>,
    to: Place,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let look = || {
        let (house, to) = (house.clone(), to.clone());
        async move {
            let looked = timeout(CLAIM_PATIENCE, end_of(&house, &to, house.ledger.epoch()?)).await;
            looked.unwrap_or_else(|_| {
                let message = format!("`{}` does not say who leads by now", to.0);
                Err(Error::new(Code::LocationIoFailed, message))
            })
        }
    };
    until_ended(look, work).await
}

/// Does the work, and ends when a look says why; or when too many in turn say nothing at all.
async fn until_ended<T, L>(
    mut look: impl FnMut() -> L,
    work: impl Future<Output = Result<T>>,
) -> Result<T>
where
    L: Future<Output = Result<Option<Error>>>,
{
    let (mut work, mut missed) = (std::pin::pin!(work), 0);
    loop {
        let looked = async {
            sleep(CLAIM_INTERVAL).await;
            look().await
        };
        let looked = tokio::select! {
            done = &mut work => return done,
            looked = looked => looked,
        };
        missed = match looked {
            Ok(None) => 0,
            Ok(Some(ended)) => return Err(ended),
            Err(error) if missed == CLAIM_LOOKS_MISSED_MAX => return Err(error),
            Err(error) => {
                tracing::debug!(%error, "it is not known whether somebody else leads");
                missed + 1
            }
        };
    }
}

impl Copier {
    /// Where what it lacks is, and the location itself.
    pub(super) async fn places(&self, vault: &VaultRow) -> Result<Found> {
        let to = self.unclaimed(vault).await?;
        self.places_beside(vault, to).await
    }

    /// The location itself. Whoever took the lead without this side may have claimed it there, and
    /// relies on what is there: this is where a side that reaches nothing else of the other one
    /// hears of it.
    pub(super) async fn unclaimed(&self, vault: &VaultRow) -> Result<Place> {
        let (house, to) = (&self.house, self.target(vault).await?);
        insist_unclaimed(house, std::slice::from_ref(&to), house.ledger.epoch()?).await?;
        Ok(to)
    }

    /// Where what it lacks is, beside the location itself.
    pub(super) async fn places_beside(&self, vault: &VaultRow, to: Place) -> Result<Found> {
        let (house, location) = (&self.house, &self.row.location);
        let others: Vec<Name> = vault.holding().filter(|name| *name != location).cloned().collect();
        let (mut from, mut closed) = (Vec::with_capacity(others.len()), None);
        // One that is away, or does not answer, must not keep the others from being read.
        for name in others {
            match timeout(SOURCE_PATIENCE, self.source(vault, &name)).await {
                Ok(Ok(place)) => from.push(place),
                Ok(Err(error)) => closed = Some(error),
                Err(_) => closed = Some(house.places.silent.note(&name)),
            }
        }
        if let Some(url) = &self.row.left {
            let left = async {
                let place = house.places.open_left(location, url).await?;
                show(vault, &place).await.map(|()| place)
            };
            match timeout(SOURCE_PATIENCE, left).await {
                Ok(Ok(place)) => from.push(place),
                // What nobody else has may be there.
                Ok(Err(error)) => closed = Some(error),
                Err(_) => closed = Some(left_is_silent(location)),
            }
        }
        match closed {
            // One that stands in for lost ones has what there is; others may be lost with them.
            Some(error) if from.is_empty() && !self.stands_in(vault)? => {
                let message = "no other location that has what it lacks can be read";
                Err(Error { message: message.to_owned(), ..error.clone().cause(error) })
            }
            closed => Ok(Found { from, to, is_all: closed.is_none() }),
        }
    }

    /// The location itself, which has shown that it is the vault's.
    pub(super) async fn target(&self, vault: &VaultRow) -> Result<Place> {
        let location = &self.row.location;
        let shown = async {
            let place = (location.clone(), self.house.places.location(location).await?);
            show(vault, &place).await.map(|()| place)
        };
        let silent = &self.house.places.silent;
        let shown = timeout(TARGET_PATIENCE, shown).await;
        shown.unwrap_or_else(|_| Err(silent.note(location))).inspect(|_| silent.heard(location))
    }

    async fn source(&self, vault: &VaultRow, name: &Name) -> Result<Place> {
        let place = (name.clone(), self.house.places.location(name).await?);
        show(vault, &place).await.inspect_err(|_| self.house.places.close(name))?;
        Ok(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use holdfast_common::{SystemClock, limits};
    use holdfast_storage::{MemoryStore, ObjectStore};

    fn place(name: &str) -> Place {
        let store = MemoryStore::new(Arc::new(SystemClock::start()));
        (name.parse().unwrap(), Arc::new(store) as Arc<dyn ObjectStore>)
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_long_ends_by_a_claim_and_not_by_a_store_that_does_not_answer_now_and_then()
    {
        let ended = || Error::new(Code::EpochSuperseded, "another side leads");
        let away = || Error::new(Code::LocationIoFailed, "away");
        let most = CLAIM_LOOKS_MISSED_MAX as usize;
        // What each look comes to, in turn, and how many there are before the work is done.
        let run = |looks: Vec<Result<Option<Error>>>| async move {
            let time = CLAIM_INTERVAL * looks.len() as u32 + CLAIM_INTERVAL / 2;
            let work = async {
                sleep(time).await;
                Ok(())
            };
            let mut looks = looks.into_iter();
            let look = || {
                let next = looks.next();
                async move { next.unwrap_or(Ok(None)) }
            };
            until_ended(look, work).await.map_err(|error| error.code)
        };
        let missed = |count| vec![Err(away()); count];
        assert_eq!(run(vec![Ok(None), Ok(None)]).await, Ok(()));
        assert_eq!(run(missed(most)).await, Ok(()));
        let with_one_between = [missed(most), vec![Ok(None)], missed(most)].concat();
        assert_eq!(run(with_one_between).await, Ok(()));
        assert_eq!(run(missed(most + 1)).await, Err(Code::LocationIoFailed));
        let claimed = [missed(1), vec![Ok(Some(ended()))], vec![Ok(None); 3]].concat();
        assert_eq!(run(claimed).await, Err(Code::EpochSuperseded));
    }

    #[tokio::test]
    async fn every_answer_counts_as_one_wherever_it_is_from_though_nothing_is_brought() {
        let found = Found { from: vec![place("near")], to: place("far"), is_all: true };
        let (counted, counts) = found.counted();
        let answered = || counts.snapshot().answered();
        let prefix = "packs/".parse().unwrap();
        for (at, (_, store)) in counted.from.iter().chain([&counted.to]).enumerate() {
            store.list(&prefix, None, limits::LIST_PAGE_ROWS).await.unwrap();
            assert_eq!(answered(), at as u64 + 1, "a page of a listing");
        }
        let name = "packs/00/it".parse().unwrap();
        counted.to.1.get(&name, 1).await.unwrap_err();
        assert_eq!(answered(), 2, "that is not what it was asked for");
        drop(counted.to.1.put_new(&name, Bytes::new()));
        found.to.1.list(&prefix, None, 1).await.unwrap();
        assert_eq!(answered(), 2, "nobody waited for it, or somebody else did");
    }
}
