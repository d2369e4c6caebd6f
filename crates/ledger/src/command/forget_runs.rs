//! Forgets runs that ended long ago and of which no point is left. The audit log has them still.
//!
//! The points that a run names are looked at here. Others may be of it too, a checkpoint that was
//! held or what was taken in from a location: whoever proposes it has looked for those.

use super::{Apply, Outcome, conflict, forget_points::digest};
use crate::{
    row::{RunRow, point::time_key},
    tables::Table,
};
use holdfast_common::{Code, Error, PointId, Result, RunId, Timestamp, limits};
use minicbor::{Decode, Encode};
use std::time::Duration;

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct ForgetRuns {
    #[n(0)]
    pub runs: Vec<RunId>,
}

impl ForgetRuns {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_system()?;
        if self.runs.len() > limits::RUNS_FORGOTTEN_MAX {
            return Err(Error::new(Code::LimitExceeded, "too many runs to forget at once"));
        }
        let mut forgotten = 0;
        for id in &self.runs {
            let Some(run) = apply.tables.row::<RunRow>(id.as_bytes())? else { continue };
            let is_live = |point: &PointId| apply.tables.raw(Table::Point, point.as_bytes());
            for point in run.points() {
                if is_live(&point)?.is_some() {
                    return Err(conflict(format!("the point {point} of run {id} is there")));
                }
            }
            if !run.is_old(apply.time) {
                return Err(conflict(format!("run {id} has not ended long ago")));
            }
            apply.tables.remove(Table::RunTime, &time_key(run.created, run.id.as_bytes()));
            apply.tables.remove(Table::Run, run.id.as_bytes());
            forgotten += 1;
        }
        Ok(Outcome::Number(forgotten))
    }

    pub(super) fn subject(&self) -> String {
        format!("{}: {}", self.runs.len(), digest(self.runs.iter().map(RunId::as_bytes)))
    }
}

impl RunRow {
    /// The points that it made, as far as it says.
    pub fn points(&self) -> impl Iterator<Item = PointId> {
        let safety = self.restore.as_ref().and_then(|restore| restore.safety_point);
        [self.point, self.checkpoint, safety].into_iter().flatten()
    }

    /// Whether it ended so long ago that nobody asks for it any more.
    pub fn is_old(&self, now: Timestamp) -> bool {
        let kept = Duration::from_secs(limits::RUNS_KEPT_SECS);
        self.state.is_end() && self.ended.is_some_and(|ended| now.since(ended) > kept)
    }
}
