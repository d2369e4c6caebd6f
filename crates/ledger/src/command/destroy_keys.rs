//! An old version of a vault's keys is destroyed: one person asks, another one agrees, and what is
//! left of it opens nothing.
//!
//! ```text
//!   AskDestroy ──▶ request, 7 days ──▶ DestroyKeys by another ──▶ row with what is left of it
//!        what would be lost                 no more than that           NoteShredded, per location
//! ```
//!
//! The wrapped keys leave the ledger with the entry, and every snapshot that is made from then on.
//! Copies of older days stay under the KEK of those days, until that is destroyed too. Whoever
//! proposes counts what is lost; the ledger cannot. It judges who agrees, and each of the points.

use super::{Apply, Outcome, conflict, forget_points::digest};
use crate::{
    row::{
        DestroyRequestRow, DestroyedKeyRow, KeyVersionRow, LocationRow, PointRow, ShreddedRow,
        VaultRow,
    },
    tables::{Row, Table},
};
use holdfast_common::{Code, Error, PointId, RequestId, Result, VaultId, limits};
use minicbor::{Decode, Encode, bytes::ByteVec};

/// The first person.
#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct AskDestroy {
    #[n(0)]
    pub id: RequestId,
    #[n(1)]
    pub vault: VaultId,
    #[n(2)]
    pub version: u32,
    /// What would be lost, in the order of their ids.
    #[n(3)]
    pub points: Vec<PointId>,
}

impl AskDestroy {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let by = apply.first_person()?;
        apply.insist_on_undivided()?;
        let vault = apply.vault(&self.vault)?;
        apply.destroyable(&vault, self.version)?;
        insist_on_list(&self.points)?;
        if apply.losable(&vault, &self.points)?.len() != self.points.len() {
            return Err(conflict("some of these points are gone meanwhile").next("ask again"));
        }
        let now = apply.time;
        apply.drop_requests(|asked| !asked.is_in_force(now))?;
        if let Some(known) = apply.request_for(&vault, self.version)? {
            let message = format!("`{}` asked for it already, as {}", known.by, known.id);
            return Err(conflict(message).next("agree to that one, or withdraw it"));
        }
        if apply.tables.raw(Table::DestroyRequest, self.id.as_bytes())?.is_some() {
            return Err(conflict(format!("there is a request {} already", self.id)));
        }
        let Self { id, vault, version, points } = self.clone();
        let asked = apply.time;
        apply.tables.put(&DestroyRequestRow { id, vault, version, by, asked, points })?;
        Ok(Outcome::Done)
    }

    pub(super) fn subject(&self) -> String {
        subject(self.id, self.vault, self.version, &self.points)
    }
}

/// Whoever asked, or anybody else who may act, says no.
#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct WithdrawDestroy {
    #[n(0)]
    pub id: RequestId,
}

impl WithdrawDestroy {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.person()?;
        let request = apply.request(&self.id)?;
        apply.tables.remove(Table::DestroyRequest, &request.key());
        Ok(Outcome::Done)
    }
}

/// The second person.
#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct DestroyKeys {
    #[n(0)]
    pub id: RequestId,
    #[n(1)]
    pub vault: VaultId,
    #[n(2)]
    pub version: u32,
    /// What is lost by now: none that was not asked for.
    #[n(3)]
    pub points: Vec<PointId>,
    /// What stays of the version.
    #[n(4)]
    pub remains: ByteVec,
}

impl DestroyKeys {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let request = apply.request(&self.id)?;
        if (request.vault, request.version) != (self.vault, self.version) {
            return Err(conflict(format!("{} asks for another version", self.id)));
        }
        let agreed_by = apply.second_person(&request)?;
        apply.insist_on_undivided()?;
        let vault = apply.vault(&self.vault)?;
        let row = apply.destroyable(&vault, self.version)?;
        insist_on_list(&self.points)?;
        insist_on_remains(&self.remains)?;
        if let Some(more) = self.points.iter().find(|id| request.points.binary_search(id).is_err())
        {
            let message = format!("the point {more} would be lost as well, which nobody asked for");
            return Err(conflict(message).next("withdraw the request, and ask again"));
        }
        let lost: Vec<PointRow> = apply.losable(&vault, &self.points)?;
        let KeyVersionRow { version, made, retired, closed_at, .. } = row;
        let key = DestroyedKeyRow {
            vault: vault.id,
            version,
            remains: self.remains.clone(),
            made,
            retired,
            destroyed: apply.time,
            asked_by: request.by.clone(),
            agreed_by,
            points: lost.len() as u64,
            closed_at,
            at: apply.index,
        };
        for point in lost {
            apply.lose_point(point, &key)?;
        }
        apply.tables.remove(Table::KeyVersion, &KeyVersionRow::key_of(&vault.id, version));
        apply.tables.remove(Table::DestroyRequest, &request.key());
        apply.tables.put(&VaultRow { revision: vault.revision + 1, ..vault })?;
        apply.tables.put(&key)?;
        Ok(Outcome::Number(key.points))
    }

    pub(super) fn subject(&self) -> String {
        subject(self.id, self.vault, self.version, &self.points)
    }
}

