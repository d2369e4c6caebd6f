//! Closing a version of a vault's keys, and what would be lost with one.

use crate::{
    house::{House, Vault},
    keys::{
        copies::{KeyCopies, copies_of},
        loss::{Loss, what_is_lost},
    },
};
use bytes::Bytes;
use holdfast_common::{Code, Error, Result, limits};
use holdfast_ledger::{
    Actor, Outcome,
    command::CloseKeys,
    row::{Custody, HoldRow, LockRow, PointRow},
};
use holdfast_wire::v1;
use std::sync::Arc;

/// No answer names more points; how many there are is said.
const POINTS_NAMED_MAX: usize = limits::LIST_PAGE_ROWS;

pub(super) async fn close(
    house: &House,
    actor: Actor,
    request: &v1::CloseKeysRequest,
) -> Result<v1::CloseKeysResponse> {
    house.ledger.catch_up().await?;
    let vault = house.ledger.query().vault_named(&request.vault.parse()?)?;
    let close = CloseKeys { vault: vault.id, version: request.version };
    let outcome = house.ledger.propose(actor, close).await?;
    let row = house.ledger.query().key_version(&vault.id, request.version)?;
    let closed = row.and_then(|row| row.closed);
    let closed = closed.ok_or_else(|| Error::new(Code::InternalBug, "a closed version is open"))?;
    let was_closed = outcome == Outcome::Unchanged;
    Ok(v1::CloseKeysResponse { was_closed, closed_ns: closed.as_nanos() })
}

pub(super) async fn plan(
    house: &Arc<House>,
    request: &v1::PlanKeyDestructionRequest,
) -> Result<v1::PlanKeyDestructionResponse> {
    house.ledger.catch_up().await?;
    let row = house.ledger.query().vault_named(&request.vault.parse()?)?;
    let vault = house.vault(&row.id)?;
    let loss = what_is_lost(house, &vault, request.version).await?;
    let copies = copies_of(house, &vault.row, request.version).await?;
    rendered(house, &vault, &loss, copies)
}

fn rendered(
    house: &House,
    vault: &Vault,
    loss: &Loss,
    copies: KeyCopies,
) -> Result<v1::PlanKeyDestructionResponse> {
    let (query, id, now) = (house.ledger.query(), vault.row.id, house.ledger.now());
    let opens = |row: &holdfast_ledger::row::BundleRow| {
        row.keys.iter().any(|key| key.vault == id && key.version >= loss.version)
    };
    let bundles: Vec<_> = query.bundles()?.into_iter().filter(opens).collect();
    let mut locks = query.locks()?;
    locks.retain(|lock| lock.vault == id && lock.until.is_some_and(|until| now < until));
    let stays = stays(vault, &copies, &locks, bundles.len());
    let locks = locks.iter().map(|lock| v1::LockInTheWay {
        location: lock.location.to_string(),
        until_ns: lock.until.map_or(0, |until| until.as_nanos()),
    });
    let state = state(vault, loss);
    Ok(v1::PlanKeyDestructionResponse {
        version: loss.version,
        state: state.to_owned(),
        closed_ns: loss.closed.map(|closed| closed.as_nanos()),
        at: loss.at,
        packs: loss.packs,
        bytes: loss.bytes,
        packs_unknown: loss.packs_unknown,
        unknown: loss.unknown.iter().map(|id| Bytes::copy_from_slice(id.as_bytes())).collect(),
        points_lost: loss.points.len() as u64,
        points: points(house, &loss.points)?,
        points_unsure: loss.points_unsure.len() as u64,
        unsure: points(house, &loss.points_unsure)?,
        next: next(vault, loss, &copies),
        copies: copies.copies.into_iter().map(copy).collect(),
        catalog: copies.catalog.iter().map(ToString::to_string).collect(),
        bundles: bundles.iter().map(super::keys::bundle).collect(),
        holds: loss.holds.iter().map(hold).collect(),
        locks: locks.collect(),
        stays,
    })
}

/// One word for a version, as people see it.
pub(super) fn state_of(newest: u32, version: u32, is_closed: bool) -> &'static str {
    match (version == newest, is_closed) {
        (true, _) => "in_use",
        (false, true) => "closed",
        (false, false) => "open",
    }
}

fn state(vault: &Vault, loss: &Loss) -> &'static str {
    state_of(vault.row.key_version, loss.version, loss.closed.is_some())
}

