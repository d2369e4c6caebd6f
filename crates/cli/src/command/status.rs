//! `holdfast status`: one glance at the cluster, its agents, its sources and what is wrong.
//! Ends with exit code 1 when anything is not protected as asked.

use crate::{
    client::Admin,
    demand::Demand,
    ending::Ending,
    output::{
        figures::{self, json_time},
        table::Table,
    },
};
use holdfast_common::{Result, Timestamp};
use holdfast_wire::v1;
use serde_json::{Value, json};

#[derive(Debug, clap::Args)]
pub struct Arguments {}

pub async fn perform(_: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    let client = demand.client().await?;
    let ask = async |mut admin: Admin, question| admin.status(question).await;
    let status = client.ask(v1::StatusRequest {}, ask).await?;
    demand.output.answer(|| fields(&status), || text(&status))?;
    Ok(if is_protected(&status) { Ending::Done } else { Ending::Unprotected })
}

fn is_protected(status: &v1::StatusResponse) -> bool {
    status.alarms.is_empty() && status.sources.iter().all(|source| source.ok)
}

fn fields(status: &v1::StatusResponse) -> Value {
    json!({
        "protected": is_protected(status),
        "cluster": cluster_fields(status),
        "agents": status.agents.iter().map(agent_fields).collect::<Vec<_>>(),
        "sources": status.sources.iter().map(|source| json!({
            "policy": source.policy,
            "agent": source.agent,
            "source": source.source,
            "newest_point": source.newest_point.as_deref().map(hex::encode),
            "newest": json_time(source.newest_ns),
            "rpo_s": age(status, source).map(|age| age.as_secs()),
            "target_s": Value::Null,
            "ok": source.ok,
            "verified": json_time(source.verified_ns),
        })).collect::<Vec<_>>(),
        "bundle": status.bundle.as_ref().map(|bundle| bundle_fields(status, bundle)),
        "alarms": status.alarms.iter().map(|alarm| json!({
            "code": alarm.code,
            "subject": alarm.subject,
            "since": json_time(alarm.since_ns),
            "next": alarm.next,
        })).collect::<Vec<_>>(),
        "notes": status.notes.iter().map(|note| json!({
            "code": note.code,
            "subject": note.subject,
            "next": note.next,
        })).collect::<Vec<_>>(),
    })
}

fn bundle_fields(status: &v1::StatusResponse, bundle: &v1::BundleStatus) -> Value {
    json!({
        "hash": hex::encode(&bundle.hash),
        "exported": json_time(Some(bundle.exported_ns)),
        "verified": json_time(bundle.verified_ns),
        "age_ms": u64::try_from(bundle_age(status, bundle).as_millis()).unwrap_or(u64::MAX),
    })
}

fn bundle_age(status: &v1::StatusResponse, bundle: &v1::BundleStatus) -> core::time::Duration {
    Timestamp::from_nanos(status.now_ns).since(Timestamp::from_nanos(bundle.exported_ns))
}

/// One line: how old it is, and whether somebody has seen that it opens.
fn bundle_text(status: &v1::StatusResponse, bundle: &v1::BundleStatus) -> String {
    let age = figures::span(bundle_age(status, bundle));
    let proved = bundle.verified_ns.map(|proved| figures::time(Timestamp::from_nanos(proved)));
    let proved = proved.map_or_else(|| "never proved".to_owned(), |at| format!("proved {at}"));
    format!("bundle of the newest keys: {age} old, {proved}")
}

pub fn cluster_fields(status: &v1::StatusResponse) -> Value {
    json!({
        "id": hex::encode(&status.cluster_id),
        "name": status.cluster_name,
        "leader": status.leader.map(|id| id.to_string()),
        "epoch": status.epoch,
        "term": status.term,
        "level": status.level,
        "leader_since": json_time(status.leader_since_ns),
        "members": status.members.iter().map(|member| json!({
            "id": member.id.to_string(),
            "name": member.name,
            "region": member.region,
            "role": member.role,
            "state": member.state,
            "applied": member.applied,
            "replicated": member.replicated,
            "lag": member.lag,
            "last_contact_ms": member.last_contact_ms,
            "address": member.address,
            "wanted": member.wanted,
            "duty": member.duty,
            "level_max": member.level_max,
        })).collect::<Vec<_>>(),
    })
}

