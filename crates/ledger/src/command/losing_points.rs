//! Points that nobody can read any more once a version of their vault's keys is destroyed: which of
//! them may be lost, and what is left of them.
//!
//! Nobody loses what somebody holds, reads, goes on from, protects or has locked, nor the newest
//! good point of a policy, or the newest that some location has, whoever agrees to it. What
//! retention would not let go for want of a newer one that is as good stays here too; so do points
//! that were taken in from a location, until their source has a newer one. All else goes as if
//! retention had let it go: it leaves every list, a row stays that says which version went, when
//! and by whom, and its objects and packs are collected.

use super::{Apply, begin_session::source_key_of};
use crate::{
    retention::{Rules, Size, is_scheduled, succeeds},
    row::{
        ClassRow, CopyRow, DestroyedKeyRow, ForgottenRow, LockRow, PointRow, PolicyRow, VaultRow,
        copies::copy_key, point::time_key,
    },
    tables::Table,
};
use holdfast_common::{AgentId, Code, Error, Name, PointId, Result, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

impl Apply<'_, '_> {
    /// The rows of those that are still there, when all of them may be lost.
    pub(super) fn losable(&self, vault: &VaultRow, points: &[PointId]) -> Result<Vec<PointRow>> {
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
        self.insist_on_successors(vault, &found)?;
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
    /// stays that is as good, and one in each location that has it.
    fn insist_on_successors(&self, vault: &VaultRow, lost: &[PointRow]) -> Result<()> {
        let confirming = self.confirming(vault)?;
        let mut gaps: BTreeMap<Source, Vec<Gap<'_>>> = BTreeMap::new();
        for point in lost.iter().filter(|point| point.state.is_scheduled() && point.lost.is_none())
        {
            if self.standing_policy(point)?.is_none() {
                continue;
            }
            let has_it = |name: &&&Name| point.locations.contains(name);
            let there = confirming.iter().filter(has_it).map(|name| Some(*name));
            let its = [None].into_iter().chain(there).map(|location| Gap { point, location });
            gaps.entry(source_of(point)).or_default().extend(its);
        }
        if gaps.is_empty() {
            return Ok(());
        }
        let lost: BTreeSet<PointId> = lost.iter().map(|point| point.id).collect();
        self.tables.look::<PointRow>(&[], |stays| {
            if stays.vault == vault.id
                && !lost.contains(&stays.id)
                && let Some(gaps) = gaps.get_mut(&source_of(&stays))
            {
                gaps.retain(|gap| !gap.is_filled_by(&stays));
            }
        })?;
        let gap = gaps.into_values().flatten().next();
        gap.map_or(Ok(()), |gap| Err(gap.refusal()))
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

/// What backups of one policy are of.
type Source = (Option<Name>, AgentId, String);

fn source_of(point: &PointRow) -> Source {
    (point.policy.clone(), point.agent, point.source.clone())
}

/// A point that is to be lost, and nothing that stays makes up for it, as far as was looked.
struct Gap<'a> {
    point: &'a PointRow,
    /// Where something has to; none: anywhere.
    location: Option<&'a Name>,
}

impl Gap<'_> {
    /// What was taken in from a location makes up for its like alone.
    fn is_filled_by(&self, stays: &PointRow) -> bool {
        let is_like = self.point.recovered == Some(true) && stays.state.is_scheduled();
        let is_good = match self.location {
            Some(location) => stays.locations.contains(location),
            None => Size::of(stays).stands_in_for(Size::of(self.point)),
        };
        is_good && (is_scheduled(stays) || is_like) && succeeds(stays, self.point)
    }

    fn refusal(&self) -> Error {
        match self.location {
            Some(name) => kept(self.point, &format!("it is the newest that lies in `{name}`")),
            None => kept(self.point, "it is the newest good one of its policy"),
        }
    }
}

fn kept(point: &PointRow, why: &str) -> Error {
    let message = format!("the point {} would be lost with the keys: {why}", point.id);
    Error::new(Code::PointKept, message)
        .next("see what needs the version: `holdfast keys destroy VERSION --vault VAULT --dry-run`")
}
