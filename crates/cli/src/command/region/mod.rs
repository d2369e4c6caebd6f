//! `holdfast region status | check | promote | fence | failback | settle | forget`: which region
//! leads, and what to do when one is lost, and when it is there again.
//!
//! Every coordinator is asked by itself (`client::sides`): after a cut there may be two that say
//! that they lead, and the newer epoch is the one that counts. A promotion is shown before it is
//! made, and made by the member of the region that has most of the ledger.

mod failback;
mod taken;

use crate::{
    client::sides::{Side, sides},
    confirm::confirm,
    demand::Demand,
    ending::Ending,
    output::{
        figures::{self, json_time},
        table::Table,
    },
    progress::Bar,
};
use clap::Subcommand;
use core::time::Duration;
use holdfast_common::{Code, Error, Name, Result, Timestamp};
use holdfast_wire::{status::from_status, v1};
use serde_json::{Value, json};
use tokio::time::Instant;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the regions, their members and locations, and who says what
    #[command(after_help = EXAMPLES)]
    Status,
    /// Say what would come of a promotion; ends with 1 when something stands against it
    #[command(after_help = EXAMPLES)]
    Check { region: Name },
    /// Take the lead for a region, without the one that is lost
    #[command(after_help = EXAMPLES)]
    Promote {
        region: Name,
        /// Although the other side may be alive, or a vault has no location in the region, not even
        /// one that follows
        #[arg(long, requires = "reason")]
        force: bool,
        /// Although what the lost side had shipped cannot be read: what it says there is given up
        #[arg(long, requires = "reason")]
        without_shipped_log: bool,
        /// Why; kept in the ledger
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Tell the coordinators of a region that another one has taken the lead
    #[command(after_help = EXAMPLES)]
    Fence {
        region: Name,
        /// The region that leads now
        #[arg(long, value_name = "REGION")]
        by: Name,
        /// Its epoch; the next one unless it is known
        #[arg(long, value_name = "NUMBER")]
        epoch: Option<u64>,
    },
    /// Bring a region back that was given up: its points, its locations, its members, the lead
    #[command(after_help = EXAMPLES)]
    Failback {
        region: Name,
        /// Say what the region did alone, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Although nobody of the region can be asked what it did alone
        #[arg(long, requires = "reason")]
        force: bool,
        /// Why; kept with what was found
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Say that what a region had done alone is settled: `region status` shows it no more
    #[command(after_help = EXAMPLES)]
    Settle { region: Name },
    /// Give a region up for good: its members are removed, its locations stay as they are
    #[command(after_help = EXAMPLES)]
    Forget {
        region: Name,
        /// Why; kept in the ledger
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

/// The ledger is opened anew; with many rows that takes a while.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(100);

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    match arguments.verb {
        Verb::Status => status(demand).await,
        Verb::Check { region } => check(&region, demand).await,
        Verb::Promote { region, force, without_shipped_log, reason } => {
            let (region, reason) = (region.to_string(), reason.unwrap_or_default());
            let order = v1::PromoteRegionRequest {
                region,
                force,
                reason,
                dry_run: false,
                without_shipped_log,
                shown: None,
            };
            promote(order, demand).await
        }
        Verb::Fence { region, by, epoch } => fence(&region, &by, epoch, demand).await,
        Verb::Failback { region, dry_run, force, reason } => {
            let (region, reason) = (region.to_string(), reason.unwrap_or_default());
            let order = v1::FailbackRegionRequest { region, dry_run, force, reason };
            failback::fail_back(order, demand).await
        }
        Verb::Settle { region } => failback::settle(&region, demand).await,
        Verb::Forget { region, reason } => failback::forget(&region, reason, demand).await,
    }
}

async fn status(demand: &Demand<'_>) -> Result<Ending> {
    let sides = sides(demand.context()?).await?;
    let Some(best) = sides.iter().max_by_key(|side| weight(side)) else {
        return Err(Error::new(Code::ClusterUnreachable, "no coordinator answers"));
    };
    let unaware = sides.iter().filter(|side| side.view.epoch < best.view.epoch);
    let unaware: Vec<&v1::RegionsResponse> = unaware.map(|side| &side.view).collect();
    demand.output.answer(
        || fields(&best.view, &unaware),
        || {
            let mut parts = vec![text(&best.view)];
            parts.extend(best.view.unsettled.iter().map(failback::unsettled_text));
            parts.extend(unaware.iter().map(|view| {
                format!(
                    "`{}` of `{}` still goes by epoch {}\n  next: holdfast region fence {} --by {}",
                    view.member, view.region, view.epoch, view.region, best.view.region
                )
            }));
            parts.join("\n\n")
        },
    )?;
    Ok(Ending::Done)
}

/// The newest epoch counts; of those who know it, one that is not over, and knows the leader.
fn weight(side: &Side) -> (u64, bool, bool, (u64, u64)) {
    let view = &side.view;
    (view.epoch, !view.superseded, view.leader.is_some(), side.reach())
}

async fn check(region: &Name, demand: &Demand<'_>) -> Result<Ending> {
    let mut side = furthest(sides(demand.context()?).await?, region.as_str())?;
    let plan = rehearse(&mut side, region.as_str()).await?;
    demand.output.answer(
        || {
            let mut object = plan_fields(region.as_str(), &plan);
            object["obstacles"] = plan.obstacles.iter().map(obstacle_fields).collect();
            object["ready"] = plan.obstacles.is_empty().into();
            object
        },
        || plan_text(region.as_str(), &plan),
    )?;
    Ok(if plan.obstacles.is_empty() { Ending::Done } else { Ending::Failed })
}

async fn promote(mut order: v1::PromoteRegionRequest, demand: &Demand<'_>) -> Result<Ending> {
    let region = order.region.clone();
    let sides = sides(demand.context()?).await?;
    let alive = sides.iter().find(|side| side.view.region != region && !side.view.superseded);
    let alive = alive.map(|side| lives(&side.view));
    let mut side = furthest(sides, &region)?;
    let plan = rehearse(&mut side, &region).await?;
    // Whoever is asked here may reach what the region itself cannot. What else stands against it,
    // the coordinator says.
    if let Some(alive) = alive.filter(|_| !order.force && plan.obstacles.is_empty()) {
        return Err(alive);
    }
    if !demand.yes {
        demand.output.remark(&plan_text(&region, &plan));
        order.shown = Some(taken::shown(&plan));
    }
    let lost = plan.lost_members.join(", ");
    confirm(demand, &format!("take the lead for `{region}`, without {lost}"))?;
    let answer = side.admin.promote_region(order).await;
    let done = answer.map_err(|status| from_status(&status))?.into_inner();
    wait(&mut side, demand, done.epoch).await?;
    demand.output.answer(
        || plan_fields(&region, &done),
        || format!("`{}` leads epoch {}\n{}", done.member, done.epoch, loss_text(&done)),
    )?;
    Ok(Ending::Done)
}

async fn fence(
    region: &Name,
    by: &Name,
    epoch: Option<u64>,
    demand: &Demand<'_>,
) -> Result<Ending> {
    let there = sides(demand.context()?).await?.into_iter();
    let there: Vec<Side> = there.filter(|side| side.view.region == region.as_str()).collect();
    if there.is_empty() {
        return Err(nobody_of(region.as_str()));
    }
    confirm(
        demand,
        &format!("have the coordinators of `{region}` stop for good, as `{by}` leads"),
    )?;
    let (mut fenced, mut number) = (Vec::new(), 0);
    for mut side in there {
        let question = v1::FenceRegionRequest {
            region: region.to_string(),
            by: by.to_string(),
            epoch: epoch.unwrap_or(0),
        };
        let answer = side.admin.fence_region(question).await;
        let answer = answer.map_err(|status| from_status(&status))?.into_inner();
        fenced.push(answer.member);
        number = answer.epoch;
    }
    demand.output.answer(
        || json!({ "region": region.as_str(), "epoch": number, "fenced": fenced }),
        || format!("fenced, as epoch {number} is held by {by}: {}", fenced.join(", ")),
    )?;
    Ok(Ending::Done)
}

/// The member of a region that has most of the ledger, of those who answer.
fn furthest(sides: Vec<Side>, region: &str) -> Result<Side> {
    let known = sides.iter().flat_map(|side| &side.view.regions);
    if !known.clone().any(|known| known.name == region) {
        return Err(Error::new(Code::RegionMissing, format!("there is no region `{region}`")));
    }
    let there = sides.into_iter().filter(|side| side.view.region == region);
    there.max_by_key(Side::reach).ok_or_else(|| nobody_of(region))
}

/// A coordinator of another region that answers, and was not given up.
fn lives(view: &v1::RegionsResponse) -> Error {
    let message = format!("`{}` in `{}` answers", view.member, view.region);
    Error::new(Code::RegionPrimaryAlive, message)
}

fn nobody_of(region: &str) -> Error {
    let message = format!("no coordinator of `{region}` answers");
    Error::new(Code::ClusterUnreachable, message)
        .next("name one of its endpoints in the context file, and check that it runs")
}

async fn rehearse(side: &mut Side, region: &str) -> Result<v1::PromoteRegionResponse> {
    let region = region.to_owned();
    let question = v1::PromoteRegionRequest { region, dry_run: true, ..Default::default() };
    let answer = side.admin.promote_region(question).await;
    answer.map(tonic::Response::into_inner).map_err(|status| from_status(&status))
}

/// Until the epoch is in the ledger of the member that leads it.
async fn wait(side: &mut Side, demand: &Demand<'_>, epoch: u64) -> Result<()> {
    let bar = Bar::start(demand.output, "the ledger starts anew");
    let begun = Instant::now();
    loop {
        let looked = side.look_again().await;
        let view = &side.view;
        let leads = view.leader.is_some() && !view.operator.is_empty();
        if looked.is_ok() && view.epoch >= epoch && leads {
            bar.clear();
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            let waited = figures::span(PATIENCE);
            let message = format!("epoch {epoch} is claimed, and nobody leads it after {waited}");
            return Err(Error::new(Code::ClusterBusy, message)
                .next("it goes on by itself; look with `holdfast region status`"));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn fields(view: &v1::RegionsResponse, unaware: &[&v1::RegionsResponse]) -> Value {
    let is_claimed = !view.operator.is_empty();
    json!({
        "epoch": view.epoch,
        "leader": view.leader,
        "superseded": view.superseded,
        "said_by": view.member,
        "operator": is_claimed.then_some(&view.operator),
        "since": json_time(is_claimed.then_some(view.since_ns)),
        "reason": (!view.reason.is_empty()).then_some(&view.reason),
        "regions": view.regions.iter().map(region_fields).collect::<Vec<_>>(),
        "unsettled": view.unsettled.iter().map(failback::fields).collect::<Vec<_>>(),
        "unaware": unaware.iter().map(|view| json!({
            "member": view.member, "region": view.region, "epoch": view.epoch,
        })).collect::<Vec<_>>(),
    })
}

fn region_fields(region: &v1::RegionStatus) -> Value {
    json!({
        "name": region.name,
        "role": region.role,
        "members": region.members.iter().map(|member| json!({
            "id": member.id,
            "name": member.name,
            "role": member.role,
            "state": member.state,
            "address": member.address,
            "applied": member.applied,
            "lag": member.lag,
            "contact_ms": member.contact_ms,
        })).collect::<Vec<_>>(),
        "locations": region.locations.iter().map(|location| json!({
            "name": location.name,
            "required": location.required,
            "suspended": location.suspended,
            "following": location.following,
            "taken": location.taken,
        })).collect::<Vec<_>>(),
    })
}

fn text(view: &v1::RegionsResponse) -> String {
    let leader = view.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string());
    let over = if view.superseded { " · SUPERSEDED" } else { "" };
    let mut parts = vec![format!("epoch {} · leader {leader}{over}", view.epoch)];
    if !view.operator.is_empty() {
        let since = figures::time(Timestamp::from_nanos(view.since_ns));
        let reason = if view.reason.is_empty() { "" } else { ": " };
        parts[0] += &format!("\nclaimed by {} at {since}{reason}{}", view.operator, view.reason);
    }
    let columns = ["region", "role", "member", "votes", "state", ">lag", ">heard", "address"];
    let mut table = Table::new(columns);
    for region in &view.regions {
        for member in &region.members {
            let heard = member.contact_ms.map(|ms| figures::span(Duration::from_millis(ms)));
            table.row([
                region.name.clone(),
                region.role.clone(),
                member.name.clone(),
                member.role.clone(),
                member.state.clone(),
                member.lag.map_or_else(String::new, |lag| lag.to_string()),
                heard.unwrap_or_default(),
                member.address.clone(),
            ]);
        }
    }
    parts.push(table.render());
    let mut locations = Table::new(["location", "region", "state"]);
    for region in &view.regions {
        for location in &region.locations {
            let state = match (location.required, location.suspended) {
                (true, true) => "filling",
                (false, true) => "suspended",
                (true, false) if location.taken => "stands in",
                (true, false) => "required",
                (false, false) if location.following => "follows",
                (false, false) => "unused",
            };
            locations.row([location.name.clone(), region.name.clone(), state.to_owned()]);
        }
    }
    parts.push(locations.render());
    parts.join("\n\n")
}

fn obstacle_fields(obstacle: &v1::Obstacle) -> Value {
    json!({
        "code": obstacle.code,
        "message": obstacle.message,
        "next": obstacle.next,
        "forcible": obstacle.forcible,
    })
}

fn plan_fields(region: &str, plan: &v1::PromoteRegionResponse) -> Value {
    json!({
        "region": region,
        "member": plan.member,
        "epoch": plan.epoch,
        "voters": plan.voters,
        "locations": plan.locations,
        "base": plan.base,
        "base_time": json_time((plan.base_time_ns > 0).then_some(plan.base_time_ns)),
        "contact_ms": plan.contact_ms,
        "newest": plan.newest.iter().map(|point| json!({
            "id": hex::encode(&point.id),
            "policy": point.policy,
            "agent": point.agent,
            "source": point.source,
            "time": json_time(Some(point.time_ns)),
        })).collect::<Vec<_>>(),
        "lost": { "members": plan.lost_members, "locations": plan.lost_locations },
        "shipped_log_error": plan.shipped_log_error,
        "taken": plan.taken.iter().map(taken::fields).collect::<Vec<_>>(),
    })
}

fn plan_text(region: &str, plan: &v1::PromoteRegionResponse) -> String {
    let list = |names: &[String]| match names {
        [] => "none".to_owned(),
        names => names.join(", "),
    };
    let mut lines = vec![
        format!("`{}` would lead `{region}` in epoch {}", plan.member, plan.epoch),
        format!("voters: {}", list(&plan.voters)),
        format!("claimed in: {}", list(&plan.locations)),
        format!("superseded: {}", list(&plan.lost_members)),
        format!("nothing new would go to: {}", list(&plan.lost_locations)),
        loss_text(plan),
    ];
    for obstacle in &plan.obstacles {
        let forcible = if obstacle.forcible { " (overcome by --force)" } else { "" };
        lines.push(format!(
            "AGAINST IT {} {}{forcible}\n  next: {}",
            obstacle.code, obstacle.message, obstacle.next
        ));
    }
    lines.join("\n")
}

/// What may be missing, as exactly as this side can know.
fn loss_text(plan: &v1::PromoteRegionResponse) -> String {
    let time = figures::time_if_any((plan.base_time_ns > 0).then_some(plan.base_time_ns));
    let heard = plan.contact_ms.map_or_else(
        || "a leader was not heard since this member started".to_owned(),
        |ms| format!("a leader was heard {} ago", figures::span(Duration::from_millis(ms))),
    );
    let mut lines = vec![format!(
        "the ledger is here up to entry {}, of {time}; {heard}; what came later may be missing",
        plan.base
    )];
    if let Some(error) = &plan.shipped_log_error {
        lines.push(format!(
            "DONE WITHOUT what the other side had shipped, which may be more than that: {error}"
        ));
    }
    for point in &plan.newest {
        let what = point.policy.as_deref().unwrap_or(&point.source);
        let time = figures::time(Timestamp::from_nanos(point.time_ns));
        lines.push(format!("newest of {what}: {} of {time}", hex::encode(&point.id)));
    }
    lines.extend(plan.taken.iter().map(taken::text));
    lines.join("\n")
}

pub const EXAMPLES: &str = "\
Examples:
  holdfast region status
  holdfast region check dr
  holdfast region promote dr --yes
  holdfast region promote dr --force --reason \"eu is cut off for good\" --yes
  holdfast region fence eu --by dr --yes
  holdfast region failback eu --dry-run
  holdfast region failback eu --yes
  holdfast region settle eu --yes
  holdfast region forget eu --reason \"the building is gone\" --yes
  holdfast --output json region status";
