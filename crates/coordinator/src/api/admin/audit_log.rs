//! The audit log, as people read it, whether its chain holds, and how long it is kept.

use super::listing;
use crate::house::House;
use bytes::Bytes;
use holdfast_common::{Code, Error, Result};
use holdfast_ledger::{Actor, audit, command::KeepAudit};
use holdfast_wire::v1;
use std::sync::Arc;

const DAY_SECS: u64 = 24 * 3600;

pub(super) async fn list(
    house: &House,
    request: &v1::ListAuditRequest,
) -> Result<v1::ListAuditResponse> {
    house.ledger.catch_up().await?;
    let rows = house.ledger.query().audit(request.after, listing::page(request.limit))?;
    Ok(v1::ListAuditResponse { entries: rows.iter().map(entry).collect() })
}

fn entry(row: &audit::AuditRow) -> v1::AuditEntry {
    v1::AuditEntry {
        number: row.number,
        time_ns: row.time.as_nanos(),
        actor: row.actor.to_string(),
        action: row.action.clone(),
        subject: row.subject.clone(),
        result: row.result.clone(),
        hash: Bytes::copy_from_slice(&row.hash()),
        previous: Bytes::copy_from_slice(&row.previous),
    }
}

pub(super) async fn verify(house: &Arc<House>) -> Result<v1::VerifyAuditResponse> {
    house.ledger.catch_up().await?;
    let at = house.clone();
    house.tasks.run_blocking("verify audit", move || walk(&at)).await
}

fn walk(house: &House) -> Result<v1::VerifyAuditResponse> {
    let query = house.ledger.query();
    loop {
        let of = house.ledger.replaced();
        // Both ends are read first: rows may be added while we read, never changed.
        let (cut, head) = (query.audit_cut()?, query.audit_head()?);
        let rows = query.audit_chain().take_while(|row| match row {
            Ok(row) => row.number < head.rows,
            Err(_) => true,
        });
        let found = audit::verify(rows, &cut, &head);
        if found.is_err() && query.audit_cut()? != cut {
            continue;
        }
        if of.is_none() || house.ledger.replaced() != of {
            let message = "the ledger of this member is brought anew";
            return Err(Error::new(Code::ClusterBusy, message).next("try again in a moment"));
        }
        let (rows, head) = (found?, Bytes::copy_from_slice(&head.hash));
        return Ok(v1::VerifyAuditResponse { rows, head, first: cut.rows });
    }
}

pub(super) async fn keep(
    house: &House,
    actor: Actor,
    request: v1::KeepAuditRequest,
) -> Result<v1::KeepAuditResponse> {
    if let Some(kept_secs) = request.kept_secs {
        let kept_secs = (kept_secs > 0).then_some(kept_secs);
        house.ledger.propose(actor, KeepAudit { kept_secs }).await?;
    }
    house.ledger.catch_up().await?;
    let query = house.ledger.query();
    let (rule, cut, head) = (query.audit_rule()?, query.audit_cut()?, query.audit_head()?);
    let first = query.audit(cut.rows, 1)?.pop();
    Ok(v1::KeepAuditResponse {
        kept_secs: rule.kept_secs,
        since_ns: rule.kept_secs.map(|_| rule.since.as_nanos()),
        first: cut.rows,
        first_ns: first.map(|row| row.time.as_nanos()),
        rows: head.rows,
    })
}

/// While a new rule settles, whoever did not make it sees it.
pub(super) fn alarms(house: &House) -> Result<Vec<v1::Alarm>> {
    let query = house.ledger.query();
    let (rule, upset) = (query.audit_rule()?, query.rules_upset()?);
    let settled = rule.since.max(upset).plus(house.retention_settles);
    let (Some(kept), Some(by)) = (rule.kept_secs, rule.by) else { return Ok(Vec::new()) };
    if house.ledger.now() >= settled {
        return Ok(Vec::new());
    }
    Ok(vec![v1::Alarm {
        code: "audit.rule_changed".to_owned(),
        subject: format!(
            "{by}: rows of the audit log go that are older than {} days, from {settled} on",
            kept / DAY_SECS
        ),
        since_ns: Some(rule.since.as_nanos()),
        next: "if nobody wants that: holdfast audit keep --forever".to_owned(),
    }])
}
