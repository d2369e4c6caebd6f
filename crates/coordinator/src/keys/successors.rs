//! Which points make up for those that are lost with a version of the keys.
//!
//! The ledger judges the ones that are named here, and walks over no others. The newest come first,
//! so one of each source does mostly, and nothing is looked at behind the last that is needed. What
//! needs a lost pack makes up for nothing: that stands in no row, and was read. Where nothing makes
//! up for a point, the ledger says so.

use super::loss::Loss;
use holdfast_common::{Name, PointId, Result};
use holdfast_ledger::{
    Query,
    retention::Gaps,
    row::{PolicyRow, VaultRow},
};
use std::collections::BTreeSet;

/// In the order of their ids.
pub(super) fn successors(query: Query<'_>, vault: &VaultRow, loss: &Loss) -> Result<Vec<PointId>> {
    let confirming = confirming(&query, vault)?;
    let stands = |policy: &Name| Ok(query.row::<PolicyRow>(policy.as_str().as_bytes())?.is_some());
    let mut gaps = Gaps::of(&loss.points, &confirming, stands)?;
    let lost: BTreeSet<PointId> = loss.points.iter().map(|point| point.id).collect();
    let (mut named, mut newest_first) = (Vec::new(), query.points(None));
    while gaps.first().is_some() {
        let Some(point) = newest_first.next().transpose()? else { break };
        let goes = lost.contains(&point.id) || loss.damaged.contains(&point.id);
        if point.vault == vault.id && !goes && gaps.fill(&point) {
            named.push(point.id);
        }
    }
    named.sort_unstable();
    Ok(named)
}

/// Locations in which points lie as is said of them.
fn confirming<'a>(query: &Query<'_>, vault: &'a VaultRow) -> Result<Vec<&'a Name>> {
    let mut confirming = Vec::new();
    for name in vault.holding() {
        if query.copies_in(&vault.id, name)?.is_none_or(|row| row.confirms()) {
            confirming.push(name);
        }
    }
    Ok(confirming)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{self, Crowd, id, name};
    use holdfast_ledger::row::{PointRow, SourceSpec};

    fn policy() -> PolicyRow {
        let (paths, exclude, include) = (vec![b"/srv".to_vec().into()], Vec::new(), None);
        PolicyRow {
            name: name("docs"),
            agent: name("host"),
            vault: name("main"),
            source: SourceSpec::Files { paths, exclude, one_file_system: false, include },
            required: Vec::new(),
            level: 3,
            bytes_per_second_max: 0,
            revision: 1,
            retention: None,
            class: None,
            retained_since: None,
        }
    }

    fn vault() -> VaultRow {
        VaultRow { required: vec![name("main"), name("far")], ..crowd::vault() }
    }

    /// Of `main` and of the policy; the first two also of `far`.
    fn row(number: u64) -> PointRow {
        let locations = [Some(name("main")), (number < 3).then(|| name("far"))];
        let locations = locations.into_iter().flatten().collect();
        PointRow { policy: Some(name("docs")), locations, ..Crowd::row(number) }
    }

    fn named(lost: &[u64], damaged: &[u64]) -> Vec<PointId> {
        let mut crowd = Crowd::default();
        crowd.put(&policy());
        for number in 1..=5 {
            crowd.point(number, |point| *point = row(number));
        }
        // Somebody else's source, and a point that no policy made.
        crowd.point(6, |point| *point = PointRow { source: "files:/etc".to_owned(), ..row(6) });
        crowd.point(7, |_| ());
        let points = lost.iter().map(|number| row(*number)).collect();
        let damaged = damaged.iter().map(|number| PointId::from_bytes(id(*number))).collect();
        let loss = Loss { points, damaged, ..Loss::default() };
        crowd.ask(|query| successors(query, &vault(), &loss).unwrap())
    }

    fn ids(numbers: &[u64]) -> Vec<PointId> {
        numbers.iter().map(|number| PointId::from_bytes(id(*number))).collect()
    }

    #[test]
    fn the_newest_that_stay_make_up_for_what_is_lost_unless_they_need_a_lost_pack() {
        assert_eq!(named(&[3], &[]), ids(&[5]));
        assert_eq!(named(&[3], &[5]), ids(&[4]));
        assert_eq!(named(&[3, 5], &[4]), ids(&[]), "nothing is left, which the ledger says");
        assert_eq!(named(&[1], &[]), ids(&[2, 5]), "`far` has a newer one too");
        assert_eq!(named(&[1], &[2]), ids(&[5]), "none that is whole lies in `far`");
        assert_eq!(named(&[], &[]), ids(&[]));
    }
}
