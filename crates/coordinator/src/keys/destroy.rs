//! Destroying an old version of a vault's keys: what is lost with it is counted here, and whether
//! it may be the ledger says.
//!
//! ```text
//!   ask: is the close in the locations? ─▶ count what is lost ─▶ as many as was said? ─▶ request
//!   agree: the same ─▶ what stays of the version ─▶ one command ─▶ memory, then the locations
//! ```
//!
//! A recovery that knows nothing of the close would go on relying on the version; so nobody asks,
//! and nobody agrees, before the entry that closed it lies where a recovery finds it.

use super::{loss::what_is_lost, successors::successors};
use crate::house::House;
use holdfast_common::{Code, Error, Name, PointId, RequestId, Result, VaultId};
use holdfast_keyring::{KeyObject, KeyRemains};
use holdfast_ledger::{
    Actor,
    command::{AskDestroy, DestroyKeys, WithdrawDestroy},
    row::{DestroyRequestRow, DestroyedKeyRow, KeyVersionRow, VaultRow},
};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// How long the log is waited for.
const LOG_PATIENCE: Duration = Duration::from_secs(10);

/// What somebody wants destroyed.
pub(crate) struct Asked {
    pub(crate) vault: Name,
    pub(crate) version: u32,
    /// How many points that costs, as he knows.
    pub(crate) lose_points: u64,
}

pub(crate) async fn ask(
    house: &Arc<House>,
    actor: Actor,
    asked: &Asked,
) -> Result<DestroyRequestRow> {
    house.ledger.catch_up().await?;
    let row = house.ledger.query().vault_named(&asked.vault)?;
    let (id, version) = (RequestId::random(house.entropy.as_ref()), asked.version);
    let Cost { points, successors, losses } = match older(house, &row, version)? {
        Some(key) if key.closed.is_some() => {
            insist_closed_for_good(house, &row, &key).await?;
            let cost = cost(house, &row, version).await?;
            insist_on_number(asked, &cost.points)?;
            cost
        }
        // The ledger says what is wrong with it.
        _ => Cost::default(),
    };
    let command = AskDestroy { id, vault: row.id, version, points, successors, losses };
    house.ledger.propose(actor, command).await?;
    request(house, &id)
}

/// The entry that closed it is not only agreed: it lies in the locations.
async fn insist_closed_for_good(house: &House, row: &VaultRow, key: &KeyVersionRow) -> Result<()> {
    let Some(closed_at) = key.closed_at else { return Ok(()) };
    let behind = |cause: Option<Error>| {
        let (version, name) = (key.version, &row.name);
        let message = format!(
            "it does not lie in the locations yet that version {version} of the keys of `{name}` \
             is closed, which is entry {closed_at} of the log"
        );
        let error = Error::new(Code::LocationBehind, message)
            .next("see to the locations: holdfast status; the log goes there by itself then");
        match cause {
            Some(cause) => error.cause(cause),
            None => error,
        }
    };
    match timeout(LOG_PATIENCE, house.shipped(closed_at)).await {
        Ok(shipped) => shipped.map(drop).map_err(|error| behind(Some(error))),
        Err(_) => Err(behind(None)),
    }
}

/// Who asks says how many points it costs: that is not found out by surprise.
fn insist_on_number(asked: &Asked, points: &[PointId]) -> Result<()> {
    if points.len() as u64 == asked.lose_points {
        return Ok(());
    }
    let (count, Asked { vault, version, .. }) = (points.len(), asked);
    let message = format!("{count} points are lost with version {version} of `{vault}`");
    Err(Error::new(Code::PointKept, message).next(format!(
        "look at them: holdfast keys destroy {version} --vault {vault} --dry-run; if all of them \
         are to be lost, add --lose-points {count}"
    )))
}

/// What destroying a version costs, in the order of the ids.
#[derive(Default)]
struct Cost {
    points: Vec<PointId>,
    /// What makes up for these.
    successors: Vec<PointId>,
    /// As of how many losses of packs.
    losses: u64,
}

/// Of no point may it be unknown.
async fn cost(house: &Arc<House>, row: &VaultRow, version: u32) -> Result<Cost> {
    let vault = house.vault(&row.id)?;
    let loss = what_is_lost(house, &vault, version).await?;
    if loss.packs_unknown > 0 || !loss.points_unsure.is_empty() {
        let (packs, points) = (loss.packs_unknown, loss.points_unsure.len());
        let message = format!(
            "of {packs} packs and {points} points nobody knows yet whether they need version \
             {version} of the keys of `{}`",
            row.name
        );
        return Err(Error::new(Code::KeyNeedsUnknown, message));
    }
    let losses = loss.losses;
    let mut points: Vec<PointId> = loss.points.iter().map(|point| point.id).collect();
    points.sort_unstable();
    let (ledger, of) = (house.ledger.clone(), row.clone());
    let find = move || successors(ledger.query(), &of, &loss);
    let successors = house.tasks.run_blocking("keys", find).await?;
    Ok(Cost { points, successors, losses })
}

fn older(house: &House, row: &VaultRow, version: u32) -> Result<Option<KeyVersionRow>> {
    house.ledger.query().key_version(&row.id, version)
}

pub(crate) async fn agree(
    house: &Arc<House>,
    actor: Actor,
    id: &RequestId,
) -> Result<DestroyedKeyRow> {
    house.ledger.catch_up().await?;
    let DestroyRequestRow { vault, version, .. } = request(house, id)?;
    let row = house.ledger.query().vault(&vault)?;
    let key = older(house, &row, version)?.ok_or_else(|| {
        let message = format!("the keys of `{}` have no version {version} by now", row.name);
        Error::new(Code::ResourceConflict, message).next("holdfast keys list")
    })?;
    insist_closed_for_good(house, &row, &key).await?;
    let remains = KeyRemains::of(&KeyObject::from_bytes(&key.key_object)?).to_bytes();
    let Cost { points, successors, losses } = cost(house, &row, version).await?;
    let (id, remains) = (*id, remains.into());
    let command = DestroyKeys { id, vault, version, points, remains, successors, losses };
    house.ledger.propose(actor, command).await?;
    // Every member does so when it has applied it; whoever is answered finds it done here.
    if let Err(error) = house.keys()?.custodian.forget_destroyed(&house.ledger.query()) {
        tracing::warn!(%error, "a destroyed version of keys is in memory still");
    }
    tracing::warn!(vault = %row.name, version, "a version of the vault's keys was destroyed");
    destroyed(house, &vault, version)
}

pub(crate) async fn withdraw(house: &House, actor: Actor, id: RequestId) -> Result<()> {
    house.ledger.propose(actor, WithdrawDestroy { id }).await.map(drop)
}

fn request(house: &House, id: &RequestId) -> Result<DestroyRequestRow> {
    house.ledger.query().row(id.as_bytes())?.ok_or_else(|| {
        Error::new(Code::KeyRequestMissing, format!("nobody asks for anything as {id}"))
    })
}

fn destroyed(house: &House, vault: &VaultId, version: u32) -> Result<DestroyedKeyRow> {
    let row = house.ledger.query().destroyed_key(vault, version)?;
    row.ok_or_else(|| Error::new(Code::InternalBug, "a destroyed version left no row"))
}
