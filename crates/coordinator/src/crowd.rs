//! A ledger in memory with more points than any page holds, for tests of who finds what in it.

use holdfast_common::{
    AgentId, Name, PackId, PointId, RunId, SessionId, Timestamp, VaultId, limits,
};
use holdfast_ledger::{
    Actor, Batch, LEVEL, MemoryKv, Query, Row, StateKv, Table,
    row::{
        AgentRow, AgentState, CollectionRow, Custody, ForgottenRow, LeavingRow, LevelRow, PackHome,
        PackRow, PackState, PointRow, PointState, RunRow, Sharing, SourceSpec, Stage, VaultRow,
        collection::inline_key, point::time_key,
    },
    tables::full_key,
};
use std::{collections::BTreeMap, time::Duration};

/// More rows than one page of a listing holds.
pub(crate) const MANY: u64 = limits::LIST_PAGE_ROWS as u64 + 500;

pub(crate) const VAULT: VaultId = VaultId::from_bytes([0xaa; 16]);

#[derive(Default)]
pub(crate) struct Crowd {
    kv: MemoryKv,
    batch: Batch,
}

impl Crowd {
    /// [`MANY`] points of no policy, from number 100 on: a point before is on no first page.
    pub(crate) fn gathered(mut self) -> Self {
        for number in 100..100 + MANY {
            self.point(number, |_| ());
        }
        self
    }

    /// The row of a point, and nothing else of it.
    pub(crate) fn row(number: u64) -> PointRow {
        let id = id(number);
        PointRow {
            id: PointId::from_bytes(id),
            vault: VAULT,
            agent: AgentId::from_bytes([1; 16]),
            run: RunId::from_bytes(id),
            policy: None,
            source: "files:/srv".to_owned(),
            started: moment(number),
            committed: moment(number),
            state: PointState::Complete,
            entries: 1,
            bytes: 1,
            skipped: 0,
            previous: None,
            object_hash: [0; 32],
            reach_hash: [0; 32],
            locations: Vec::new(),
            id_scope: 0,
            recovered: None,
            root: None,
            lost: None,
            verified: None,
        }
    }

    /// A point and the run that made it. Ids rise with the numbers, and so do times.
    pub(crate) fn point(&mut self, number: u64, change: impl FnOnce(&mut PointRow)) {
        let (id, mut row) = (id(number), Self::row(number));
        change(&mut row);
        self.put(&row);
        let paths = vec![b"/srv".to_vec().into()];
        let source =
            SourceSpec::Files { paths, exclude: vec![], one_file_system: false, include: None };
        let run = RunRow::backup(row.run, row.agent, VAULT, source);
        let (created, ended) = (row.committed, Some(row.committed));
        self.put(&RunRow { created, ended, ..run });
        self.order(Table::PointTime, row.committed, id);
        self.order(Table::RunTime, created, id);
    }

    pub(crate) fn agent(&mut self, id: AgentId, called: &str, state: AgentState) {
        self.put(&AgentRow {
            id,
            name: name(called),
            labels: BTreeMap::new(),
            identity_public: [0; 32],
            state,
            serial: 1,
            not_after: Timestamp::ZERO,
            enrolled: Timestamp::ZERO,
            returns: 0,
            duty: None,
        });
    }

    /// A pack, in the lists that the ledger keeps of such ones.
    pub(crate) fn pack(&mut self, row: &PackRow) {
        self.put(row);
        self.put(&LevelRow { level: LEVEL, since: Timestamp::ZERO });
        if row.state == PackState::Doomed {
            self.list(Table::DoomedPack, &row.key());
        }
        if let PackHome::Point(home, _) = row.home {
            self.list(Table::InlinePack, &inline_key(&row.vault, &home, &row.id));
        }
    }

    fn list(&mut self, table: Table, key: &[u8]) {
        self.batch.changes.insert(full_key(table, key), Some(Vec::new()));
    }

    /// The objects of a point are to go.
    pub(crate) fn leaves(&mut self, number: u64, since: u64) {
        let (point, since) = (PointId::from_bytes(id(number)), moment(since));
        self.put(&LeavingRow { vault: VAULT, point, since });
    }

    pub(crate) fn put<R: Row>(&mut self, row: &R) {
        let bytes = holdfast_common::record::to_bytes(row);
        self.batch.changes.insert(full_key(R::TABLE, &row.key()), Some(bytes));
    }

    /// What the ledger notes of a source whose newest point this is.
    pub(crate) fn newest(&mut self, source: u8, number: u64) {
        let key = [b"newest:".as_slice(), &[source; 32]].concat();
        self.batch.changes.insert(full_key(Table::Meta, &key), Some(id(number).to_vec()));
    }

    /// What was put, for whoever writes it in between.
    pub(crate) fn into_batch(self) -> Batch {
        self.batch
    }

    pub(crate) fn into_kv(self) -> MemoryKv {
        self.kv.write(self.batch).unwrap();
        self.kv
    }

    pub(crate) fn ask<T>(self, question: impl FnOnce(Query<'_>) -> T) -> T {
        self.kv.write(self.batch).unwrap();
        question(Query::over(&self.kv))
    }

    fn order(&mut self, table: Table, time: Timestamp, id: [u8; 16]) {
        let key = full_key(table, &time_key(time, &id));
        self.batch.changes.insert(key, Some(id.to_vec()));
    }
}

/// The first eight bytes, and so sixteen characters, are the number.
pub(crate) fn id(number: u64) -> [u8; 16] {
    u128::from(number).rotate_left(64).to_be_bytes()
}

pub(crate) fn moment(number: u64) -> Timestamp {
    Timestamp::ZERO.plus(Duration::from_secs(number))
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// What is left of a point.
pub(crate) fn forgotten(number: u64) -> ForgottenRow {
    let (when, by) = (moment(number), Actor::System);
    ForgottenRow {
        point: Crowd::row(number),
        when,
        by,
        why: "the retention of docs".to_owned(),
        gone: None,
        key_version: None,
    }
}

/// A round of collection that is at this stage, and has found nothing so far.
pub(crate) fn round(stage: Stage) -> CollectionRow {
    CollectionRow {
        vault: VAULT,
        round: 7,
        begun: moment(0),
        stage,
        below: 0,
        sealed: 0,
        condemned: 0,
        spared: 0,
        doomed: 0,
        doomed_bytes: 0,
        doomed_at: 0,
        ended: None,
        problem: None,
        cleared: 0,
        noted: 0,
        repacked: None,
    }
}

pub(crate) fn vault() -> VaultRow {
    VaultRow {
        id: VAULT,
        name: name("main"),
        sharing: Sharing::Agent,
        custody: Custody::Coordinator,
        required: Vec::new(),
        key_version: 1,
        key_object: Vec::new().into(),
        created: Timestamp::ZERO,
        revision: 1,
        next_number: 0,
        packs: 0,
        grown: None,
        beside: None,
        checks: None,
        lock: None,
        losses: None,
    }
}

pub(crate) fn pack(id: [u8; 32]) -> PackRow {
    PackRow {
        condemned: None,
        live: None,
        taken: None,
        into: None,
        sealed_to: None,
        doomed: None,
        id: PackId::from_bytes(id),
        vault: VAULT,
        kind: 1,
        base: 0,
        slots: 1,
        length: 1,
        writer: AgentId::from_bytes([1; 16]),
        session: SessionId::from_bytes([1; 16]),
        state: PackState::Stored,
        home: PackHome::Object,
        digest: [0; 32],
    }
}
