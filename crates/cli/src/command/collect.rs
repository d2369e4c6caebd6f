//! `holdfast collect`: what no point needs is given up, and goes a day later; with `--dry-run` it
//! is only said what that would be.
//!
//! The coordinators collect by themselves once a day. This command asks for it now, and shows how
//! far it is until the round is over; whoever stops it stops only the showing.

use crate::{
    client::{Admin, Client},
    confirm::confirm,
    demand::Demand,
    ending::Ending,
    output::{
        fault,
        figures::{self, json_time},
        table::Table,
    },
    progress::Bar,
};
use holdfast_common::{Error, Name, Result};
use holdfast_wire::{status::from_status, v1};
use serde_json::{Value, json};
use std::time::Duration;

const LOOK_INTERVAL: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only this vault
    #[arg(long)]
    vault: Option<Name>,
    /// Say what would go, and give up nothing
    #[arg(long)]
    dry_run: bool,
    /// Begin it, and do not wait until it is over
    #[arg(long, conflicts_with = "dry_run")]
    detach: bool,
}

/// What was found in each vault, and why nothing is collected now.
#[derive(Default)]
struct Plan {
    vaults: Vec<v1::PlannedCollection>,
    suspended: String,
}

impl Plan {
    /// Of what no point needs now.
    fn frees_bytes(&self) -> u64 {
        self.vaults.iter().map(|vault| amount(vault.unneeded).bytes).sum()
    }
}

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    let vault = arguments.vault.as_ref().map(Name::to_string).unwrap_or_default();
    let client = demand.client().await?;
    if arguments.dry_run {
        let plan = plan(&client, &vault, demand).await?;
        let said = || format!("{}\n(dry run: nothing was given up)", text(&plan, &[]));
        demand.output.answer(|| fields(&plan, &[], true), said)?;
        return Ok(Ending::Done);
    }
    // Reading what every point needs takes long: only where somebody looks at it.
    let plan = match demand.yes || arguments.detach {
        true => Plan::default(),
        false => plan(&client, &vault, demand).await?,
    };
    let mut question = "give up what no point needs, and delete it later".to_owned();
    if !plan.vaults.is_empty() {
        demand.output.remark(&text(&plan, &[]));
        let frees = figures::size(plan.frees_bytes());
        question = format!("give up what no point needs, about {frees}, and delete it later");
    }
    confirm(demand, &question)?;
    let question = v1::CollectRequest { vault: vault.clone() };
    let ask = async |mut admin: Admin, question| admin.collect(question).await;
    let mut rounds = client.ask_once(question, ask).await?.rounds;
    if !arguments.detach {
        rounds = until_over(&client, (&vault, rounds), demand).await?;
    }
    if let Some(problem) = rounds.iter().find_map(|round| round.problem.clone()) {
        return Err(Error::from(problem));
    }
    demand.output.answer(|| fields(&plan, &rounds, false), || text(&plan, &rounds))?;
    Ok(Ending::Done)
}

async fn plan(client: &Client, vault: &str, demand: &Demand<'_>) -> Result<Plan> {
    let question = v1::PlanCollectionRequest { vault: vault.to_owned() };
    let ask = async |mut admin: Admin, question| admin.plan_collection(question).await;
    let mut events = client.ask(question, ask).await?;
    let (mut plan, bar) = (Plan::default(), Bar::start(demand.output, "reading what points need"));
    while let Some(event) = events.message().await.map_err(|status| from_status(&status))? {
        bar.step(&format!("reading what points need: {}", event.points_read), 0);
        plan.vaults.extend(event.planned);
        plan.suspended = event.suspended;
    }
    bar.clear();
    Ok(plan)
}

