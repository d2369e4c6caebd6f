//! Which location that follows stands in for those that a vault requires and that are lost, and
//! what would be out of reach then.
//!
//! ```text
//!   vault requires nothing in the region ─→ its locations there that follow: the vault's own
//!       object, a name written once, room? ─→ the one that is known to have most
//!   points that are not said to lie there ─→ by source: which, of when, and what is newest of it
//! ```
//!
//! Nobody waited for a location that follows, so what was reported committed may be missing there:
//! that is the loss which an operator accepts. It is counted from what the ledger knows: a point
//! that was brought a moment ago may not be said to lie there yet, and one whose entry did not come
//! is in no list.

use super::{Claim, plan::usable};
use crate::{house::House, places::Place};
use holdfast_common::{AgentId, Code, Error, Name, PointId, Result, Timestamp, VaultId, limits};
use holdfast_ledger::{
    Query,
    row::{CopyRow, CopyState, LocationRow, PointRow, PointState, Taken, VaultRow},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A location that stands in for what a vault requires.
#[derive(Clone, Debug)]
pub(crate) struct Taking {
    pub(crate) vault: VaultId,
    pub(crate) vault_name: Name,
    pub(crate) location: Name,
    pub(crate) state: Option<CopyState>,
    /// When it lacked nothing for the last time.
    pub(crate) whole: Option<Timestamp>,
    pub(crate) missing: Missing,
}

/// Points that are not known to lie in a location.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Missing {
    pub(crate) points: u64,
    /// When the oldest of them was committed.
    pub(crate) oldest: Option<Timestamp>,
    pub(crate) sources: Vec<Source>,
}

/// The same of one source.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Source {
    pub(crate) newest: PointRow,
    pub(crate) oldest: Timestamp,
    pub(crate) points: u64,
    /// The newest of them.
    pub(crate) first: Vec<PointId>,
    /// The newest point of it that lies there.
    pub(crate) reachable: Option<PointRow>,
}

impl Taking {
    pub(super) fn to_row(&self) -> Taken {
        Taken { vault: self.vault, location: self.location.clone() }
    }

    /// How long ago the oldest point was committed that is not known to lie there.
    pub(crate) fn lag(&self, now: Timestamp) -> Duration {
        self.missing.oldest.map(|oldest| now.since(oldest)).unwrap_or_default()
    }

    /// Looked at once more: what was shipped may have been heard meanwhile.
    pub(super) async fn count_again(&mut self, house: &House) -> Result<()> {
        let row = house.ledger.query().copies_in(&self.vault, &self.location)?;
        let asked = vec![(self.location.clone(), row)];
        self.missing = count(house, self.vault, asked).await?.pop().unwrap_or_default();
        Ok(())
    }
}

/// What somebody was shown of a location that would be taken, and accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) vault: Name,
    pub(crate) location: Name,
    /// So many points would be out of reach.
    pub(crate) points: u64,
}

/// A claim is for good: nobody makes one with a larger loss than he was shown, or with another one.
pub(super) fn insist_on_shown(taken: &[Taking], shown: Option<&[Accepted]>) -> Result<()> {
    let Some(shown) = shown else { return Ok(()) };
    for Taking { vault_name, location, missing, .. } in taken {
        let is_it = |accepted: &&Accepted| {
            accepted.vault == *vault_name
                && accepted.location == *location
                && missing.points <= accepted.points
        };
        if !shown.iter().any(|accepted| is_it(&accepted)) {
            let message = format!(
                "`{location}` would stand in for what `{vault_name}` requires by now, and {} \
                 points would be out of reach: that is not what was shown",
                missing.points
            );
            return Err(Error::new(Code::RegionPlanChanged, message));
        }
    }
    Ok(())
}

/// Of the locations of a region that follow a vault, the one that is chosen.
pub(super) struct Choice<T> {
    pub(super) chosen: Option<T>,
    /// Those that would have been chosen before it, and cannot be used.
    pub(super) refused: Vec<(Name, Error)>,
}

