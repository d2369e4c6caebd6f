//! What a verification found goes where the scrub remembers it: what is damaged is told until it is
//! seen whole, and whoever had everything read has it read back as a pass does.

use super::Looked;
use crate::{
    house::{House, Vault},
    scrub,
};
use holdfast_common::{Name, PointId, Result, Timestamp, limits};
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
    objects: u64,
    bytes: u64,
    whole: Vec<String>,
}

impl Remembered {
    pub(super) fn begin(house: &House, vault: &Vault, looked: &Looked) -> Result<Self> {
        let rows = house.ledger.query().damage(None)?.into_iter();
        let rows = rows.filter(|row| row.vault == vault.row.id);
        let known = rows.map(|row| (row.location, row.object)).collect();
        let places = looked.all().map(|name| (name.clone(), Seen::default())).collect();
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
        for (location, seen) in self.places {
            let here = |damage: &&v1::Damage| damage.location == location.as_str();
            let damaged = found.iter().filter(here).count() as u64;
            let left: Vec<DamageRow> = found
                .iter()
                .filter(|damage| here(damage) && damage.healed_from.is_none())
                .map(|damage| damage_row(vault, &location, damage))
                .collect::<Result<_>>()?;
            if !is_everything && left.is_empty() && seen.whole.is_empty() {
                continue;
            }
            let known = house.ledger.query().check_of(&vault.row.id, &location)?;
            let mut check =
                known.unwrap_or_else(|| CheckRow::new(vault.row.id, location.clone(), now));
            let mut whole = seen.whole;
            if is_everything {
                // What was not seen again in all of it is damage no more.
                let is_over = |(place, object): &&(Name, String)| {
                    *place == location && !found.iter().any(|one| one.object == *object)
                };
                let over = self.known.iter().filter(is_over).map(|(_, object)| object.clone());
                whole.extend(over);
                let healed = damaged - left.len() as u64;
                let (began, ended) = (self.began, Some(now));
                let (objects, bytes) = (seen.objects, seen.bytes);
                check.last = Some(CheckPass { began, ended, objects, bytes, damaged, healed });
                (check.pass, check.cursor) = (None, None);
            }
            tell_in_parts(house, check, left, whole).await?;
        }
        Ok(())
    }
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

fn damage_row(vault: &Vault, location: &Name, damage: &v1::Damage) -> Result<DamageRow> {
    let points = damage.points.iter().take(limits::DAMAGE_POINTS_MAX);
    Ok(DamageRow {
        vault: vault.row.id,
        location: location.clone(),
        object: damage.object.clone(),
        problem: damage.problem.clone(),
        since: Timestamp::ZERO,
        points: points.map(|id| PointId::from_slice(id)).collect::<Result<_>>()?,
        points_count: damage.points.len() as u64,
    })
}