fn points(house: &House, rows: &[PointRow]) -> Result<Vec<v1::LostPoint>> {
    let query = house.ledger.query();
    let shown = |row: &PointRow| {
        Ok(v1::LostPoint {
            id: Bytes::copy_from_slice(row.id.as_bytes()),
            policy: row.policy.as_ref().map(ToString::to_string).unwrap_or_default(),
            agent: query.agent(&row.agent)?.name.to_string(),
            source: row.source.clone(),
            committed_ns: row.committed.as_nanos(),
        })
    };
    rows.iter().take(POINTS_NAMED_MAX).map(shown).collect()
}

fn hold(row: &HoldRow) -> v1::HoldInTheWay {
    v1::HoldInTheWay {
        id: Bytes::copy_from_slice(row.id.as_bytes()),
        what: row.what.to_string(),
        reason: row.reason.clone(),
        until_ns: row.ends().map(|ends| ends.as_nanos()),
    }
}

fn copy(copy: crate::keys::copies::KeyCopy) -> v1::KeyCopy {
    let id = |kek: &holdfast_keyring::KekId| Bytes::copy_from_slice(kek.as_bytes());
    v1::KeyCopy {
        location: copy.location.to_string(),
        object: copy.object.unwrap_or_default(),
        kek_id: copy.kek.as_ref().map(id).unwrap_or_default(),
        operator_kek_id: copy.operator_kek.as_ref().map(id),
        problem: copy.problem.unwrap_or_default(),
    }
}

/// What is to be done before it may be destroyed, in its order.
fn next(vault: &Vault, loss: &Loss, copies: &KeyCopies) -> Vec<String> {
    let (name, version, mut next) = (&vault.row.name, loss.version, Vec::new());
    if version == vault.row.key_version {
        next.push(format!("make a newer version: holdfast keys rotate {name}"));
    }
    if loss.closed.is_none() {
        next.push(format!("close it: holdfast keys close --vault {name} {version} --yes"));
    }
    if loss.packs_unknown > 0 {
        let packs = loss.packs_unknown;
        // What cannot be read stays unknown as long as there is a row of it.
        let stays = match loss.points_unsure.is_empty() {
            true => format!("give up what no point needs: holdfast collect --vault {name}"),
            false => "let the points that may need them expire".to_owned(),
        };
        next.push(format!("{packs} packs are not looked into yet: wait; if they stay, {stays}"));
    }
    if !loss.points_unsure.is_empty() {
        next.push(
            "see to the locations of points whose needs cannot be read, or let them expire"
                .to_owned(),
        );
    }
    if !loss.holds.is_empty() {
        next.push("release the holds, or wait until they end".to_owned());
    }
    if !loss.points.is_empty() {
        next.push(format!("let {} points expire, or give them up", loss.points.len()));
    } else if loss.packs > 0 {
        next.push(format!("give up what no point needs: holdfast collect --vault {name}"));
    }
    if copies.copies.iter().any(|copy| copy.problem.is_some()) {
        next.push("look at the locations that do not answer".to_owned());
    }
    next
}

/// What destroying it does not reach, and what ends that: no promise is made of these.
fn stays(vault: &Vault, copies: &KeyCopies, locks: &[LockRow], bundles: usize) -> Vec<String> {
    let mut stays = vec![format!(
        "bundles that were exported before open it under their passphrases (known: {bundles}): \
         destroy every copy of them"
    )];
    let mut keks: Vec<String> = copies
        .copies
        .iter()
        .filter_map(|copy| copy.kek.as_ref())
        .map(ToString::to_string)
        .collect();
    keks.sort_unstable();
    keks.dedup();
    let keks = if keks.is_empty() { "of their days".to_owned() } else { keks.join(", ") };
    stays.push(format!(
        "snapshots, the log and the coordinators' disks of before have it wrapped under KEK \
         {keks}: afterwards change the KEK (holdfast keys rewrap --to SOURCE) and destroy the old \
         one at its provider"
    ));
    stays.push(
        "a recovery from a log that ends before it was destroyed has it again: destroy it anew \
         then"
            .to_owned(),
    );
    stays.push(
        "a bucket that keeps what is deleted (versions, soft delete) has its objects until its \
         own rules remove them"
            .to_owned(),
    );
    if vault.row.custody == Custody::Operator {
        stays.push(
            "the operator's key opens any copy of its objects that somebody kept: replace it, and \
             destroy it"
                .to_owned(),
        );
    }
    for LockRow { location, until, .. } in locks {
        let until = until.map(|until| until.to_string()).unwrap_or_default();
        stays.push(format!("`{location}` locks objects until {until}: till then they lie there"));
    }
    stays
}
