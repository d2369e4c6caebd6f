//! Starting and following runs.

use super::render;
use crate::{
    agents::verifiers,
    house::House,
    reading::{restoring, verifying},
};
use bytes::Bytes;
use holdfast_common::{AgentId, Code, Error, Name, Result, RunId};
use holdfast_ledger::{
    Actor,
    command::StartRun,
    row::{AgentRow, AgentState, PointRow, RunRow},
};
use holdfast_wire::{
    parse,
    status::to_status,
    v1::{self, start_backup_request::What},
};
use std::time::Duration;
use tokio::{sync::mpsc, time::Instant};
use tonic::Status;

const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// Agents that lose their member spread over three seconds.
const COMES_BACK: Duration = Duration::from_secs(6);
const RECENTLY: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(50);

/// An agent by its name or id.
pub(super) fn find_agent(house: &House, text: &str) -> Result<AgentRow> {
    if let Ok(id) = text.parse::<AgentId>() {
        return house.ledger.query().agent(&id);
    }
    agent_of_name(house, &text.parse()?)
}

/// An agent that may act, by its name. One that was revoked lost its name; it is told apart from
/// one that never was.
fn agent_of_name(house: &House, name: &Name) -> Result<AgentRow> {
    let query = house.ledger.query();
    let missing = match query.agent_named(name) {
        Ok(agent) => return Ok(agent),
        Err(error) => error,
    };
    if query.agents()?.iter().any(|agent| agent.name == *name) {
        return Err(Error::new(Code::AgentRevoked, format!("the agent `{name}` was revoked")));
    }
    Err(missing)
}

pub(super) async fn start(
    house: &House,
    actor: Actor,
    request: v1::StartBackupRequest,
) -> Result<v1::StartBackupResponse> {
    let id = parse::run_id(&request.run_id)?;
    house.ledger.catch_up().await?;
    let options = request.options.unwrap_or_default();
    let mut run = match parse::required("a policy or a path", request.what)? {
        What::Policy(name) => of_policy(house, id, &parse::name(&name)?)?,
        What::Path(path) => of_path(house, id, &path)?,
    };
    if options.level != 0 {
        run.level = render::level(options.level)?;
    }
    if options.bytes_per_second_max != 0 {
        run.bytes_per_second_max = render::bandwidth(options.bytes_per_second_max)?;
    }
    run.full = options.full;
    house.places.insist_on_use(&house.ledger.query().vault(&run.vault)?)?;
    if let Some(agent) = &run.agent {
        insist_on_attached(house, agent).await?;
    }
    house.ledger.propose_as(*id.as_bytes(), actor, StartRun { run }).await?;
    Ok(v1::StartBackupResponse { run_id: Bytes::copy_from_slice(id.as_bytes()) })
}

