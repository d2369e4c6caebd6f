//! Carrying a promotion out: the claim, the intent, and the ledger's new beginning.
//!
//! ```text
//!   the side that leads:   look ─→ put an extent ─→ look ─→ answer "committed"
//!   this side:             gather ─→ claim ─→ gather ─→ intend
//!                          (the claim takes what follows by what was gathered before it)
//! ```
//!
//! The last look of an answer saw no claim, so its extent was put before the claim, and whoever
//! lists after the claim finds it: nothing that was answered is missing here. An extent that was
//! put after the last listing is behind the claim; its look sees that, and nobody is answered. Only
//! extents count: packs and points without their entry were acknowledged to nobody.
//!
//! All of that holds of a location that is required. One that follows and is taken in place of lost
//! ones has what had been copied of the log: the claim in it fences the other side as well, which
//! looks there before it brings anything, and what that side answers until it does is missing here.

use super::{
    Claim, Epoch, Intent, Obstacle, Plan,
    gather::gather,
    plan,
    plan::taken,
    standing::IntendedNode,
    taking::{Accepted, Taking, insist_on_shown, unfit},
    watch::newest_claim,
};
use crate::{house::House, places::Place};
use bytes::Bytes;
use holdfast_common::{Code, Error, Name, Result, limits};
use holdfast_ledger::row::{MemberRow, Taken};
use holdfast_repository::layout;

/// What an operator asked for.
pub(crate) struct Order {
    pub(crate) region: Name,
    pub(crate) operator: String,
    pub(crate) force: bool,
    /// Whatever the lost side had shipped may be missing.
    pub(crate) without_log: bool,
    pub(crate) reason: Option<String>,
    /// The loss that he was shown; none where he asked to be shown nothing.
    pub(crate) shown: Option<Vec<Accepted>>,
}

/// Takes the lead for the region. When this returns, the epoch is claimed and this member starts
/// its ledger anew.
pub(crate) async fn promote(house: &House, order: &Order) -> Result<Plan> {
    let reason_bytes = order.reason.as_ref().map_or(0, String::len);
    let wants_reason = order.force || order.without_log;
    if reason_bytes > limits::REASON_BYTES_MAX || wants_reason && reason_bytes == 0 {
        let message =
            format!("a forced promotion has a reason of 1 to {} bytes", limits::REASON_BYTES_MAX);
        return Err(Error::new(Code::UsageMalformed, message).next("--force --reason TEXT"));
    }
    let mut plan = plan(house, &order.region).await?;
    insist_on_plan(&plan, order)?;
    plan.unheard = hear(house, &plan.places, order.without_log).await?;
    // From here on nothing of the old epoch changes this log.
    house.ledger.peers().close_log(true);
    let carried = carry_out(house, order, &mut plan).await;
    if carried.is_err() {
        house.ledger.peers().close_log(false);
    }
    carried.map(|()| plan)
}

/// Nothing stands against it that the order does not overcome.
fn insist_on_plan(plan: &Plan, order: &Order) -> Result<()> {
    let is_overcome = |stands: &Obstacle| stands.forcible && order.force;
    match plan.obstacles.iter().find(|stands| !is_overcome(stands)) {
        Some(stands) => Err(stands.error.clone()),
        None => Ok(()),
    }
}

/// What was heard last may be that a location follows no more which the claim takes: its vault
/// would have nothing to write to.
fn insist_on_taken(house: &House, claim: &Claim) -> Result<()> {
    let query = house.ledger.query();
    let (number, region) = (claim.epoch.number, &claim.region);
    let unfit = unfit(&query, region, claim.taken.as_deref().unwrap_or_default())?;
    let Some(Taken { location, vault }) = unfit else { return Ok(()) };
    let vault = query.vault(&vault)?.name;
    let message = format!(
        "epoch {number} is claimed, and not begun: `{location}` does not follow `{vault}` any more"
    );
    Err(Error::new(Code::RegionLocationUnproven, message).next(format!(
        "to begin it all the same, while `{vault}` takes nothing: holdfast region promote {region} \
         --force --reason TEXT"
    )))
}

/// What was heard from the other side may be that it shut out who gives this order.
pub(super) fn insist_on_standing(house: &House, operator: &str) -> Result<()> {
    match house.ledger.query().operator(&operator.parse()?)? {
        Some(row) if row.revoked => {
            let message = format!("the operator `{}` was revoked", row.name);
            Err(Error::new(Code::OperatorRevoked, message))
        }
        _ => Ok(()),
    }
}

async fn carry_out(house: &House, order: &Order, plan: &mut Plan) -> Result<()> {
    insist_on_standing(house, &order.operator)?;
    let claim = match &plan.own_claim {
        Some(claim) => claim.clone(),
        None => {
            // What was heard since may be that something else follows, or is required.
            plan.choose_again(house, &order.region).await?;
            insist_on_plan(plan, order)?;
            insist_on_shown(&plan.taken, order.shown.as_deref())?;
            new_claim(house, order, plan).await?
        }
    };
    let is_there = plan.own_claim.is_some();
    let unheard = take_epoch(house, &plan.places, &claim, is_there, order.without_log).await?;
    plan.unheard = plan.unheard.take().or(unheard);
    if !order.force {
        insist_on_taken(house, &claim)?;
    }
    plan.take_stock(house).await?;
    insist_on_claimant(house, &claim, &order.operator)?;
    let term = plan.siblings.iter().map(|(_, told)| told.term).max();
    intend(house, claim, term.unwrap_or(0)).await
}

