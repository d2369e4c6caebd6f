//! Applying one envelope: once per idempotency key, always audited, never half.
//!
//! A command first checks everything, then writes rows; when it refuses, what it wrote so far is
//! not kept. Storage errors (unlike refusals) stop the member: they are not an outcome.

use crate::{
    Actor, Command, Envelope, Reply, audit,
    command::{Apply, Outcome},
    level::OPERATORS,
    tables::{Table, Tables},
};
use holdfast_common::{Code, Error, Result, limits, record};

pub(crate) const IDEMPOTENCY_TAIL: &[u8] = b"idempotency-tail";

/// Applies `envelope`, which is entry `index` of the log, to the tables.
pub fn apply(tables: &mut Tables<'_>, index: u64, envelope: &Envelope) -> Result<Reply> {
    if let Some(bytes) = tables.raw(Table::Idempotency, &envelope.key)? {
        return record::from_bytes("reply", &bytes[8..]);
    }
    let reply = decide(tables, index, envelope)?;
    let label = envelope.command.label();
    audit::append(tables, envelope.time, &envelope.actor, label, &reply)?;
    remember(tables, index, &envelope.key, &reply)?;
    Ok(reply)
}

fn decide(tables: &mut Tables<'_>, index: u64, envelope: &Envelope) -> Result<Reply> {
    let kept = tables.mark();
    let mut apply = Apply { tables, index, time: envelope.time, actor: &envelope.actor };
    match run(&mut apply, &envelope.command) {
        Ok(outcome) => Ok(Reply::Done(outcome)),
        Err(error) if is_fault(&error) => Err(error),
        Err(error) => {
            tables.rewind(kept);
            Ok(Reply::refused(&error))
        }
    }
}

/// Faults of this member's storage, as opposed to refusals that every member agrees on.
fn is_fault(error: &Error) -> bool {
    matches!(
        error.code,
        Code::RecordMalformed | Code::DiskFull | Code::FileIoFailed | Code::LogDamaged
    )
}

fn run(apply: &mut Apply<'_, '_>, command: &Command) -> Result<Outcome> {
    // Whoever was shut out on the way here, through whichever member, does nothing any more.
    if let Actor::Operator(name) = apply.actor
        && apply.level()? >= OPERATORS
    {
        apply.insist_on_standing(name)?;
    }
    command.apply(apply)
}

/// Forgets every key: whoever could come with one again is gone.
pub(crate) fn forget_keys(tables: &mut Tables<'_>) -> Result<()> {
    for table in [Table::Idempotency, Table::IdempotencyOrder] {
        loop {
            let page = tables.scan(table, &[], limits::LIST_PAGE_ROWS)?;
            if page.is_empty() {
                break;
            }
            for (key, _) in page {
                tables.remove(table, &key);
            }
        }
    }
    Ok(())
}

/// Keeps the reply for a bounded number of later commands.
fn remember(tables: &mut Tables<'_>, index: u64, key: &[u8; 16], reply: &Reply) -> Result<()> {
    let mut value = index.to_be_bytes().to_vec();
    value.extend_from_slice(&record::to_bytes(reply));
    tables.put_raw(Table::Idempotency, key, value)?;
    tables.put_raw(Table::IdempotencyOrder, &index.to_be_bytes(), key.to_vec())?;
    let tail = match tables.raw(Table::Meta, IDEMPOTENCY_TAIL)? {
        Some(bytes) => u64::from_be_bytes(bytes.try_into().unwrap_or_default()),
        None => index,
    };
    let keep_from = index.saturating_sub(limits::IDEMPOTENCY_KEYS_KEPT);
    for old in tail..keep_from.max(tail) {
        if let Some(key) = tables.raw(Table::IdempotencyOrder, &old.to_be_bytes())? {
            tables.remove(Table::Idempotency, &key);
            tables.remove(Table::IdempotencyOrder, &old.to_be_bytes());
        }
    }
    let tail = keep_from.max(tail).to_be_bytes().to_vec();
    tables.put_raw(Table::Meta, IDEMPOTENCY_TAIL, tail)
}
