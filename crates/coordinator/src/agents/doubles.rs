//! Two hosts with one identity: a machine that was cloned, state directory and all.
//!
//! ```text
//!   hello of process 8 ─▶ is there a line of another process, here or where its seat is?
//!        none, or it says nothing for a while ─▶ a restart: the newest line counts
//!        it is heard again ─▶ two live: both stay, neither gets work, `status` says so
//! ```
//!
//! A killed process closes its line with it, so that a restart waits for nobody. A line that died
//! without a word is given up when it was not heard for longer than a heartbeat. An agent that
//! draws no number is taken as ever: its newest line counts.
//!
//! Of a rival at another member is known what that member says. One that does not answer, or is
//! too old for the question, is taken for one without a line.

use crate::{
    agents::hub::{DOUBT, Process},
    house::House,
};
use holdfast_common::{AgentId, Result, Timestamp};
use holdfast_wire::v1::{self, RivalLine};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What an agent that lives lets pass at most before it says something again.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(5);
pub(crate) const ANSWER_PATIENCE: Duration = Duration::from_millis(6_500);
const LOOK: Duration = Duration::from_millis(250);
const TICK: Duration = Duration::from_secs(1);
const _: () = assert!(ANSWER_PATIENCE.as_millis() > HEARTBEAT.as_millis());
const _: () = assert!(DOUBT.as_millis() > 2 * ANSWER_PATIENCE.as_millis());

/// Whether this process is one of two that live; a rival that says nothing is dropped.
pub(crate) async fn meet(house: &House, agent: AgentId, process: Process) -> bool {
    let (first, member) = rivals(house, &agent, process, false).await;
    if first.is_empty() {
        return house.hub.is_in_doubt(&agent);
    }
    let deadline = Instant::now() + ANSWER_PATIENCE;
    while Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
        let (lines, member) = rivals(house, &agent, process, false).await;
        if lines.is_empty() {
            return house.hub.is_in_doubt(&agent);
        }
        if lines.iter().any(|line| is_alive(line, &first)) {
            doubt(house, agent, member);
            rivals(house, &agent, process, true).await;
            tracing::warn!(%agent, "two processes have one identity: neither gets orders");
            return true;
        }
    }
    if member.is_none() {
        house.hub.drop_lines(&agent, |number| first.iter().any(|line| line.number == number));
    }
    house.hub.is_in_doubt(&agent)
}

/// Heard since it was looked at first, or come since.
fn is_alive(line: &RivalLine, first: &[RivalLine]) -> bool {
    first.iter().all(|one| one.number != line.number || one.reports < line.reports)
}

/// Lines of other processes here, or else where the agent's seat is, and who that is.
async fn rivals(
    house: &House,
    agent: &AgentId,
    process: Process,
    doubled: bool,
) -> (Vec<RivalLine>, Option<u64>) {
    let here = house.hub.rivals(agent, process);
    if !here.is_empty() {
        return (here, None);
    }
    let seat = house.ledger.query().seat(agent).ok().flatten();
    let member = seat.and_then(|seat| seat.member).filter(|member| *member != house.node_id);
    let Some(member) = member else { return (here, None) };
    let there = house.ledger.peers().rivals(member, agent, process.0, doubled).await;
    (there.unwrap_or_default(), Some(member))
}

fn doubt(house: &House, agent: AgentId, elsewhere: Option<u64>) {
    let (now, known) = (house.ledger.now(), house.clock.elapsed());
    house.hub.doubt(agent, now, known, elsewhere.is_some());
}

/// What another member asks: whom it has a rival of.
pub(crate) fn asked(house: &House, agent: AgentId, asked: &v1::RivalsRequest) -> Vec<RivalLine> {
    let lines = house.hub.rivals(&agent, Process(asked.process));
    if asked.doubled && !lines.is_empty() {
        doubt(house, agent, None);
    }
    lines
}

/// A reconciler: doubts stand for as long as both are there, wherever each is.
pub(crate) async fn keep(house: Arc<House>, shutdown: CancellationToken) -> Result<()> {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(TICK) => {}
        }
        for (agent, process) in house.hub.with_rivals_elsewhere() {
            let (lines, member) = rivals(&house, &agent, process, true).await;
            if !lines.is_empty() {
                doubt(&house, agent, member);
            }
        }
        house.hub.settle_doubts(house.clock.elapsed());
    }
}

/// For whoever looks at `status`.
pub(crate) fn alarms(house: &House) -> Vec<v1::Alarm> {
    let alarm = |(agent, since): (AgentId, Timestamp)| {
        let name = house.ledger.query().agent(&agent).ok()?.name;
        Some(v1::Alarm {
            code: "source.agent_doubled".to_owned(),
            subject: name.to_string(),
            since_ns: Some(since.as_nanos()),
            next: format!(
                "two processes are `{name}`, and neither gets orders: on the copy stop the agent, \
                 remove its directory and join it anew: `holdfast agent token`"
            ),
        })
    };
    house.hub.doubts().into_iter().filter_map(alarm).collect()
}
