//! One object in one location: read, hashed, compared; what is wrong goes the way of `verify`,
//! which heals it from elsewhere and notes what is lost.
//!
//! Of what cannot be mended it is said which points need it. Paths are sealed: `holdfast verify`
//! of such a point names them, for whoever has its key.

use super::{
    course::{Course, Step},
    homes::is_looked_for,
    memory,
    needs::{Named, Needs},
    reaches::Paid,
    schedule::Purse,
};
use crate::{
    fill::{Mended, Own, OwnState, look_at_own, mend_own, note_healed},
    house::{House, Vault},
    verify::{self, Expected},
};
use holdfast_common::{Name, PointId, Result, Timestamp, limits};
use holdfast_ledger::row::{DamageRow, PackRow, PointRow};
use holdfast_repository::layout::{Object, ObjectName};
use std::{sync::atomic::Ordering, time::Duration};

/// What looking at an object came to.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// In this location and, where something was wrong, in others.
    pub(crate) bytes: u64,
    pub(crate) found: Vec<Found>,
}

/// What is not as it must be, wherever it lies.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) damage: DamageRow,
    /// None: nobody could mend it.
    pub(crate) healed_from: Option<Name>,
}

/// How far the log was followed in one epoch, and the extent that goes so far.
#[derive(Clone, Debug)]
pub(crate) struct Followed {
    epoch: u32,
    upto: u64,
    last: ObjectName,
}

pub(crate) struct Look<'a> {
    pub(super) house: &'a House,
    pub(super) vault: &'a Vault,
    pub(super) course: &'a Course<'a>,
    pub(super) followed: &'a mut Option<Followed>,
    pub(super) needs: &'a mut Needs,
    pub(super) purse: &'a mut Purse,
}

/// Naming the points is waited for so long; then the damage is told without them.
const UNNAMED_MAX: Duration = Duration::from_secs(5);