/// A claim is for good, and begins in nobody's name who was shut out before it was made.
fn insist_on_claimant(house: &House, claim: &Claim, operator: &str) -> Result<()> {
    insist_on_standing(house, operator).map_err(|error| {
        let (number, region) = (claim.epoch.number, &claim.region);
        Error { message: format!("epoch {number} is claimed, and not begun: {error}"), ..error }
            .next(format!("another operator goes on with it: `holdfast region promote {region}`"))
    })
}

/// The claim, and what was shipped until it was made; why that may not be all, where it was said to
/// do without.
async fn take_epoch(
    house: &House,
    places: &[Place],
    claim: &Claim,
    is_there: bool,
    without_log: bool,
) -> Result<Option<Error>> {
    put(house, places, claim, is_there).await?;
    hear(house, places, without_log).await.map_err(|error| {
        let (number, cause) = (claim.epoch.number, error.message.clone());
        // A claim is for good: whoever finds it, here or there, goes by it.
        Error { message: format!("epoch {number} is claimed, and not begun: {cause}"), ..error }
    })
}

/// Takes what the lost side had shipped. Without all of it nobody goes on who was not told to.
async fn hear(house: &House, places: &[Place], without_log: bool) -> Result<Option<Error>> {
    match gather(house, places).await {
        Ok(0) => Ok(None),
        Ok(count) => {
            tracing::info!(count, "entries of the log taken from the location");
            Ok(None)
        }
        Err(error) if without_log => {
            tracing::error!(%error, "what the lost side had shipped is not all here");
            Ok(Some(error))
        }
        Err(error) => {
            let message = "what the lost side had shipped cannot be taken from the location";
            Err(Error { message: message.to_owned(), ..error.clone().cause(&error) }.next(
                "mend the location and type it again; to lose what was acknowledged and lies only \
                 there: --without-shipped-log --reason TEXT",
            ))
        }
    }
}

/// A claim of this member's that it was stopped after, before it came to anything. Nobody serves or
/// sends here yet, so that nothing changes the log meanwhile.
pub(super) async fn go_on(house: &House, claim: &Claim) -> Result<()> {
    let places = places_of(house, claim).await?;
    take_epoch(house, &places, claim, true, false).await?;
    insist_on_taken(house, claim)?;
    insist_on_claimant(house, claim, &claim.operator)?;
    intend(house, claim.clone(), 0).await
}

/// Where a claim is to lie.
async fn places_of(house: &House, claim: &Claim) -> Result<Vec<Place>> {
    places_in(house, &claim.region, claim.taken.as_deref().unwrap_or_default()).await
}

/// Where a region claims its epochs, with what it takes for that.
pub(super) async fn places_in(house: &House, region: &Name, taken: &[Taken]) -> Result<Vec<Place>> {
    let rows = house.ledger.query().locations()?;
    let here: Vec<&Name> =
        rows.iter().filter(|row| row.region == *region).map(|row| &row.name).collect();
    let mut places: Vec<Place> = Vec::new();
    for vault in house.ledger.query().vaults()? {
        let taken = taken.iter().filter(|taken| taken.vault == vault.id);
        let taken = taken.map(|taken| &taken.location);
        for name in vault.required.iter().chain(taken).filter(|name| here.contains(name)) {
            house.places.prove(&vault, name).await?;
            if places.iter().all(|(known, _)| known != name) {
                places.push((name.clone(), house.places.location(name).await?));
            }
        }
    }
    places.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(places)
}

/// Writes down that this member leads the epoch it claimed, from the end that its log has now, and
/// starts the ledger anew for it.
async fn intend(house: &House, mut claim: Claim, term: u64) -> Result<()> {
    (claim.base_term, claim.base) = house.ledger.end_of_log().await?;
    claim.epoch.applied = house.ledger.state().applied;
    let _turn = house.ledger.peers().turn();
    let known = house.ledger.peers().standing().epoch;
    if known.number >= claim.epoch.number {
        return Err(known.supersedes());
    }
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
        taken: (!plan.taken.is_empty()).then(|| plan.taken.iter().map(Taking::to_row).collect()),
    })
}

/// Has the claim in all of the region's locations. Where another one was faster, that one counts
/// and is named.
async fn put(house: &House, places: &[Place], claim: &Claim, mut is_there: bool) -> Result<()> {
    let name = layout::ObjectName::epoch(claim.epoch.number).as_str().parse()?;
    let bytes = match is_there {
        true => written(house, places, claim).await?,
        false => sealed(house, claim)?,
    };
    for place in places {
        match place.1.put_new(&name, bytes.clone()).await {
            Ok(_) => is_there = true,
            Err(error) if error.code == Code::ObjectConflict => {
                return Err(match newest_claim(house, place).await? {
                    Some(other) => taken(&other),
                    None => error,
                });
            }
            Err(error) if is_there => return Err(half_claimed(claim, &place.0, &error)),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// In one location it is claimed: that is for good, and the other side ends there already.
fn half_claimed(claim: &Claim, location: &Name, error: &Error) -> Error {
    let number = claim.epoch.number;
    let message = format!(
        "epoch {number} is claimed for `{}`, but not in the location `{location}` yet, and nobody \
         leads it",
        claim.region
    );
    Error { message, ..error.clone().cause(error) }
        .next(format!("mend `{location}` and type it again on `{}`: it goes on there", claim.name))
}

/// The bytes of a claim of our own, as it was written before.
async fn written(house: &House, places: &[Place], claim: &Claim) -> Result<Bytes> {
    let name = layout::ObjectName::epoch(claim.epoch.number).as_str().parse()?;
    for (_, store) in places {
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
