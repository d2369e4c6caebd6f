//! Forgets points, as the rules of their policies say: they leave every list, and a row stays that
//! says so. No object is touched.
//!
//! Whoever proposes it has made a plan; time has passed since. What must never be wrong is checked
//! here once more, by the time that the ledger stamps: the rules are those that were planned by, a
//! newer point of the same source stays that is at least as good, in each location too that has
//! any, everything is old enough, nobody holds, reads or goes on from any of them, and no region is
//! parted from this one. Which of the others the rules keep, and that what stays needs no lost
//! pack, the plan alone says: so no pack may have been lost since. One command is about many
//! sources, and refused as a whole.

use super::{Apply, Outcome, begin_session::policy_key, conflict};
use crate::{
    Actor,
    level::COPIES_KEPT,
    retention::{Rules, Size, Ties, is_scheduled, may_go, outlives},
    row::{
        ClassRow, CopyRow, ForgottenRow, HoldRow, MemberRow, PointRow, PolicyRow, RunRow,
        SessionRow, VaultRow, copies::copy_key, point::time_key,
    },
    tables::Table,
};
use holdfast_common::{Code, Error, Name, PointId, Result, Timestamp, limits};
use minicbor::{Decode, Encode};
use std::{collections::BTreeSet, time::Duration};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct ForgetPoints {
    #[n(0)]
    pub sources: Vec<OutlivedPoints>,
    /// A person said that what is left may hold far less.
    #[n(1)]
    pub despite_anomalies: Option<bool>,
}

/// Points of one source that go, and the one that stays.
#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct OutlivedPoints {
    #[n(0)]
    pub policy: Name,
    /// What was planned by.
    #[n(1)]
    pub revision: u64,
    #[n(2)]
    pub class_revision: Option<u64>,
    /// The point of their source that stays.
    #[n(3)]
    pub outlived_by: PointId,
    #[n(4)]
    pub points: Vec<PointId>,
    /// Since when the rules are those that were planned by: a policy that was deleted and made anew
    /// has the revisions of the old one.
    #[n(5)]
    pub since: Timestamp,
    /// How many times packs of their vault had been lost: whoever planned has seen that the point
    /// that stays needs none of them.
    #[n(6)]
    pub losses: u64,
    /// The newest good points of the source that each of its locations has; they stay.
    #[n(7)]
    pub copies: Option<Vec<PointId>>,
}

impl ForgetPoints {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_operator()?;
        let count: usize = self.sources.iter().map(|source| source.points.len().max(1)).sum();
        if count > limits::POINTS_FORGOTTEN_MAX {
            return Err(Error::new(Code::LimitExceeded, "too many points to forget at once"));
        }
        apply.insist_on_undivided()?;
        let ties = apply.ties()?;
        let despite = self.despite_anomalies == Some(true);
        let mut forgotten = 0;
        for source in &self.sources {
            forgotten += source.apply(apply, &ties, despite)?;
        }
        Ok(Outcome::Number(forgotten))
    }

    /// Which of them went by what, their rows say.
    pub(super) fn subject(&self) -> String {
        let points = || self.sources.iter().flat_map(|source| &source.points);
        let (count, ids) = (points().count(), digest(points().map(PointId::as_bytes)));
        let policies: BTreeSet<_> =
            self.sources.iter().map(|source| (&source.policy, source.revision)).collect();
        let by =
            policies.first().map(|(policy, revision)| format!("{policy} by revision {revision}"));
        let more = match policies.len() {
            0 | 1 => String::new(),
            count => format!(" and of {} more", count - 1),
        };
        format!("{count} of {}{more}: {ids}", by.unwrap_or_default())
    }
}

impl OutlivedPoints {
    fn apply(&self, apply: &mut Apply<'_, '_>, ties: &Ties, despite: bool) -> Result<u64> {
        let rules = self.rules(apply)?;
        let stays = apply.point(&self.outlived_by)?;
        if self.points.contains(&stays.id) {
            return Err(kept(&stays, "it is to outlive the others"));
        }
        if apply.vault(&stays.vault)?.losses() != self.losses {
            return Err(conflict("packs were lost since it was planned what goes"));
        }
        let copies = self.copies(apply, &stays)?;
        let mut forgotten = 0;
        for id in &self.points {
            // Another plan was faster.
            let Some(point) = apply.tables.row::<PointRow>(id.as_bytes())? else { continue };
            self.check(apply, &point, &stays, (&rules, ties))?;
            copies.iter().try_for_each(|copy| copy.insist_on_newer(&point))?;
            if !despite && !Size::of(&stays).stands_in_for(Size::of(&point)) {
                return Err(kept(&point, &format!("{} holds far less", stays.id)));
            }
            self.forget(apply, point, despite)?;
            forgotten += 1;
        }
        Ok(forgotten)
    }

