//! Says that nobody writes any more who began before a round was sealed; refused while somebody
//! does. Points that are noted up to this entry are all that may need what was condemned.
//!
//! It is the rows of sessions that count. A lease that ran out is no end: its session is ended by
//! an entry, after which nothing is committed in it. Nor is anything after its run was cancelled:
//! whoever goes on all the same is not waited for.

use super::{Apply, Outcome};
use crate::{
    level::CANCELLED_UNWAITED,
    row::{CollectionRow, RunRow, SessionRow, Stage},
};
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
        let older = waited_for(apply, &round)?;
        if older > 0 {
            let message = format!("{older} backups are under way that began before");
            return Err(Error::new(Code::CollectionEarly, message));
        }
        let cleared = apply.index;
        apply.tables.put(&CollectionRow { stage: Stage::Clear, cleared, ..round })?;
        Ok(Outcome::At(apply.index))
    }
}

/// Those who may still commit what they found before the round was sealed.
fn waited_for(apply: &Apply<'_, '_>, round: &CollectionRow) -> Result<usize> {
    let mut older = Vec::new();
    apply.tables.look(&[], |session: SessionRow| {
        if session.writes_since_before(round.sealed, &round.vault) {
            older.push(session.run);
        }
    })?;
    if apply.level()? < CANCELLED_UNWAITED {
        return Ok(older.len());
    }
    let mut waited_for = 0;
    for run in older {
        let run = run.map(|run| apply.tables.row::<RunRow>(run.as_bytes())).transpose()?.flatten();
        waited_for += usize::from(!run.is_some_and(|run| run.commits_nothing()));
    }
    Ok(waited_for)
}
