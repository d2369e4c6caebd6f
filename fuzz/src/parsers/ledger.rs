//! Everything that the ledger stores or replicates, and that no command can stop a member.

use crate::{Refused, examples::NOW};
use holdfast_common::record;
use holdfast_ledger::{
    Actor, Batch, Command, Envelope, LEVEL, MemoryKv, Outcome, Reply, Row, StateKv, Tables, apply,
    audit::{AuditHead, AuditRow},
    envelope::ENVELOPE_VERSION,
    level::LEVEL_FIRST,
    row,
};
use minicbor::{Decode, Encode};
use std::{fmt::Debug, sync::LazyLock};

const COMMANDS: &str = include_str!("../../../crates/ledger/tests/golden/commands.hex");

pub fn command(bytes: &[u8]) -> Result<(), Refused> {
    same_again::<Command>(bytes).map(drop)
}

/// What is applied is an outcome, whatever it says: only storage may fail a member.
pub fn envelope(bytes: &[u8]) -> Result<(), Refused> {
    for known in [LEVEL_FIRST, LEVEL] {
        let read = Envelope::read(bytes, known);
        assert!(read.is_err() || read? == record::from_bytes("command", bytes)?);
    }
    let envelope: Envelope = same_again(bytes)?;
    let mut tables = Tables::over(&FOUNDED.0);
    let reply = apply(&mut tables, FOUNDED.1, &envelope).expect("an outcome, not a fault");
    let again: Reply = record::from_bytes("reply", &record::to_bytes(&reply))?;
    assert_eq!(again, reply);
    Ok(())
}

pub fn reply(bytes: &[u8]) -> Result<(), Refused> {
    same_again::<Reply>(bytes).map(drop)
}

/// The bytes as a row of each table: most tables refuse them.
pub fn row(bytes: &[u8]) -> Result<(), Refused> {
    let seen = [
        a_row::<row::AgentRow>(bytes),
        a_row::<row::BundleRow>(bytes),
        a_row::<row::ClassRow>(bytes),
        a_row::<row::ClusterRow>(bytes),
        a_row::<row::CollectionRow>(bytes),
        a_row::<row::EpochRow>(bytes),
        a_row::<row::ForgottenRow>(bytes),
        a_row::<row::GoneRow>(bytes),
        a_row::<row::HoldRow>(bytes),
        a_row::<row::LevelRow>(bytes),
        a_row::<row::LocationRow>(bytes),
        a_row::<row::MemberRow>(bytes),
        a_row::<row::NewPointRow>(bytes),
        a_row::<row::OfficeRow>(bytes),
        a_row::<row::OperatorRow>(bytes),
        a_row::<row::PackRow>(bytes),
        a_row::<row::PointRow>(bytes),
        a_row::<row::PolicyRow>(bytes),
        a_row::<row::LostHistoryRow>(bytes),
        a_row::<row::RecoveryRow>(bytes),
        a_row::<row::RunRow>(bytes),
        a_row::<row::SeatRow>(bytes),
        a_row::<row::SegmentRow>(bytes),
        a_row::<row::SessionRow>(bytes),
        a_row::<row::TokenRow>(bytes),
        a_row::<row::VaultRow>(bytes),
        a_row::<AuditRow>(bytes),
        same_again::<AuditHead>(bytes).map(drop),
        same_again::<row::ShippedSnapshot>(bytes).map(drop),
    ];
    seen.into_iter().find(Result::is_ok).unwrap_or(Err(Refused))
}

fn a_row<R: Row + Debug + PartialEq>(bytes: &[u8]) -> Result<(), Refused> {
    let row: R = same_again(bytes)?;
    let _some_rows_make_their_key_from_several_fields = row.key();
    Ok(())
}

/// The record, once it was seen to survive being written anew.
pub(super) fn same_again<T>(bytes: &[u8]) -> Result<T, Refused>
where
    T: for<'b> Decode<'b, ()> + Encode<()> + Debug + PartialEq,
{
    let record: T = record::from_bytes("fuzzed", bytes)?;
    let again: T = record::from_bytes("fuzzed", &record::to_bytes(&record))?;
    assert_eq!(again, record);
    Ok(record)
}

/// A ledger that the frozen commands made, and the index of the entry after them.
static FOUNDED: LazyLock<(MemoryKv, u64)> = LazyLock::new(|| {
    let (kv, mut index) = (MemoryKv::default(), 1);
    for envelope in all_envelopes() {
        let mut tables = Tables::over(&kv);
        apply(&mut tables, index, &envelope).expect("an outcome");
        kv.write(tables.into_batch()).expect("memory");
        index += 1;
    }
    (kv, index)
});

fn all_envelopes() -> Vec<Envelope> {
    let actor = |command: &Command| match command {
        Command::BeginSession(begin) => run_agent(begin.run.as_bytes()[0]),
        Command::EnrolAgent(_) => Actor::Token,
        Command::CommitPoint(commit) => Actor::Agent(commit.point.agent),
        _ => Actor::System,
    };
    let commands = all_commands();
    let keys = 1u128..;
    keys.zip(commands)
        .map(|(key, command)| Envelope {
            version: ENVELOPE_VERSION,
            key: key.to_be_bytes(),
            actor: actor(&command),
            time: NOW,
            epoch: 1,
            traceparent: None,
            command,
        })
        .collect()
}

/// In the frozen commands, ids are one byte repeated; whose run it is has the same shape.
fn run_agent(_: u8) -> Actor {
    Actor::Agent(holdfast_common::AgentId::from_bytes([1; 16]))
}

fn all_commands() -> Vec<Command> {
    commands().iter().map(|bytes| record::from_bytes("command", bytes).unwrap()).collect()
}

pub fn commands() -> Vec<Vec<u8>> {
    let words = COMMANDS.lines().filter_map(|line| line.split_whitespace().nth(1));
    words.map(|text| hex::decode(text).unwrap()).collect()
}

pub fn envelopes() -> Vec<Vec<u8>> {
    all_envelopes().iter().map(record::to_bytes).collect()
}

pub fn replies() -> Vec<Vec<u8>> {
    let refused = holdfast_common::Error::new(holdfast_common::Code::VaultMissing, "none");
    let replies = [
        Reply::Done(Outcome::Done),
        Reply::Done(Outcome::At(7)),
        Reply::Done(Outcome::Bases(vec![1, 1 << 40])),
        Reply::refused(&refused.next("make one")),
    ];
    replies.iter().map(record::to_bytes).collect()
}

/// Every row that the frozen commands leave behind.
pub fn rows() -> Vec<Vec<u8>> {
    let Batch { changes } = Batch::default();
    assert!(changes.is_empty());
    let all = FOUNDED.0.scan(&[], None, 1000).unwrap();
    all.into_iter().map(|(_, value)| value).filter(|value| row(value).is_ok()).collect()
}
