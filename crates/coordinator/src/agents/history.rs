//! What agents were told of the ledger's history, and whether this ledger holds it.
//!
//! A place in history is told when everything up to it lies in the locations. After a recovery the
//! agents show what they were told: one that was told more than the recovery reached is how people
//! learn that something is missing, and how much.

use crate::house::House;
use bytes::Bytes;
use holdfast_common::{AgentId, Result, Timestamp};
use holdfast_ledger::{
    Actor, Query,
    audit::{AuditHead, AuditRow},
    command::LoseHistory,
    row::{LostHistoryRow, Position},
};
use holdfast_wire::{parse, v1};

/// A place as agents are told it.
pub(crate) fn render(told: Position) -> v1::Told {
    v1::Told {
        epoch: told.epoch,
        index: told.index,
        audit_rows: told.audit.rows,
        audit_hash: Bytes::copy_from_slice(&told.audit.hash),
        time_ns: told.time.as_nanos(),
    }
}

fn parsed(told: &v1::Told) -> Result<Position> {
    let hash = parse::array("the audit chain's hash", &told.audit_hash)?;
    Ok(Position {
        epoch: told.epoch,
        index: told.index,
        audit: AuditHead { rows: told.audit_rows, hash },
        time: Timestamp::from_nanos(told.time_ns),
    })
}

/// Compares what an agent shows with the ledger, which has caught up; a difference is written down.
pub(crate) async fn compare(house: &House, agent: AgentId, told: Option<&v1::Told>) -> Result<()> {
    // What makes no sense is no reason to keep the agent out.
    let Some(Ok(told)) = told.map(parsed) else { return Ok(()) };
    let applied = *house.ledger.applied().borrow();
    let query = house.ledger.query();
    if holds(query, applied, &told)? || is_known(query, agent, &told)? {
        return Ok(());
    }
    tracing::error!(%agent, index = told.index, "it was told of a history that is not here");
    house.ledger.propose(Actor::Agent(agent), LoseHistory { agent, told }).await.map(drop)
}

fn is_known(query: Query<'_>, agent: AgentId, told: &Position) -> Result<bool> {
    let lost = query.row::<LostHistoryRow>(agent.as_bytes())?;
    Ok(lost.is_some_and(|lost| lost.told == *told))
}

/// Whether a ledger that has applied so far is the one that was told of.
fn holds(query: Query<'_>, applied: u64, told: &Position) -> Result<bool> {
    let is_in_a_gap = query
        .recoveries()?
        .iter()
        .any(|recovery| (recovery.reached.index + 1..recovery.base).contains(&told.index));
    if told.index > applied || is_in_a_gap {
        return Ok(false);
    }
    let Some(newest) = told.audit.rows.checked_sub(1) else { return Ok(true) };
    // Of what was cut off the last row's hash is known, and nothing of those before.
    let cut = query.audit_cut()?;
    if told.audit.rows <= cut.rows {
        return Ok(told.audit.rows < cut.rows || told.audit.hash == cut.hash);
    }
    let row = query.row::<AuditRow>(&newest.to_be_bytes())?;
    Ok(row.is_some_and(|row| row.hash() == told.audit.hash))
}

