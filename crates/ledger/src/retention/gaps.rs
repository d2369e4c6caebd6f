//! What points leave open that go with their keys: for each of them something newer of its source
//! has to stay that is as good, and something newer in each location that has it.
//!
//! Whoever proposes finds points that fill all of it, and names them; the ledger looks at these and
//! at no others. What such a point needs does not stand in its row: that no pack of it is lost,
//! whoever names it has read.

use super::{Size, is_scheduled, succeeds};
use crate::row::PointRow;
use holdfast_common::{AgentId, Name, Result};
use std::collections::BTreeMap;

/// Of points that are to be lost.
#[derive(Debug)]
pub struct Gaps<'a>(BTreeMap<Source, Vec<Gap<'a>>>);

/// What backups of one policy are of.
type Source = (Option<Name>, AgentId, String);

/// One of them, and nothing that stays makes up for it, as far as was looked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gap<'a> {
    pub point: &'a PointRow,
    /// Where something has to; none: anywhere.
    pub location: Option<&'a Name>,
}

impl<'a> Gaps<'a> {
    /// Those that came about under a policy that stands count; `confirming` are the locations in
    /// which points lie as is said of them.
    pub fn of(
        lost: &'a [PointRow],
        confirming: &[&'a Name],
        stands: impl Fn(&Name) -> Result<bool>,
    ) -> Result<Self> {
        let mut gaps: BTreeMap<Source, Vec<Gap<'a>>> = BTreeMap::new();
        for point in lost.iter().filter(|point| point.state.is_scheduled() && point.lost.is_none())
        {
            let Some(policy) = &point.policy else { continue };
            if !stands(policy)? {
                continue;
            }
            let has_it = |name: &&&Name| point.locations.contains(name);
            let there = confirming.iter().filter(has_it).map(|name| Some(*name));
            let its = [None].into_iter().chain(there).map(|location| Gap { point, location });
            gaps.entry(source_of(point)).or_default().extend(its);
        }
        Ok(Self(gaps))
    }

    /// Whether a point that stays, of the same vault, makes up for any.
    pub fn fill(&mut self, stays: &PointRow) -> bool {
        let source = source_of(stays);
        let Some(gaps) = self.0.get_mut(&source) else { return false };
        let before = gaps.len();
        gaps.retain(|gap| !gap.is_filled_by(stays));
        let fills = gaps.len() < before;
        if gaps.is_empty() {
            self.0.remove(&source);
        }
        fills
    }

    /// One that nothing has filled.
    pub fn first(&self) -> Option<Gap<'a>> {
        self.0.values().flatten().next().copied()
    }
}

fn source_of(point: &PointRow) -> Source {
    (point.policy.clone(), point.agent, point.source.clone())
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
}
