//! `holdfast keys destroy --dry-run`: what would be unreadable without a version of a vault's keys,
//! what opens it still, and what is to be done before it may go. Nothing is changed.

use crate::{
    client::{Admin, Client},
    demand::Demand,
    output::{
        figures::{self, json_time},
        table::Table,
    },
};
use holdfast_common::{Name, Result, Timestamp};
use holdfast_wire::v1;
use serde_json::{Value, json};

pub(super) async fn show(vault: &Name, version: u32, demand: &Demand<'_>) -> Result<()> {
    let plan = plan(vault, version, &demand.client().await?).await?;
    demand.output.answer(
        || told(vault, &plan),
        || format!("{}\n\n(dry run: nothing was changed)", text(vault, &plan)),
    )
}

pub(super) async fn plan(
    vault: &Name,
    version: u32,
    client: &Client,
) -> Result<v1::PlanKeyDestructionResponse> {
    let question = v1::PlanKeyDestructionRequest { vault: vault.to_string(), version };
    let ask = async |mut admin: Admin, question| admin.plan_key_destruction(question).await;
    client.ask(question, ask).await
}

fn told(vault: &Name, plan: &v1::PlanKeyDestructionResponse) -> Value {
    json!({
        "vault": vault.as_str(),
        "version": plan.version,
        "state": plan.state,
        "closed": json_time(plan.closed_ns),
        "at": plan.at,
        "packs": plan.packs,
        "bytes": plan.bytes,
        "packs_unknown": plan.packs_unknown,
        "unknown": plan.unknown.iter().map(hex::encode).collect::<Vec<_>>(),
        "points_lost": plan.points_lost,
        "points": plan.points.iter().map(point).collect::<Vec<_>>(),
        "points_unsure": plan.points_unsure,
        "unsure": plan.unsure.iter().map(point).collect::<Vec<_>>(),
        "copies": plan.copies.iter().map(|copy| json!({
            "location": copy.location,
            "object": some(&copy.object),
            "kek": some(&hex::encode(&copy.kek_id)),
            "operator_kek": copy.operator_kek_id.as_ref().map(hex::encode),
            "problem": some(&copy.problem),
        })).collect::<Vec<_>>(),
        "catalog": plan.catalog,
        "keks": keks(plan),
        "bundles": plan.bundles.iter().map(|bundle| json!({
            "hash": hex::encode(&bundle.hash),
            "exported": json_time(Some(bundle.exported_ns)),
            "verified": json_time(bundle.verified_ns),
        })).collect::<Vec<_>>(),
        "holds": plan.holds.iter().map(|hold| json!({
            "id": hex::encode(&hold.id),
            "what": hold.what,
            "reason": hold.reason,
            "until": json_time(hold.until_ns),
        })).collect::<Vec<_>>(),
        "locks": plan.locks.iter().map(|lock| json!({
            "location": lock.location,
            "until": json_time(Some(lock.until_ns)),
        })).collect::<Vec<_>>(),
        "next": plan.next,
        "stays": plan.stays,
    })
}

fn point(point: &v1::LostPoint) -> Value {
    json!({
        "id": hex::encode(&point.id),
        "policy": some(&point.policy),
        "agent": point.agent,
        "source": point.source,
        "time": json_time(Some(point.committed_ns)),
    })
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// Every KEK that opens a copy, once.
fn keks(plan: &v1::PlanKeyDestructionResponse) -> Vec<String> {
    let of = |copy: &v1::KeyCopy| {
        let operator = copy.operator_kek_id.iter().map(hex::encode);
        let own = some(&hex::encode(&copy.kek_id)).map(str::to_owned);
        own.into_iter().chain(operator).collect::<Vec<_>>()
    };
    let mut keks: Vec<String> = plan.copies.iter().flat_map(of).collect();
    keks.sort_unstable();
    keks.dedup();
    keks
}

/// For people; whoever is asked to agree to it reads the same.
pub(super) fn text(vault: &Name, plan: &v1::PlanKeyDestructionResponse) -> String {
    let mut parts = vec![summary(vault, plan)];
    let mut lost = Table::new(["point", "policy", "agent", "source", "time"]);
    let named = plan.points.iter().map(|point| (point, ""));
    for (point, mark) in named.chain(plan.unsure.iter().map(|point| (point, " ?"))) {
        lost.row([
            format!("{}{mark}", hex::encode(&point.id)),
            point.policy.clone(),
            point.agent.clone(),
            point.source.clone(),
            figures::time(Timestamp::from_nanos(point.committed_ns)),
        ]);
    }
    if !(plan.points.is_empty() && plan.unsure.is_empty()) {
        parts.push(lost.render());
    }
    let mut opens = Table::new(["opens it still", "where", "under"]);
    for copy in &plan.copies {
        let what = some(&copy.object).unwrap_or("not known");
        let keks = some(&hex::encode(&copy.kek_id)).map(|kek| format!("KEK {kek}"));
        let under = keks.unwrap_or_else(|| copy.problem.clone());
        opens.row([what.to_owned(), copy.location.clone(), under]);
    }
    for location in &plan.catalog {
        let under = "every KEK that it was wrapped under".to_owned();
        opens.row(["log and snapshots".to_owned(), location.clone(), under]);
    }
    for bundle in &plan.bundles {
        let hash = hex::encode(&bundle.hash);
        opens.row([
            format!("bundle {hash}"),
            "wherever it is".to_owned(),
            "its passphrase".to_owned(),
        ]);
    }
    parts.push(opens.render());
    parts.extend(in_the_way(plan));
    let stays = plan.stays.iter().map(|stays| format!("- {stays}"));
    let stays: Vec<String> = stays.collect();
    parts.push(format!("what destroying it does not reach:\n{}", stays.join("\n")));
    parts.join("\n\n")
}

fn summary(vault: &Name, plan: &v1::PlanKeyDestructionResponse) -> String {
    let (version, points, packs) = (plan.version, plan.points_lost, plan.packs);
    let bytes = figures::size(plan.bytes);
    let mut text = format!(
        "without version {version} of the keys of `{vault}` ({}): {points} points cannot be \
         restored whole; {packs} packs, {bytes}, do not open",
        plan.state.replace('_', " ")
    );
    if plan.packs_unknown + plan.points_unsure > 0 {
        text.push_str(&format!(
            "\nnot known: {} packs, and {} points (?)",
            plan.packs_unknown, plan.points_unsure
        ));
    }
    text
}

fn in_the_way(plan: &v1::PlanKeyDestructionResponse) -> Option<String> {
    let until = |ns: Option<i64>| match ns {
        Some(_) => format!("until {}", figures::time_if_any(ns)),
        None => "until it is released".to_owned(),
    };
    let holds = plan
        .holds
        .iter()
        .map(|hold| format!("hold on {} {}: {}", hold.what, until(hold.until_ns), hold.reason));
    let locks = plan
        .locks
        .iter()
        .map(|lock| format!("locks in `{}` {}", lock.location, until(Some(lock.until_ns))));
    let first = plan.next.iter().map(|next| format!("first: {next}"));
    let lines: Vec<String> = holds.chain(locks).chain(first).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}
