//! The agents' line: orders down, reports up, for as long as both sides live.

use super::{caller, refuse};
use crate::{
    agents::{
        dispatch, doubles, forgotten, history,
        hub::{Line, NewLine, ORDERS_MAX, Process},
    },
    house::House,
    reading::{restoring, verifying},
};
use futures::Stream;
use holdfast_common::{AgentId, Code, Error, Result, RunId};
use holdfast_ledger::{Actor, command::EndRun};
use holdfast_runtime::tasks::{OnError, Tasks};
use holdfast_wire::{
    parse,
    status::from_status,
    v1::{self, agent_control_server::AgentControl, agent_order::Order, agent_report::Report},
};
use std::{pin::Pin, sync::Arc};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

pub(crate) struct AgentService {
    pub(crate) house: Arc<House>,
    pub(crate) tasks: Tasks,
}

type Orders = Pin<Box<dyn Stream<Item = Result<v1::AgentOrder, Status>> + Send>>;

#[tonic::async_trait]
impl AgentControl for AgentService {
    type AttachStream = Orders;

    async fn attach(
        &self,
        request: Request<Streaming<v1::AgentReport>>,
    ) -> Result<Response<Orders>, Status> {
        let agent = caller(&request).agent().map_err(refuse)?;
        let mut reports = request.into_inner();
        let hello = first_report(&mut reports).await.map_err(refuse)?;
        let runs: Vec<RunId> =
            hello.runs.iter().map(|id| parse::run_id(id)).collect::<Result<_>>().map_err(refuse)?;
        let (orders, receiver) = mpsc::channel(ORDERS_MAX);
        orders
            .try_send(welcome(&self.house))
            .map_err(|_| Status::internal("a new line is full"))?;
        if self.house.ledger.peers().insist_on_epoch().is_err() {
            // It was told where the side that leads is; here it gets no orders.
            return Ok(Response::new(Box::pin(ReceiverStream::new(receiver).map(Ok))));
        }
        // What is decided about its runs must not be older than what the agent knows.
        self.house.ledger.catch_up().await.map_err(refuse)?;
        history::compare(&self.house, agent, hello.told.as_ref()).await.map_err(refuse)?;
        let (process, verifies) = (hello.process.map(Process), hello.verifies);
        let line = NewLine { process, since: self.house.ledger.now(), orders, runs, verifies };
        let (line, lost) = take_line(&self.house, agent, line).await.map_err(refuse)?;
        tracing::info!(%agent, version = hello.version, "agent attached");
        dispatch::reconcile(&self.house).await.map_err(refuse)?;
        let house = self.house.clone();
        let token = self.tasks.token().clone();
        self.tasks.spawn("agent line", OnError::Log, async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = read_reports(&house, &line, reports) => {}
                () = forgotten::end_when_alone(&house, &line, &lost) => {}
            }
            Ok(())
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver).map(Ok))))
    }
}

/// The first order of a line, said again when the members changed.
pub(crate) fn welcome(house: &House) -> v1::AgentOrder {
    let told = house.shipping.told().map(history::render);
    let welcome = v1::Welcome {
        heartbeat_ms: doubles::HEARTBEAT.as_millis() as u64,
        endpoints: house.endpoints(),
        told,
        takes_ends: true,
    };
    v1::AgentOrder { order: Some(v1::agent_order::Order::Welcome(welcome)) }
}

async fn first_report(reports: &mut Streaming<v1::AgentReport>) -> Result<v1::AgentHello> {
    let first = reports.message().await.map_err(|status| from_status(&status))?;
    match first.and_then(|report| report.report) {
        Some(Report::Hello(hello)) => Ok(hello),
        _ => Err(Error::new(Code::UsageMalformed, "the first report is not a hello")),
    }
}

/// Of two processes with one identity neither says anything about the other's runs. Those that
/// were lost with another process, unless one of it comes, are told with the line.
async fn take_line(house: &House, agent: AgentId, mut line: NewLine) -> Result<(Line, Vec<RunId>)> {
    let process = line.process;
    let is_doubled = match process {
        Some(process) => doubles::meet(house, agent, process).await,
        None => false,
    };
    let mut lost = Vec::new();
    if !is_doubled {
        lost = forgotten::runs(house, agent, &line.runs)?;
        if forgotten::is_restart(house, agent, process)? {
            forgotten::end(house, &std::mem::take(&mut lost)).await?;
        }
    }
    // Whoever does them may still be there: nobody else is to begin them.
    line.runs.extend(&lost);
    line.since = house.ledger.now();
    if is_doubled {
        let line = house.hub.attach_in_doubt(agent, line).ok_or_else(|| {
            Error::new(Code::ClusterBusy, "too many processes have this agent's identity")
                .next("join each of the copies anew, with a token of its own")
        })?;
        return Ok((line, lost));
    }
    Ok((house.hub.attach(agent, line), lost))
}

