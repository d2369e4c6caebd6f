//! Bringing back a region that was given up: nothing it did alone is dropped silently, its
//! locations have everything again, and it leads again.
//!
//! ```text
//!   ask its members what they agreed alone (`remnant`) ─→ points taken in, holds taken over, the
//!        rest listed, and kept in the ledger (`findings`)
//!        (before: what stood in for its locations is brought what lies in those alone)
//!        ─→ fill its locations ─→ ReturnRegion: required again, members follow again, anew
//!        ─→ fill what came meanwhile ─→ ReturnRegion: whole ─→ votes and the lead (`hand_back`)
//! ```
//!
//! Every step looks at what is there and does what is missing. A failback that was cut short, by
//! whatever, is typed again.

mod alike;
mod differences;
mod findings;
mod hand_back;
mod holds;
mod points;
mod remnant;
mod same_vault;

pub(crate) use findings::{kept, settle};
pub(crate) use remnant::tell;

use crate::{
    fill::{self, Filled, LeftObject, Progress},
    house::House,
    places::Place,
    recovery::LeftPoint,
    verify::find_again,
};
use holdfast_common::{Code, Error, Name, PointId, Result, limits};
use holdfast_ledger::{
    Actor, Query,
    command::{ForgetRegion, ReturnRegion},
    row::{EpochRow, MemberRow, MemberState, VaultRow, finding::Decision},
};
use std::time::Duration;
use tokio::time::Instant;

/// So long it is waited for whoever looks through what stood in; a large bucket takes longer, and
/// whoever asked for a failback types it again.
const LOOK_PATIENCE: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// What an operator asked for.
pub(crate) struct Order {
    pub(crate) region: Name,
    pub(crate) actor: Actor,
    /// Only looked: nothing is changed.
    pub(crate) dry_run: bool,
    /// Although nobody of the region can be asked what it did alone: why.
    pub(crate) unasked: Option<String>,
}

/// What was found, and what came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) epoch: u64,
    /// Members of the region that said what they had agreed alone, and those that did not answer.
    pub(crate) asked: Vec<Name>,
    pub(crate) silent: Vec<Name>,
    /// Entries that the region agreed alone and nobody who answers has any more.
    pub(crate) unread: Option<(u64, u64)>,
    /// How many entries it agreed alone.
    pub(crate) entries: u64,
    pub(crate) imported: Vec<PointId>,
    pub(crate) left: Vec<LeftPoint>,
    pub(crate) differences: Vec<Decision>,
    /// Why nobody was asked: then it is not known what the region did alone.
    pub(crate) unasked: Option<String>,
    /// Findings of an earlier try that there was no room for.
    pub(crate) untold: u64,
    pub(crate) locations: Vec<Name>,
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
    /// What no location has whole and the ledger relies on, and what it does not: the first of
    /// them, and how many there are.
    lacking: (Option<LeftObject>, u64),
    pub(crate) left_objects: Vec<String>,
    pub(crate) left_object_count: u64,
    /// Who leads in the end, and who votes.
    pub(crate) leader: Option<Name>,
    pub(crate) voters: Vec<Name>,
}

