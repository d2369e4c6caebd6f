//! Says that nobody writes any more who began before a round was sealed; refused while somebody
//! does. Points that are noted up to this entry are all that may need what was condemned.
//!
//! It is the rows of sessions that count. A lease that ran out is no end: its session is ended by
//! an entry, after which nothing is committed in it.

use super::{Apply, Outcome};
use crate::row::{CollectionRow, SessionKind, SessionRow, Stage};
use holdfast_common::{Code, Error, Result, VaultId};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct ClearCollection {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub round: u64,
}

impl ClearCollection {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let round = apply.round_at(&self.vault, self.round, Stage::Sealed)?;
        let mut older = 0;
        apply.tables.look(&[], |session: SessionRow| {
            let is_writer = session.vault == round.vault && session.kind == SessionKind::Write;
            older += u64::from(is_writer && session.begun < round.sealed);
        })?;
        if older > 0 {
            let message = format!("{older} backups are under way that began before");
            return Err(Error::new(Code::CollectionEarly, message));
        }
        let cleared = apply.index;
        apply.tables.put(&CollectionRow { stage: Stage::Clear, cleared, ..round })?;
        Ok(Outcome::At(apply.index))
    }
}
