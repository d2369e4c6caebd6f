//! Who may act for the cluster: let in, listed, renewed, shut out.

use crate::{
    house::House,
    identity::people::{self, Issued},
};
use bytes::Bytes;
use holdfast_common::{Code, Error, Result, Timestamp, limits};
use holdfast_ledger::{Actor, Role, row::OperatorRow};
use holdfast_runtime::{identity::PeerCertificate, pki::ProvenKey};
use holdfast_wire::{parse, v1};
use std::time::Duration;

pub(super) async fn issue(
    house: &House,
    actor: Actor,
    request: &v1::IssueOperatorRequest,
) -> Result<v1::IssueOperatorResponse> {
    let (name, role) = (parse::name(&request.name)?, role(&request.role)?);
    let key = ProvenKey::from_request(&request.csr_der)?;
    let issued = people::issue(house, actor, (name, role), request.days, &key).await?;
    tracing::info!(operator = %issued.row.name, until = %issued.row.not_after, "issued");
    Ok(v1::IssueOperatorResponse {
        ca_der: authority(house)?,
        endpoints: house.endpoints(),
        operator: Some(rendered(&issued.row, house.ledger.now())),
        certificate_der: issued.certificate.into(),
    })
}

fn role(text: &str) -> Result<Role> {
    match text {
        "" | "admin" => Ok(Role::Admin),
        other => Err(Error::new(Code::UsageMalformed, format!("there is no role `{other}`"))
            .next("an operator has the role admin: there is no other yet")),
    }
}

pub(super) fn list(house: &House) -> Result<v1::ListOperatorsResponse> {
    let (rows, now) = (house.ledger.query().operators()?, house.ledger.now());
    let operators = rows.iter().map(|row| rendered(row, now)).collect();
    Ok(v1::ListOperatorsResponse { operators })
}

pub(super) async fn renew(
    house: &House,
    peer: Option<&PeerCertificate>,
) -> Result<v1::RenewOperatorResponse> {
    let Some(peer) = peer else {
        return Err(Error::new(Code::AuthMissing, "this call needs a valid client certificate"));
    };
    let Issued { row, certificate } = people::renew(house, peer).await?;
    Ok(v1::RenewOperatorResponse {
        certificate_der: certificate.into(),
        ca_der: authority(house)?,
        operator: Some(rendered(&row, house.ledger.now())),
    })
}

pub(super) async fn revoke(
    house: &House,
    actor: Actor,
    request: &v1::RevokeOperatorRequest,
) -> Result<v1::RevokeOperatorResponse> {
    let name = parse::name(&request.name)?;
    tracing::warn!(%actor, operator = %name, "an operator is shut out");
    let row = people::revoke(house, actor, name).await?;
    Ok(v1::RevokeOperatorResponse { operator: Some(rendered(&row, house.ledger.now())) })
}

fn authority(house: &House) -> Result<Bytes> {
    Ok(Bytes::copy_from_slice(house.keys()?.authority.certificate()))
}

fn rendered(row: &OperatorRow, now: Timestamp) -> v1::OperatorStatus {
    let state = match (row.revoked, row.is_over(now)) {
        (true, _) => "revoked",
        (false, true) => "ended",
        (false, false) => "active",
    };
    let named = |name: &Option<holdfast_common::Name>| {
        name.as_ref().map(ToString::to_string).unwrap_or_default()
    };
    v1::OperatorStatus {
        name: row.name.to_string(),
        role: match row.role {
            Role::Admin => "admin",
            Role::Agent => "agent",
        }
        .to_owned(),
        state: state.to_owned(),
        since_ns: row.since.map(Timestamp::as_nanos),
        issued_by: named(&row.issued_by),
        until_ns: row.not_after.as_nanos(),
        renewed_ns: row.renewed.map(Timestamp::as_nanos),
        revoked_ns: row.revoked_at.map(Timestamp::as_nanos),
        revoked_by: named(&row.revoked_by),
    }
}

/// Whose certificate ends soon, the first ones.
pub(super) fn ending(house: &House) -> Result<Vec<v1::Alarm>> {
    let now = house.ledger.now();
    let mut rows = house.ledger.query().operators()?;
    rows.retain(|row| ends_soon(row, now));
    rows.sort_by_key(|row| row.not_after);
    rows.truncate(NAMED_MAX);
    Ok(rows.iter().map(note).collect())
}

/// When one ends that an older ledger brought along is not known.
fn ends_soon(row: &OperatorRow, now: Timestamp) -> bool {
    let soon = now.plus(Duration::from_secs(limits::OPERATOR_ENDING_SECS));
    row.may_act(now) && row.public_key.is_some() && row.not_after <= soon
}

fn note(row: &OperatorRow) -> v1::Alarm {
    let name = &row.name;
    v1::Alarm {
        code: "operator.certificate_ending".to_owned(),
        subject: format!("{name}: {}", row.not_after),
        since_ns: None,
        next: format!("`{name}` types: holdfast operator renew"),
    }
}

const NAMED_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_ends_within_two_weeks_is_spoken_of() {
        let now = Timestamp::from_nanos(1_800_000_000_000_000_000);
        let day = Duration::from_secs(24 * 3600);
        let row = |not_after| OperatorRow {
            public_key: Some([1; 32]),
            ..OperatorRow::founding("ben".parse().unwrap(), 1, not_after)
        };
        assert!(ends_soon(&row(now.plus(day)), now) && ends_soon(&row(now.plus(14 * day)), now));
        assert!(!ends_soon(&row(now.plus(15 * day)), now));
        assert!(!ends_soon(&row(now.minus(day)), now), "it has ended: the list says so");
        let revoked = OperatorRow { revoked: true, ..row(now.plus(day)) };
        assert!(!ends_soon(&revoked, now));
        let of_before = OperatorRow { public_key: None, ..row(now.plus(day)) };
        assert!(!ends_soon(&of_before, now));
        let states = [row(now.plus(day)), row(now.minus(day)), revoked];
        let states = states.map(|row| rendered(&row, now).state);
        assert_eq!(states, ["active", "ended", "revoked"]);
    }

    #[test]
    fn a_role_that_nothing_enforces_is_refused() {
        assert_eq!(role("admin").unwrap(), Role::Admin);
        for none in ["viewer", "agent", "Admin", "root"] {
            assert_eq!(role(none).unwrap_err().code, Code::UsageMalformed);
        }
    }
}
