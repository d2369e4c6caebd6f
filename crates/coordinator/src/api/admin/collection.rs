//! What a collection would free, and rounds: begun for an operator, and shown.

use crate::{
    collect::{self, Left, Preview, Waiting},
    house::House,
};
use holdfast_common::{Code, Error, Name, Result, Timestamp, limits};
use holdfast_ledger::{
    Actor, Query,
    command::BeginCollection,
    envelope::Refusal,
    level::COLLECTED,
    row::{CollectionRow, Stage, VaultRow},
};
use holdfast_repository::collect::Amount;
use holdfast_wire::{parse, status::to_status, v1};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;
use tonic::Status;

const ROUND: Duration = Duration::from_secs(limits::COLLECT_ROUND_SECS);
const STUCK: Duration = Duration::from_secs(limits::COLLECT_STUCK_SECS);
/// So many backups that a round waits for are named.
const SESSIONS_TOLD_MAX: usize = 3;

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
    let Amount { bytes, live_bytes, .. } = preview.repacked;
    let saved = bytes.saturating_sub(live_bytes);
    let frees_bytes = tally.condemn.bytes + saved + preview.waiting.bytes;
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
        repacked: Some(amount(preview.repacked)),
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

/// Vaults whose newest round could not be made, or does not end.
pub(super) fn alarms(house: &House) -> Result<Vec<v1::Alarm>> {
    let query = house.ledger.query();
    let mut alarms = Vec::new();
    for vault in query.vaults()? {
        let Some(round) = query.collection(&vault.id)? else { continue };
        alarms.extend(long(query, &vault, &round, house.ledger.now())?);
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

/// A round that is open for more than a day, and which backup it waits for.
fn long(
    query: Query<'_>,
    vault: &VaultRow,
    round: &CollectionRow,
    now: Timestamp,
) -> Result<Option<v1::Alarm>> {
    if round.stage == Stage::Over || now < round.begun.plus(ROUND) {
        return Ok(None);
    }
    let older = match round.stage {
        Stage::Sealed => query.waited_for(&vault.id, round.sealed)?,
        _ => Vec::new(),
    };
    let mut waits = String::new();
    for session in older.iter().take(SESSIONS_TOLD_MAX) {
        let run = session.run.map(|run| format!(" run {run}")).unwrap_or_default();
        let agent = session.agent.map(|agent| query.agent(&agent)).transpose()?;
        let agent = agent.map(|agent| format!(" of `{}`", agent.name)).unwrap_or_default();
        waits.push_str(&format!("; it waits for{run}{agent}"));
    }
    let subject = format!("{}: a round of collection is open for more than a day", vault.name);
    Ok(Some(v1::Alarm {
        code: Code::CollectionEarly.name().to_owned(),
        subject: format!("{subject}{waits}"),
        since_ns: Some(round.begun.as_nanos()),
        next: match older.is_empty() {
            true => "holdfast collect --dry-run".to_owned(),
            false => "see the backup: `holdfast runs show RUN`; end it: `holdfast runs cancel RUN`"
                .to_owned(),
        },
    }))
}

/// What was given up days ago and has not gone, as the member knows that tried it.
pub(super) fn stuck(house: &House) -> Vec<v1::Alarm> {
    let vaults = house.ledger.query().vaults().unwrap_or_default();
    let alarms = |vault: &VaultRow| {
        let left = house.stuck.of(&vault.id)?;
        Some(told_of(&vault.name, &left, house.ledger.now()))
    };
    vaults.iter().filter_map(alarms).flatten().collect()
}

fn told_of(vault: &Name, left: &Left, now: Timestamp) -> Vec<v1::Alarm> {
    let is_late = left.oldest.plus(STUCK) <= now;
    // A lock is meant to last; a region that is silent may have been promoted.
    let refused = left.refused.iter().filter(|(_, error)| error.code != Code::ObjectLocked);
    let refused =
        refused.filter(|_| is_late).map(|(name, error)| (format!(" from `{name}`"), error));
    let waits = left.waits.iter().filter(|error| is_late || error.code == Code::RegionSilent);
    let waits = waits.map(|error| (String::new(), error));
    let alarm = |(from, error): (String, &Error)| v1::Alarm {
        code: error.code.name().to_owned(),
        subject: format!("{vault}: what was collected does not go{from}: {}", error.message),
        since_ns: Some(left.oldest.as_nanos()),
        next: error.advice().to_owned(),
    };
    refused.chain(waits).map(alarm).collect()
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
        Stage::Sealed => house.ledger.query().waited_for(&vault.id, round.sealed)?.len() as u64,
        _ => 0,
    };
    let repacked = round.repacked.unwrap_or_default();
    Ok(v1::Collection {
        repacked: repacked.packs,
        repacked_bytes: repacked.bytes,
        made: repacked.made,
        made_bytes: repacked.made_bytes,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{Crowd, moment, name, round, vault};
    use std::collections::BTreeMap;

    const DAY: u64 = 24 * 3600;

    #[test]
    fn what_does_not_go_for_days_is_told_of_with_the_location_and_the_reason() {
        let error = |code| Error::new(code, "it stays");
        let refused = [("far", Code::LocationDisabled), ("locked", Code::ObjectLocked)];
        let refused = refused.map(|(place, code)| (name(place), error(code)));
        let left =
            |waits| Left { oldest: moment(1), refused: BTreeMap::from(refused.clone()), waits };
        let told = |left: &Left, days: u64| -> Vec<String> {
            let alarms = told_of(&name("main"), left, moment(days * DAY + 1));
            alarms.into_iter().map(|alarm| alarm.subject).collect()
        };
        assert_eq!(told(&left(None), 2), [""; 0]);
        let far = "main: what was collected does not go from `far`: it stays";
        assert_eq!(told(&left(None), 3), [far]);
        let all = "main: what was collected does not go: it stays";
        assert_eq!(told(&left(Some(error(Code::RegionSilent))), 1), [all], "at once");
        assert_eq!(told(&left(Some(error(Code::ClusterBusy))), 1), [""; 0]);
        assert_eq!(told(&left(Some(error(Code::ClusterBusy))), 3), [far, all]);
    }

    #[test]
    fn a_round_that_is_open_for_a_day_is_told_of() {
        Crowd::default().ask(|query| {
            let told = |stage, days| {
                let now = moment(days * DAY);
                long(query, &vault(), &round(stage), now).unwrap().is_some()
            };
            assert!(told(Stage::Marking, 1) && told(Stage::Sealed, 1));
            assert!(!told(Stage::Marking, 0) && !told(Stage::Over, 9));
        });
    }
}
