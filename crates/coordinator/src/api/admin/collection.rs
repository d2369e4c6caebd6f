//! What a collection would free, and rounds: begun for an operator, and shown.

use crate::{
    collect::{self, Preview, Waiting},
    house::House,
};
use holdfast_common::{Code, Error, Result, Timestamp};
use holdfast_ledger::{
    Actor,
    command::BeginCollection,
    envelope::Refusal,
    level::COLLECTED,
    row::{CollectionRow, Stage, VaultRow},
};
use holdfast_repository::collect::Amount;
use holdfast_wire::{parse, status::to_status, v1};
use std::sync::Arc;
use tokio::sync::mpsc;
use tonic::Status;

type Listener = mpsc::Sender<Result<v1::PlanCollectionEvent, Status>>;

/// Tells what a round would find in each vault.
pub(super) async fn plan(
    house: &Arc<House>,
    request: v1::PlanCollectionRequest,
    events: &Listener,
) {
    if let Err(error) = tell_plan(house, &request.vault, events).await {
        // Whoever asked has gone.
        let _ = events.send(Err(to_status(&error))).await;
    }
}

async fn tell_plan(house: &Arc<House>, vault: &str, events: &Listener) -> Result<()> {
    for row in wanted(house, vault)? {
        let told = |points_read| {
            // Whoever listens slowly hears of a later one.
            drop(
                events.try_send(Ok(v1::PlanCollectionEvent { points_read, ..Default::default() })),
            );
        };
        let vault = house.vault(&row.id)?;
        let preview = collect::preview(house, &vault, &told).await?;
        let planned = Some(planned(house, &row, &preview)?);
        let event = v1::PlanCollectionEvent { planned, ..Default::default() };
        if events.send(Ok(event)).await.is_err() {
            return Ok(());
        }
    }
    let suspended = suspended(house).await.err().map(|error| error.to_string());
    let suspended = suspended.unwrap_or_default();
    let last = v1::PlanCollectionEvent { suspended, ..Default::default() };
    // Whoever asked has gone.
    let _ = events.send(Ok(last)).await;
    Ok(())
}

fn planned(house: &House, row: &VaultRow, preview: &Preview) -> Result<v1::PlannedCollection> {
    let tally = &preview.tally;
    let frees_bytes = tally.condemn.bytes + preview.waiting.bytes;
    let mut locations = Vec::new();
    for name in row.holding() {
        let is_required = row.required.contains(name);
        locations.push(v1::CollectedLocation {
            name: name.to_string(),
            role: if is_required { "required" } else { "following" }.to_owned(),
            disabled: house.places.row(name)?.disabled.is_some(),
            frees_bytes,
        });
    }
    let newest = house.ledger.query().collection(&row.id)?;
    let newest = newest.map(|round| shown(house, row, &round, preview.waiting)).transpose()?;
    Ok(v1::PlannedCollection {
        vault: row.name.to_string(),
        points: preview.points,
        unneeded: Some(amount(tally.condemn)),
        needed: Some(amount(tally.keep)),
        sparse: Some(amount(tally.repack)),
        small: Some(amount(tally.small)),
        locations,
        newest,
    })
}

fn amount(amount: Amount) -> v1::PackAmount {
    let Amount { packs, bytes, live_bytes } = amount;
    v1::PackAmount { packs, bytes, live_bytes }
}

/// Why nothing may be collected now, by the clock of whoever leads.
async fn suspended(house: &House) -> Result<()> {
    let level = house.ledger.query().level()?;
    if level < COLLECTED {
        let message = format!("the cluster is at level {level}, and collects from {COLLECTED} on");
        return Err(Error::new(Code::LevelLow, message));
    }
    house.ledger.query().insist_on_undivided()?;
    house.ledger.leader_time().await?.insist_on_clock()
}

