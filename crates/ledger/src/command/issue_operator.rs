//! Lets a person in: a name, a key that never left their host, and until when.
//!
//! A name stands for one person at a time. One that was revoked, or has run out, may be issued
//! again: for another key, under another serial. Said twice it is done once.

use super::{Apply, Outcome, conflict};
use crate::{Actor, Role, row::OperatorRow};
use holdfast_common::{Code, Error, Name, Result, Timestamp, limits};
use minicbor::{Decode, Encode};
use std::time::Duration;

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct IssueOperator {
    #[n(0)]
    pub name: Name,
    #[n(1)]
    pub role: Role,
    #[n(2)]
    pub serial: u64,
    #[n(3)]
    pub not_after: Timestamp,
    #[cbor(n(4), with = "minicbor::bytes")]
    pub public_key: [u8; 32],
    /// How long each of its certificates lasts.
    #[n(5)]
    pub ttl_secs: u64,
}

/// Whoever proposes has a clock of their own, and so has whoever stamps.
const CLOCKS_APART: Duration = Duration::from_secs(24 * 3600);

impl IssueOperator {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_operator()?;
        self.check(apply.time)?;
        let rows = apply.operators()?;
        let before = rows.iter().find(|row| row.name == self.name);
        if before.is_some_and(|row| row.may_act(apply.time) && self.is_of(row)) {
            return Ok(Outcome::Unchanged);
        }
        if let Some(row) = before.filter(|row| row.may_act(apply.time)) {
            return Err(conflict(format!("`{}` is an operator already", row.name)).next(
                "choose another name, or revoke that one first: `holdfast operator revoke NAME`",
            ));
        }
        if let Some(row) = rows.iter().find(|row| row.public_key == Some(self.public_key)) {
            let message = format!("the key of this request is or was that of `{}`", row.name);
            return Err(conflict(message).next("make a new key: `holdfast operator request NAME`"));
        }
        let stand = rows.iter().filter(|row| row.may_act(apply.time)).count();
        if stand >= limits::OPERATORS_MAX {
            let message = format!("there are {stand} operators, and there may be no more");
            return Err(Error::new(Code::LimitExceeded, message)
                .next("revoke those that are not needed: `holdfast operator list`"));
        }
        let issued_by = match apply.actor {
            Actor::Operator(name) => Some(name.clone()),
            _ => None,
        };
        apply.tables.put(&OperatorRow {
            role: self.role,
            since: Some(apply.time),
            issued_by,
            public_key: Some(self.public_key),
            ttl_secs: Some(self.ttl_secs),
            ..OperatorRow::founding(self.name.clone(), self.serial, self.not_after)
        })?;
        apply.forget_old_operators()?;
        Ok(Outcome::Done)
    }

    fn is_of(&self, row: &OperatorRow) -> bool {
        row.public_key == Some(self.public_key) && row.role == self.role
    }

    fn check(&self, now: Timestamp) -> Result<()> {
        let malformed = |message: &str| Err(Error::new(Code::ResourceMalformed, message));
        if self.role != Role::Admin {
            return malformed("an operator has the role admin: there is no other yet");
        }
        if self.ttl_secs == 0 || self.ttl_secs > limits::OPERATOR_CERT_TTL_SECS {
            return malformed("an operator's certificate lasts from a second to 365 days");
        }
        check_end(self.not_after, now, self.ttl_secs)
    }
}

/// What has ended is given to nobody, and nothing that lasts longer than it may.
pub(super) fn check_end(not_after: Timestamp, now: Timestamp, ttl_secs: u64) -> Result<()> {
    let latest = now.plus(Duration::from_secs(ttl_secs) + CLOCKS_APART);
    if now < not_after && not_after <= latest {
        return Ok(());
    }
    let message = format!("a certificate until {not_after} has ended, or lasts longer than it may");
    Err(Error::new(Code::ResourceMalformed, message))
}
