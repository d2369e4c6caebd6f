//! What a recovery says to the ledger.

use super::{agent, commit, ids, init, intend, members, name};
use holdfast_common::{AgentId, Timestamp};
use holdfast_ledger::{
    Command,
    audit::AuditHead,
    command::*,
    row::{MemberRow, PackHome, PackRow, PackState, PointState, Position},
};

pub(crate) fn reached(index: u64) -> Position {
    let audit = AuditHead { rows: 3, hash: [7; 32] };
    Position { epoch: 1, index, audit, time: Timestamp::from_nanos(9) }
}

/// By a member of this number, from what was shipped up to an index.
pub(crate) fn recover(member: u64, index: u64) -> RecoverCluster {
    let founder = members::founding().member.unwrap();
    RecoverCluster {
        reached: reached(index),
        member: MemberRow { id: member, name: name("again"), ..founder },
        operator: init().operator,
        moved: vec![MovedLocation { name: name("main"), url: "local:/mnt/backup".into() }],
        missing: None,
        reason: None,
    }
}

/// A point of an agent that was never committed, with one pack.
pub(crate) fn import(who: u8, number: u8, base: u64) -> ImportPoint {
    let intended = intend(number, &[number], PackHome::Object).packs.remove(0);
    let point = commit(number, number, agent(who), PointState::Complete).point;
    let pack = PackRow {
        id: intended.id,
        vault: ids::vault(),
        kind: intended.kind,
        base,
        slots: intended.slots,
        length: intended.length,
        writer: point.agent,
        session: ids::session(0),
        state: PackState::Stored,
        home: intended.home,
        digest: intended.digest,
        condemned: None,
        live: None,
        taken: None,
        into: None,
        sealed_to: None,
        doomed: None,
    };
    ImportPoint { point, packs: vec![pack], whole_at: None, keys_at: None }
}

pub(crate) fn lose(agent: AgentId, index: u64) -> LoseHistory {
    LoseHistory { agent, told: reached(index) }
}

/// One of each command that is about recovery.
pub(crate) fn samples() -> Vec<(&'static str, Command)> {
    let (missing, reason) = (Some((8, 9)), Some("the disk burnt".to_owned()));
    vec![
        ("recover_cluster", recover(4, 7).into()),
        ("recover_to_gap", RecoverCluster { missing, reason, ..recover(4, 7) }.into()),
        ("import_point", import(1, 3, 50).into()),
        ("note_snapshot", NoteSnapshot { index: 70 }.into()),
        ("lose_history", lose(agent(1), 70).into()),
    ]
}
