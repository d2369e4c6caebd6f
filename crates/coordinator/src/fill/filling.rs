//! The way of many objects into one location, a few at a time.
//!
//! Each takes its share of what may be read at once, so that restores go on beside it. Before a
//! location counts as read to its end it shows the vault once more: a disk that went away in the
//! middle has an end of its own.

use super::{
    Filled, Left, LeftObject, Pace, Progress, Told, Way,
    listing::{Held, Marks, Walk},
    object::{Fate, went_away},
    sealed::LedgerKeys,
};
use crate::{
    budget::Budget,
    house::House,
    keys::custody::VaultCustody,
    places::{Place, show},
};
use futures::{
    Stream, StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use holdfast_common::{Code, Error, PointId, Result, limits};
use holdfast_keyring::KeyRemains;
use holdfast_ledger::{
    Query,
    row::{DestroyedKeyRow, PackHome, PackState, PointRow, SegmentRow, VaultRow},
};
use holdfast_repository::layout::{Object, ObjectName};
use holdfast_runtime::tasks::Tasks;
use std::{collections::BTreeMap, sync::Arc};

/// Objects of forgotten points that no source has whole, of which it is asked at once whether
/// others need them.
const HOMES_AT_ONCE: usize = 10_000;

/// One location, those that it is filled from, and what that takes of the house.
pub(super) struct Filling<'a> {
    pub(super) query: Query<'a>,
    pub(super) vault: &'a VaultRow,
    pub(super) custody: Arc<VaultCustody>,
    pub(super) ledger: Arc<LedgerKeys>,
    pub(super) from: &'a [Place],
    pub(super) to: &'a Place,
    pub(super) pace: &'a Pace,
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
        Way { from, to, pace, budget }: Way<'a>,
        told: Told<'a>,
        insist: &'a (dyn Fn() -> Result<()> + Send + Sync),
    ) -> Result<Self> {
        let keys = house.keys()?;
        let custody = keys.custodian.vault(vault, &house.ledger)?;
        let (query, tasks) = (house.ledger.query(), &house.tasks);
        let older = query.key_versions(&vault.id)?;
        let destroyed = query.destroyed_keys(&vault.id)?;
        let public = |row: &DestroyedKeyRow| Ok(KeyRemains::from_bytes(&row.remains)?.public());
        let versions = (older, destroyed.iter().map(public).collect::<Result<_>>()?);
        let ledger = Arc::new(LedgerKeys::new(house.cluster, &keys.recovery, versions));
        Ok(Self { query, vault, custody, ledger, from, to, pace, budget, tasks, insist, told })
    }

    /// Whatever the sources hold.
    pub(super) async fn everything(&self) -> Result<Filled> {
        self.show_all().await?;
        let (mut walk, mut lacking) = (Walk::over(self.from, self.to)?, Hint::default());
        while let Some(held) = walk.lacking().await? {
            lacking.objects += 1;
            lacking.bytes += held.length();
        }
        self.bring_lacking(Walk::over(self.from, self.to)?, lacking).await
    }

    /// Whatever coordinators wrote by themselves behind the marks.
    pub(super) async fn tail(&self, marks: Marks) -> Result<Marks> {
        self.show_all().await?;
        self.insist_on_seen(&marks).await?;
        let mut next = Marks::seen(&marks);
        for (prefix, mark) in marks.prefixes() {
            let mut walk = Walk::behind(self.from, self.to, prefix, mark.clone())?;
            let mut is_whole = true;
            while let Some(held) = walk.lacking().await? {
                if let Fate::Left(why) = self.bring(&held).await? {
                    tracing::warn!(object = %held.name, why, "not copied; looked for again");
                    is_whole = false;
                }
            }
            let seen = walk.last_seen().filter(|_| is_whole);
            next.note_seen(seen.clone());
            next.set(prefix, seen.or(mark));
        }
        Ok(next)
    }

    /// The newest extent that was seen there is there still.
    async fn insist_on_seen(&self, marks: &Marks) -> Result<()> {
        let Some(name) = marks.newest_extent() else { return Ok(()) };
        if self.to.1.head(name).await?.is_some() {
            return Ok(());
        }
        let message = format!("`{}` lacks {name}, which was there before", self.to.0);
        Err(Error::new(Code::LocationBehind, message))
    }

    async fn bring_lacking(&self, walk: Walk<'_>, hint: Hint) -> Result<Filled> {
        let bring = |held| async move { self.bring(&held).await.map(|fate| (held, fate)) };
        self.bring_all(lacks(walk).map_ok(bring), hint).await
    }

    /// Only what has these names.
    pub(super) async fn named(&self, names: &[ObjectName]) -> Result<Filled> {
        self.show_all().await?;
        let assure = |held| async move { self.assure(&held).await.map(|fate| (held, fate)) };
        let hint = Hint { objects: names.len() as u64, bytes: 0 };
        self.bring_all(self.looks(names).map_ok(assure), hint).await
    }

    fn looks<'s>(&'s self, names: &'s [ObjectName]) -> Lacks<'s> {
        let looks = stream::iter(names).then(|name| self.look(name));
        let is_wanted = |held: &Held| held.is_lacking() || held.is_same_everywhere();
        looks.try_filter(move |held| std::future::ready(is_wanted(held))).boxed()
    }

    pub(super) async fn look(&self, name: &ObjectName) -> Result<Held> {
        let (object, name) = (name.object(), name.as_str().parse()?);
        let mut copies = Vec::with_capacity(self.from.len());
        for (_, store) in self.from {
            copies.push(store.head(&name).await?.map(|meta| meta.length));
        }
        let there = self.to.1.head(&name).await?.map(|meta| meta.length);
        Ok(Held { name, object, there, copies })
    }

    async fn bring_all<B>(
        &self,
        brought: impl Stream<Item = Result<B>> + Send,
        hint: Hint,
    ) -> Result<Filled>
    where
        B: Future<Output = Result<(Held, Fate)>> + Send,
    {
        let mut brought = brought.try_buffer_unordered(limits::COPIES_IN_FLIGHT_MAX).boxed();
        let (mut filled, mut homes) = (Filled::default(), BTreeMap::new());
        while let Some((held, fate)) = brought.try_next().await? {
            self.note((&mut filled, &mut homes), &held, fate)?;
            if homes.len() == HOMES_AT_ONCE {
                self.note_homes(&mut filled, core::mem::take(&mut homes)).await?;
            }
            let (objects, bytes) = (filled.objects, filled.bytes);
            let (of_objects_hint, of_bytes_hint) = (Some(hint.objects), Some(hint.bytes));
            (self.told)(Progress { objects, bytes, of_objects_hint, of_bytes_hint });
        }
        self.note_homes(&mut filled, homes).await?;
        for place in self.from.iter().chain([self.to]) {
            show(self.vault, place).await.map_err(|error| went_away(place, error))?;
        }
        Ok(filled)
    }

    fn note(
        &self,
        (filled, homes): (&mut Filled, &mut BTreeMap<PointId, LeftObject>),
        held: &Held,
        fate: Fate,
    ) -> Result<()> {
        match fate {
            Fate::Copied(bytes) => {
                filled.objects += 1;
                filled.bytes += bytes;
            }
            Fate::Left(why) => {
                let name: ObjectName = held.name.as_str().parse()?;
                tracing::error!(object = %name, why, "no location has it whole");
                let left = LeftObject { name, why };
                match held.object {
                    Object::Point(id) if self.query.forgotten(&id)?.is_some() => {
                        homes.insert(id, left);
                    }
                    object => filled.note(self.is_relied_on(object)?, left),
                }
            }
            Fate::Whole => {}
        }
        Ok(())
    }

    /// What lies in the object of a point that was forgotten may be a part of others. All packs are
    /// walked over for that, once for all that were left.
    async fn note_homes(
        &self,
        filled: &mut Filled,
        mut homes: BTreeMap<PointId, LeftObject>,
    ) -> Result<()> {
        let mut after = None;
        while !homes.is_empty() {
            let page = self.query.packs(&self.vault.id, after.as_ref())?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            for pack in page.iter().filter(|pack| pack.state == PackState::Stored) {
                if let PackHome::Point(home, _) = pack.home
                    && let Some(left) = homes.remove(&home)
                {
                    filled.note(true, left);
                }
            }
            tokio::task::yield_now().await;
        }
        homes.into_values().for_each(|left| filled.note(false, left));
        Ok(())
    }

    /// Anybody who writes in a location can name objects there; only those that the ledger counts
    /// on are missed. A pack that verification found to be lost is counted on no more.
    fn is_relied_on(&self, object: Object) -> Result<bool> {
        let vault = self.vault.id;
        Ok(match object {
            Object::Pack(id) => {
                let row = self.query.pack(&vault, &id)?;
                row.is_some_and(|row| row.state == PackState::Stored)
            }
            Object::Point(id) | Object::Reach(id) => {
                let row = self.query.row::<PointRow>(id.as_bytes())?;
                row.is_some_and(|row| row.vault == vault)
            }
            Object::Segment(id) => {
                let key = [vault.as_bytes().as_slice(), id.as_bytes()].concat();
                self.query.row::<SegmentRow>(&key)?.is_some()
            }
            _ => false,
        })
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

/// How much is to be brought, as far as was seen before.
#[derive(Clone, Copy, Default)]
struct Hint {
    objects: u64,
    bytes: u64,
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
    fn note(&mut self, is_relied_on: bool, object: LeftObject) {
        match is_relied_on {
            true => self.lacks.note(object, limits::OBJECTS_LACKED_MAX),
            false => self.left.note(object, limits::OBJECTS_LEFT_TOLD_MAX),
        }
    }
}

impl Left {
    fn note(&mut self, object: LeftObject, named_max: usize) {
        self.count += 1;
        if self.first.len() < named_max {
            self.first.push(object);
        }
    }
}
