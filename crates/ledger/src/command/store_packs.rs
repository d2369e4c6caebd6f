//! Says that packs are durable in every required location.
//!
//! What was put before a location became required lies in the others only. It is refused then, and
//! whoever put it puts it again.

use super::{Apply, Outcome, rounds::insist_on_alive};
use crate::row::{PackRow, PackState, pack::pack_key};
use holdfast_common::{Code, Error, PackId, Result, SessionId};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct StorePacks {
    #[n(0)]
    pub session: SessionId,
    #[n(1)]
    pub packs: Vec<PackId>,
    /// The vault's row when they were placed; absent before anybody said so.
    #[n(2)]
    pub revision: Option<u64>,
}

impl StorePacks {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let session = apply.write_session(&self.session)?;
        apply.vault(&session.vault)?.insist_on_all(self.revision)?;
        for id in &self.packs {
            let key = pack_key(&session.vault, id);
            let Some(pack) = apply.tables.row::<PackRow>(&key)? else {
                let message = format!("the pack {id} was never announced");
                return Err(Error::new(Code::PackMissing, message));
            };
            insist_on_alive(&pack)?;
            let pack = apply.owned_by(session.id, pack)?;
            apply.turn_pack(pack, PackState::Stored)?;
        }
        Ok(Outcome::Done)
    }
}
