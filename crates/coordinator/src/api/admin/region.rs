//! The regions: shown as this member sees them, taken the lead for, given up.

use super::{super::render, failback::unsettled};
use crate::{
    house::House,
    region::{
        Accepted, Epoch, Obstacle, Order, Plan, Source, Taking, fence_by_hand, plan, promote,
    },
};
use bytes::Bytes;
use futures::future::join_all;
use holdfast_common::{Code, Error, Name, Result, Timestamp};
use holdfast_ledger::{
    Actor,
    row::{EpochRow, LocationRow, MemberRow, MemberState},
};
use holdfast_wire::{parse, v1};
use std::collections::BTreeSet;

/// Answered whether or not anybody leads: it is what an operator looks at when nobody does.
pub(super) async fn regions(
    house: &House,
    request: &v1::RegionsRequest,
) -> Result<v1::RegionsResponse> {
    if request.brief {
        return Ok(brief(house));
    }
    let query = house.ledger.query();
    let standing = house.ledger.peers().standing();
    let (last_term, last) = house.ledger.end_of_log().await?;
    let rows = query.members()?;
    let members: Vec<_> = rows.iter().filter(|row| row.state != MemberState::Removed).collect();
    let shown = join_all(members.iter().map(|row| member(house, row, last))).await;
    let locations = query.locations()?;
    let row = query.epoch()?.filter(|row| row.number == standing.epoch.number);
    let names: BTreeSet<&Name> = members
        .iter()
        .map(|row| &row.region)
        .chain(locations.iter().map(|row| &row.region))
        .collect();
    let regions = names.into_iter().map(|name| {
        let here = members.iter().zip(&shown).filter(|(row, _)| row.region == *name);
        let here_rows: Vec<&MemberRow> = here.clone().map(|(row, _)| *row).collect();
        Ok(v1::RegionStatus {
            name: name.to_string(),
            role: role(house, name, &here_rows).to_owned(),
            members: here.map(|(_, shown)| shown.clone()).collect(),
            locations: places(house, name, &locations, row.as_ref())?,
        })
    });
    Ok(v1::RegionsResponse {
        region: house.region.to_string(),
        member: house.name.to_string(),
        epoch: standing.epoch.number,
        superseded: !standing.belongs,
        last,
        last_term,
        regions: regions.collect::<Result<_>>()?,
        operator: row.as_ref().map(|row| row.operator.clone()).unwrap_or_default(),
        since_ns: row.as_ref().map_or(0, |row| row.since.as_nanos()),
        reason: row.and_then(|row| row.reason).unwrap_or_default(),
        leader: house.ledger.state().leader,
        unsettled: unsettled(house)?,
    })
}

/// What it knows of itself.
fn brief(house: &House) -> v1::RegionsResponse {
    let standing = house.ledger.peers().standing();
    v1::RegionsResponse {
        region: house.region.to_string(),
        member: house.name.to_string(),
        epoch: standing.epoch.number,
        superseded: !standing.belongs,
        ..Default::default()
    }
}

/// What a region is, as far as this member knows: it leads, it follows, or its epoch is over.
fn role(house: &House, name: &Name, rows: &[&MemberRow]) -> &'static str {
    let standing = house.ledger.peers().standing();
    let is_gone = !rows.is_empty() && rows.iter().all(|row| row.state == MemberState::Superseded);
    if is_gone || (!standing.belongs && !standing.epoch.is_of(name)) {
        return "superseded";
    }
    let holds = !standing.epoch.regions.is_empty() && standing.epoch.is_of(name);
    let votes = rows.iter().any(|row| row.is_voter());
    match house.ledger.current_leader() {
        Some(leader) if rows.iter().any(|row| row.id == leader) => "primary",
        Some(_) => "standby",
        None if holds || votes && standing.epoch == Epoch::first() => "primary",
        None => "standby",
    }
}

async fn member(house: &House, row: &MemberRow, last: u64) -> v1::RegionMember {
    let is_own = row.id == house.node_id;
    let told = match is_own {
        true => None,
        false => house.ledger.peers().hello(row.id, "").await.ok(),
    };
    let own = is_own.then(|| house.ledger.state().applied);
    let own_contact = || Some(house.ledger.peers().since_contact()?.as_millis() as u64);
    let applied = told.as_ref().map(|told| told.applied).or(own);
    let is_superseded = row.state == MemberState::Superseded
        || told.as_ref().is_some_and(|told| told.superseded)
        || is_own && house.ledger.peers().insist_on_epoch().is_err();
    v1::RegionMember {
        id: row.id,
        name: row.name.to_string(),
        role: row.role.to_string(),
        state: match applied {
            _ if is_superseded => "superseded",
            Some(_) => "answers",
            None => "silent",
        }
        .to_owned(),
        address: row.address.clone(),
        applied,
        lag: applied.filter(|_| !is_superseded).map(|applied| last.saturating_sub(applied)),
        contact_ms: if is_own { own_contact() } else { told.and_then(|told| told.contact_ms) },
    }
}

