//! Queues a run. The row is the order: whichever coordinator holds the agent's stream sees it.

use super::{Apply, Outcome, put_policy::check_source};
use crate::{
    row::{AgentRow, RunKind, RunRow, RunState, VerifyRow, point::time_key},
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
        match self.run.kind {
            RunKind::Verify => self.check_verification(apply)?,
            RunKind::Backup | RunKind::Restore => {
                self.check_restore(apply)?;
                self.check_agent(apply)?;
            }
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

    /// A verification reads one point that another agent made, and writes nothing anywhere. Only a
    /// verifier is given one.
    fn check_verification(&self, apply: &Apply<'_, '_>) -> Result<()> {
        let run = &self.run;
        let (Some(id), Some(verify), None) = (&run.agent, &run.verify, &run.restore) else {
            let message = "a verification is of a point, by an agent";
            return Err(Error::new(Code::UsageMalformed, message));
        };
        let (agent, point) = (apply.agent(id)?, apply.point(&verify.point)?);
        if point.agent == agent.id {
            let message = format!("the agent `{}` made the point {}", agent.name, point.id);
            return Err(Error::new(Code::AgentIsSource, message));
        }
        if !agent.is_verifier() {
            let message = format!("the agent `{}` is no verifier", agent.name);
            return Err(Error::new(Code::AgentDutyOther, message));
        }
        if point.vault != run.vault || *verify != VerifyRow::of(point.id) {
            let message = "a verification begins with its point, in its vault";
            return Err(Error::new(Code::UsageMalformed, message));
        }
        Ok(())
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

    /// Whoever verifies does nothing else. In this order, so that members of older levels give the
    /// same reason.
    fn check_agent(&self, apply: &Apply<'_, '_>) -> Result<()> {
        if self.run.verify.is_some() {
            let message = "only a verification is told what to verify";
            return Err(Error::new(Code::UsageMalformed, message));
        }
        match &self.run.agent {
            Some(id) => match apply.agent(id)? {
                agent if agent.is_verifier() => Err(only_verifies(&agent)),
                _ => Ok(()),
            },
            None => Ok(()),
        }
    }

    /// Two restores of one agent into one directory would undo each other's work; a restore that
    /// its asker does by himself is on a host that we do not know.
    fn is_same_work(&self, open: &RunRow) -> bool {
        let new = &self.run;
        if new.agent.is_none() || open.agent != new.agent {
            return false;
        }
        if let (Some(open), Some(new)) = (&open.verify, &new.verify) {
            return open.point == new.point;
        }
        if open.kind != new.kind {
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

/// A verifier reads what others made, and is given nothing else to do.
pub(super) fn only_verifies(agent: &AgentRow) -> Error {
    let message = format!("the agent `{}` is a verifier, and does nothing else", agent.name);
    Error::new(Code::AgentDutyOther, message)
}
