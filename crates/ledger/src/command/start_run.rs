//! Queues a run. The row is the order: whichever coordinator holds the agent's stream sees it.

use super::{Apply, Outcome, put_policy::check_source};
use crate::{
    row::{RunRow, RunState, point::time_key},
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
        apply.agent(&self.run.agent)?;
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
                    format!("run {} of the same source has not ended", open.id),
                ));
            }
        }
        let run = RunRow { state: RunState::Queued, created: apply.time, ..self.run.clone() };
        let order = time_key(run.created, run.id.as_bytes());
        apply.tables.put_raw(Table::RunTime, &order, run.id.as_bytes().to_vec())?;
        apply.put_run(&run)?;
        Ok(Outcome::At(apply.index))
    }

    fn is_same_work(&self, open: &RunRow) -> bool {
        let new = &self.run;
        open.agent == new.agent
            && match (&open.policy, &new.policy) {
                (Some(old), Some(new)) => old == new,
                (None, None) => open.source == new.source,
                _ => false,
            }
    }
}