/// The one that lacks least of those that can be used.
pub(super) async fn choose(
    house: &House,
    vault: &VaultRow,
    region: &Name,
    claim: Option<&Claim>,
) -> Result<Choice<(Taking, Place)>> {
    let query = house.ledger.query();
    let rows: BTreeMap<Name, LocationRow> =
        query.locations()?.into_iter().map(|row| (row.name.clone(), row)).collect();
    // A claim is for good: whoever goes on with it takes what it says.
    let is_claimed = |name: &Name| {
        claim.is_none_or(|claim| {
            let mut taken = claim.taken.iter().flatten();
            taken.any(|taken| taken.vault == vault.id && taken.location == *name)
        })
    };
    let (mut asked, mut opened) = (Vec::new(), Vec::new());
    for name in vault.following() {
        let is_here = rows.get(name).is_some_and(|row| row.region == *region);
        if !is_here || !is_claimed(name) {
            continue;
        }
        asked.push((name.clone(), query.copies_in(&vault.id, name)?));
        opened.push(usable(house, vault, name).await);
    }
    let counted = count(house, vault.id, asked.clone()).await?;
    let Choice { chosen, refused } = least(asked.into_iter().zip(counted).zip(opened));
    let chosen = chosen.map(|(((location, row), missing), place)| {
        let taking = Taking {
            vault: vault.id,
            vault_name: vault.name.clone(),
            location,
            state: row.as_ref().map(|row| row.state),
            whole: row.and_then(|row| row.whole),
            missing,
        };
        (taking, place)
    });
    Ok(Choice { chosen, refused })
}

/// How a location is known, and what it lacks.
type Counted = ((Name, Option<CopyRow>), Missing);

/// The first that can be used, and those before it that cannot: the fewer points one lacks, the
/// earlier it comes. One that lacks as many as the chosen one would have been no better.
fn least<T>(found: impl Iterator<Item = (Counted, Result<T>)>) -> Choice<(Counted, T)> {
    let mut found: Vec<_> = found.collect();
    found.sort_by(|(((a, _), one), _), (((b, _), other), _)| {
        (one.points, a).cmp(&(other.points, b))
    });
    let mut refused = Vec::new();
    for (counted, opened) in found {
        let points = counted.1.points;
        match opened {
            Err(error) => refused.push((points, (counted.0.0, error))),
            Ok(it) => {
                refused.retain(|(fewer, _)| *fewer < points);
                let refused = refused.into_iter().map(|(_, one)| one).collect();
                return Choice { chosen: Some((counted, it)), refused };
            }
        }
    }
    Choice { chosen: None, refused: refused.into_iter().map(|(_, one)| one).collect() }
}

/// Of each of some locations of a vault, the points that are not known to lie there.
async fn count(
    house: &House,
    vault: VaultId,
    asked: Vec<(Name, Option<CopyRow>)>,
) -> Result<Vec<Missing>> {
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let ledger = house.ledger.clone();
    let count = move || missing(ledger.query(), vault, &asked);
    house.tasks.run_blocking("points", count).await
}

/// What a source is, for whoever asks how far back he is thrown.
type SourceKey = (Option<Name>, String, AgentId);

fn missing(
    query: Query<'_>,
    vault: VaultId,
    asked: &[(Name, Option<CopyRow>)],
) -> Result<Vec<Missing>> {
    let mut found: Vec<(Missing, BTreeMap<SourceKey, Source>)> =
        vec![Default::default(); asked.len()];
    let mut there: Vec<BTreeMap<SourceKey, PointRow>> = vec![BTreeMap::new(); asked.len()];
    for point in query.points(None) {
        let point = point?;
        let counts =
            point.vault == vault && point.lost.is_none() && point.state != PointState::Checkpoint;
        if !counts {
            continue;
        }
        let what = if point.policy.is_some() { String::new() } else { point.source.clone() };
        let key = (point.policy.clone(), what, point.agent);
        for (at, (name, copies)) in asked.iter().enumerate() {
            let confirms = copies.as_ref().is_none_or(CopyRow::confirms);
            if confirms && point.locations.contains(name) {
                there[at].entry(key.clone()).or_insert_with(|| point.clone());
                continue;
            }
            let (all, sources) = &mut found[at];
            all.points += 1;
            all.oldest = Some(point.committed);
            let source = sources.entry(key.clone()).or_insert_with(|| Source::of(&point));
            source.note(&point);
        }
    }
    let ended = found.into_iter().zip(there).map(|((mut missing, sources), mut there)| {
        for (key, source) in sources {
            missing.sources.push(Source { reachable: there.remove(&key), ..source });
        }
        missing.name_no_more_than(limits::POINTS_OUT_OF_REACH_TOLD_MAX);
        missing
    });
    Ok(ended.collect())
}

