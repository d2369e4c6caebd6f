//! Says that points lie in one more location: it was filled up with what others of the vault hold.
//!
//! Whoever proposes it has seen every object of them there. What was committed stays as it is; only
//! the list of places grows.

use super::{Apply, Outcome, conflict};
use crate::row::{CopyRow, PointRow, copies::copy_key};
use holdfast_common::{Code, Error, Name, PointId, Result, VaultId, limits};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct PlacePoints {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub location: Name,
    #[n(2)]
    pub points: Vec<PointId>,
    /// Of a location that has a row of copies: the entry that opened it. What was seen before is
    /// not about the place as it is now.
    #[n(3)]
    pub opened: Option<u64>,
}

impl PlacePoints {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_operator()?;
        if self.points.len() > limits::POINTS_PLACED_MAX {
            return Err(Error::new(Code::LimitExceeded, "too many points are told of at once")
                .next(format!("tell of at most {} at a time", limits::POINTS_PLACED_MAX)));
        }
        let vault = apply.vault(&self.vault)?;
        if !vault.holding().any(|name| *name == self.location) {
            let (location, name) = (&self.location, &vault.name);
            return Err(conflict(format!("the vault `{name}` has no location `{location}`")));
        }
        if let Some(opened) = self.opened {
            let copies = apply.tables.row::<CopyRow>(&copy_key(&vault.id, &self.location))?;
            if copies.is_none_or(|copies| copies.opened != opened) {
                return Err(conflict(format!("`{}` is another place by now", self.location)));
            }
        }
        let mut outcome = Outcome::Unchanged;
        for id in &self.points {
            let Some(mut point) = apply.tables.row::<PointRow>(id.as_bytes())? else { continue };
            if point.vault == vault.id && !point.locations.contains(&self.location) {
                point.locations.push(self.location.clone());
                apply.tables.put(&point)?;
                outcome = Outcome::Done;
            }
        }
        Ok(outcome)
    }
}
