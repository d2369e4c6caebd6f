//! Records a new certificate of an operator, for the key that he has and for no other.
//!
//! Whoever did not hear the answer asks again with the certificate he still has: he is answered
//! from the row, and no second one is made of it.

use super::{Apply, Outcome, issue_operator::check_end};
use crate::{Actor, level::SOMEBODY_STAYS, row::OperatorRow};
use holdfast_common::{Code, Error, Name, Result, Timestamp, limits};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct RenewOperator {
    #[n(0)]
    pub name: Name,
    /// Of the certificate that asks.
    #[n(1)]
    pub serial_before: u64,
    #[cbor(n(2), with = "minicbor::bytes")]
    pub public_key: [u8; 32],
    #[n(3)]
    pub serial: u64,
    #[n(4)]
    pub not_after: Timestamp,
}

impl RenewOperator {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let row = apply.operator(&self.name)?;
        self.insist_on_asker(apply, &row)?;
        let is_known = row.serial == self.serial && row.public_key.is_some();
        let is_repeated = row.serial_before == Some(self.serial_before);
        if is_known || is_repeated && row.serial != self.serial_before {
            return Ok(Outcome::Unchanged);
        }
        let ttl_secs = row.ttl_secs.unwrap_or(limits::OPERATOR_CERT_TTL_SECS);
        check_end(self.not_after, apply.time, ttl_secs)?;
        apply.tables.put(&OperatorRow {
            serial: self.serial,
            serial_before: Some(self.serial_before),
            not_after: self.not_after,
            public_key: Some(self.public_key),
            renewed: Some(apply.time),
            ..row
        })?;
        Ok(Outcome::Done)
    }

    /// He asks for himself, with what is his. A coordinator does for whoever lies beside it; once
    /// he has run out, only if he came with the cluster or nobody is left who could let him in.
    fn insist_on_asker(&self, apply: &Apply<'_, '_>, row: &OperatorRow) -> Result<()> {
        let denied = |message: &str| Err(Error::new(Code::AuthDenied, message));
        let is_cared_for = match apply.actor {
            Actor::System => row.since.is_none() || apply.is_without_operators()?,
            Actor::Operator(name) if *name == self.name => false,
            _ => return denied("an operator's certificate is renewed by himself"),
        };
        if row.is_over(apply.time) && !is_cared_for {
            return Err(ended(row));
        }
        if !row.admits(self.serial_before, &self.public_key) {
            return denied("the certificate that asks is not of whoever has this name now");
        }
        Ok(())
    }
}

fn ended(row: &OperatorRow) -> Error {
    let message = format!("the certificate of `{}` ended at {}", row.name, row.not_after);
    Error::new(Code::OperatorEnded, message)
}

impl Apply<'_, '_> {
    /// One that was not revoked.
    pub(super) fn operator(&self, name: &Name) -> Result<OperatorRow> {
        let row = self.tables.row::<OperatorRow>(name.as_str().as_bytes())?;
        match row {
            None => {
                Err(Error::new(Code::OperatorMissing, format!("there is no operator `{name}`")))
            }
            Some(row) if row.revoked => {
                Err(Error::new(Code::OperatorRevoked, format!("the operator `{name}` was revoked")))
            }
            Some(row) => Ok(row),
        }
    }

    /// Everybody has run out: only a coordinator is left to say who may act.
    fn is_without_operators(&self) -> Result<bool> {
        let is_asked = self.level()? >= SOMEBODY_STAYS;
        Ok(is_asked && !self.operators()?.iter().any(|row| row.is_able(self.time)))
    }

    /// Who acts is an operator still: he may have been shut out on the way here.
    pub(crate) fn insist_on_standing(&self, name: &Name) -> Result<()> {
        match self.operator(name) {
            Ok(row) if row.is_over(self.time) => Err(ended(&row)),
            Ok(_) => Ok(()),
            Err(error) if error.code == Code::OperatorMissing => {
                Err(Error { code: Code::AuthDenied, ..error })
            }
            Err(error) => Err(error),
        }
    }
}
