//! Carrying a promotion out: the claim, the intent, and the ledger's new beginning.

use super::{
    Claim, Epoch, Intent, Obstacle, Plan, gather::gather, plan, plan::taken,
    standing::IntendedNode, watch::newest_claim,
};
use crate::house::House;
use bytes::Bytes;
use holdfast_common::{Code, Error, Name, Result, limits};
use holdfast_ledger::row::MemberRow;
use holdfast_repository::layout;

/// What an operator asked for.
pub(crate) struct Order {
    pub(crate) region: Name,
    pub(crate) operator: String,
    pub(crate) force: bool,
    pub(crate) reason: Option<String>,
}

/// Takes the lead for the region. When this returns, the epoch is claimed and this member starts
/// its ledger anew.
pub(crate) async fn promote(house: &House, order: &Order) -> Result<Plan> {
    let reason_bytes = order.reason.as_ref().map_or(0, String::len);
    if reason_bytes > limits::REASON_BYTES_MAX || order.force && reason_bytes == 0 {
        let message =
            format!("a forced promotion has a reason of 1 to {} bytes", limits::REASON_BYTES_MAX);
        return Err(Error::new(Code::UsageMalformed, message).next("--force --reason TEXT"));
    }
    let mut plan = plan(house, &order.region).await?;
    if let Some(stands) = plan.obstacles.iter().find(|stands| !is_overcome(stands, order)) {
        return Err(stands.error.clone());
    }
    match gather(house, &plan).await {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "entries of the log taken from the location"),
        Err(error) if order.force => {
            tracing::error!(%error, "what the lost side had shipped is not all here");
        }
        Err(error) => {
            let message = "what the lost side had shipped cannot be taken from the location";
            return Err(Error { message: message.to_owned(), ..error.clone().cause(&error) }
                .next("mend the location, or do without: --force --reason TEXT"));
        }
    }
    plan.take_stock(house).await?;
    // From here on nothing of the old epoch changes this log.
    house.ledger.peers().close_log(true);
    let carried = carry_out(house, order, &plan).await;
    if carried.is_err() {
        house.ledger.peers().close_log(false);
    }
    carried.map(|()| plan)
}

fn is_overcome(stands: &Obstacle, order: &Order) -> bool {
    stands.forcible && order.force
}

async fn carry_out(house: &House, order: &Order, plan: &Plan) -> Result<()> {
    let claim = match &plan.own_claim {
        Some(claim) => claim.clone(),
        None => new_claim(house, order, plan).await?,
    };
    let claim = put(house, plan, claim).await?;
    let term = plan.siblings.iter().map(|(_, told)| told.term).max();
    intend(house, claim, term.unwrap_or(0))
}

/// Writes down that this member leads the epoch it claimed, and starts the ledger anew for it.
pub(super) fn intend(house: &House, claim: Claim, term: u64) -> Result<()> {
    let rows = house.ledger.query().members()?;
    let ours = rows.into_iter().filter(|row| row.is_live() && row.region == claim.region);
    let node = |row: MemberRow| IntendedNode {
        id: row.id,
        name: row.name,
        region: row.region,
        address: row.address,
    };
    let term = house.ledger.state().term.max(term) + 1;
    let nodes = ours.map(node).collect();
    Intent { claim, term, nodes }.save(&house.data)?;
    house.start_anew();
    Ok(())
}

async fn new_claim(house: &House, order: &Order, plan: &Plan) -> Result<Claim> {
    let (base_term, base) = house.ledger.end_of_log().await?;
    Ok(Claim {
        epoch: Epoch {
            number: plan.epoch.number,
            regions: vec![order.region.clone()],
            member: house.node_id,
            applied: house.ledger.state().applied,
        },
        base_term,
        base,
        time: house.clock.now(),
        operator: order.operator.clone(),
        reason: order.reason.clone(),
        name: house.name.clone(),
        region: house.region.clone(),
    })
}

/// The claim as it lies in all of the region's locations. Where another one was faster, that one
/// counts and is named.
async fn put(house: &House, plan: &Plan, claim: Claim) -> Result<Claim> {
    let name = layout::ObjectName::epoch(claim.epoch.number).as_str().parse()?;
    let bytes = match plan.own_claim {
        Some(_) => written(house, plan, &claim).await?,
        None => sealed(house, &claim)?,
    };
    for place in &plan.places {
        match place.1.put_new(&name, bytes.clone()).await {
            Ok(_) => {}
            Err(error) if error.code == Code::ObjectConflict => {
                return Err(match newest_claim(house, place).await? {
                    Some(other) => taken(&other),
                    None => error,
                });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(claim)
}

/// The bytes of a claim of our own, as it was written before.
async fn written(house: &House, plan: &Plan, claim: &Claim) -> Result<Bytes> {
    let name = layout::ObjectName::epoch(claim.epoch.number).as_str().parse()?;
    for (_, store) in &plan.places {
        if store.head(&name).await?.is_some() {
            return store.get(&name, limits::RECORD_BYTES_MAX).await;
        }
    }
    sealed(house, claim)
}

fn sealed(house: &House, claim: &Claim) -> Result<Bytes> {
    let key = house.keys()?.recovery.epoch_key();
    Ok(claim.seal(&house.cluster, &key, house.entropy.as_ref()).into())
}
