//! What is found among more rows than one page holds: the oldest as surely as the newest.

#![allow(clippy::unwrap_used, reason = "a crowd that cannot gather is a failed test")]

mod story;

use holdfast_common::{Code, PointId, RunId, Timestamp, limits, record};
use holdfast_ledger::{
    Actor, Batch, MemoryKv, Outcome, Query, Reply, Row, StateKv, Table, Tables, audit,
    row::{AgentRow, PointRow, PointState, RunRow, point::time_key},
    tables::full_key,
};
use std::time::Duration;
use story::{Story, agent, ids};

/// More than any page.
const ROWS: u64 = limits::LIST_PAGE_ROWS as u64 + 2345;

/// Ids as they are: in no order.
fn id(number: u64) -> [u8; 16] {
    let scattered = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (u128::from(scattered) << 64 | u128::from(number)).to_be_bytes()
}

/// Two points share a moment, always.
fn moment(number: u64) -> Timestamp {
    Timestamp::ZERO.plus(Duration::from_secs(1000 + number / 2))
}

fn put(batch: &mut Batch, row: &impl Row) {
    batch.changes.insert(full_key(table(row), &row.key()), Some(record::to_bytes(row)));
}

fn table<R: Row>(_: &R) -> Table {
    R::TABLE
}

/// Points and runs number 0 to [`ROWS`], the oldest first.
fn crowded() -> MemoryKv {
    let kv = MemoryKv::default();
    let mut batch = Batch::default();
    let sample = story::commit(1, 1, agent(1), PointState::Complete).point;
    for number in 0..ROWS {
        let (id, committed) = (id(number), moment(number));
        let point = PointId::from_bytes(id);
        put(&mut batch, &PointRow { id: point, committed, ..sample.clone() });
        let order = full_key(Table::PointTime, &time_key(committed, &id));
        batch.changes.insert(order, Some(id.to_vec()));
        let run = RunId::from_bytes(id);
        put(&mut batch, &RunRow::backup(run, agent(1), ids::vault(), story::source()));
        let order = full_key(Table::RunTime, &time_key(committed, &id));
        batch.changes.insert(order, Some(id.to_vec()));
    }
    kv.write(batch).unwrap();
    kv
}

#[test]
fn a_walk_over_points_and_runs_meets_each_once_and_the_newest_first() {
    let kv = crowded();
    let points: Vec<_> = Query::over(&kv).points(None).map(Result::unwrap).collect();
    assert_eq!(points.len() as u64, ROWS);
    assert!(points.is_sorted_by(|newer, older| newer.committed >= older.committed));
    let mut all: Vec<_> = points.iter().map(|point| point.id).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len() as u64, ROWS);
    assert_eq!(Query::over(&kv).runs().map(Result::unwrap).count() as u64, ROWS);
}

#[test]
fn points_before_a_time_begin_below_that_very_moment() {
    let kv = crowded();
    let query = Query::over(&kv);
    for number in [1, 2, 3, ROWS - 1] {
        let before = moment(number);
        let newest = query.points(Some(before)).next().map(Result::unwrap);
        assert_eq!(newest.map(|point| point.committed), (number > 1).then(|| moment(number - 2)));
    }
    assert_eq!(query.points(Some(moment(5))).count(), 4);
    assert_eq!(query.points(Some(moment(ROWS + 1))).count() as u64, ROWS);
}

#[test]
fn an_id_or_its_beginning_is_found_wherever_it_lies() {
    let kv = crowded();
    let query = Query::over(&kv);
    for number in [0, 1, ROWS / 2, ROWS - 1] {
        let whole = PointId::from_bytes(id(number)).to_string();
        for beginning in [&whole[..], &whole[..31], &whole[..17], &whole[..16]] {
            let points: Vec<_> = query.points_like(beginning).map(Result::unwrap).collect();
            assert_eq!(points.len(), 1, "{beginning}");
            assert_eq!(points[0].id, PointId::from_bytes(id(number)));
            let runs: Vec<_> = query.runs_like(beginning).map(Result::unwrap).collect();
            assert_eq!((runs.len(), runs[0].id), (1, RunId::from_bytes(id(number))));
        }
    }
    for odd in ["0", "f"] {
        let found = query.points_like(odd).map(Result::unwrap);
        let ids: Vec<_> = found.map(|point| point.id.to_string()).collect();
        let wanted = (0..ROWS).map(|n| PointId::from_bytes(id(n)).to_string());
        assert_eq!(ids.len(), wanted.filter(|id| id.starts_with(odd)).count());
        assert!(ids.iter().all(|id| id.starts_with(odd)));
    }
    let nothing = ["zz", "9E37", "../..", "ä", &"0".repeat(33), "ffffffffffffffff00"];
    for beginning in nothing {
        assert!(query.points_like(beginning).next().is_none(), "{beginning}");
    }
}

#[test]
fn agents_are_listed_to_the_last() {
    let story = Story::with_agents(1);
    let kv = MemoryKv::default();
    let sample = story.query().agent(&agent(1)).unwrap();
    let mut batch = Batch::default();
    for number in 0..ROWS {
        let id = holdfast_common::AgentId::from_bytes(id(number));
        put(&mut batch, &AgentRow { id, ..sample.clone() });
    }
    kv.write(batch).unwrap();
    assert_eq!(Query::over(&kv).agents().unwrap().len() as u64, ROWS);
}

#[test]
fn the_newest_point_of_each_source_is_known_and_a_checkpoint_is_none() {
    let mut story = Story::with_agents(2);
    story.backup(1, 1);
    story.backup(1, 2);
    story.backup(2, 3);
    story.begin(2, 4);
    let mut checkpoint = story::commit(4, 4, agent(2), PointState::Checkpoint);
    checkpoint.point.previous = Some(ids::point(3));
    story.done(Actor::Agent(agent(2)), checkpoint);
    let mut newest: Vec<_> = story.query().newest_points().map(|row| row.unwrap().id).collect();
    newest.sort_unstable();
    assert_eq!(newest, [ids::point(2), ids::point(3)]);
}

#[test]
fn the_audit_chain_is_whole_beyond_a_page_and_a_gap_in_it_is_seen() {
    let kv = MemoryKv::default();
    let mut tables = Tables::over(&kv);
    let reply = Reply::Done(Outcome::Done);
    for _ in 0..ROWS {
        let said = ("note", "subject".to_owned());
        audit::append(&mut tables, moment(0), &Actor::System, said, &reply).unwrap();
    }
    kv.write(tables.into_batch()).unwrap();
    let query = Query::over(&kv);
    let head = query.audit_head().unwrap();
    assert_eq!(
        audit::verify(query.audit_chain(), &query.audit_cut().unwrap(), &head).unwrap(),
        ROWS
    );
    let gap = full_key(Table::Audit, &(ROWS - 2).to_be_bytes());
    kv.write(Batch { changes: [(gap, None)].into() }).unwrap();
    let broken =
        audit::verify(query.audit_chain(), &query.audit_cut().unwrap(), &head).unwrap_err();
    assert_eq!(broken.code, Code::LogDamaged);
}