/// Begins a round in each vault where none is under way.
pub(super) async fn begin(
    house: &House,
    actor: Actor,
    request: &v1::CollectRequest,
) -> Result<v1::CollectResponse> {
    house.ledger.catch_up().await?;
    suspended(house).await?;
    let mut rounds = Vec::new();
    for row in wanted(house, &request.vault)? {
        let query = house.ledger.query();
        let open = query.collection(&row.id)?.filter(|round| round.stage != Stage::Over);
        if open.is_none() {
            house.ledger.propose(actor.clone(), BeginCollection { vault: row.id }).await?;
        }
        if let Some(round) = query.collection(&row.id)? {
            rounds.push(shown(house, &row, &round, Waiting::default())?);
        }
    }
    Ok(v1::CollectResponse { rounds })
}

pub(super) async fn list(
    house: &Arc<House>,
    request: &v1::ListCollectionsRequest,
) -> Result<v1::ListCollectionsResponse> {
    let mut rounds = Vec::new();
    for row in wanted(house, &request.vault)? {
        let Some(round) = house.ledger.query().collection(&row.id)? else { continue };
        let at = house.clone();
        // Nobody asks again and again what lies there while a round is open.
        let waiting = match round.stage {
            Stage::Over => {
                let look = move || collect::waiting(at.ledger.query(), &row.id);
                house.tasks.run_blocking("doomed packs", look).await?
            }
            _ => Waiting::default(),
        };
        let row = house.ledger.query().vault(&round.vault)?;
        rounds.push(shown(house, &row, &round, waiting)?);
    }
    Ok(v1::ListCollectionsResponse { rounds })
}

/// Vaults whose newest round could not be made.
pub(super) fn alarms(house: &House) -> Result<Vec<v1::Alarm>> {
    let query = house.ledger.query();
    let mut alarms = Vec::new();
    for vault in query.vaults()? {
        let Some(round) = query.collection(&vault.id)? else { continue };
        let Some(problem) = round.problem else { continue };
        alarms.push(v1::Alarm {
            code: problem.code,
            subject: format!("{}: nothing is collected: {}", vault.name, problem.message),
            since_ns: round.ended.map(Timestamp::as_nanos),
            next: problem.next.unwrap_or_else(|| "holdfast collect --dry-run".to_owned()),
        });
    }
    Ok(alarms)
}

fn wanted(house: &House, vault: &str) -> Result<Vec<VaultRow>> {
    let mut vaults = house.ledger.query().vaults()?;
    if let Some(name) = parse::name_if_any(Some(vault))? {
        vaults.retain(|row| row.name == name);
        if vaults.is_empty() {
            let message = format!("there is no vault `{name}`");
            return Err(Error::new(Code::VaultMissing, message));
        }
    }
    vaults.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(vaults)
}

fn shown(
    house: &House,
    vault: &VaultRow,
    round: &CollectionRow,
    waiting: Waiting,
) -> Result<v1::Collection> {
    let waits_for = match round.stage {
        Stage::Sealed => collect::older_sessions(house, &vault.id, round.sealed)?,
        _ => 0,
    };
    Ok(v1::Collection {
        vault: vault.name.to_string(),
        round: round.round,
        stage: stage(round.stage).to_owned(),
        begun_ns: round.begun.as_nanos(),
        ended_ns: round.ended.map(Timestamp::as_nanos),
        condemned: round.condemned,
        spared: round.spared,
        doomed: round.doomed,
        doomed_bytes: round.doomed_bytes,
        waits_for,
        problem: round.problem.clone().map(told),
        waiting_packs: waiting.packs,
        waiting_bytes: waiting.bytes,
        waiting_from_ns: waiting.from.map(Timestamp::as_nanos),
        waiting_until_ns: waiting.until.map(Timestamp::as_nanos),
    })
}

fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Marking => "marking",
        Stage::Sealed => "sealed",
        Stage::Clear => "clear",
        Stage::Over => "over",
    }
}

fn told(refusal: Refusal) -> v1::ErrorDetail {
    let Refusal { code, message, next } = refusal;
    v1::ErrorDetail { code, message, next, ..Default::default() }
}
