//! What one person alone may not do: somebody asked, and somebody else agrees.
//!
//! Two names are not yet two people: whoever makes an operator may have kept its key. So neither of
//! both was issued by the other, nor by anybody whom the other issued; and who agrees had the name
//! before it was asked. Two names that a third one issued count as two: who issues names gives them
//! to people. Where the rows do not say any more who issued whom, or say it in a circle, they may
//! be one. The name that comes with a recovery is none of two: whoever has the bundle made it.

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

    /// The one who asks: nobody could agree to what another one asked for.
    pub(super) fn first_person(&self) -> Result<Name> {
        let name = self.person()?;
        insist_on_issued(&self.standing(&name)?)?;
        Ok(name)
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
            let row = self.standing(name)?;
            insist_on_issued(&row)?;
            if row.since.is_some_and(|since| request.asked < since) {
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

    /// Whether a name was issued by this one, or by one that it issued, or may have been.
    fn comes_from(&self, name: &Name, issuer: &Name) -> Result<bool> {
        let (mut seen, mut at) = (vec![name.clone()], name.clone());
        loop {
            let row: Option<OperatorRow> = self.tables.row(at.as_str().as_bytes())?;
            // Who issued one that was forgotten nobody knows.
            let Some(row) = row else { return Ok(true) };
            let Some(by) = row.issued_by else { return Ok(false) };
            // A name that was revoked and issued again by one that came from it may hide who did.
            if by == *issuer || seen.contains(&by) {
                return Ok(true);
            }
            seen.push(by.clone());
            at = by;
        }
    }
}

/// Whether some person stands behind a name beside whoever recovered the cluster.
fn insist_on_issued(row: &OperatorRow) -> Result<()> {
    if row.recovered.is_none() {
        return Ok(());
    }
    let message = format!("`{}` came with a recovery, which one person can do alone", row.name);
    Err(Error::new(Code::KeySecondMissing, message)
        .next("act under a name that was issued: holdfast operator issue NAME"))
}