    /// What stays in each location in which points lie as is said of them.
    fn copies(&self, apply: &Apply<'_, '_>, stays: &PointRow) -> Result<Vec<Copies>> {
        if apply.level()? < COPIES_KEPT {
            return Ok(Vec::new());
        }
        let mut staying = vec![stays.clone()];
        for id in self.copies.iter().flatten().filter(|id| !self.points.contains(id)) {
            staying.extend(apply.tables.row::<PointRow>(id.as_bytes())?);
        }
        let (vault, mut copies) = (apply.vault(&stays.vault)?, Vec::new());
        for name in vault.holding() {
            let row = apply.tables.row::<CopyRow>(&copy_key(&vault.id, name))?;
            if row.is_none_or(|row| row.confirms()) {
                let lies_there = |point: &&PointRow| point.locations.contains(name);
                let staying = staying.iter().filter(lies_there).cloned().collect();
                copies.push(Copies { location: name.clone(), staying });
            }
        }
        Ok(copies)
    }

    fn rules(&self, apply: &Apply<'_, '_>) -> Result<Rules> {
        let Some(policy) = apply.tables.row::<PolicyRow>(self.policy.as_str().as_bytes())? else {
            let message = format!("there is no policy `{}`", self.policy);
            return Err(Error::new(Code::PolicyMissing, message));
        };
        let class = match &policy.class {
            Some(class) => apply.tables.row::<ClassRow>(class.as_str().as_bytes())?,
            None => None,
        };
        let rules = Rules::of(&policy, class.as_ref()).filter(|rules| {
            (rules.revision, rules.class_revision) == (self.revision, self.class_revision)
                && rules.since == self.since
        });
        rules.ok_or_else(|| conflict(format!("the rules of `{}` have changed", self.policy)))
    }

    fn check(
        &self,
        apply: &Apply<'_, '_>,
        point: &PointRow,
        stays: &PointRow,
        (rules, ties): (&Rules, &Ties),
    ) -> Result<()> {
        if !may_go(point) {
            return Err(kept(point, "it did not come about by a backup of its policy"));
        }
        if point.policy.as_ref() != Some(&self.policy) || !outlives(stays, point) {
            return Err(kept(point, &format!("it is not outlived by {}", stays.id)));
        }
        if let Some(tie) = ties.of(point).first() {
            return Err(kept(point, &tie.why));
        }
        let newest = apply.tables.raw(Table::Meta, &policy_key(&self.policy, &point.agent))?;
        if newest.as_deref() == Some(point.id.as_bytes().as_slice()) {
            return Err(kept(point, "the next backup goes on from it"));
        }
        let protected = rules.retention.protect_for();
        if apply.time.since(point.committed) < protected {
            let until = point.committed.plus(protected);
            return Err(kept(point, &format!("it is protected until {until}")));
        }
        Ok(())
    }

    fn forget(&self, apply: &mut Apply<'_, '_>, point: PointRow, despite: bool) -> Result<()> {
        let order = time_key(point.committed, point.id.as_bytes());
        apply.tables.remove(Table::PointTime, &order);
        apply.tables.remove(Table::Point, point.id.as_bytes());
        let despite = if despite { ", despite anomalies" } else { "" };
        let why =
            format!("the retention of {} at revision {}{despite}", self.policy, self.revision);
        apply.list_leaving(&point.vault, &point.id)?;
        let (when, by): (_, Actor) = (apply.time, apply.actor.clone());
        apply.tables.put(&ForgottenRow { point, when, by, why, gone: None, key_version: None })
    }
}

/// A location, and what stays there of a source.
struct Copies {
    location: Name,
    staying: Vec<PointRow>,
}

