//! One object in one location: read, hashed, compared; what is wrong goes the way of `verify`,
//! which heals it from elsewhere and notes what is lost.
//!
//! Of what cannot be mended it is said which points need it. Paths are sealed: `holdfast verify`
//! of such a point names them, for whoever has its key.

use super::course::{Course, Step};
use crate::{
    fill::{Own, OwnState, look_at_own, mend_own},
    house::{House, Vault},
    verify::{self, Expected},
};
use holdfast_common::{Name, PointId, Result, Timestamp, limits};
use holdfast_ledger::{
    Actor,
    command::{Note, NoteKind},
    row::{DamageRow, PackRow, PointRow},
};
use holdfast_repository::{
    ChunkNumber,
    layout::{Object, ObjectName},
};

/// What looking at an object came to.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// In this location and, where something was wrong, in others.
    pub(super) bytes: u64,
    pub(super) damaged: bool,
    pub(super) healed: bool,
    /// What nobody could mend, wherever it lies.
    pub(super) left: Vec<DamageRow>,
}

/// How far the log was followed in one epoch, and the extent that goes so far.
#[derive(Clone, Debug)]
pub(super) struct Followed {
    epoch: u32,
    upto: u64,
    last: ObjectName,
}

pub(super) struct Look<'a> {
    pub(super) house: &'a House,
    pub(super) vault: &'a Vault,
    pub(super) course: &'a Course<'a>,
    pub(super) followed: &'a mut Option<Followed>,
}

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
    async fn known(&self, expected: &Expected) -> Result<Seen> {
        let (house, vault, place) = (self.house, self.vault, self.course.place);
        let one = verify::look_at(house, vault, expected, place).await?;
        let bytes = one.bytes;
        if one.is_whole && !expected.is_lost() {
            return Ok(Seen { bytes, ..Seen::default() });
        }
        let follows = !vault.row.required.contains(&place.0);
        if one.is_missing && follows && !self.is_needed(expected).await? {
            return Ok(Seen::default());
        }
        let event = verify::look_everywhere(house, vault, expected, follows.then_some(&place.0));
        let event = event.await?;
        let here = |damage: &&holdfast_wire::v1::Damage| damage.location == place.0.as_str();
        let found = event.damaged.iter().find(here);
        let (damaged, healed) =
            (found.is_some(), found.is_some_and(|damage| damage.healed_from.is_some()));
        let mut left = Vec::new();
        for damage in event.damaged.iter().filter(|damage| damage.healed_from.is_none()) {
            let location: Name = damage.location.parse()?;
            left.push(self.damage(&damage.object, location, &damage.problem).await?);
        }
        Ok(Seen { bytes: bytes + event.bytes, damaged, healed, left })
    }

    /// What coordinators wrote by themselves.
    async fn own(&self, own: &Own) -> Result<Seen> {
        let way = (self.course.others, self.course.place);
        match look_at_own(self.house, &self.vault.row, way, own).await? {
            OwnState::Whole { read, .. } => Ok(Seen { bytes: read, ..Seen::default() }),
            OwnState::Bad { problem, read } => self.mend(own, problem, read, None).await,
        }
    }

    /// An extent of the log: what it does not reach must be in another one that is there.
    async fn log(&mut self, own: &Own, epoch: u32, from: u64) -> Result<Seen> {
        let before = self.followed.clone().filter(|before| before.epoch == epoch);
        if own.there.is_none() && before.as_ref().is_some_and(|before| from <= before.upto) {
            // Another leader cut the log elsewhere; what it says is there.
            return Ok(Seen::default());
        }
        let way = (self.course.others, self.course.place);
        let mut seen = Seen::default();
        if let Some(short) = before.filter(|before| before.upto.saturating_add(1) < from) {
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

    /// Entries are missing between two extents: the first came back old, or one is gone.
    async fn lengthen(&self, short: &Followed, upto: u64) -> Result<Seen> {
        let own = Own { name: short.last.clone(), there: Some(0) };
        let way = (self.course.others, self.course.place);
        let (house, vault) = (self.house, &self.vault.row);
        if let Some(from) = mend_own(house, vault, way, (&own, "stale"), Some(upto)).await? {
            self.note_healed(&own.name, &from).await?;
            return Ok(Seen { damaged: true, healed: true, ..Seen::default() });
        }
        let gone = ObjectName::log(short.epoch, short.upto + 1);
        let left = self.damage(gone.as_str(), self.course.place.0.clone(), "missing").await?;
        Ok(Seen { damaged: true, left: vec![left], ..Seen::default() })
    }

    async fn mend(
        &self,
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
        let seen = Seen { bytes: read, damaged: true, ..Seen::default() };
        match mended {
            Some(from) => {
                self.note_healed(name, &from).await?;
                Ok(Seen { healed: true, ..seen })
            }
            None => {
                let left = self.damage(name.as_str(), place.0.clone(), problem).await?;
                Ok(Seen { left: vec![left], ..seen })
            }
        }
    }

    async fn note_healed(&self, name: &ObjectName, from: &Name) -> Result<()> {
        let location = &self.course.place.0;
        tracing::info!(object = %name, %location, %from, "healed");
        let subject = format!("{name} in {location}");
        let note = Note { kind: NoteKind::ObjectHealed, subject };
        self.house.ledger.propose(Actor::System, note).await.map(drop)
    }

    async fn damage(&self, object: &str, location: Name, problem: &str) -> Result<DamageRow> {
        let (mut points, mut points_count) = (Vec::new(), 0);
        let mut note = |id: PointId| {
            points_count += 1;
            if points.len() < limits::DAMAGE_POINTS_MAX {
                points.push(id);
            }
        };
        match ObjectName::parse(object)? {
            Object::Point(id) | Object::Reach(id) => note(id),
            Object::Pack(id) => {
                let row = self.house.ledger.query().pack(&self.vault.row.id, &id)?;
                if let Some(row) = row {
                    self.each_that_needs(&row, None, &mut |id| {
                        note(id);
                        true
                    })
                    .await?;
                }
            }
            _ => {}
        }
        let vault = self.vault.row.id;
        Ok(DamageRow {
            vault,
            location,
            object: object.to_owned(),
            problem: problem.to_owned(),
            since: Timestamp::ZERO,
            points,
            points_count,
        })
    }

    /// Whether a location that follows must have it: nothing is missed there before it is brought.
    async fn is_needed(&self, expected: &Expected) -> Result<bool> {
        let Some(row) = expected.pack_row() else { return Ok(expected.is_of_a_point()) };
        let mut is_needed = false;
        let place = &self.course.place.0;
        self.each_that_needs(row, Some(place), &mut |_| {
            is_needed = true;
            false
        })
        .await?;
        Ok(is_needed)
    }

    /// Shows the points that need a pack, all or those that lie in one place, until that is enough.
    async fn each_that_needs(
        &self,
        row: &PackRow,
        place: Option<&Name>,
        show: &mut (dyn FnMut(PointId) -> bool + Send),
    ) -> Result<()> {
        let base = ChunkNumber::from_u64(row.base);
        for point in self.house.ledger.query().points(None) {
            let point: PointRow = point?;
            let is_there = place.is_none_or(|place| point.locations.contains(place));
            if point.vault != self.vault.row.id || !is_there {
                continue;
            }
            // One whose reach cannot be read is told of by itself.
            let Ok(reach) = self.house.read_reach(self.vault, &point).await else { continue };
            if reach.meets(base, row.slots) && !show(point.id) {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Seen {
    fn and(self, other: Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            damaged: self.damaged || other.damaged,
            healed: (self.healed || !self.damaged) && (other.healed || !other.damaged),
            left: [self.left, other.left].concat(),
        }
    }
}
