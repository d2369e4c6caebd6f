//! What a verification found goes where the scrub remembers it: what is damaged is told until it is
//! seen whole, and whoever had everything read has it read back as a pass does.

use super::Looked;
use crate::{
    house::{House, Vault},
    places::Place,
    scrub,
};
use holdfast_common::{Name, PointId, Result, Timestamp, VaultId, limits};
use holdfast_ledger::{
    level::CHECKS,
    row::{CheckPass, CheckRow, DamageRow},
};
use holdfast_wire::v1;
use std::collections::{BTreeMap, BTreeSet};

/// What was seen of each location that was looked at.
pub(super) struct Remembered {
    began: Timestamp,
    /// Damaged objects that the ledger tells of.
    known: BTreeSet<(Name, String)>,
    places: BTreeMap<Name, Seen>,
}

#[derive(Default)]
struct Seen {
    /// Of which memory this is: what is said of a place that was left is dropped.
    opened: u64,
    objects: u64,
    bytes: u64,
    whole: Vec<String>,
    /// Something that lies there was not read.
    is_partial: bool,
}

/// What the ledger is told of a location.
#[derive(Debug, PartialEq)]
struct Said {
    left: Vec<DamageRow>,
    whole: Vec<String>,
    /// All of it was read.
    pass: Option<CheckPass>,
}

impl Remembered {
    /// Whoever looks at everything opens the memory of a location that has none.
    pub(super) async fn begin(
        house: &House,
        vault: &Vault,
        looked: &Looked,
        is_everything: bool,
    ) -> Result<Self> {
        let (query, id) = (house.ledger.query(), vault.row.id);
        let rows = query.damage(None)?.into_iter().filter(|row| row.vault == id);
        let known = rows.map(|row| (row.location, row.object)).collect();
        let mut places = BTreeMap::new();
        for name in looked.all() {
            let mut memory = query.check_of(&id, name)?;
            if memory.is_none() && is_everything && query.level()? >= CHECKS {
                let opened = CheckRow::new(id, name.clone(), house.ledger.now());
                memory = scrub::tell(house, opened, Vec::new(), Vec::new()).await?;
            }
            let opened = memory.map_or(0, |memory| memory.opened);
            places.insert(name.clone(), Seen { opened, ..Seen::default() });
        }
        Ok(Self { began: house.ledger.now(), known, places })
    }

    /// An object was looked at in a location.
    pub(super) fn note(&mut self, location: &Name, object: &str, bytes: u64, is_whole: bool) {
        let Some(seen) = self.places.get_mut(location) else { return };
        seen.objects += 1;
        seen.bytes += bytes;
        if is_whole && self.known.contains(&(location.clone(), object.to_owned())) {
            seen.whole.push(object.to_owned());
        }
    }

    /// Something in a location was not read: nothing but what was seen is said of it.
    pub(super) fn passed_by(&mut self, location: &Name) {
        if let Some(seen) = self.places.get_mut(location) {
            seen.is_partial = true;
        }
    }

    /// The same of each that did not open.
    pub(super) fn passed_all_but(&mut self, names: &[Name], open: &[Place]) {
        for name in names.iter().filter(|name| open.iter().all(|(open, _)| open != *name)) {
            self.passed_by(name);
        }
    }

    /// What is told before anything is said: since when all of it was read back.
    pub(super) fn before(&self, house: &House, vault: &Vault) -> Result<Vec<v1::CheckedBefore>> {
        let mut told = Vec::with_capacity(self.places.len());
        for location in self.places.keys() {
            let row = house.ledger.query().check_of(&vault.row.id, location)?;
            told.push(v1::CheckedBefore {
                vault: vault.row.name.to_string(),
                location: location.to_string(),
                oldest_ns: row.and_then(|row| row.oldest()).map(|oldest| oldest.as_nanos()),
            });
        }
        Ok(told)
    }

    /// Tells the ledger; `is_everything` when nothing that lies there was left out.
    pub(super) async fn tell(
        self,
        house: &House,
        vault: &Vault,
        (found, is_everything): (&[v1::Damage], bool),
    ) -> Result<()> {
        if house.ledger.query().level()? < CHECKS {
            return Ok(());
        }
        let now = house.ledger.now();
        for (location, seen) in &self.places {
            let said = self.said(vault.row.id, location, (found, is_everything), now)?;
            let Some(Said { left, whole, pass }) = said else { continue };
            let known = house.ledger.query().check_of(&vault.row.id, location)?;
            let mut check = memory_of((vault.row.id, location), seen.opened, known, now);
            if pass.is_some() {
                (check.last, check.pass, check.cursor) = (pass, None, None);
            }
            tell_in_parts(house, check, left, whole).await?;
        }
        Ok(())
    }

