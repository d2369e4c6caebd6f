//! What one person alone may not do: somebody asked, and somebody else agrees.
//!
//! Two names are not yet two people: whoever makes an operator may have kept its key. So neither of
//! both was issued by the other, nor by anybody whom the other issued; and who agrees had the name
//! before it was asked. Two names that a third one issued count as two: who issues names gives them
//! to people.

use super::Apply;
use crate::{
    Actor, Role,
    row::{DestroyRequestRow, OperatorRow},
};
use holdfast_common::{Code, Error, Name, Result};

impl Apply<'_, '_> {
    /// The person who acts: an administrator who may act now.
    pub(super) fn person(&self) -> Result<Name> {
        let Actor::Operator(name) = self.actor else {
            return Err(Error::new(Code::AuthDenied, "this is for people to decide"));
        };
        self.standing(name).map(|row| row.name)
    }

    fn standing(&self, name: &Name) -> Result<OperatorRow> {
        let row: Option<OperatorRow> = self.tables.row(name.as_str().as_bytes())?;
        match row {
            Some(row) if row.role == Role::Admin && row.may_act(self.time) => Ok(row),
            _ => {
                let message = format!("`{name}` is no administrator now");
                Err(Error::new(Code::AuthDenied, message))
            }
        }
    }

    /// Who agrees to what somebody else asked for.
    pub(super) fn second_person(&self, request: &DestroyRequestRow) -> Result<Name> {
        let second = self.person()?;
        let refused = |why: String| Err(Error::new(Code::KeySecondMissing, why));
        if second == request.by {
            return refused(format!("`{second}` asked for it, and cannot agree to it as well"));
        }
        let asker = self.standing(&request.by)?;
        for name in [&second, &asker.name] {
            if self.standing(name)?.since.is_some_and(|since| request.asked < since) {
                return refused(format!("`{name}` was issued after it was asked for"));
            }
        }
        for (one, other) in [(&second, &asker.name), (&asker.name, &second)] {
            if self.comes_from(one, other)? {
                return refused(format!("`{one}` was made an administrator by `{other}`"));
            }
        }
        Ok(second)
    }

    /// Whether a name was issued by this one, or by one that it issued.
    fn comes_from(&self, name: &Name, issuer: &Name) -> Result<bool> {
        let (mut seen, mut at) = (vec![name.clone()], name.clone());
        loop {
            let row: Option<OperatorRow> = self.tables.row(at.as_str().as_bytes())?;
            let Some(by) = row.and_then(|row| row.issued_by) else { return Ok(false) };
            if by == *issuer {
                return Ok(true);
            }
            // A name that was revoked and issued again may come from one that came from it.
            if seen.contains(&by) {
                return Ok(false);
            }
            seen.push(by.clone());
            at = by;
        }
    }
}
