//! Words for people who destroy a version of a vault's keys.

use super::{Story, ids, name};
use holdfast_common::{PointId, RequestId, Timestamp};
use holdfast_ledger::{
    Actor, Command, StateKv, Tables,
    command::*,
    row::{CopyProblem, OperatorRow, ShreddedRow},
};

pub(super) fn samples() -> Vec<(&'static str, Command)> {
    let held = ShreddedRow {
        gone: None,
        problem: Some(CopyProblem { code: "a.b".to_owned(), message: "m".to_owned() }),
        ..note_shredded(1).seen
    };
    vec![
        (
            "ask_destroy",
            AskDestroy { successors: points(&[5]), losses: 6, ..ask(1, 1, &[3, 4]) }.into(),
        ),
        (
            "destroy_keys",
            DestroyKeys { successors: points(&[5]), losses: 6, ..destroy(1, 1, &[3, 4]) }.into(),
        ),
        ("note_shredded", note_shredded(1).into()),
        ("note_shredded", NoteShredded { seen: held }.into()),
        ("withdraw_destroy", withdraw(1).into()),
        ("export_bundle_read", export_read(1, 7).into()),
    ]
}

pub(crate) fn request(number: u8) -> RequestId {
    RequestId::from_bytes([number; 16])
}

fn points(numbers: &[u8]) -> Vec<PointId> {
    numbers.iter().map(|number| ids::point(*number)).collect()
}

/// All other points stay, and none of them needs anything that is lost.
pub(crate) fn ask(number: u8, version: u32, lost: &[u8]) -> AskDestroy {
    let others: Vec<u8> = (1..=9).filter(|number| !lost.contains(number)).collect();
    AskDestroy {
        id: request(number),
        vault: ids::vault(),
        version,
        points: points(lost),
        successors: points(&others),
        losses: 0,
    }
}

/// A bundle of keys that were read when this entry was the last.
pub(crate) fn export_read(number: u8, at: u64) -> ExportBundle {
    ExportBundle { read_at: Some(at), ..super::export_bundle(number) }
}

pub(crate) fn withdraw(number: u8) -> WithdrawDestroy {
    WithdrawDestroy { id: request(number) }
}

pub(crate) fn destroy(number: u8, version: u32, lost: &[u8]) -> DestroyKeys {
    let AskDestroy { id, vault, version, points, successors, losses } = ask(number, version, lost);
    let remains = vec![30, version as u8].into();
    DestroyKeys { id, vault, version, points, remains, successors, losses }
}

/// None of its objects is left in `main`, as that location is now.
pub(crate) fn note_shredded(version: u32) -> NoteShredded {
    NoteShredded {
        seen: ShreddedRow {
            vault: ids::vault(),
            version,
            location: name("main"),
            revision: 1,
            gone: Some(Timestamp::from_nanos(7)),
            problem: None,
            noted: Timestamp::ZERO,
        },
    }
}

pub(crate) fn person(called: &str) -> Actor {
    Actor::Operator(name(called))
}

impl Story {
    /// One that somebody issued now; without one it came with the cluster.
    pub(crate) fn issue(&mut self, called: &str, by: Option<&str>) {
        let until = self.now().plus(std::time::Duration::from_secs(365 * 86_400));
        let founding = OperatorRow::founding(name(called), 70, until);
        let since = by.map(|_| self.now());
        self.know(&OperatorRow { since, issued_by: by.map(name), ..founding });
    }

    pub(crate) fn revoke(&mut self, called: &str) {
        let row = self.query().operator(&name(called)).unwrap().unwrap();
        self.know(&OperatorRow { revoked: true, ..row });
    }

    pub(crate) fn know<R: holdfast_ledger::Row>(&mut self, row: &R) {
        let mut tables = Tables::over(&self.kv);
        tables.put(row).unwrap();
        self.kv.write(tables.into_batch()).unwrap();
    }
}
