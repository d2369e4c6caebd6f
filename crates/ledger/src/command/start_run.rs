//! Queues a run. The row is the order: whichever coordinator holds the agent's stream sees it.

use super::{Apply, Outcome, put_policy::check_source};
use crate::{
    row::{RunKind, RunRow, RunState, point::time_key},
    tables::Table,
};
use holdfast_common::{Code, Error, Result, limits};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct StartRun {
    #[n(0)]
    pub run: RunRow,
}

impl StartRun {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        if apply.tables.row::<RunRow>(self.run.id.as_bytes())?.is_some() {
            return Ok(Outcome::Unchanged);
        }
        self.check_restore(apply)?;
        if let Some(agent) = &self.run.agent {
            apply.agent(agent)?;
        }
        apply.vault(&self.run.vault)?;
        check_source(&self.run.source)?;
        for (id, _) in apply.tables.scan(Table::RunOpen, &[], limits::LIST_PAGE_ROWS)? {
            let open: RunRow = match apply.tables.row(&id)? {
                Some(open) => open,
                None => continue,
            };
            if self.is_same_work(&open) {
                return Err(Error::new(
                    Code::RunBusy,
                    format!("run {} of the same work has not ended", open.id),
                ));
            }
        }
        let run = RunRow { state: RunState::Queued, created: apply.time, ..self.run.clone() };
        let order = time_key(run.created, run.id.as_bytes());
        apply.tables.put_raw(Table::RunTime, &order, run.id.as_bytes().to_vec())?;
        apply.put_run(&run)?;
        Ok(Outcome::At(apply.index))
    }

    /// A restore reads one point, out of the vault that it names; only an agent makes a safety
    /// point, and a backup is always an agent's.
    fn check_restore(&self, apply: &Apply<'_, '_>) -> Result<()> {
        let malformed = |message: &str| Err(Error::new(Code::UsageMalformed, message));
        let run = &self.run;
        let Some(restore) = &run.restore else {
            return match (run.kind, run.agent) {
                (RunKind::Backup, Some(_)) => Ok(()),
                _ => malformed("a run without a point to restore is a backup by an agent"),
            };
        };
        if run.kind != RunKind::Restore || (run.agent.is_none() && restore.options.safety) {
            return malformed("a safety point is made by an agent that restores");
        }
        let paths = restore.paths.as_ref().map_or(0, |paths| paths.len());
        let target = &restore.target;
        if paths > limits::RESTORE_PATHS_BYTES_MAX || target.len() > limits::PATH_BYTES_MAX / 4 {
            return Err(Error::new(Code::LimitExceeded, "too many paths to restore at once")
                .next("restore a directory above them"));
        }
        match apply.point(&restore.point)? {
            point if point.vault == run.vault => Ok(()),
            _ => malformed("the point lies in another vault"),
        }
    }

    /// Two restores of one agent into one directory would undo each other's work; a restore that
    /// its asker does by himself is on a host that we do not know.
    fn is_same_work(&self, open: &RunRow) -> bool {
        let new = &self.run;
        if new.agent.is_none() || open.agent != new.agent {
            return false;
        }
        match (&open.restore, &new.restore) {
            (Some(open), Some(new)) => open.target == new.target,
            (None, None) => match (&open.policy, &new.policy) {
                (Some(old), Some(new)) => old == new,
                (None, None) => open.source == new.source,
                _ => false,
            },
            _ => false,
        }
    }
}
