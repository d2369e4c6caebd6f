//! Shuts a person out. Never the last one who could let another in.
//!
//! What he made to let others in, and nobody has used yet, ends with him: a token for a
//! coordinator is worth as much as his certificate was. What was let in by then stays, and is seen
//! in the lists.

use super::{Apply, Outcome};
use crate::{
    Actor,
    level::SOMEBODY_STAYS,
    row::{OperatorRow, TokenRow},
    tables::{Row, Table},
};
use holdfast_common::{Code, Error, Name, Result, limits};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct RevokeOperator {
    #[n(0)]
    pub name: Name,
}

impl RevokeOperator {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_operator()?;
        let row = match apply.operator(&self.name) {
            Err(error) if error.code == Code::OperatorRevoked => return Ok(Outcome::Unchanged),
            row => row?,
        };
        apply.insist_on_another(&row)?;
        apply.end_tokens_of(&row)?;
        let revoked_by = match apply.actor {
            Actor::Operator(name) => Some(name.clone()),
            _ => None,
        };
        let revoked_at = Some(apply.time);
        apply.tables.put(&OperatorRow { revoked: true, revoked_at, revoked_by, ..row })?;
        apply.forget_old_operators()?;
        Ok(Outcome::Done)
    }
}

impl Apply<'_, '_> {
    /// Somebody is left who can let others in, and not for the rest of a day only.
    fn insist_on_another(&self, row: &OperatorRow) -> Result<()> {
        let is_stay_asked = self.level()? >= SOMEBODY_STAYS;
        let stays = |other: &OperatorRow| match is_stay_asked {
            true => other.stays(self.time),
            false => other.is_able(self.time),
        };
        let mut others = self.operators()?;
        others.retain(|other| other.name != row.name && other.is_able(self.time));
        if others.iter().any(stays) {
            return Ok(());
        }
        let message = format!("without `{}` nobody could run this cluster", row.name);
        let error = Error::new(Code::OperatorLast, message);
        Err(match others.first() {
            None => error,
            Some(other) => {
                let (name, end) = (&other.name, other.not_after);
                error
                    .cause(format!("the certificate of `{name}` ends at {end}"))
                    .next(format!("first `{name}` types: holdfast operator renew"))
            }
        })
    }

    pub(super) fn operators(&self) -> Result<Vec<OperatorRow>> {
        let mut rows = Vec::new();
        self.tables.look(&[], |row: OperatorRow| rows.push(row))?;
        Ok(rows)
    }

    /// Of those that act no more the newest are remembered. Who is not in the table is nobody.
    pub(super) fn forget_old_operators(&mut self) -> Result<()> {
        let mut gone = self.operators()?;
        gone.retain(|row| !row.may_act(self.time));
        gone.sort_by_key(|row| row.revoked_at.unwrap_or(row.not_after));
        let surplus = gone.len().saturating_sub(limits::OPERATORS_GONE_MAX);
        for row in &gone[..surplus] {
            self.tables.remove(Table::Operator, &row.key());
        }
        Ok(())
    }

    /// Older ledgers did not note whose a token is: then it was the founder's.
    fn end_tokens_of(&mut self, operator: &OperatorRow) -> Result<()> {
        let is_his = |token: &TokenRow| match &token.made_by {
            Some(name) => *name == operator.name,
            None => operator.since.is_none(),
        };
        let mut ended = Vec::new();
        self.tables.look(&[], |token: TokenRow| {
            if token.used_by.is_none() && token.used_by_member.is_none() && is_his(&token) {
                ended.push(token.key());
            }
        })?;
        ended.iter().for_each(|key| self.tables.remove(Table::Token, key));
        Ok(())
    }
}
