//! The directories beside the points themselves: by time, by policy, the latest. Pure.
//!
//! ```text
//!   points/<id>/…      by-time/<time> ─▶ ../points/<id>
//!   latest ─▶ …        by-policy/<policy>/<time> ─▶ ../../points/<id>      …/latest ─▶ <time>
//! ```
//!
//! Times are UTC, to the second. Of several points of one second the first one made has the plain
//! name, and later ones carry the beginning of their id, so that no name changes when one is added.

use crate::point::Listing;
use holdfast_common::{PointId, Timestamp, limits};
use std::collections::{BTreeMap, HashSet};

/// A name and what it stands for.
pub(crate) type Rows = Vec<(String, PointId)>;

#[derive(Debug, Default)]
pub(crate) struct Calendar {
    /// In the order of ids.
    points: Vec<(PointId, Timestamp)>,
    by_time: Rows,
    by_policy: BTreeMap<String, Policy>,
    latest: Option<PointId>,
}

#[derive(Debug, Default)]
pub(crate) struct Policy {
    rows: Rows,
    newest: Option<String>,
}

impl Calendar {
    pub(crate) fn of(listing: &Listing) -> Self {
        let listed = &listing.points[..listing.points.len().min(limits::MOUNT_POINTS_LISTED_MAX)];
        let mut points: Vec<_> = listed.iter().map(|row| (row.point, row.time)).collect();
        points.sort_unstable();
        points.dedup_by_key(|(point, _)| *point);
        let by_time = named(listed.iter().map(|row| (row.point, row.time)));
        let mut of_policies: BTreeMap<String, Vec<(PointId, Timestamp)>> = BTreeMap::new();
        for row in listed {
            if let Some(policy) = &row.policy {
                of_policies.entry(policy.clone()).or_default().push((row.point, row.time));
            }
        }
        let by_policy = of_policies.into_iter().map(|(policy, rows)| {
            let newest = rows.first().map(|(point, _)| *point);
            let rows = named(rows.into_iter());
            let newest = newest.and_then(|newest| rows.iter().find(|(_, point)| *point == newest));
            let newest = newest.map(|(name, _)| name.clone());
            (policy, Policy { rows, newest })
        });
        Self { points, by_time, by_policy: by_policy.collect(), latest: listing.latest }
    }

    pub(crate) fn points(&self) -> &[(PointId, Timestamp)] {
        &self.points
    }

    pub(crate) fn point(&self, point: &PointId) -> Option<Timestamp> {
        let at = self.points.binary_search_by_key(&point, |(listed, _)| listed).ok()?;
        Some(self.points[at].1)
    }

    pub(crate) fn by_time(&self) -> &Rows {
        &self.by_time
    }

    pub(crate) fn policies(&self) -> impl Iterator<Item = &str> {
        self.by_policy.keys().map(String::as_str)
    }

    pub(crate) fn policy(&self, name: &str) -> Option<&Policy> {
        self.by_policy.get(name)
    }

    pub(crate) fn latest(&self) -> Option<&PointId> {
        self.latest.as_ref().filter(|point| self.point(point).is_some())
    }
}

impl Policy {
    pub(crate) fn rows(&self) -> &Rows {
        &self.rows
    }

    pub(crate) fn newest(&self) -> Option<&str> {
        self.newest.as_deref()
    }
}

/// The point of a name, among rows in the order of their names.
pub(crate) fn find(rows: &Rows, name: &str) -> Option<PointId> {
    let at = rows.binary_search_by(|(row, _)| row.as_str().cmp(name)).ok()?;
    Some(rows[at].1)
}

/// Names for points that come newest first, in the order of the names.
fn named(points: impl DoubleEndedIterator<Item = (PointId, Timestamp)>) -> Rows {
    let mut taken = HashSet::new();
    let mut rows: Rows = Vec::new();
    for (point, time) in points.rev() {
        let plain = name_of(time);
        let name = match taken.insert(plain.clone()) {
            true => plain,
            false => format!("{plain}-{}", &point.to_string()[..8]),
        };
        rows.push((name, point));
    }
    rows.sort_unstable();
    rows
}

/// `2026-11-23T05-47-00Z`: sorts like its time, and needs no quotes anywhere.
fn name_of(time: Timestamp) -> String {
    let written = time.to_string();
    let to_the_second = written.split(['.', 'Z']).next().unwrap_or_default();
    format!("{}Z", to_the_second.replace(':', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::Listed;

    fn listed(id: u8, seconds: i64, policy: Option<&str>) -> Listed {
        Listed {
            point: PointId::from_bytes([id; 16]),
            time: Timestamp::from_nanos(seconds * 1_000_000_000 + 5),
            policy: policy.map(Into::into),
        }
    }

    fn names(rows: &Rows) -> Vec<&str> {
        rows.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn points_are_found_by_time_and_by_policy() {
        let points = vec![
            listed(3, 1_795_412_820, Some("nightly")),
            listed(2, 1_795_326_420, None),
            listed(1, 1_795_326_420, Some("nightly")),
        ];
        let calendar = Calendar::of(&Listing { points, latest: None });
        let times =
            ["2026-11-22T05-47-00Z", "2026-11-22T05-47-00Z-02020202", "2026-11-23T05-47-00Z"];
        assert_eq!(names(calendar.by_time()), times);
        assert_eq!(find(calendar.by_time(), times[1]), Some(PointId::from_bytes([2; 16])));
        assert_eq!(find(calendar.by_time(), "2026"), None);
        let policy = calendar.policy("nightly").unwrap();
        assert_eq!(names(policy.rows()), [times[0], times[2]]);
        assert_eq!(policy.newest(), Some(times[2]));
        assert_eq!(calendar.policies().collect::<Vec<_>>(), ["nightly"]);
    }

    #[test]
    fn the_newest_is_the_first_of_the_list_whatever_its_clock_said() {
        let points = vec![listed(2, 100, Some("a")), listed(1, 200, Some("a"))];
        let calendar = Calendar::of(&Listing { points, latest: None });
        assert_eq!(calendar.policy("a").unwrap().newest(), Some("1970-01-01T00-01-40Z"));
    }

    #[test]
    fn a_name_stays_when_a_point_of_its_second_is_added() {
        let old = vec![listed(9, 100, None)];
        let new = [vec![listed(1, 100, None)], old.clone()].concat();
        let of = |points| Calendar::of(&Listing { points, latest: None });
        let (before, after) = (of(old), of(new));
        let (name, point) = &before.by_time()[0];
        assert_eq!(find(after.by_time(), name), Some(*point));
        assert_eq!(after.by_time().len(), 2);
    }

    #[test]
    fn a_latest_that_is_not_listed_is_none() {
        let latest = Some(PointId::from_bytes([7; 16]));
        let calendar = Calendar::of(&Listing { points: vec![listed(1, 1, None)], latest });
        assert_eq!(calendar.latest(), None);
    }
}