/// Hears what is being done: the step, objects and bytes of it.
pub(crate) type Teller = dyn Fn(&'static str, u64, u64) + Send + Sync;

/// Hears what was found, before anything of it is returned.
pub(crate) type Finder<'a> = dyn Fn(&Report) + Send + Sync + 'a;

/// A location that was suspended, with its vault and where that is whole.
struct Return {
    vault: VaultRow,
    from: Vec<Place>,
    to: Place,
}

pub(crate) async fn fail_back(
    house: &House,
    order: &Order,
    told: &Teller,
    found: &Finder<'_>,
) -> Result<Report> {
    house.ledger.catch_up().await?;
    let epoch = insist_on_return(house, &order.region)?;
    let returns = returns(house, &epoch, &order.region).await?;
    let is_back = epoch.regions.contains(&order.region);
    // What comes to lie there later was made on this side.
    for back in returns.iter().filter(|_| !is_back) {
        fill::insist_on_known_keys(house, &back.vault, &back.from, &back.to).await?;
    }
    let brought = match is_back || order.dry_run {
        true => Filled::default(),
        false => bring_missing(house, &epoch, &returns, told).await?,
    };
    let mut report = match is_back {
        true => kept(&house.ledger.query(), &order.region)?.unwrap_or_default(),
        false => look(house, order, &epoch, &returns, told).await?,
    };
    report.epoch = epoch.number;
    report.objects += brought.objects;
    report.bytes += brought.bytes;
    report.locations = returns.iter().map(|back| back.to.0.clone()).collect();
    if order.dry_run {
        return Ok(report);
    }
    found(&report);
    if !is_back {
        fill_all(house, &returns, "filling its locations", &mut report, told).await?;
        propose(house, order, false).await?;
        // What is shipped from here on goes to the returned locations too.
        let applied = house.ledger.state().applied;
        house.shipped(applied).await?;
    }
    house.follow_returns()?;
    if !returns.is_empty() {
        // From here on new data goes there by itself; what came until now may be missing.
        fill_all(house, &returns, "filling what came meanwhile", &mut report, told).await?;
        for back in &returns {
            fill::place_points(house, &back.vault, &back.to.0).await?;
        }
        insist_on_whole(&report)?;
        looked_through(house, &returns, told).await?;
        propose(house, order, true).await?;
    }
    told("waiting for its members", 0, 0);
    (report.leader, report.voters) = hand_back::hand_back(house, order).await?;
    Ok(report)
}

/// What stood in for a location is brought what that one alone has, before anything that was made
/// there is taken in: it may rely on that.
async fn bring_missing(
    house: &House,
    epoch: &EpochRow,
    returns: &[Return],
    told: &Teller,
) -> Result<Filled> {
    let mut brought = Filled::default();
    let hear = |progress: Progress| {
        told("bringing what only its locations have", progress.objects, progress.bytes);
    };
    for back in returns {
        if !may_lack(&house.ledger.query(), epoch, &back.vault)? {
            continue;
        }
        let from = std::slice::from_ref(&back.to);
        for place in &back.from {
            let filled = fill::fill(house, &back.vault, from, place, &hear).await?;
            brought.objects += filled.objects;
            brought.bytes += filled.bytes;
        }
        find_again(house, back.vault.id).await?;
        for (location, _) in &back.from {
            fill::place_points(house, &back.vault, location).await?;
        }
    }
    Ok(brought)
}

/// Whether what is required may lack what lies in the lost locations alone. Whoever declared it
/// anew meanwhile has chosen where it lies from then on, and not that it be lost.
fn may_lack(query: &Query<'_>, epoch: &EpochRow, vault: &VaultRow) -> Result<bool> {
    if epoch.has_taken_for(&vault.id) || query.lost_packs(&vault.id).next().is_some() {
        return Ok(true);
    }
    for location in &vault.required {
        if query.copies_in(&vault.id, location)?.is_some_and(|row| row.taken.is_some()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Waits until it is known what each location has that stood in: one that lost something meanwhile
/// is looked through first.
async fn looked_through(house: &House, returns: &[Return], told: &Teller) -> Result<()> {
    let until = Instant::now() + LOOK_PATIENCE;
    for back in returns {
        // As it is declared now.
        let vault = house.ledger.query().vault(&back.vault.id)?;
        while house.ledger.query().unseen_before(&vault)?.is_some() {
            told("waiting until it is known what stood in for them has", 0, 0);
            if Instant::now() >= until {
                let name = &vault.name;
                let message = format!("what stands in for `{name}` was not looked through yet");
                return Err(Error::new(Code::LocationBehind, message)
                    .next("see how far it is with `holdfast location list`, then type it again"));
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
    Ok(())
}

/// What the region did alone; its points are taken in, unless it is only looked. What came of it is
/// kept: once the region is back, it cannot be asked any more.
async fn look(
    house: &House,
    order: &Order,
    epoch: &EpochRow,
    returns: &[Return],
    told: &Teller,
) -> Result<Report> {
    told("asking its members", 0, 0);
    let mut report = Report { epoch: epoch.number, ..Report::default() };
    let remnant = remnant::ask(house, epoch, order, &mut report).await?;
    let found = points::find(house, returns, order.dry_run).await?;
    differences::judge(house, &remnant, &mut report)?;
    report.imported = findings::taken_before(&house.ledger.query(), &order.region, epoch.number)?;
    if !order.dry_run {
        // Whatever stops it while points are taken in: what it is about is kept.
        let mut planned = report.clone();
        for found in &found {
            planned.left.extend(found.left.iter().cloned());
            planned.imported.extend(found.imports.iter().map(|import| import.point.id));
        }
        findings::keep(house, order, &planned).await?;
    }
    points::settle(house, order, returns, (found, &remnant), &mut report, told).await?;
    // What they are about is here by now, if it is anywhere.
    holds::take_over(house, order, &remnant, &mut report).await?;
    if !order.dry_run {
        findings::keep(house, order, &report).await?;
    }
    Ok(report)
}

/// Gives a region up for good.
pub(crate) async fn forget(
    house: &House,
    (actor, region): (Actor, Name),
    reason: Option<String>,
) -> Result<u64> {
    house.ledger.catch_up().await?;
    let epoch = insist_on_return(house, &region)?;
    if epoch.regions.contains(&region) {
        let message = format!("`{region}` is back, and nothing of it is given up any more");
        return Err(Error::new(Code::RegionLeads, message));
    }
    let epoch = epoch.number;
    house.ledger.propose(actor, ForgetRegion { epoch, region, reason }).await?;
    Ok(epoch)
}

/// Something of the region was given up, and this side is the one that leads.
fn insist_on_return(house: &House, region: &Name) -> Result<EpochRow> {
    house.ledger.peers().insist_on_epoch()?;
    let query = house.ledger.query();
    let rows = query.members()?;
    let locations = query.locations()?;
    let is_known = rows.iter().any(|row| row.region == *region)
        || locations.iter().any(|row| row.region == *region);
    if !is_known {
        return Err(Error::new(Code::RegionMissing, format!("there is no region `{region}`")));
    }
    let nothing_lost = || {
        let message = format!("nothing of `{region}` was given up");
        Error::new(Code::RegionLeads, message)
    };
    let epoch = query.epoch()?.ok_or_else(nothing_lost)?;
    // Whoever claimed the epoch never lost it.
    if rows.iter().any(|row| row.id == epoch.member && row.region == *region) {
        return Err(nothing_lost());
    }
    let is_here =
        |name: &Name| locations.iter().any(|row| row.name == *name && row.region == *region);
    let is_lost = rows.iter().any(|row| is_superseded(row, region))
        || epoch.suspended.iter().flat_map(|part| &part.locations).any(is_here);
    match is_lost || epoch.regions.contains(region) {
        true => Ok(epoch),
        false => Err(nothing_lost()),
    }
}

fn is_superseded(row: &MemberRow, region: &Name) -> bool {
    row.state == MemberState::Superseded && row.region == *region
}

/// The suspended locations of the region, each shown to be its vault's.
async fn returns(house: &House, epoch: &EpochRow, region: &Name) -> Result<Vec<Return>> {
    let query = house.ledger.query();
    let here = query.locations()?.into_iter().filter(|row| row.region == *region);
    let here: Vec<Name> = here.map(|row| row.name).collect();
    let mut returns = Vec::new();
    for part in &epoch.suspended {
        let vault = query.vault(&part.vault)?;
        for name in part.locations.iter().filter(|name| here.contains(name)) {
            house.places.prove(&vault, name).await.map_err(|error| {
                let message = format!("the location `{name}` cannot be used");
                Error { message, ..error.clone().cause(&error) }
                    .next("mount or mend it; if it is gone for good: `holdfast region forget`")
            })?;
            let to = (name.clone(), house.places.location(name).await?);
            let mut from = house.places.required(&vault).await?;
            from.retain(|(required, _)| !part.locations.contains(required));
            returns.push(Return { vault: vault.clone(), from, to });
        }
    }
    Ok(returns)
}

async fn fill_all(
    house: &House,
    returns: &[Return],
    step: &'static str,
    report: &mut Report,
    told: &Teller,
) -> Result<()> {
    (report.lacking, report.left_object_count) = ((None, 0), 0);
    report.left_objects.clear();
    for back in returns {
        let hear = |progress: Progress| told(step, progress.objects, progress.bytes);
        let filled = fill::fill(house, &back.vault, &back.from, &back.to, &hear).await?;
        report.objects += filled.objects;
        report.bytes += filled.bytes;
        report.lacking.1 += filled.lacks.count;
        report.lacking.0 = report.lacking.0.take().or(filled.lacks.first.into_iter().next());
        report.left_object_count += filled.left.count;
        let room = limits::OBJECTS_LEFT_TOLD_MAX.saturating_sub(report.left_objects.len());
        report.left_objects.extend(filled.left.first.iter().take(room).map(LeftObject::to_string));
    }
    Ok(())
}

/// A location that lacks what the ledger relies on is not whole, whoever waits for it. What lies
/// about beside that is told, and keeps nobody.
fn insist_on_whole(report: &Report) -> Result<()> {
    let (Some(first), count) = &report.lacking else { return Ok(()) };
    let message = format!("{count} objects are whole in no location, first {first}");
    Err(Error::new(Code::ObjectDamaged, message)
        .next("look with `holdfast verify --all --level storage`, then type it again"))
}

async fn propose(house: &House, order: &Order, filled: bool) -> Result<()> {
    let epoch = house.ledger.peers().standing().epoch.number;
    let back = ReturnRegion { epoch, region: order.region.clone(), filled };
    house.ledger.propose(order.actor.clone(), back).await?;
    house.ledger.catch_up().await
}
