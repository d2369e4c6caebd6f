//! The way of many objects into one location, a few at a time.
//!
//! Each takes its share of what may be read at once, so that restores go on beside it. Before a
//! location counts as read to its end it shows the vault once more: a disk that went away in the
//! middle has an end of its own.

use super::{
    Filled, LeftObject, Progress, Told,
    listing::{Held, Walk},
    object::{Fate, went_away},
};
use crate::{
    budget::Budget,
    custody::VaultCustody,
    house::House,
    places::{Place, show},
};
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use holdfast_common::{Code, Error, Result, limits};
use holdfast_ledger::{Query, row::VaultRow};
use holdfast_repository::layout::ObjectName;
use holdfast_runtime::tasks::Tasks;
use std::sync::Arc;

/// One location, those that it is filled from, and what that takes of the house.
pub(super) struct Filling<'a> {
    pub(super) query: Query<'a>,
    pub(super) vault: &'a VaultRow,
    pub(super) custody: Arc<VaultCustody>,
    pub(super) from: &'a [Place],
    pub(super) to: &'a Place,
    pub(super) budget: &'a Budget,
    pub(super) tasks: &'a Tasks,
    /// Asked right before anything is put.
    pub(super) insist: &'a (dyn Fn() -> Result<()> + Send + Sync),
    pub(super) told: Told<'a>,
}

impl<'a> Filling<'a> {
    pub(super) fn of(
        house: &'a House,
        vault: &'a VaultRow,
        (from, to): (&'a [Place], &'a Place),
        told: Told<'a>,
        insist: &'a (dyn Fn() -> Result<()> + Send + Sync),
    ) -> Result<Self> {
        let custody = house.keys()?.custodian.vault(vault)?;
        let (query, budget, tasks) = (house.ledger.query(), &house.outgoing, &house.tasks);
        Ok(Self { query, vault, custody, from, to, budget, tasks, insist, told })
    }

    /// Whatever the sources hold.
    pub(super) async fn everything(&self) -> Result<Filled> {
        self.show_all().await?;
        let (mut walk, mut lacking) = (Walk::over(self.from, self.to)?, 0);
        while walk.lacking().await?.is_some() {
            lacking += 1;
        }
        let walk = Walk::over(self.from, self.to)?;
        self.bring_all(lacks(walk), lacking).await
    }

    /// Only what has these names.
    pub(super) async fn named(&self, names: &[ObjectName]) -> Result<Filled> {
        self.show_all().await?;
        self.bring_all(self.looks(names), names.len() as u64).await
    }

    fn looks<'s>(&'s self, names: &'s [ObjectName]) -> Lacks<'s> {
        let looks = stream::iter(names).then(|name| self.look(name));
        looks.try_filter(|held| std::future::ready(held.is_lacking())).boxed()
    }

    async fn look(&self, name: &ObjectName) -> Result<Held> {
        let (object, name) = (name.object(), name.as_str().parse()?);
        let mut copies = Vec::with_capacity(self.from.len());
        for (_, store) in self.from {
            copies.push(store.head(&name).await?.map(|meta| meta.length));
        }
        let there = self.to.1.head(&name).await?.map(|meta| meta.length);
        Ok(Held { name, object, there, copies })
    }

    fn brought<'s>(&'s self, lacks: Lacks<'s>) -> BoxStream<'s, Result<(Held, Fate)>> {
        let bring = move |held| async move { self.bring(&held).await.map(|fate| (held, fate)) };
        lacks.map_ok(bring).try_buffer_unordered(limits::COPIES_IN_FLIGHT_MAX).boxed()
    }

    async fn bring_all(&self, lacks: Lacks<'_>, hint: u64) -> Result<Filled> {
        let mut brought = self.brought(lacks);
        let mut filled = Filled::default();
        while let Some((held, fate)) = brought.try_next().await? {
            filled.note(&held, fate)?;
            let (objects, bytes) = (filled.objects, filled.bytes);
            (self.told)(Progress { objects, bytes, of_objects_hint: Some(hint) });
        }
        for place in self.from.iter().chain([self.to]) {
            show(self.vault, place).await.map_err(|error| went_away(place, error))?;
        }
        Ok(filled)
    }

    /// A location that is not there holds nothing, and seems to lack everything.
    async fn show_all(&self) -> Result<()> {
        if self.from.is_empty() {
            let message = format!("there is no location to fill `{}` from", self.to.0);
            return Err(Error::new(Code::LocationMissing, message));
        }
        for place in self.from.iter().chain([self.to]) {
            show(self.vault, place).await?;
        }
        Ok(())
    }
}

/// What the target lacks, as it is found.
type Lacks<'s> = BoxStream<'s, Result<Held>>;

fn lacks(walk: Walk<'_>) -> Lacks<'_> {
    stream::try_unfold(walk, |mut walk| async move {
        Ok(walk.lacking().await?.map(|held| (held, walk)))
    })
    .boxed()
}

impl Filled {
    fn note(&mut self, held: &Held, fate: Fate) -> Result<()> {
        match fate {
            Fate::Copied(bytes) => {
                self.objects += 1;
                self.bytes += bytes;
            }
            Fate::Left(_) if self.left.len() >= limits::OBJECTS_LEFT_MAX => {
                let message = "too many objects are whole in no location";
                return Err(Error::new(Code::ObjectDamaged, message));
            }
            Fate::Left(why) => {
                tracing::error!(object = %held.name, why, "no location has it whole");
                self.left.push(LeftObject { name: held.name.as_str().parse()?, why });
            }
            Fate::Whole => {}
        }
        Ok(())
    }
}