async fn read_reports(house: &House, line: &Line, mut reports: Streaming<v1::AgentReport>) {
    let agent = line.agent;
    while let Ok(Some(report)) = reports.message().await {
        house.hub.saw(agent, line.number, house.ledger.now());
        let taken = match report.report {
            Some(Report::Progress(progress)) => note_progress(house, agent, progress),
            Some(Report::Ended(ended)) => take_end(house, line, ended).await,
            Some(Report::Hello(_) | Report::Heartbeat(_)) | None => Ok(()),
        };
        if let Err(error) = taken {
            tracing::warn!(%agent, %error, "a report was refused");
        }
    }
}

/// Says that an end was taken when it is agreed on, or can never be. What may be agreed on later,
/// or by another member, is told again on the agent's next line, which it is made to open.
async fn take_end(house: &House, line: &Line, end: v1::RunEnded) -> Result<()> {
    let run_id = end.run_id.clone();
    let ended = end_run(house, line.agent, end).await;
    if !is_settled(&ended) {
        house.hub.detach(&line.agent, line.number);
        return ended;
    }
    let order = Some(Order::EndTaken(v1::EndTaken { run_id }));
    // A line without room hears it when the end is told again.
    house.hub.answer(&line.agent, line.number, v1::AgentOrder { order });
    ended
}

/// Whether there is nothing more to say about a run whose end was told: agreed on, or refused for
/// what it is. Any other refusal is about this member or this moment.
fn is_settled(ended: &Result<()>) -> bool {
    let Err(error) = ended else { return true };
    matches!(
        error.code,
        Code::AuthDenied
            | Code::LimitExceeded
            | Code::RunMissing
            | Code::UsageIdMalformed
            | Code::UsageMalformed
    )
}

fn note_progress(house: &House, agent: AgentId, progress: v1::RunProgress) -> Result<()> {
    let run = parse::run_id(&progress.run_id)?;
    insist_on_own_run(house, agent, &run)?;
    house.hub.report(run, progress);
    Ok(())
}

fn insist_on_own_run(house: &House, agent: AgentId, run: &RunId) -> Result<()> {
    if house.ledger.query().run(run)?.agent == Some(agent) {
        return Ok(());
    }
    Err(Error::new(Code::AuthDenied, "the run belongs to another agent"))
}

async fn end_run(house: &House, agent: AgentId, ended: v1::RunEnded) -> Result<()> {
    let run = parse::run_id(&ended.run_id)?;
    insist_on_own_run(house, agent, &run)?;
    house.hub.forget_run(&run);
    let error = ended.error.map(Error::from);
    if let Some(restored) = ended.restored {
        return restoring::end(house, Actor::Agent(agent), run, restored, error).await;
    }
    let error = error.or(verifying::left_open(house, &run)?);
    let Some(error) = error else { return Ok(()) };
    let (state, error) = restoring::told_end(&error, "the agent");
    let command = EndRun { run, state, error: Some(error), silent_since: None };
    house.ledger.propose(Actor::Agent(agent), command).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_taken_when_it_is_agreed_on_or_can_never_be() {
        assert!(is_settled(&Ok(())));
        let refused = |code| Err(Error::new(code, "refused"));
        for code in [Code::RunMissing, Code::AuthDenied, Code::UsageMalformed] {
            assert!(is_settled(&refused(code)), "{code}: nobody will ever agree");
        }
        for code in [Code::UsageIdMalformed, Code::LimitExceeded] {
            assert!(is_settled(&refused(code)), "{code}: nobody will ever agree");
        }
        for code in [Code::EpochSuperseded, Code::MemberRemoved, Code::LevelUnknown] {
            assert!(!is_settled(&refused(code)), "{code}: another member may take it");
        }
        assert!(!is_settled(&refused(Code::ClusterLeaderless)), "it may be agreed on later");
    }
}
