//! What a set of points needs, all together.

use crate::Reach;

/// Grows only: to forget a point is to mark anew.
#[derive(Clone, Debug, Default)]
pub struct Mark {
    needed: Reach,
    points: u64,
}

impl Mark {
    pub fn new() -> Self {
        Self::default()
    }

    /// A point that was left out makes the mark worthless: whoever cannot read a reach ends here.
    pub fn add(&mut self, reach: &Reach) {
        self.needed.union(reach);
        self.points += 1;
    }

    /// Whatever another one needs too.
    pub fn join(&mut self, other: &Self) {
        self.needed.union(&other.needed);
        self.points += other.points;
    }

    pub fn needed(&self) -> &Reach {
        &self.needed
    }

    pub fn points(&self) -> u64 {
        self.points
    }
}