impl Copies {
    /// Whoever has this location alone has no older point when one is forgotten.
    fn insist_on_newer(&self, point: &PointRow) -> Result<()> {
        let is_good = is_scheduled(point) && point.lost.is_none();
        let is_there = is_good && point.locations.contains(&self.location);
        if !is_there || self.staying.iter().any(|newer| outlives(newer, point)) {
            return Ok(());
        }
        Err(kept(point, &format!("it is the newest that lies in `{}`", self.location)))
    }
}

/// Which ones they are, for the audit log, which has no room for all of them: BLAKE3 of their ids,
/// one after the other in their order. What is left of each says its id.
pub(super) fn digest<'a>(ids: impl Iterator<Item = &'a [u8; 16]>) -> blake3::Hash {
    let mut ids: Vec<_> = ids.collect();
    ids.sort_unstable();
    let mut hasher = blake3::Hasher::new();
    for id in ids {
        hasher.update(id);
    }
    hasher.finalize()
}

fn kept(point: &PointRow, why: &str) -> Error {
    Error::new(Code::PointKept, format!("the point {} is not forgotten: {why}", point.id))
}

impl Apply<'_, '_> {
    pub(super) fn point(&self, id: &PointId) -> Result<PointRow> {
        if let Some(point) = self.tables.row::<PointRow>(id.as_bytes())? {
            return Ok(point);
        }
        let forgotten = self.tables.row::<ForgottenRow>(id.as_bytes())?;
        Err(no_point(id, forgotten.as_ref()))
    }

    /// While another side may have points of its own nothing is taken from either; nor while it is
    /// not known what went with one.
    pub(super) fn insist_on_undivided(&mut self) -> Result<()> {
        let Some(epoch) = self.epoch()? else { return Ok(()) };
        let mut lost = None;
        self.tables.look::<MemberRow>(&[], |member| {
            if epoch.has_lost(&member) {
                lost = Some(member.region);
            }
        })?;
        if lost.is_some() || !epoch.suspended.is_empty() {
            return Err(parted(lost.as_ref()));
        }
        let mut taken = Vec::new();
        let is_taken = |row: CopyRow| taken.extend(row.taken.is_some().then_some(row));
        self.tables.look(&[], is_taken)?;
        for row in taken {
            insist_on_judged(&self.vault(&row.vault)?, &row)?;
        }
        Ok(())
    }

    pub(super) fn ties(&self) -> Result<Ties> {
        let (mut ties, now) = (Ties::at(self.level()?, self.time), self.time);
        self.tables.look::<HoldRow>(&[], |hold| ties.hold(hold, now, Duration::ZERO))?;
        self.tables.look::<SessionRow>(&[], |session| ties.session(&session))?;
        self.tables.each(Table::RunOpen, &[], |(id, _)| {
            if let Some(run) = self.tables.row::<RunRow>(&id)? {
                ties.open_run(&run);
            }
            Ok(())
        })?;
        Ok(ties)
    }
}

/// What is said while a region is not back.
pub(crate) fn parted(lost: Option<&Name>) -> Error {
    let region = lost.map_or_else(|| "a region".to_owned(), |region| format!("`{region}`"));
    Error::new(Code::RegionParted, format!("{region} is parted from this side"))
}

/// What went with a region that was given up for good may count as the newest that there is, until
/// whoever looks through the location that stood in for it has said that it is lost.
pub(crate) fn insist_on_judged(vault: &VaultRow, copies: &CopyRow) -> Result<()> {
    let location = &copies.location;
    if copies.taken.is_none() || !vault.required.contains(location) {
        return Ok(());
    }
    let message = format!("what was lost with a region is not known yet: `{location}` stood in");
    Err(Error::new(Code::RegionParted, message).next(
        "wait until `holdfast location list` says that it lacks nothing; if another one that \
         follows went with the region: holdfast location replace NAME URL --empty --old-is-gone",
    ))
}

/// What is said of a point that is not there.
pub(crate) fn no_point(id: &PointId, forgotten: Option<&ForgottenRow>) -> Error {
    match forgotten {
        None => Error::new(Code::PointMissing, format!("there is no point {id}")),
        Some(row) => {
            let ForgottenRow { when, by, why, .. } = row;
            if row.key_version.is_some() {
                let message = format!("the point {id} went at {when}: {why}, and {by} agreed");
                return Error::new(Code::PointKeyDestroyed, message);
            }
            let message = format!("the point {id} was forgotten at {when} by {by}: {why}");
            Error::new(Code::PointMissing, message)
        }
    }
}