impl Source {
    fn of(newest: &PointRow) -> Self {
        let (oldest, first) = (newest.committed, Vec::new());
        Self { newest: newest.clone(), oldest, points: 0, first, reachable: None }
    }

    /// Newest first.
    fn note(&mut self, point: &PointRow) {
        self.points += 1;
        self.oldest = point.committed;
        if self.first.len() < limits::POINTS_OUT_OF_REACH_TOLD_MAX {
            self.first.push(point.id);
        }
    }
}

impl Missing {
    /// Sources without end would be told without end: the most recent losses are named.
    fn name_no_more_than(&mut self, most: usize) {
        self.sources.sort_by_key(|source| std::cmp::Reverse(source.newest.committed));
        let mut left = most;
        for source in &mut self.sources {
            source.first.truncate(left.min(source.first.len()));
            left -= source.first.len();
        }
        self.sources.truncate(most);
    }
}

/// The first of what is taken that can stand in for nothing any more: its vault does not have it,
/// or it lies in another region. To be required by now is as good.
pub(super) fn unfit(query: &Query<'_>, region: &Name, taken: &[Taken]) -> Result<Option<Taken>> {
    let rows = query.locations()?;
    for one in taken {
        let is_it = |row: &LocationRow| row.name == one.location && row.region == *region;
        let is_held = query.vault(&one.vault)?.holding().any(|name| *name == one.location);
        if !is_held || !rows.iter().any(is_it) {
            return Ok(Some(one.clone()));
        }
    }
    Ok(None)
}