/// What whoever leads saw of a destroyed version's objects in one location.
#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct NoteShredded {
    #[n(0)]
    pub seen: ShreddedRow,
}

impl NoteShredded {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_system()?;
        let seen = &self.seen;
        let vault = apply.vault(&seen.vault)?;
        if apply.destroyed(&vault, seen.version)?.is_none() {
            let message = format!("version {} of `{}` was not destroyed", seen.version, vault.name);
            return Err(conflict(message));
        }
        let Some(location) = apply.tables.row::<LocationRow>(seen.location.as_str().as_bytes())?
        else {
            let message = format!("there is no location `{}`", seen.location);
            return Err(Error::new(Code::LocationMissing, message));
        };
        if location.revision != seen.revision {
            return Err(conflict(format!("`{}` is another place meanwhile", seen.location)));
        }
        apply.tables.put(&ShreddedRow { noted: apply.time, ..seen.clone() })?;
        Ok(Outcome::Done)
    }

    pub(super) fn subject(&self) -> String {
        let ShreddedRow { vault, version, location, gone, .. } = &self.seen;
        let state = if gone.is_some() { "gone from" } else { "left in" };
        format!("{vault} version {version}, {state} {location}")
    }
}

impl Apply<'_, '_> {
    /// The row of a version that may be destroyed: an older one that nothing is sealed to any more.
    fn destroyable(&self, vault: &VaultRow, version: u32) -> Result<KeyVersionRow> {
        let name = &vault.name;
        if version == vault.key_version {
            let message = format!("version {version} is the newest of the keys of `{name}`");
            return Err(conflict(message).next(format!("holdfast keys rotate {name}")));
        }
        if let Some(gone) = self.destroyed(vault, version)? {
            return Err(gone.refusal(&vault.name));
        }
        let key = KeyVersionRow::key_of(&vault.id, version);
        let row: Option<KeyVersionRow> = self.tables.row(&key)?;
        let row = row.ok_or_else(|| {
            let message = format!("the keys of `{name}` have no version {version}");
            Error::new(Code::KeyVersionMissing, message)
        })?;
        insist_on_closed(vault, &row)?;
        Ok(row)
    }

    pub(super) fn destroyed(
        &self,
        vault: &VaultRow,
        version: u32,
    ) -> Result<Option<DestroyedKeyRow>> {
        self.tables.row(&KeyVersionRow::key_of(&vault.id, version))
    }

    fn request(&self, id: &RequestId) -> Result<DestroyRequestRow> {
        let row: Option<DestroyRequestRow> = self.tables.row(id.as_bytes())?;
        row.filter(|row| row.is_in_force(self.time)).ok_or_else(|| {
            Error::new(Code::KeyRequestMissing, format!("nobody asks for anything as {id}"))
        })
    }

    fn request_for(&self, vault: &VaultRow, version: u32) -> Result<Option<DestroyRequestRow>> {
        let mut found = None;
        self.tables.look::<DestroyRequestRow>(&[], |row| {
            if (row.vault, row.version) == (vault.id, version) {
                found = Some(row);
            }
        })?;
        Ok(found)
    }

    /// What nobody may agree to any more.
    pub(super) fn drop_requests(
        &mut self,
        is_over: impl Fn(&DestroyRequestRow) -> bool,
    ) -> Result<()> {
        let mut over = Vec::new();
        self.tables.look::<DestroyRequestRow>(&[], |row| {
            if is_over(&row) {
                over.push(row.key());
            }
        })?;
        over.iter().for_each(|key| self.tables.remove(Table::DestroyRequest, key));
        Ok(())
    }
}

/// What comes must not rest on it any more.
fn insist_on_closed(vault: &VaultRow, row: &KeyVersionRow) -> Result<()> {
    if row.closed.is_some() {
        return Ok(());
    }
    let (version, name) = (row.version, &vault.name);
    let message = format!("version {version} of the keys of `{name}` is not closed");
    let close = format!("close it first: holdfast keys close --vault {name} {version}");
    Err(conflict(message).next(close))
}

/// In the order of their ids, each once, and no more than fit into a row.
fn insist_on_list(points: &[PointId]) -> Result<()> {
    if points.len() > limits::KEY_POINTS_LOST_MAX {
        let message = format!("{} points would be lost with this version", points.len());
        return Err(Error::new(Code::LimitExceeded, message)
            .next("let retention forget most of them first"));
    }
    match points.is_sorted_by(|one, next| one < next) {
        true => Ok(()),
        false => Err(Error::new(Code::ResourceMalformed, "points are not in their order")),
    }
}

fn insist_on_remains(remains: &[u8]) -> Result<()> {
    match remains.is_empty() || remains.len() > limits::KEY_REMAINS_BYTES_MAX {
        true => Err(Error::new(Code::ResourceMalformed, "this is not what is left of a key")),
        false => Ok(()),
    }
}

fn subject(id: RequestId, vault: VaultId, version: u32, points: &[PointId]) -> String {
    let (count, ids) = (points.len(), digest(points.iter().map(PointId::as_bytes)));
    format!("{vault} version {version} by {id}, {count} points: {ids}")
}
