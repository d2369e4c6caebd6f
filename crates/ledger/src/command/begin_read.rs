//! Opens a read session over one point: it stays readable until the session ends. Audited.

use super::{Apply, Outcome};
use crate::row::{PointRow, SessionKind, SessionRow};
use holdfast_common::{Code, Error, PointId, Result, SessionId, limits};
use minicbor::{Decode, Encode};
use std::time::Duration;

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct BeginRead {
    #[n(0)]
    pub session: SessionId,
    #[n(1)]
    pub point: PointId,
    #[n(2)]
    pub purpose: String,
}

impl BeginRead {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let Some(point) = apply.tables.row::<PointRow>(self.point.as_bytes())? else {
            let message = format!("there is no point {}", self.point);
            return Err(Error::new(Code::PointMissing, message));
        };
        apply.tables.put(&SessionRow {
            id: self.session,
            kind: SessionKind::Read,
            vault: point.vault,
            run: None,
            agent: None,
            begun: apply.index,
            lease_until: apply.time.plus(Duration::from_secs(limits::SESSION_LEASE_SECS)),
            point: self.point,
            previous: None,
        })?;
        Ok(Outcome::At(apply.index))
    }
}