/// What a vault required that is suspended, and that is not back: what it lacks may lie there.
pub(crate) fn awaited(query: &Query<'_>, vault: &VaultRow) -> Result<Vec<Name>> {
    let Some(epoch) = query.epoch()? else { return Ok(Vec::new()) };
    let held: BTreeSet<&Name> = vault.holding().collect();
    let awaited = epoch.suspended_of(&vault.id).filter(|name| !held.contains(name));
    Ok(awaited.cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{Crowd, VAULT, id, moment, name, vault};
    use holdfast_ledger::row::Beside;

    fn copies(called: &str, anew: bool) -> (Name, Option<CopyRow>) {
        let row = CopyRow {
            vault: VAULT,
            location: name(called),
            opened: 3,
            state: CopyState::Copying,
            since: Timestamp::ZERO,
            whole: None,
            oldest: None,
            points: 0,
            bytes: 0,
            problem: None,
            left: None,
            anew: anew.then_some(true),
            taken: None,
            seen: None,
        };
        (name(called), Some(row))
    }

    #[test]
    fn what_would_be_out_of_reach_is_told_by_source_with_what_is_newest_there() {
        let mut crowd = Crowd::default();
        let both = || vec![name("main"), name("far")];
        crowd.point(5, |row| row.locations = both());
        crowd.point(6, |row| row.locations = both());
        crowd.point(7, |row| row.locations = vec![name("main")]);
        crowd.point(8, |row| row.locations = vec![name("main")]);
        crowd.point(9, |row| {
            row.policy = Some(name("nightly"));
            row.locations = both();
        });
        crowd.point(10, |row| {
            row.state = PointState::Checkpoint;
            row.locations = vec![name("main")];
        });
        crowd.point(11, |row| {
            row.lost = Some(moment(12));
            row.locations = vec![name("main")];
        });
        let asked = [copies("far", false), copies("fresh", false), copies("far", true)];
        let told = crowd.ask(|query| missing(query, VAULT, &asked)).unwrap();
        let far = &told[0];
        assert_eq!((far.points, far.oldest), (2, Some(moment(7))));
        let [source] = &far.sources[..] else { panic!("one source: {far:?}") };
        assert_eq!((source.points, source.oldest), (2, moment(7)));
        assert_eq!(source.newest.id, PointId::from_bytes(id(8)));
        assert_eq!(source.first, [8, 7].map(|number| PointId::from_bytes(id(number))));
        let reachable = source.reachable.as_ref().map(|point| point.id);
        assert_eq!(reachable, Some(PointId::from_bytes(id(6))));
        for nothing in &told[1..] {
            assert_eq!((nothing.points, nothing.sources.len()), (5, 2), "nothing is known of it");
            assert!(nothing.sources.iter().all(|source| source.reachable.is_none()));
        }
    }

    #[test]
    fn what_is_told_has_a_bound() {
        let mut crowd = Crowd::default();
        for number in 0..limits::POINTS_OUT_OF_REACH_TOLD_MAX as u64 + 50 {
            crowd.point(number, |_| ());
        }
        let told = crowd.ask(|query| missing(query, VAULT, &[copies("far", false)])).unwrap();
        assert_eq!(told[0].points, limits::POINTS_OUT_OF_REACH_TOLD_MAX as u64 + 50);
        let named: usize = told[0].sources.iter().map(|source| source.first.len()).sum();
        assert_eq!(named, limits::POINTS_OUT_OF_REACH_TOLD_MAX);
    }

    fn lacking(points: u64) -> Missing {
        Missing { points, ..Missing::default() }
    }

    #[test]
    fn the_one_that_lacks_least_is_chosen_and_whatever_would_be_better_is_named() {
        let refused = || Err(Error::new(Code::LocationIoFailed, "away"));
        let found = |all: &[(&str, u64, bool)]| {
            let found = all.iter().map(|(called, points, is_open)| {
                let opened = if *is_open { Ok(()) } else { refused() };
                ((copies(called, false), lacking(*points)), opened)
            });
            let Choice { chosen, refused } = least(found);
            let best = chosen.map(|(counted, ())| counted.0.0.to_string());
            (best, refused.into_iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>())
        };
        let told = |best: &str, refused: &[&str]| {
            let refused = refused.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            (Some(best.to_owned()).filter(|best| !best.is_empty()), refused)
        };
        assert_eq!(found(&[]), told("", &[]));
        assert_eq!(found(&[("b", 3, true), ("c", 2, true), ("a", 3, true)]), told("c", &[]));
        assert_eq!(found(&[("b", 3, true), ("a", 3, true)]), told("a", &[]));
        let away = [("a", 2, false), ("b", 1, false), ("c", 3, true), ("d", 3, false)];
        assert_eq!(found(&away), told("c", &["b", "a"]));
        assert_eq!(found(&[("a", 3, false), ("b", 3, true)]), told("b", &[]), "no better");
        assert_eq!(found(&[("a", 3, false)]), told("", &["a"]));
    }

    #[test]
    fn what_is_claimed_is_what_was_shown_or_less_is_lost() {
        let taking = |location: &str, points| Taking {
            vault: VAULT,
            vault_name: name("files"),
            location: name(location),
            state: None,
            whole: None,
            missing: lacking(points),
        };
        let shown = |location: &str, points| {
            let (vault, location) = (name("files"), name(location));
            [Accepted { vault, location, points }]
        };
        let insist = |taken: &[Taking], shown: Option<&[Accepted]>| {
            insist_on_shown(taken, shown).map_err(|error| error.code)
        };
        insist(&[taking("far", 500)], None).expect("whoever wants to be shown nothing");
        insist(&[], Some(&shown("far", 1))).expect("nothing is lost any more");
        for (points, is_taken) in [(4, true), (5, true), (6, false)] {
            let told = insist(&[taking("far", points)], Some(&shown("far", 5)));
            assert_eq!(told.is_ok(), is_taken, "{points}");
        }
        let another = insist(&[taking("far", 0)], Some(&shown("further", 5)));
        assert_eq!(another, Err(Code::RegionPlanChanged));
        assert_eq!(insist(&[taking("far", 0)], Some(&[])), Err(Code::RegionPlanChanged));
    }

    #[test]
    fn what_a_vault_does_not_have_any_more_stands_in_for_nothing() {
        let following = vec![name("far"), name("near")];
        let beside = Beside { following, ..Beside::default() };
        let mut crowd = Crowd::default();
        crowd.put(&VaultRow { beside: Some(beside), ..vault() });
        for (called, region) in [("far", "dr"), ("near", "eu"), ("unused", "dr")] {
            crowd.put(&LocationRow {
                name: name(called),
                url: format!("local:/srv/{called}"),
                region: name(region),
                revision: 1,
                disabled: None,
            });
        }
        let taken = |called: &str| Taken { vault: VAULT, location: name(called) };
        let found = crowd.ask(|query| {
            let unfit = |other: &str| unfit(&query, &name("dr"), &[taken("far"), taken(other)]);
            ["far", "near", "unused"].map(|other| unfit(other).unwrap())
        });
        assert_eq!(found, [None, Some(taken("near")), Some(taken("unused"))]);
    }
}
