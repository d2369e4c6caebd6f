//! A member with very many rows, to measure its start: `bench/README.md` says how.

use crate::store::SledKv;
use holdfast_common::{AgentId, Clock, PointId, RunId, Timestamp, VaultId};
use holdfast_ledger::{
    Batch, Row, StateKv, Table,
    row::{PointRow, PointState, point::time_key},
    tables::full_key,
};
use std::path::PathBuf;

const ROWS: u64 = 1_000_000;
const BATCH: u64 = 10_000;

fn point(number: u64) -> PointRow {
    let mut id = [0; 16];
    // Ids are random, and so are the places of their rows.
    id.copy_from_slice(&blake3::hash(&number.to_le_bytes()).as_bytes()[..16]);
    let committed = 1_700_000_000_000_000_000 + i128::from(number) * 1_000_000_000;
    PointRow {
        id: PointId::from_bytes(id),
        vault: VaultId::from_bytes([0xaa; 16]),
        agent: AgentId::from_bytes([1; 16]),
        run: RunId::from_bytes(id),
        policy: None,
        source: "files:/srv".to_owned(),
        started: Timestamp::from_nanos(committed.try_into().unwrap()),
        committed: Timestamp::from_nanos(committed.try_into().unwrap()),
        state: PointState::Complete,
        entries: number,
        bytes: number << 20,
        skipped: 0,
        previous: None,
        object_hash: *blake3::hash(&id).as_bytes(),
        reach_hash: *blake3::hash(&id).as_bytes(),
        locations: vec!["main".parse().unwrap()],
        id_scope: 1,
        recovered: None,
    }
}

#[test]
#[ignore = "fills the member whose ledger lies in HOLDFAST_FILL with a million rows"]
fn fill() {
    let Some(directory) = std::env::var_os("HOLDFAST_FILL") else { return };
    let tables = SledKv::open(&PathBuf::from(directory).join("tables"), None).unwrap();
    // A point is a row, and a row of the order in time.
    for first in (0..ROWS / 2).step_by(usize::try_from(BATCH).unwrap()) {
        let mut batch = Batch::default();
        for row in (first..first + BATCH).map(point) {
            let time = time_key(row.committed, row.id.as_bytes());
            let value = holdfast_common::record::to_bytes(&row);
            batch.changes.insert(full_key(PointRow::TABLE, &row.key()), Some(value));
            batch
                .changes
                .insert(full_key(Table::PointTime, &time), Some(row.id.as_bytes().to_vec()));
        }
        tables.write(batch).unwrap();
    }
    tables.flush().unwrap();
}

#[test]
#[ignore = "says how long the tables in HOLDFAST_FILL take to open and to be read whole"]
fn open() {
    let Some(directory) = std::env::var_os("HOLDFAST_FILL") else { return };
    let clock = holdfast_common::SystemClock::start();
    let tables = SledKv::open(&PathBuf::from(directory).join("tables"), None).unwrap();
    println!("opened in {:?}", clock.elapsed());
    tables.verify().unwrap();
    println!("read whole in {:?}", clock.elapsed());
}
