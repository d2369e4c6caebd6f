//! Runs that are running in the ledger and that their agent does not know: lost with its process,
//! or another one's, whose host has the same identity.
//!
//! ```text
//!   hello without a run that is running
//!     this member knew the process before, and its line is gone ─▶ a restart: ended at once
//!     nobody here knows who held the seat ─▶ ended when no other process came for a while
//! ```
//!
//! What a member knew of a process ends with the member; after that whoever says hello first knows
//! nothing of the other one, and must not speak for it.

use crate::{
    agents::{
        doubles::ANSWER_PATIENCE,
        hub::{Line, Process},
    },
    house::House,
};
use holdfast_common::{AgentId, Code, Result, RunId};
use holdfast_ledger::{
    Actor,
    command::EndRun,
    envelope::Refusal,
    row::{RunRow, RunState},
};
use std::{future::pending, time::Duration};

/// How long an agent that lost its coordinator takes to come back: the longest pause between its
/// attempts, and the attempt.
const RETURN: Duration = Duration::from_secs(6);
/// By then any other process has come back, and was heard or given up.
const PATIENCE: Duration = RETURN.saturating_add(ANSWER_PATIENCE);

/// An agent's running runs but for those that it knows.
pub(crate) fn runs(house: &House, agent: AgentId, known: &[RunId]) -> Result<Vec<RunId>> {
    let is_forgotten = |run: &RunRow| {
        run.agent == Some(agent) && run.state == RunState::Running && !known.contains(&run.id)
    };
    let open = house.ledger.query().open_runs()?;
    Ok(open.into_iter().filter(is_forgotten).map(|run| run.id).collect())
}

/// Whether this process came after another one that was here last: an agent that is too old to
/// draw a number always did.
pub(crate) fn is_restart(house: &House, agent: AgentId, process: Option<Process>) -> Result<bool> {
    let Some(process) = process else { return Ok(true) };
    let seat = house.ledger.query().seat(&agent)?.and_then(|seat| seat.member);
    let was_here = seat.is_none_or(|member| member == house.node_id);
    Ok(was_here && house.hub.last_process(&agent).is_some_and(|last| last != process))
}

pub(crate) async fn end(house: &House, runs: &[RunId]) -> Result<()> {
    for run in runs {
        let error = Some(Refusal {
            code: Code::RunInterrupted.name().to_owned(),
            message: "the agent was restarted during the run".to_owned(),
            next: None,
        });
        let state = RunState::Interrupted;
        let command = EndRun { run: *run, state, error, silent_since: None };
        house.ledger.propose(Actor::System, command).await?;
    }
    Ok(())
}

/// Ends them when no other process of this identity came. Returns where that failed: on a line
/// that is opened anew it is tried anew.
pub(crate) async fn end_when_alone(house: &House, line: &Line, runs: &[RunId]) {
    if runs.is_empty() {
        return pending().await;
    }
    tokio::time::sleep(PATIENCE).await;
    if house.hub.is_alone(line)
        && let Err(error) = end(house, runs).await
    {
        tracing::warn!(agent = %line.agent, %error, "runs that the agent lost were not ended");
        return;
    }
    pending().await
}