pub fn agent_fields(agent: &v1::AgentStatus) -> Value {
    json!({
        "id": hex::encode(&agent.id),
        "name": agent.name,
        "state": agent.state,
        "last_seen": json_time(agent.last_seen_ns),
        "labels": agent.labels,
        "duty": agent.duty,
        "certificate_ends": json_time(Some(agent.certificate_ends_ns)),
    })
}

pub fn agents_text(agents: &[v1::AgentStatus]) -> String {
    let mut table = Table::new(["agent", "state", "duty", "last seen", "labels", "id"]);
    for agent in agents {
        let mut labels: Vec<_> = agent.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        labels.sort();
        table.row([
            agent.name.clone(),
            agent.state.clone(),
            agent.duty.clone().unwrap_or_else(|| "-".into()),
            figures::time_if_any(agent.last_seen_ns),
            labels.join(","),
            hex::encode(&agent.id),
        ]);
    }
    table.render()
}

fn age(status: &v1::StatusResponse, source: &v1::SourceStatus) -> Option<core::time::Duration> {
    let newest = Timestamp::from_nanos(source.newest_ns?);
    Some(Timestamp::from_nanos(status.now_ns).since(newest))
}

fn text(status: &v1::StatusResponse) -> String {
    let verdict = if is_protected(status) { "protected" } else { "NOT protected as asked" };
    let leader = status.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string());
    let mut parts = vec![format!(
        "{verdict}\ncluster {} · leader {leader} · epoch {} · term {} · {} members",
        status.cluster_name,
        status.epoch,
        status.term,
        status.members.len()
    )];
    if !status.agents.is_empty() {
        parts.push(agents_text(&status.agents));
    }
    if !status.sources.is_empty() {
        parts.push(sources_text(status));
    }
    parts.extend(status.bundle.as_ref().map(|bundle| bundle_text(status, bundle)));
    for alarm in &status.alarms {
        let since = alarm.since_ns.map(|since| figures::time(Timestamp::from_nanos(since)));
        let since = since.map(|since| format!(" since {since}")).unwrap_or_default();
        parts
            .push(format!("ALARM {} {}{since}\n  next: {}", alarm.code, alarm.subject, alarm.next));
    }
    for note in &status.notes {
        parts.push(format!("note {} {}\n  next: {}", note.code, note.subject, note.next));
    }
    parts.join("\n\n")
}

fn sources_text(status: &v1::StatusResponse) -> String {
    let mut table =
        Table::new(["policy", "agent", "newest point", ">age", "ok", "fully verified", "source"]);
    for source in &status.sources {
        table.row([
            source.policy.clone().unwrap_or_else(|| "-".into()),
            source.agent.clone(),
            figures::time_if_any(source.newest_ns),
            age(status, source).map_or_else(|| "-".into(), figures::span),
            if source.ok { "yes" } else { "NO" }.into(),
            figures::time_if_any(source.verified_ns),
            source.source.clone(),
        ]);
    }
    table.render()
}

pub const EXAMPLES: &str = "\
Examples:
  holdfast status
  holdfast --output json status";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_alarm_or_one_bad_source_means_not_protected() {
        let good = v1::SourceStatus { ok: true, ..Default::default() };
        let mut status = v1::StatusResponse { sources: vec![good], ..Default::default() };
        assert!(is_protected(&status));
        status.alarms.push(v1::Alarm::default());
        assert!(!is_protected(&status));
        status.alarms.clear();
        status.sources.push(v1::SourceStatus::default());
        assert!(!is_protected(&status));
    }

    #[test]
    fn what_is_absent_is_null_and_lists_never_are() {
        let fields = fields(&v1::StatusResponse::default());
        assert_eq!(fields["cluster"]["leader"], Value::Null);
        for list in ["agents", "sources", "alarms"] {
            assert_eq!(fields[list], json!([]), "{list}");
        }
    }
}