fn places(
    house: &House,
    region: &Name,
    locations: &[LocationRow],
    epoch: Option<&EpochRow>,
) -> Result<Vec<v1::RegionLocation>> {
    let vaults = house.ledger.query().vaults()?;
    let suspended = |name: &Name| {
        let mut parts = epoch.into_iter().flat_map(|row| &row.suspended);
        parts.any(|part| part.locations.contains(name))
    };
    let here = locations.iter().filter(|row| row.region == *region);
    Ok(here
        .map(|row| v1::RegionLocation {
            name: row.name.to_string(),
            required: vaults.iter().any(|vault| vault.required.contains(&row.name)),
            suspended: suspended(&row.name),
            following: vaults.iter().any(|vault| vault.following().contains(&row.name)),
            taken: epoch
                .is_some_and(|epoch| epoch.taken().iter().any(|taken| taken.location == row.name)),
        })
        .collect())
}

pub(super) async fn take_lead(
    house: &House,
    actor: &Actor,
    request: v1::PromoteRegionRequest,
) -> Result<v1::PromoteRegionResponse> {
    let region = parse::name(&request.region)?;
    if request.dry_run {
        let mut plan = plan(house, &region).await?;
        plan.obstacles.retain(|stands| !stands.is_life);
        return rendered(house, &plan);
    }
    let operator = operator(actor);
    let reason = Some(request.reason).filter(|reason| !reason.is_empty());
    let (force, without_log) = (request.force, request.without_shipped_log);
    let shown = request.shown.map(|shown| shown.taken.iter().map(accepted).collect());
    let shown = shown.transpose()?;
    let order = Order { region, operator, force, without_log, reason, shown };
    rendered(house, &promote(house, &order).await?)
}

fn accepted(shown: &v1::ShownTaken) -> Result<Accepted> {
    let (vault, location) = (parse::name(&shown.vault)?, parse::name(&shown.location)?);
    Ok(Accepted { vault, location, points: shown.points })
}

fn operator(actor: &Actor) -> String {
    match actor {
        Actor::Operator(name) => name.to_string(),
        other => other.to_string(),
    }
}

fn rendered(house: &House, plan: &Plan) -> Result<v1::PromoteRegionResponse> {
    let texts = |names: &[Name]| names.iter().map(Name::to_string).collect();
    let obstacle = |stands: &Obstacle| v1::Obstacle {
        code: stands.error.code.name().to_owned(),
        message: match &stands.error.cause {
            Some(cause) => format!("{} ({cause})", stands.error.message),
            None => stands.error.message.clone(),
        },
        next: stands.error.advice().to_owned(),
        forcible: stands.forcible,
    };
    let newest = plan.newest.iter().map(|point| render::point(house, point));
    Ok(v1::PromoteRegionResponse {
        member: plan.member.name.to_string(),
        epoch: plan.epoch.number,
        voters: texts(&plan.voters()),
        locations: plan.location_names().map(Name::to_string).collect(),
        obstacles: plan.obstacles.iter().map(obstacle).collect(),
        base: plan.end.1,
        base_time_ns: plan.newest_time.map_or(0, |time| time.as_nanos()),
        contact_ms: plan.contact.map(|since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
        newest: newest.collect::<Result<_>>()?,
        lost_members: texts(&plan.lost_members),
        lost_locations: texts(&plan.lost_locations),
        shipped_log_error: plan.unheard.as_ref().map(Error::to_string),
        taken: plan.taken.iter().map(|taking| taken(house, taking)).collect::<Result<_>>()?,
    })
}

/// A location that stands in for lost ones, and what would be out of reach.
fn taken(house: &House, taking: &Taking) -> Result<v1::TakenLocation> {
    let source = |source: &Source| {
        Ok(v1::SourceOutOfReach {
            newest: Some(render::point(house, &source.newest)?),
            oldest_ns: source.oldest.as_nanos(),
            points: source.points,
            ids: source.first.iter().map(|id| Bytes::copy_from_slice(id.as_bytes())).collect(),
            reachable: match &source.reachable {
                Some(point) => Some(render::point(house, point)?),
                None => None,
            },
        })
    };
    let lag = taking.lag(house.ledger.now());
    Ok(v1::TakenLocation {
        vault: taking.vault_name.to_string(),
        location: taking.location.to_string(),
        state: taking.state.map(|state| state.name().to_owned()),
        whole_ns: taking.whole.map(Timestamp::as_nanos),
        points: taking.missing.points,
        lag_ms: u64::try_from(lag.as_millis()).unwrap_or(u64::MAX),
        sources: taking.missing.sources.iter().map(source).collect::<Result<_>>()?,
    })
}

/// An operator says what this member cannot see: another region leads now.
pub(super) async fn fence(
    house: &House,
    actor: &Actor,
    request: &v1::FenceRegionRequest,
) -> Result<v1::FenceRegionResponse> {
    let (region, by) = (parse::name(&request.region)?, parse::name(&request.by)?);
    if region != house.region {
        let message = format!("this member is in `{}`, not in `{region}`", house.region);
        return Err(Error::new(Code::RegionElsewhere, message));
    }
    let rows = house.ledger.query().members()?;
    if by == region || !rows.iter().any(|row| row.region == by) {
        let message = format!("`{by}` is no other region of this cluster");
        return Err(Error::new(Code::RegionMissing, message));
    }
    let epoch = fence_by_hand(house, &operator(actor), by, request.epoch).await?;
    Ok(v1::FenceRegionResponse { member: house.name.to_string(), epoch })
}