    /// What is to be told of a location; none when that is nothing. It counts as a pass only where
    /// everything was read.
    fn said(
        &self,
        vault: VaultId,
        location: &Name,
        (found, is_everything): (&[v1::Damage], bool),
        now: Timestamp,
    ) -> Result<Option<Said>> {
        let Some(seen) = self.places.get(location) else { return Ok(None) };
        let here = |damage: &&v1::Damage| damage.location == location.as_str();
        let damaged = found.iter().filter(here).count() as u64;
        let left: Vec<DamageRow> = found
            .iter()
            .filter(|damage| here(damage) && damage.healed_from.is_none())
            .map(|damage| damage_row(vault, location, damage))
            .collect::<Result<_>>()?;
        let mut whole = seen.whole.clone();
        if !is_everything || seen.is_partial {
            let is_nothing = left.is_empty() && whole.is_empty();
            return Ok((!is_nothing).then_some(Said { left, whole, pass: None }));
        }
        // What was not seen again in all of it is damage no more.
        let is_over = |(place, object): &&(Name, String)| {
            place == location && !found.iter().any(|one| one.object == *object)
        };
        let over = self.known.iter().filter(is_over).map(|(_, object)| object.clone());
        whole.extend(over);
        let (began, ended, healed) = (self.began, Some(now), damaged - left.len() as u64);
        let (objects, bytes) = (seen.objects, seen.bytes);
        let pass = Some(CheckPass { began, ended, objects, bytes, damaged, healed });
        Ok(Some(Said { left, whole, pass }))
    }
}

/// The memory that was there at the beginning, also when it has gone meanwhile with its place.
fn memory_of(
    (vault, location): (VaultId, &Name),
    opened: u64,
    known: Option<CheckRow>,
    now: Timestamp,
) -> CheckRow {
    let known = known.filter(|known| known.opened == opened);
    let new = || CheckRow { opened, ..CheckRow::new(vault, location.clone(), now) };
    known.unwrap_or_else(new)
}

async fn tell_in_parts(
    house: &House,
    check: CheckRow,
    mut left: Vec<DamageRow>,
    mut whole: Vec<String>,
) -> Result<()> {
    let mut check = Some(check);
    loop {
        let Some(row) = check else { return Ok(()) };
        let some = left.split_off(left.len().saturating_sub(limits::DAMAGE_NOTED_MAX / 2));
        let well = whole.split_off(whole.len().saturating_sub(limits::DAMAGE_NOTED_MAX / 2));
        check = scrub::tell(house, row, some, well).await?;
        if left.is_empty() && whole.is_empty() {
            return Ok(());
        }
    }
}

fn damage_row(vault: VaultId, location: &Name, damage: &v1::Damage) -> Result<DamageRow> {
    let points = damage.points.iter().take(limits::DAMAGE_POINTS_MAX);
    Ok(DamageRow {
        vault,
        location: location.clone(),
        object: damage.object.clone(),
        problem: damage.problem.clone(),
        since: Timestamp::ZERO,
        points: points.map(|id| PointId::from_slice(id)).collect::<Result<_>>()?,
        points_count: damage.points.len() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{VAULT, moment, name};

    /// A verification of two locations, in each of which a pack was damaged before.
    fn remembered() -> Remembered {
        let known = ["main", "far"].map(|place| (name(place), "packs/1".to_owned()));
        let places = ["main", "far"].map(|place| (name(place), Seen::default()));
        Remembered { began: moment(5), known: known.into(), places: places.into() }
    }

    fn damage(location: &str, object: &str) -> v1::Damage {
        v1::Damage {
            location: location.to_owned(),
            object: object.to_owned(),
            problem: "hash".to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn where_something_was_not_read_only_what_was_seen_is_told() {
        let mut remembered = remembered();
        for place in ["main", "far"] {
            remembered.note(&name(place), "packs/2", 9, true);
        }
        remembered.passed_by(&name("far"));
        let found = [damage("far", "packs/3")];
        let said = |remembered: &Remembered, place: &str, found: &[v1::Damage]| {
            remembered.said(VAULT, &name(place), (found, true), moment(8)).unwrap()
        };
        let main = said(&remembered, "main", &found).unwrap();
        assert_eq!((main.left, main.whole), (vec![], vec!["packs/1".to_owned()]));
        assert_eq!(main.pass.map(|pass| (pass.began, pass.objects)), Some((moment(5), 1)));
        let far = said(&remembered, "far", &found).unwrap();
        assert_eq!(
            (far.whole, far.pass),
            (vec![], None),
            "it was not read, so it is damaged still"
        );
        assert_eq!(far.left[0].object, "packs/3");
        assert_eq!(said(&remembered, "far", &[]), None);
        remembered.note(&name("far"), "packs/1", 9, true);
        let far = said(&remembered, "far", &[]).unwrap();
        assert_eq!((far.whole, far.pass), (vec!["packs/1".to_owned()], None));
    }

    #[test]
    fn a_place_that_came_meanwhile_is_not_said_to_be_verified() {
        let main = name("main");
        let of = |opened, known| memory_of((VAULT, &main), opened, known, moment(8));
        let known = |opened| {
            let last = Some(CheckPass::begun(moment(1)));
            Some(CheckRow { opened, last, ..CheckRow::new(VAULT, main.clone(), moment(1)) })
        };
        assert_eq!(of(7, known(7)), known(7).unwrap(), "what else is remembered stays");
        // The ledger drops what is not said of the memory that it has.
        for other in [None, known(9)] {
            let told = of(7, other);
            assert_eq!((told.opened, told.last), (7, None));
        }
    }

    #[test]
    fn what_did_not_open_was_not_read() {
        let mut remembered = remembered();
        let store = holdfast_storage::MemoryStore::new(std::sync::Arc::new(
            holdfast_common::SystemClock::start(),
        ));
        let open: Place = (name("main"), std::sync::Arc::new(store));
        remembered.passed_all_but(&[name("main"), name("far")], &[open]);
        let partial: Vec<bool> = remembered.places.values().map(|seen| seen.is_partial).collect();
        assert_eq!(partial, [true, false], "far, main");
    }
}
