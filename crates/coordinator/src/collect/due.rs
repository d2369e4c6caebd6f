//! What may be deleted now: packs that were doomed, and points that were forgotten, long enough ago.
//!
//! ```text
//!   rows of packs, from where the last part ended ─→ doomed, old enough ─→ a part of packs
//!   forgotten points, old enough, and those that never came to be, with a doomed pack in them
//!      − those of which a pack is kept ─→ a part of points
//! ```
//!
//! Parts have a bound, and each goes on behind the one before, whatever became of that: a location
//! that is away keeps nothing from going elsewhere.

use super::is_old;
use holdfast_common::{PackId, PointId, Result, Timestamp, VaultId, limits};
use holdfast_ledger::{
    Query,
    row::{ForgottenRow, PackHome, PackRow, PackState},
};
use holdfast_repository::layout::ObjectName;
use std::collections::BTreeMap;

/// Doomed packs that are objects of their own.
#[derive(Debug, Default)]
pub(super) struct DuePacks {
    pub(super) packs: Vec<PackId>,
    /// Where the next part begins; none: this was the last.
    pub(super) after: Option<PackId>,
}

pub(super) fn due_packs(
    query: Query<'_>,
    vault: &VaultId,
    wait: &mut Wait,
    mut after: Option<PackId>,
) -> Result<DuePacks> {
    let mut packs = Vec::new();
    while packs.len() < limits::PACKS_COLLECTED_MAX {
        let page = query.packs(vault, after.as_ref())?;
        if page.is_empty() {
            return Ok(DuePacks { packs, after: None });
        }
        for pack in page {
            if packs.len() == limits::PACKS_COLLECTED_MAX {
                break;
            }
            after = Some(pack.id);
            if wait.is_over(&pack) && pack.home == PackHome::Object {
                packs.push(pack.id);
            }
        }
    }
    Ok(DuePacks { packs, after })
}

/// A point of which nothing is needed any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DuePoint {
    pub(super) id: PointId,
    /// Doomed packs inside its object.
    pub(super) packs: Vec<PackId>,
}

impl DuePoint {
    /// The record first: without it nobody takes the rest for a point.
    pub(super) fn names(&self) -> [ObjectName; 2] {
        [ObjectName::point(&self.id), ObjectName::reach(&self.id)]
    }
}

#[derive(Debug, Default)]
pub(super) struct DuePoints {
    pub(super) points: Vec<DuePoint>,
    /// Where the next part begins; none: this was the last.
    pub(super) after: Option<PointId>,
}

/// `before` is when the newest round began: what was forgotten later waits for the next one, with
/// whose end all of it was shipped. Points that never came to be come with the first part.
pub(super) fn due_points(
    query: Query<'_>,
    vault: &VaultId,
    wait: &mut Wait,
    before: Timestamp,
    after: Option<PointId>,
) -> Result<DuePoints> {
    let (mut homes, mut next) = (BTreeMap::new(), None);
    for row in query.forgotten_after(after.as_ref()) {
        let row = row?;
        let is_its = row.point.vault == *vault && row.gone.is_none() && row.when < before;
        if is_its && wait.is_over_for(&row) {
            homes.insert(row.point.id, Home::default());
        }
        if homes.len() == limits::POINTS_DELETED_MAX {
            next = Some(row.point.id);
            break;
        }
    }
    if after.is_none() {
        each_inline(query, vault, |home, pack| {
            let is_new = wait.is_over(pack) && !homes.contains_key(&home);
            if is_new && query.point_even_forgotten(&home)?.is_none() {
                homes.insert(home, Home::default());
            }
            Ok(())
        })?;
    }
    if !homes.is_empty() {
        each_inline(query, vault, |home, pack| {
            let is_over = wait.is_over(pack);
            match homes.get_mut(&home) {
                Some(home) if is_over => home.packs.push(pack.id),
                Some(home) => home.is_kept = true,
                None => {}
            }
            Ok(())
        })?;
    }
    let free = homes.into_iter().filter(|(_, home)| !home.is_kept);
    let points = free.map(|(id, home)| DuePoint { id, packs: home.packs }).collect();
    Ok(DuePoints { points, after: next })
}

/// What lies in a point's object.
#[derive(Debug, Default)]
struct Home {
    packs: Vec<PackId>,
    is_kept: bool,
}

fn each_inline(
    query: Query<'_>,
    vault: &VaultId,
    mut look: impl FnMut(PointId, &PackRow) -> Result<()>,
) -> Result<()> {
    let mut after = None;
    loop {
        let page = query.packs(vault, after.as_ref())?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id);
        for pack in &page {
            if let PackHome::Point(home, _) = pack.home {
                look(home, pack)?;
            }
        }
    }
}

/// What is old enough now, and when the next will be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    now: Timestamp,
    /// None: nothing waits.
    pub(super) next: Option<Timestamp>,
}

impl Wait {
    pub(super) fn at(now: Timestamp) -> Self {
        Self { now, next: None }
    }

    fn is_over(&mut self, pack: &PackRow) -> bool {
        let doomed = pack.doomed.filter(|_| pack.state == PackState::Doomed);
        doomed.is_some_and(|when| self.is_old(when))
    }

    fn is_over_for(&mut self, row: &ForgottenRow) -> bool {
        self.is_old(row.when)
    }

    fn is_old(&mut self, when: Timestamp) -> bool {
        if is_old(when, self.now) {
            return true;
        }
        let then = when.plus(super::DELAY);
        self.next = Some(self.next.map_or(then, |next| next.min(then)));
        false
    }
}