/// One that was there a moment ago is on its way to this member or to another.
async fn insist_on_attached(house: &House, id: &AgentId) -> Result<()> {
    let agent = house.ledger.query().agent(id)?;
    let deadline = Instant::now() + COMES_BACK;
    while !house.is_attached(id) {
        let now = house.ledger.now();
        // What it was seen at is told to the other members now and then only.
        let seen = house.last_seen(id).map_or(agent.enrolled, |seen| seen.max(agent.enrolled));
        let was_there = now.since(seen) < RECENTLY;
        if !was_there || Instant::now() >= deadline {
            return Err(absent(&agent));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

fn absent(agent: &AgentRow) -> Error {
    let message = format!("the agent `{}` is not connected", agent.name);
    Error::new(Code::AgentOffline, message)
}

/// Authorises a restore: from here on its agent, or its asker, may read this one point.
pub(super) async fn start_restore(
    house: &House,
    actor: Actor,
    request: v1::StartRestoreRequest,
) -> Result<v1::StartRestoreResponse> {
    let id = parse::run_id(&request.run_id)?;
    house.ledger.catch_up().await?;
    let agent = match &*request.agent {
        "" => None,
        named => Some(find_agent(house, named)?.id),
    };
    let point = parse::point_id(&request.point_id)?;
    let spec = parse::required("what to restore", request.spec)?;
    let run = restoring::run(house, id, agent, &point, spec)?;
    if let Some(agent) = &agent {
        insist_on_attached(house, agent).await?;
    }
    house.ledger.propose_as(*id.as_bytes(), actor, StartRun { run }).await?;
    Ok(v1::StartRestoreResponse { run_id: Bytes::copy_from_slice(id.as_bytes()) })
}

/// Authorises a verification: from here on its verifier may read this one point.
pub(super) async fn start_verify(
    house: &House,
    actor: Actor,
    request: v1::StartVerifyRequest,
) -> Result<v1::StartVerifyResponse> {
    let id = parse::run_id(&request.run_id)?;
    house.ledger.catch_up().await?;
    // Asked again, by whoever did not hear the answer.
    if let Some(known) = house.ledger.query().row::<RunRow>(id.as_bytes())? {
        let agent = known.agent.map(|agent| house.ledger.query().agent(&agent)).transpose()?;
        return Ok(verifying_by(&id, agent.as_ref()));
    }
    let point = verifying::point(house, &parse::point_id(&request.point_id)?)?;
    let agent = verifier(house, &request.agent, &point).await?;
    let run = verifying::run(house, id, &agent, &point)?;
    house.ledger.propose_as(*id.as_bytes(), actor, StartRun { run }).await?;
    Ok(verifying_by(&id, Some(&agent)))
}

fn verifying_by(run: &RunId, agent: Option<&AgentRow>) -> v1::StartVerifyResponse {
    let run_id = Bytes::copy_from_slice(run.as_bytes());
    v1::StartVerifyResponse {
        run_id,
        agent: agent.map(|agent| agent.name.to_string()).unwrap_or_default(),
    }
}

/// One that was there a moment ago is on its way to this member or to another.
async fn verifier(house: &House, named: &str, point: &PointRow) -> Result<AgentRow> {
    let deadline = Instant::now() + COMES_BACK;
    loop {
        let found = match named {
            "" => verifiers::any(house, point),
            named => verifiers::insist(house, find_agent(house, named)?, point),
        };
        let is_away = found.as_ref().is_err_and(|error| error.code == Code::AgentOffline);
        if !is_away || Instant::now() >= deadline || !was_any_there(house)? {
            return found;
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn was_any_there(house: &House) -> Result<bool> {
    let now = house.ledger.now();
    let was_there = |agent: &AgentRow| {
        let seen = house.last_seen(&agent.id).unwrap_or(agent.enrolled).max(agent.enrolled);
        agent.is_verifier() && now.since(seen) < RECENTLY
    };
    Ok(house.ledger.query().agents()?.iter().any(was_there))
}

fn of_policy(house: &House, id: RunId, name: &Name) -> Result<RunRow> {
    let query = house.ledger.query();
    let policy = query.policy(name)?;
    let agent = agent_of_name(house, &policy.agent)?.id;
    let vault = query.vault_named(&policy.vault)?.id;
    Ok(RunRow {
        policy: Some(policy.name),
        level: policy.level,
        bytes_per_second_max: policy.bytes_per_second_max,
        ..RunRow::backup(id, agent, vault, policy.source)
    })
}

fn of_path(house: &House, id: RunId, path: &v1::PathBackup) -> Result<RunRow> {
    let agent =
        if path.agent.is_empty() { only_agent(house)? } else { find_agent(house, &path.agent)? };
    let vault = if path.vault.is_empty() { "main" } else { &path.vault };
    let vault = house.ledger.query().vault_named(&parse::name(vault)?)?.id;
    let source = render::source(path.source.as_ref())?;
    Ok(RunRow { level: render::level(0)?, ..RunRow::backup(id, agent.id, vault, source) })
}

fn only_agent(house: &House) -> Result<AgentRow> {
    let agents = house.ledger.query().agents()?;
    let mut enrolled = agents
        .into_iter()
        .filter(|agent| agent.state == AgentState::Enrolled && !agent.is_verifier());
    match (enrolled.next(), enrolled.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(Error::new(Code::AgentMissing, "no agent is enrolled")
            .next("enrol one with `holdfast agent join`")),
        (Some(_), Some(_)) => Err(Error::new(Code::AgentAmbiguous, "there is more than one agent")),
    }
}

/// Sends progress until the run has ended, then its end.
pub(super) async fn follow(
    house: &House,
    id: RunId,
    events: mpsc::Sender<Result<v1::RunEvent, Status>>,
) {
    let mut applied = house.ledger.applied();
    loop {
        applied.mark_unchanged();
        let event = event(house, &id).await;
        let over = event.as_ref().map_or(true, |(_, over)| *over);
        let event = match event {
            // A point is there for its caller when the log that says so is durable; a run that
            // came to nothing promised nothing.
            Ok(ended) if over && made_a_point(&ended.0) => {
                let index = *house.ledger.applied().borrow();
                house.shipped(index).await.map(|_| ended)
            }
            other => other,
        };
        let sent = events.send(event.map(|(event, _)| event).map_err(|e| to_status(&e))).await;
        if over || sent.is_err() {
            return;
        }
        tokio::select! {
            _ = applied.changed() => {}
            () = tokio::time::sleep(PROGRESS_EVERY) => {}
        }
    }
}

fn made_a_point(event: &v1::RunEvent) -> bool {
    let made = |run: &v1::Run| run.kind == "backup" && matches!(&*run.state, "done" | "partial");
    event.run.as_ref().is_some_and(made)
}

async fn event(house: &House, id: &RunId) -> Result<(v1::RunEvent, bool)> {
    let row = house.ledger.query().run(id)?;
    let run = Some(render::run(house, &row)?);
    Ok((v1::RunEvent { run, progress: progress(house, &row).await }, row.state.is_end()))
}

/// From the agent's own line, or from the member that has it.
async fn progress(house: &House, run: &RunRow) -> Option<v1::RunProgress> {
    let heard = house.hub.progress(&run.id);
    if heard.is_some() {
        return heard;
    }
    let seat = house.ledger.query().seat(run.agent.as_ref()?).ok().flatten()?;
    let member = seat.member.filter(|member| *member != house.node_id)?;
    house.ledger.peers().progress(member, &run.id).await.ok().flatten()
}
