//! Points that nobody can read any more once a version of their vault's keys is destroyed: which of
//! them may be lost, and what is left of them.
//!
//! Nobody loses what somebody holds, reads, goes on from, protects or has locked, nor the newest
//! good point of a policy, whoever agrees to it. All else goes as if retention had let it go: it
//! leaves every list, a row stays that says which version went, when and by whom, and its objects
//! and packs are collected.

use super::{Apply, begin_session::source_key_of};
use crate::{
    retention::{Rules, is_scheduled},
    row::{
        ClassRow, DestroyedKeyRow, ForgottenRow, LockRow, PointRow, PointState, PolicyRow,
        VaultRow, point::time_key,
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
        let (ties, locks, good) = (self.ties()?, self.locks_of(vault)?, self.newest_good(vault)?);
        for point in &found {
            if let Some(tie) = ties.of(point).first() {
                return Err(kept(point, &tie.why));
            }
            if good.contains(&point.id) {
                return Err(kept(point, "it is the newest good one of its policy"));
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
        let Some(rules) = Rules::of(&policy, class.as_ref()) else { return Ok(None) };
        let until = point.committed.plus(rules.retention.protect_for());
        Ok((self.time < until).then_some(until))
    }

    fn standing_policy(&self, point: &PointRow) -> Result<Option<PolicyRow>> {
        match &point.policy {
            Some(policy) => self.tables.row(policy.as_str().as_bytes()),
            None => Ok(None),
        }
    }

    /// Of every source of a policy that there is: the newest point, and the newest that skipped
    /// nothing.
    fn newest_good(&self, vault: &VaultRow) -> Result<BTreeSet<PointId>> {
        type Source = (Option<Name>, AgentId, String, bool);
        let mut newest: BTreeMap<Source, (Vec<u8>, PointRow)> = BTreeMap::new();
        self.tables.look::<PointRow>(&[], |point| {
            if point.vault != vault.id || !is_scheduled(&point) || point.lost.is_some() {
                return;
            }
            let at = time_key(point.committed, point.id.as_bytes());
            let is_whole = point.state == PointState::Complete;
            for whole_alone in [false, true] {
                if whole_alone && !is_whole {
                    continue;
                }
                let of = (point.policy.clone(), point.agent, point.source.clone(), whole_alone);
                if newest.get(&of).is_none_or(|(known, _)| at < *known) {
                    newest.insert(of, (at.clone(), point.clone()));
                }
            }
        })?;
        let mut good = BTreeSet::new();
        for (_, point) in newest.into_values() {
            if self.standing_policy(&point)?.is_some() {
                good.insert(point.id);
            }
        }
        Ok(good)
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

fn kept(point: &PointRow, why: &str) -> Error {
    let message = format!("the point {} would be lost with the keys: {why}", point.id);
    Error::new(Code::PointKept, message)
        .next("see what needs the version: `holdfast keys destroy VERSION --vault VAULT --dry-run`")
}
