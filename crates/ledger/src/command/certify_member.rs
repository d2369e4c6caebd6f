//! Records that a witness got a new certificate: it cannot make its own, and others answer for it.

use super::{Apply, Outcome};
use crate::row::Duty;
use holdfast_common::{Code, Error, Result, Timestamp};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct CertifyMember {
    #[n(0)]
    pub member: u64,
    #[n(1)]
    pub serial: u64,
    #[n(2)]
    pub not_after: Timestamp,
}

impl CertifyMember {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_system()?;
        let member = apply.live_member(self.member)?;
        if member.duty == Duty::Witness {
            return Ok(Outcome::Done);
        }
        let message = format!("`{}` makes its certificates itself", member.name);
        Err(Error::new(Code::AuthDenied, message))
    }
}
