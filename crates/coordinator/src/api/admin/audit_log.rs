//! The audit log, as people read it, and whether its chain holds.

use crate::house::House;
use bytes::Bytes;
use holdfast_common::Result;
use holdfast_ledger::audit;
use holdfast_wire::v1;

pub(super) fn entry(row: &audit::AuditRow) -> v1::AuditEntry {
    v1::AuditEntry {
        number: row.number,
        time_ns: row.time.as_nanos(),
        actor: row.actor.to_string(),
        action: row.action.clone(),
        subject: row.subject.clone(),
        result: row.result.clone(),
        hash: Bytes::copy_from_slice(&row.hash()),
    }
}

pub(super) fn verify(house: &House) -> Result<v1::VerifyAuditResponse> {
    let query = house.ledger.query();
    // The head is read first: rows may be added while we read, never changed.
    let head = query.audit_head()?;
    let rows = query.audit_chain().take(usize::try_from(head.rows).unwrap_or(usize::MAX));
    let rows = audit::verify(rows, &head)?;
    Ok(v1::VerifyAuditResponse { rows, head: Bytes::copy_from_slice(&head.hash) })
}