/// Shows how far the rounds are; the same ones when they are over, or when others came after them.
async fn until_over(
    client: &Client,
    (vault, mut rounds): (&str, Vec<v1::Collection>),
    demand: &Demand<'_>,
) -> Result<Vec<v1::Collection>> {
    let bar = Bar::start(demand.output, "collecting");
    loop {
        let question = v1::ListCollectionsRequest { vault: vault.to_owned() };
        let ask = async |mut admin: Admin, question| admin.list_collections(question).await;
        let now = client.ask(question, ask).await?.rounds;
        for round in &mut rounds {
            let newest = now.iter().find(|newest| newest.vault == round.vault);
            match newest {
                Some(newest) if newest.round == round.round => round.clone_from(newest),
                _ => "over".clone_into(&mut round.stage),
            }
        }
        let Some(open) = rounds.iter().find(|round| round.stage != "over") else {
            bar.clear();
            return Ok(rounds);
        };
        bar.step(&stage(open), 0);
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

fn stage(round: &v1::Collection) -> String {
    let vault = &round.vault;
    match round.stage.as_str() {
        "marking" => format!("{vault}: reading what points need"),
        "sealed" if round.waits_for > 0 => {
            format!("{vault}: waiting for {} backups that began before", round.waits_for)
        }
        "over" => format!("{vault}: over"),
        _ => {
            let (doomed, condemned) = (round.doomed + round.repacked, round.condemned);
            let anew = match round.repacked {
                0 => String::new(),
                repacked => format!(", {repacked} of them packed anew"),
            };
            format!("{vault}: {doomed} of {condemned} packs given up{anew}")
        }
    }
}

fn amount(amount: Option<v1::PackAmount>) -> v1::PackAmount {
    amount.unwrap_or_default()
}

fn fields(plan: &Plan, rounds: &[v1::Collection], dry_run: bool) -> Value {
    let vault = |vault: &v1::PlannedCollection| {
        let round = rounds.iter().find(|round| round.vault == vault.vault);
        let location = |at: &v1::CollectedLocation| {
            json!({
                "name": at.name,
                "role": at.role,
                "disabled": at.disabled,
                "frees_bytes": at.frees_bytes,
            })
        };
        json!({
            "vault": vault.vault,
            "points": vault.points,
            "unneeded": amount_fields(vault.unneeded),
            "needed": amount_fields(vault.needed),
            "sparse": amount_fields(vault.sparse),
            "small": amount_fields(vault.small),
            "repacked": amount_fields(vault.repacked),
            "locations": vault.locations.iter().map(location).collect::<Vec<_>>(),
            "newest": vault.newest.as_ref().map(round_fields),
            "round": round.map(round_fields),
        })
    };
    if plan.vaults.is_empty() {
        return unplanned_fields(rounds);
    }
    json!({
        "dry_run": dry_run,
        "vaults": plan.vaults.iter().map(vault).collect::<Vec<_>>(),
        "frees_bytes": plan.frees_bytes(),
        "suspended": (!plan.suspended.is_empty()).then(|| plan.suspended.clone()),
    })
}

/// Where nobody looked at a plan, and none was made.
fn unplanned_fields(rounds: &[v1::Collection]) -> Value {
    let vault = |round: &v1::Collection| {
        json!({
            "vault": round.vault,
            "points": null,
            "unneeded": null,
            "needed": null,
            "sparse": null,
            "small": null,
            "locations": [],
            "newest": null,
            "round": round_fields(round),
        })
    };
    json!({
        "dry_run": false,
        "vaults": rounds.iter().map(vault).collect::<Vec<_>>(),
        "frees_bytes": null,
        "suspended": null,
    })
}

fn amount_fields(of: Option<v1::PackAmount>) -> Value {
    let of = amount(of);
    json!({ "packs": of.packs, "bytes": of.bytes, "live_bytes": of.live_bytes })
}

fn round_fields(round: &v1::Collection) -> Value {
    json!({
        "id": round.round,
        "stage": round.stage,
        "begun": json_time(Some(round.begun_ns)),
        "ended": json_time(round.ended_ns),
        "condemned": round.condemned,
        "spared": round.spared,
        "doomed": round.doomed,
        "doomed_bytes": round.doomed_bytes,
        "repacked": {
            "packs": round.repacked,
            "bytes": round.repacked_bytes,
            "made": round.made,
            "made_bytes": round.made_bytes,
        },
        "waits_for": round.waits_for,
        "problem": round.problem.clone().map(|problem| fault::fields(&Error::from(problem))),
        "waiting": {
            "packs": round.waiting_packs,
            "bytes": round.waiting_bytes,
            "from": json_time(round.waiting_from_ns),
            "until": json_time(round.waiting_until_ns),
        },
    })
}

fn text(plan: &Plan, rounds: &[v1::Collection]) -> String {
    let mut lines = Vec::new();
    for vault in &plan.vaults {
        let s = if vault.points == 1 { "" } else { "s" };
        lines.push(format!("vault {}, {} point{s}", vault.vault, vault.points));
        let mut table = Table::new(["packs", ">count", ">size", ">needed"]);
        for (what, of) in [
            ("needed", vault.needed),
            ("needed, small", vault.small),
            ("mostly not needed", vault.sparse),
            ("not needed", vault.unneeded),
            ("packed anew next", vault.repacked),
        ] {
            let of = amount(of);
            let live = figures::size(of.live_bytes);
            table.row([what.to_owned(), of.packs.to_string(), figures::size(of.bytes), live]);
        }
        lines.extend([table.render(), String::new()]);
        let mut table = Table::new(["location", "role", ">frees"]);
        for at in &vault.locations {
            let role = if at.disabled { format!("{}, disabled", at.role) } else { at.role.clone() };
            table.row([at.name.clone(), role, figures::size(at.frees_bytes)]);
        }
        lines.extend([table.render(), String::new()]);
        let round = rounds.iter().find(|round| round.vault == vault.vault);
        if let Some(round) = round.or(vault.newest.as_ref()) {
            lines.extend([said(round), String::new()]);
        }
    }
    if plan.vaults.is_empty() {
        lines.extend(rounds.iter().map(|round| format!("vault {}: {}", round.vault, said(round))));
        return lines.join("\n");
    }
    lines.push(format!("not needed by any point: {}", figures::size(plan.frees_bytes())));
    if !plan.suspended.is_empty() {
        lines.push(format!("nothing is collected now: {}", plan.suspended));
    }
    lines.join("\n")
}

/// How a round ended, and when what it gave up goes.
fn said(round: &v1::Collection) -> String {
    let begun = figures::time_if_any(Some(round.begun_ns));
    let mut said = match (round.stage.as_str(), &round.problem) {
        ("over", None) => format!(
            "the round of {begun} gave up {} packs, {}",
            round.doomed,
            figures::size(round.doomed_bytes)
        ),
        ("over", Some(problem)) => {
            format!("the round of {begun} could not be made: {}", problem.message)
        }
        _ => format!("the round of {begun} is under way: {}", stage(round)),
    };
    if round.repacked > 0 {
        said.push_str(&format!(
            "; it packed {} more anew, {} into {}",
            round.repacked,
            figures::size(round.repacked_bytes),
            figures::size(round.made_bytes)
        ));
    }
    if round.waiting_packs > 0 {
        let (bytes, until) =
            (figures::size(round.waiting_bytes), figures::time_if_any(round.waiting_until_ns));
        said.push_str(&format!(
            "; {} packs, {bytes}, will be deleted by {until}, where their locations answer",
            round.waiting_packs
        ));
    }
    said
}

pub const EXAMPLES: &str = "\
Examples:
  holdfast collect --dry-run
  holdfast collect --vault main --dry-run --output json
  holdfast collect --yes";