impl Look<'_> {
    pub(super) async fn at(&mut self, step: &Step) -> Result<Seen> {
        match step {
            Step::Known(expected) => self.known(expected).await,
            Step::Own(own) => match own.name.object() {
                Object::Log { epoch, from } => self.log(own, epoch, from).await,
                _ => self.own(own).await,
            },
        }
    }

    /// What the ledger has a hash of.
    async fn known(&mut self, expected: &Expected) -> Result<Seen> {
        let (house, vault, place) = (self.house, self.vault, self.course.place);
        let one = verify::look_at(house, vault, expected, place).await?;
        let bytes = one.bytes;
        if one.is_whole && !expected.is_lost() {
            return Ok(Seen { bytes, ..Seen::default() });
        }
        let follows = !vault.row.required.contains(&place.0);
        if one.is_missing && !self.must_be_here(expected, follows).await? {
            return Ok(Seen::default());
        }
        let looked = verify::look_everywhere(house, vault, expected, follows.then_some(&place.0));
        let (event, _) = looked.await?;
        let mut found = Vec::with_capacity(event.damaged.len());
        for told in &event.damaged {
            let healed_from = told.healed_from.as_deref().map(str::parse).transpose()?;
            let location: Name = told.location.parse()?;
            found.push(self.found(&told.object, location, &told.problem, healed_from).await?);
        }
        Ok(Seen { bytes: bytes + event.bytes, found })
    }

    /// What coordinators wrote by themselves.
    async fn own(&mut self, own: &Own) -> Result<Seen> {
        if let Object::Snapshot { epoch, .. } = own.name.object()
            && own.there.is_none()
            && self.is_past(epoch)?
        {
            return Ok(Seen::default());
        }
        // It leaves one location after the other, and is missed in none.
        if let Object::Keys { version, .. } = own.name.object()
            && self.house.ledger.query().destroyed_key(&self.vault.row.id, version)?.is_some()
        {
            return Ok(Seen::default());
        }
        let way = (self.course.others, self.course.place);
        match look_at_own(self.house, &self.vault.row, way, own).await? {
            OwnState::Whole { read, .. } => Ok(Seen { bytes: read, ..Seen::default() }),
            OwnState::Bad { problem, read } => self.mend(own, problem, read, None).await,
        }
    }

    /// An extent of the log: what it does not reach must be in another one that is there.
    async fn log(&mut self, own: &Own, epoch: u32, from: u64) -> Result<Seen> {
        let before = self.followed.clone().filter(|before| before.epoch == epoch);
        let is_past = self.is_past(epoch)?;
        if own.there.is_none() && is_past {
            return Ok(Seen::default());
        }
        if own.there.is_none() && before.as_ref().is_some_and(|before| from <= before.upto) {
            // Another leader cut the log elsewhere; what it says is there.
            return Ok(Seen::default());
        }
        let way = (self.course.others, self.course.place);
        let mut seen = Seen::default();
        if let Some(short) =
            before.filter(|before| !is_past && before.upto.saturating_add(1) < from)
        {
            seen = self.lengthen(&short, from - 1).await?;
        }
        let state = look_at_own(self.house, &self.vault.row, way, own).await?;
        let (read, upto) = match state {
            OwnState::Whole { read, upto } => (read, upto),
            OwnState::Bad { problem, read } => {
                let mended = self.mend(own, problem, read, None).await?;
                *self.followed = None;
                return Ok(seen.and(mended));
            }
        };
        let known = self.followed.as_ref().filter(|known| known.epoch == epoch);
        if let Some(upto) = upto.filter(|upto| known.is_none_or(|known| known.upto < *upto)) {
            *self.followed = Some(Followed { epoch, upto, last: own.name.clone() });
        }
        Ok(seen.and(Seen { bytes: read, ..Seen::default() }))
    }

    /// A side that led once may have written it for itself, and been given up: the others need not
    /// have it. What there is of it must be whole.
    fn is_past(&self, epoch: u32) -> Result<bool> {
        Ok(u64::from(epoch) < self.house.ledger.epoch()?)
    }

    /// Entries are missing between two extents: the first came back old, or one is gone.
    async fn lengthen(&mut self, short: &Followed, upto: u64) -> Result<Seen> {
        let own = Own { name: short.last.clone(), there: Some(0) };
        let way = (self.course.others, self.course.place);
        let (house, vault) = (self.house, &self.vault.row);
        if let Some(mended) = mend_own(house, vault, way, (&own, "stale"), Some(upto)).await? {
            self.note_healed(&own.name, &mended).await?;
            return self.told(own.name.as_str(), "stale", 0, Some(mended.from)).await;
        }
        // Whoever recovers begins with the newest snapshot: one behind the gap makes up for it.
        let shipped = house.ledger.query().shipped_snapshot()?;
        if shipped.is_some_and(|shipped| shipped.index >= upto) {
            return Ok(Seen::default());
        }
        house.shipping.gap.fetch_max(upto, Ordering::Relaxed);
        let gone = ObjectName::log(short.epoch, short.upto + 1);
        self.told(gone.as_str(), "missing", 0, None).await
    }

    async fn mend(
        &mut self,
        own: &Own,
        problem: &'static str,
        read: u64,
        upto: Option<u64>,
    ) -> Result<Seen> {
        let (place, name) = (self.course.place, &own.name);
        tracing::error!(object = %name, location = %place.0, problem, "damaged");
        let way = (self.course.others, place);
        let (house, vault) = (self.house, &self.vault.row);
        let mended = mend_own(house, vault, way, (own, problem), upto).await;
        let mended = mended.unwrap_or_else(|error| {
            tracing::error!(object = %name, location = %place.0, %error, "not healed");
            None
        });
        if let Some(mended) = &mended {
            self.note_healed(name, mended).await?;
        }
        self.told(name.as_str(), problem, read, mended.map(|mended| mended.from)).await
    }

    /// One finding in this location.
    async fn told(
        &mut self,
        object: &str,
        problem: &str,
        bytes: u64,
        healed_from: Option<Name>,
    ) -> Result<Seen> {
        let location = self.course.place.0.clone();
        let found = vec![self.found(object, location, problem, healed_from).await?];
        Ok(Seen { bytes, found })
    }

    async fn note_healed(&self, name: &ObjectName, mended: &Mended) -> Result<()> {
        let (location, from) = (&self.course.place.0, &mended.from);
        tracing::info!(object = %name, %location, %from, "healed");
        note_healed(self.house, name, location, mended.aside.as_ref()).await
    }

    /// Which points need what was healed nobody has to know. Of the rest it may take long to find
    /// out, within the budget: nobody waits for that to hear of the damage.
    async fn found(
        &mut self,
        object: &str,
        location: Name,
        problem: &str,
        healed_from: Option<Name>,
    ) -> Result<Found> {
        let row = |named: Named| DamageRow {
            vault: self.vault.row.id,
            location: location.clone(),
            object: object.to_owned(),
            problem: problem.to_owned(),
            since: Timestamp::ZERO,
            points: named.points,
            points_count: named.count,
        };
        if healed_from.is_some() {
            return Ok(Found { damage: row(Named::default()), healed_from });
        }
        let unnamed = row(Named { points: Vec::new(), count: limits::DAMAGE_POINTS_MANY });
        let house = self.house;
        let mut naming = Box::pin(self.points_that_need(object));
        let named = match tokio::time::timeout(UNNAMED_MAX, &mut naming).await {
            Ok(named) => named?,
            Err(_) => {
                memory::tell_of(house, unnamed.clone()).await?;
                naming.await?
            }
        };
        let Named { points, count: points_count } = named;
        Ok(Found { damage: DamageRow { points, points_count, ..unnamed }, healed_from })
    }

    async fn points_that_need(&mut self, object: &str) -> Result<Named> {
        let (query, mut named) = (self.house.ledger.query(), Named::default());
        let packs: Vec<PackRow> = match ObjectName::parse(object)? {
            Object::Reach(id) => {
                named.note(id);
                Vec::new()
            }
            Object::Point(id) => {
                if query.row::<PointRow>(id.as_bytes())?.is_some() {
                    named.note(id);
                }
                self.packs_within(id).await?
            }
            Object::Pack(id) => query.pack(&self.vault.row.id, &id)?.into_iter().collect(),
            _ => Vec::new(),
        };
        let (vault, location) = (self.vault, &self.course.place.0);
        let mut reaches = Paid { house: self.house, vault, location, purse: self.purse };
        self.needs.name(&mut reaches, (&vault.row.id, &packs), &mut named).await?;
        Ok(named)
    }

    /// Packs in the object of a point that others may rest on.
    async fn packs_within(&self, home: PointId) -> Result<Vec<PackRow>> {
        let (ledger, vault) = (self.house.ledger.clone(), self.vault.row.id);
        let find = move || ledger.query().packs_within(&vault, &home);
        let mut packs = self.house.tasks.run_blocking("packs of a point", find).await?;
        packs.retain(is_looked_for);
        Ok(packs)
    }

    /// Nothing is missed before it is brought, and of a point that was forgotten its object only
    /// for what others may need of it.
    async fn must_be_here(&mut self, expected: &Expected, follows: bool) -> Result<bool> {
        let packs = match (expected.pack_row(), expected.home_alone()) {
            (Some(row), _) => vec![row.clone()],
            (None, Some(home)) => self.packs_within(home).await?,
            (None, None) => return Ok(!follows || expected.is_of_a_point()),
        };
        if !follows {
            return Ok(!packs.is_empty());
        }
        let (vault, location) = (self.vault, &self.course.place.0);
        let mut reaches = Paid { house: self.house, vault, location, purse: self.purse };
        self.needs.are_met(&mut reaches, (&vault.row.id, location), &packs).await
    }
}

impl Seen {
    fn and(mut self, other: Self) -> Self {
        self.bytes += other.bytes;
        self.found.extend(other.found);
        self
    }

    /// What was found in one location.
    pub(super) fn here(&self, location: &Name) -> impl Iterator<Item = &Found> {
        self.found.iter().filter(move |found| found.damage.location == *location)
    }
}
