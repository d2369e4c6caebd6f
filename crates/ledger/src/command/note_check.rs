//! Says how far a location is read back, what was found there that nobody could mend, and what was
//! seen whole again. All of it at once: nobody goes on behind what is not remembered.
//!
//! Only what is said of the place as it is now counts: a leader that was paused while a location
//! was moved speaks of another one.

use super::{Apply, Outcome};
use crate::{
    row::{
        CheckRow, DamageRow,
        check::{check_key, damage_key, damage_prefix},
    },
    tables::Table,
};
use holdfast_common::{Code, Error, Name, Result, VaultId, limits};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct NoteCheck {
    #[n(0)]
    pub check: CheckRow,
    /// In the same place.
    #[n(1)]
    pub damaged: Vec<DamageRow>,
    /// Names of objects that are as they must be.
    #[n(2)]
    pub whole: Vec<String>,
}

impl NoteCheck {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_system()?;
        self.insist_on_bounds()?;
        let CheckRow { vault, location, opened, .. } = &self.check;
        let known: Option<CheckRow> = apply.tables.row(&check_key(vault, location))?;
        let is_held = apply.vault(vault)?.holding().any(|name| name == location);
        if !is_held || known.as_ref().map_or(0, |known| known.opened) != *opened {
            return Ok(Outcome::Unchanged);
        }
        let opened = known.as_ref().map_or(apply.index, |known| known.opened);
        let since = known.as_ref().map_or(apply.time, |known| known.since);
        apply.tables.put(&CheckRow { opened, since, ..self.check.clone() })?;
        for object in &self.whole {
            apply.tables.remove(Table::Damage, &damage_key(vault, location, object));
        }
        let prefix = damage_prefix(vault, location);
        let kept = apply.tables.scan(Table::Damage, &prefix, limits::DAMAGE_KEPT_MAX)?.len();
        let mut room = limits::DAMAGE_KEPT_MAX - kept;
        for damage in &self.damaged {
            let key = damage_key(vault, location, &damage.object);
            let known: Option<DamageRow> = apply.tables.row(&key)?;
            if known.is_none() && room == 0 {
                continue;
            }
            room -= usize::from(known.is_none());
            let since = known.map_or(apply.time, |known| known.since);
            let (vault, location) = (*vault, location.clone());
            apply.tables.put(&DamageRow { vault, location, since, ..damage.clone() })?;
        }
        Ok(Outcome::At(opened))
    }

    fn insist_on_bounds(&self) -> Result<()> {
        let is_short = |text: &String| text.len() <= limits::OBJECT_NAME_BYTES_MAX;
        let told = self.damaged.len() + self.whole.len();
        let fits = |damage: &DamageRow| {
            is_short(&damage.object)
                && is_short(&damage.problem)
                && damage.points.len() <= limits::DAMAGE_POINTS_MAX
        };
        if told <= limits::DAMAGE_NOTED_MAX
            && self.damaged.iter().all(fits)
            && self.whole.iter().chain(&self.check.cursor).all(is_short)
        {
            return Ok(());
        }
        Err(Error::new(Code::LimitExceeded, "too much damage is told of at once"))
    }

    pub(super) fn subject(&self) -> String {
        let CheckRow { location, pass, .. } = &self.check;
        let how = if pass.is_some() { "goes on" } else { "ended" };
        match self.damaged.len() {
            0 => format!("{location} {how}"),
            count => format!("{location} {how}, {count} damaged"),
        }
    }
}

impl Apply<'_, '_> {
    /// What lay in a location is no more what lies there, or nobody looks at it any more.
    pub(super) fn forget_checks(&mut self, vault: &VaultId, location: &Name) -> Result<()> {
        let key = check_key(vault, location);
        if self.tables.raw(Table::Check, &key)?.is_none() {
            return Ok(());
        }
        self.tables.remove(Table::Check, &key);
        let prefix = damage_prefix(vault, location);
        for (key, _) in self.tables.scan(Table::Damage, &prefix, limits::DAMAGE_KEPT_MAX)? {
            self.tables.remove(Table::Damage, &key);
        }
        Ok(())
    }
}