/// One for each agent whose history is missing, until it has made a point since.
pub(crate) fn alarms(house: &House) -> Result<Vec<v1::Alarm>> {
    let query = house.ledger.query();
    let lost = query.lost_histories()?;
    if lost.is_empty() {
        return Ok(Vec::new());
    }
    let reached = query.recoveries()?.pop().map(|recovery| recovery.reached);
    let mut alarms = Vec::new();
    for LostHistoryRow { agent, told, noticed } in lost {
        let is_made_good = query.newest_points().any(|point| {
            point.is_ok_and(|point| point.agent == agent && point.committed > noticed)
        });
        if is_made_good {
            continue;
        }
        let name = query.agent(&agent)?.name;
        let here = reached.map_or_else(
            || "another history".to_owned(),
            |reached| format!("entry {} of {}", reached.index, reached.time),
        );
        alarms.push(v1::Alarm {
            code: "ledger.history_lost".to_owned(),
            subject: format!(
                "{name} was told of entry {} of {}; this ledger was recovered up to {here}",
                told.index, told.time
            ),
            since_ns: Some(noticed.as_nanos()),
            next: format!(
                "what {name} did in between may be missing: back it up, and look at its policies"
            ),
        });
    }
    Ok(alarms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::{Rebuild, entry_of_command, tests_location};
    use holdfast_common::limits;
    use holdfast_ledger::{
        Command, Envelope, MemoryKv, StateKv, Tables,
        command::{CutAudit, KeepAudit},
        envelope::ENVELOPE_VERSION,
        row::RecoveryRow,
    };
    use std::time::Duration;

    fn envelope(index: u64, actor: Actor, time: Timestamp, command: Command) -> Envelope {
        let (version, key) = (ENVELOPE_VERSION, u128::from(index).to_be_bytes());
        Envelope { version, key, actor, time, epoch: 1, traceparent: None, command }
    }

    fn ledger(entries: u64) -> Rebuild<MemoryKv> {
        let stored = |index: u64| {
            let time = Timestamp::from_nanos(i64::try_from(index).unwrap());
            let location = tests_location(usize::try_from(index).unwrap()).into();
            let envelope = envelope(index, Actor::System, time, location);
            (index, entry_of_command(1, 1, index, &envelope))
        };
        let mut rebuild = Rebuild::over(MemoryKv::default());
        rebuild.replay(1, &(1..=entries).map(stored).collect::<Vec<_>>()).unwrap();
        rebuild
    }

    fn place(entries: u64) -> Position {
        ledger(entries).reached().unwrap().0
    }

    #[test]
    fn what_was_told_before_is_held_and_what_was_told_beyond_is_not() {
        let ledger = ledger(10);
        for index in 1..=10 {
            assert!(holds(ledger.query(), 10, &place(index)).unwrap(), "{index}");
        }
        assert!(!holds(ledger.query(), 10, &place(11)).unwrap());
    }

    #[test]
    fn the_same_place_of_another_history_is_not_held() {
        let mut told = place(7);
        told.audit.hash[0] ^= 1;
        assert!(!holds(ledger(10).query(), 10, &told).unwrap());
    }

    #[test]
    fn whoever_was_told_of_what_was_cut_off_since_was_told_of_this_history() {
        let mut ledger = ledger(10);
        let kept = limits::AUDIT_KEPT_SECS_MIN;
        let late = Timestamp::ZERO.plus(Duration::from_secs(2 * kept));
        let admin = Actor::Operator("admin".parse().unwrap());
        let keep = envelope(11, admin, late, KeepAudit { kept_secs: Some(kept) }.into());
        let cut = envelope(12, Actor::System, late, CutAudit { before: 5 }.into());
        let stored = [(11, keep), (12, cut)]
            .map(|(index, envelope)| (index, entry_of_command(1, 1, index, &envelope)));
        ledger.replay(1, &stored).unwrap();
        assert_eq!(ledger.query().audit_cut().unwrap().rows, 5);
        for index in 1..=10 {
            assert!(holds(ledger.query(), 12, &place(index)).unwrap(), "{index}");
        }
        // The last one that went is known by its hash.
        let mut told = place(5);
        told.audit.hash[0] ^= 1;
        assert!(!holds(ledger.query(), 12, &told).unwrap());
    }

    #[test]
    fn what_lies_between_a_recovery_and_its_base_is_lost() {
        let kv = MemoryKv::default();
        let mut tables = Tables::over(&kv);
        let (reached, when) = (place(5), Timestamp::ZERO);
        tables
            .put(&RecoveryRow { base: 1000, reached, when, reason: None, missing: None })
            .unwrap();
        let batch = tables.into_batch();
        kv.write(batch).unwrap();
        let at = |index| Position { index, audit: AuditHead::default(), ..reached };
        let held = |index| holds(Query::over(&kv), 2000, &at(index)).unwrap();
        assert!(held(5) && held(1000) && held(1500));
        assert!(!held(6) && !held(999) && !held(2001));
    }
}
