//! What is said to the ledger of locks.

use super::{ids, name, vault};
use holdfast_common::{LockClass, Timestamp};
use holdfast_ledger::{Command, command::*, row::*};

pub(crate) const DAY: LockTerms = LockTerms { class: LockClass::Compliance, secs: 86_400 };

/// The vault of the story, which locks what it keeps.
pub(crate) fn locking(lock: LockTerms) -> PutVault {
    PutVault { vault: VaultRow { lock: Some(lock), ..vault() }, kek: None }
}

/// What a leader says of `main` since the entry that opened its row.
pub(crate) fn note_locks(opened: u64) -> NoteLocks {
    let lock = LockRow {
        vault: ids::vault(),
        location: name("main"),
        opened,
        until: Some(Timestamp::from_nanos(9)),
        covers: Some(Timestamp::from_nanos(8)),
        objects: 3,
        problem: None,
        noted: Timestamp::ZERO,
    };
    NoteLocks { lock }
}

pub(super) fn samples() -> Vec<(&'static str, Command)> {
    vec![("put_vault_locking", locking(DAY).into()), ("note_locks", note_locks(7).into())]
}
