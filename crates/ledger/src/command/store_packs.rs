//! Says that packs are durable in every required location.

use super::{Apply, Outcome};
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
}

impl StorePacks {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let session = apply.write_session(&self.session)?;
        for id in &self.packs {
            let key = pack_key(&session.vault, id);
            let Some(pack) = apply.tables.row::<PackRow>(&key)? else {
                let message = format!("the pack {id} was never announced");
                return Err(Error::new(Code::PackMissing, message));
            };
            apply.tables.put(&PackRow { state: PackState::Stored, ..pack })?;
        }
        Ok(Outcome::Done)
    }
}
