//! Points that nobody can read any more once a version of their vault's keys is destroyed: which of
//! them may be lost, and what is left of them.
//!
//! Nobody loses what somebody holds, reads, goes on from, protects or has locked, nor the newest
//! good point of a policy, or the newest that some location has, whoever agrees to it. What
//! retention would not let go for want of a newer one that is as good stays here too; so do points
//! that were taken in from a location, until their source has a newer one. What makes up for them
//! whoever proposes names, and has read that it needs no pack that is lost. All else goes as if
//! retention had let it go: it leaves every list, a row stays that says which version went, when
//! and by whom, and its objects and packs are collected.

use super::{Apply, begin_session::source_key_of, conflict};
use crate::{
    retention::{Gap, Gaps, Rules},
    row::{
        ClassRow, CopyRow, DestroyedKeyRow, ForgottenRow, LockRow, PointRow, PolicyRow, VaultRow,
        copies::copy_key, point::time_key,
    },
    tables::Table,
};
use holdfast_common::{Code, Error, Name, PointId, Result, Timestamp, limits};
use std::collections::BTreeSet;

impl Apply<'_, '_> {
    /// The rows of those that are still there, when all of them may be lost.
    pub(super) fn losable(
        &self,
        vault: &VaultRow,
        points: &[PointId],
        named: &Successors<'_>,
    ) -> Result<Vec<PointRow>> {
        named.check()?;
        let mut found = Vec::new();
        for id in points {
            // Retention may have been faster.
            let Some(point) = self.tables.row::<PointRow>(id.as_bytes())? else { continue };
            if point.vault != vault.id {
                return Err(kept(&point, "it is of another vault"));
            }
            found.push(point);
        }
        if found.is_empty() {
            return Ok(found);
        }
        let (ties, locks) = (self.ties()?, self.locks_of(vault)?);
        for point in &found {
            if let Some(tie) = ties.of(point).first() {
                return Err(kept(point, &tie.why));
            }
            if let Some(until) = self.protected_until(point)? {
                return Err(kept(point, &format!("it is protected until {until}")));
            }
            let now = self.time;
            for lock in &locks {
                if let Some(until) = lock.holds(point).filter(|until| now < *until) {
                    let location = &lock.location;
                    return Err(kept(
                        point,
                        &format!("it is locked in `{location}` until {until}"),
                    ));
                }
            }
        }
        self.insist_on_successors(vault, &found, named)?;
        Ok(found)
    }

    fn locks_of(&self, vault: &VaultRow) -> Result<Vec<LockRow>> {
        let mut locks = Vec::new();
        self.tables.look::<LockRow>(vault.id.as_bytes(), |lock| locks.push(lock))?;
        Ok(locks)
    }

    fn protected_until(&self, point: &PointRow) -> Result<Option<Timestamp>> {
        let Some(policy) = self.standing_policy(point)? else { return Ok(None) };
        let class = match &policy.class {
            Some(class) => self.tables.row::<ClassRow>(class.as_str().as_bytes())?,
            None => None,
        };
        // Nobody said how long: as long as where nobody says otherwise.
        let rules = Rules::of(&policy, class.as_ref()).map(|rules| rules.retention);
        let until = point.committed.plus(rules.unwrap_or_default().protect_for());
        Ok((self.time < until).then_some(until))
    }

    fn standing_policy(&self, point: &PointRow) -> Result<Option<PolicyRow>> {
        match &point.policy {
            Some(policy) => self.tables.row(policy.as_str().as_bytes()),
            None => Ok(None),
        }
    }

    /// For each of them that came about under a policy that there is, a newer point of its source
    /// stays that is as good, and one in each location that has it; of those that are named.
    fn insist_on_successors(
        &self,
        vault: &VaultRow,
        lost: &[PointRow],
        named: &Successors<'_>,
    ) -> Result<()> {
        let confirming = self.confirming(vault)?;
        let stands = |policy: &Name| {
            let policy = self.tables.row::<PolicyRow>(policy.as_str().as_bytes())?;
            Ok(policy.is_some())
        };
        let mut gaps = Gaps::of(lost, &confirming, stands)?;
        if gaps.first().is_none() {
            return Ok(());
        }
        if vault.losses() != named.losses {
            return Err(conflict("packs were lost since it was counted what goes"));
        }
        let lost: BTreeSet<PointId> = lost.iter().map(|point| point.id).collect();
        for id in named.points.iter().filter(|id| !lost.contains(id)) {
            let stays = self.tables.row::<PointRow>(id.as_bytes())?;
            if let Some(stays) = stays.filter(|point| point.vault == vault.id) {
                gaps.fill(&stays);
            }
        }
        gaps.first().map_or(Ok(()), |gap| Err(refusal(gap)))
    }

    /// Locations of a vault in which points lie as is said of them.
    fn confirming<'a>(&self, vault: &'a VaultRow) -> Result<Vec<&'a Name>> {
        let mut confirming = Vec::new();
        for name in vault.holding() {
            let row = self.tables.row::<CopyRow>(&copy_key(&vault.id, name))?;
            if row.is_none_or(|row| row.confirms()) {
                confirming.push(name);
            }
        }
        Ok(confirming)
    }

    /// Nobody reads it any more, or goes on from it.
    pub(super) fn lose_point(&mut self, point: PointRow, key: &DestroyedKeyRow) -> Result<()> {
        let id = *point.id.as_bytes();
        self.tables.remove(Table::PointTime, &time_key(point.committed, &id));
        self.tables.remove(Table::Point, &id);
        let newest = source_key_of(&point);
        if self.tables.raw(Table::Meta, &newest)?.is_some_and(|newest| newest == id) {
            self.tables.remove(Table::Meta, &newest);
        }
        self.list_leaving(&point.vault, &point.id)?;
        let DestroyedKeyRow { version, asked_by, .. } = key;
        let why = format!("version {version} of its keys was destroyed, as `{asked_by}` asked");
        let (when, by, gone) = (self.time, self.actor.clone(), None);
        let key_version = Some(*version);
        self.tables.put(&ForgottenRow { point, when, by, why, gone, key_version })
    }
}

/// Points that stay, as whoever proposes names them.
pub(super) struct Successors<'a> {
    /// In the order of their ids. What these need was read: none of it is lost.
    pub(super) points: &'a [PointId],
    /// How many times packs of the vault had been lost by then.
    pub(super) losses: u64,
}

impl Successors<'_> {
    pub(super) fn check(&self) -> Result<()> {
        let count = self.points.len();
        if count > limits::KEY_SUCCESSORS_MAX {
            let message = format!("{count} points are to stay in the place of those that are lost");
            return Err(Error::new(Code::LimitExceeded, message)
                .next("let retention forget most of them first"));
        }
        match self.points.is_sorted_by(|one, next| one < next) {
            true => Ok(()),
            false => Err(Error::new(Code::ResourceMalformed, "points are not in their order")),
        }
    }
}

fn refusal(Gap { point, location }: Gap<'_>) -> Error {
    match location {
        Some(name) => kept(point, &format!("it is the newest that lies in `{name}`")),
        None => kept(point, "it is the newest good one of its policy"),
    }
}

fn kept(point: &PointRow, why: &str) -> Error {
    let message = format!("the point {} would be lost with the keys: {why}", point.id);
    Error::new(Code::PointKept, message)
        .next("see what needs the version: `holdfast keys destroy VERSION --vault VAULT --dry-run`")
}
