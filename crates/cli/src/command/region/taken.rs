//! Locations that stand in for what a vault required and is lost: what would be out of reach is the
//! loss that whoever confirms a promotion accepts, so it is told by source, point by point.

use crate::output::figures::{self, json_time};
use core::time::Duration;
use holdfast_common::Timestamp;
use holdfast_wire::v1;
use serde_json::{Value, json};

/// So many points of a source are named to people; JSON has more.
const NAMED_MAX: usize = 5;

pub(super) fn fields(taken: &v1::TakenLocation) -> Value {
    json!({
        "vault": taken.vault,
        "location": taken.location,
        "state": taken.state,
        "whole": json_time(taken.whole_ns),
        "points": taken.points,
        "lag_ms": taken.lag_ms,
        "sources": taken.sources.iter().map(source_fields).collect::<Vec<_>>(),
    })
}

/// What is accepted by whoever confirms what he was shown.
pub(super) fn shown(plan: &v1::PromoteRegionResponse) -> v1::ShownLoss {
    let shown = |taken: &v1::TakenLocation| v1::ShownTaken {
        vault: taken.vault.clone(),
        location: taken.location.clone(),
        points: taken.points,
    };
    v1::ShownLoss { taken: plan.taken.iter().map(shown).collect() }
}

fn source_fields(source: &v1::SourceOutOfReach) -> Value {
    let newest = source.newest.clone().unwrap_or_default();
    json!({
        "policy": newest.policy,
        "agent": newest.agent,
        "source": newest.source,
        "points": source.points,
        "oldest": json_time(Some(source.oldest_ns)),
        "newest": json_time(Some(newest.time_ns)),
        "ids": source.ids.iter().map(hex::encode).collect::<Vec<_>>(),
        "reachable": source.reachable.as_ref().map(|point| json!({
            "id": hex::encode(&point.id),
            "time": json_time(Some(point.time_ns)),
        })),
    })
}

pub(super) fn text(taken: &v1::TakenLocation) -> String {
    let v1::TakenLocation { vault, location, points, .. } = taken;
    let whole = match taken.whole_ns {
        Some(whole) => {
            format!("it lacked nothing at {}", figures::time(Timestamp::from_nanos(whole)))
        }
        None => "it was never seen to lack nothing".to_owned(),
    };
    let first = format!("`{location}` follows, and stands in for what `{vault}` requires; {whole}");
    let mut lines = vec![first];
    if *points == 0 {
        lines.push(format!("  every point that is known here lies in `{location}`"));
        return lines.join("\n");
    }
    let lag = figures::span(Duration::from_millis(taken.lag_ms));
    lines.push(format!(
        "OUT OF REACH until the lost location is back: {points} points, the oldest of {lag} ago"
    ));
    lines.extend(taken.sources.iter().map(source_text));
    let named: u64 = taken.sources.iter().map(|source| source.points).sum();
    if named < *points {
        lines.push(format!("  and {} of other sources", points - named));
    }
    lines.join("\n")
}

fn source_text(source: &v1::SourceOutOfReach) -> String {
    let newest = source.newest.clone().unwrap_or_default();
    let what = newest.policy.as_deref().unwrap_or(&newest.source);
    let time = |at| figures::time(Timestamp::from_nanos(at));
    let span = match source.points {
        1 => format!("1 of {}", time(newest.time_ns)),
        count => format!("{count} from {} to {}", time(source.oldest_ns), time(newest.time_ns)),
    };
    let mut ids: Vec<String> = source.ids.iter().take(NAMED_MAX).map(hex::encode).collect();
    if source.points > ids.len() as u64 {
        ids.push("…".to_owned());
    }
    let left = match &source.reachable {
        Some(point) => {
            let (id, time) = (hex::encode(&point.id), time(point.time_ns));
            format!("the newest within reach: {id} of {time}")
        }
        None => "no point of it is within reach".to_owned(),
    };
    format!("  {what} on {}: {span}: {}\n    {left}", newest.agent, ids.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(number: u8, seconds: i64) -> v1::Point {
        v1::Point {
            id: vec![number; 16].into(),
            policy: Some("nightly".to_owned()),
            agent: "host".to_owned(),
            time_ns: seconds * 1_000_000_000,
            ..Default::default()
        }
    }

    fn taken(points: u64, reachable: Option<v1::Point>) -> v1::TakenLocation {
        let ids = (1..=points.min(9) as u8).map(|number| vec![number; 16].into()).collect();
        let newest = Some(point(1, 2_000));
        let source =
            v1::SourceOutOfReach { newest, oldest_ns: 1_000_000_000_000, points, ids, reachable };
        v1::TakenLocation {
            vault: "main".to_owned(),
            location: "far".to_owned(),
            state: Some("copying".to_owned()),
            whole_ns: None,
            points,
            lag_ms: 90_000,
            sources: if points == 0 { Vec::new() } else { vec![source] },
        }
    }

    #[test]
    fn the_loss_is_told_by_source_with_what_is_left() {
        let told = text(&taken(8, Some(point(9, 900))));
        assert!(told.contains("OUT OF REACH") && told.contains("8 points"), "{told}");
        assert!(told.contains("nightly on host: 8 from"), "{told}");
        assert!(told.contains(&"01".repeat(16)) && told.contains('…'), "{told}");
        assert!(told.contains(&format!("within reach: {}", "09".repeat(16))), "{told}");
        let told = text(&taken(1, None));
        assert!(told.contains("no point of it is within reach"), "{told}");
        let told = text(&taken(0, None));
        assert!(told.contains("every point that is known here") && !told.contains("OUT"), "{told}");
    }

    #[test]
    fn what_scripts_read_has_every_field() {
        let told = fields(&taken(2, Some(point(9, 900))));
        assert_eq!(told["sources"][0]["points"], 2);
        assert_eq!(told["sources"][0]["ids"][1], "02".repeat(16));
        assert_eq!(told["sources"][0]["reachable"]["id"], "09".repeat(16));
        assert_eq!(told["whole"], Value::Null);
        assert_eq!(fields(&taken(1, None))["sources"][0]["reachable"], Value::Null);
    }
}
