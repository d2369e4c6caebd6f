//! What closed versions of the keys open is in nothing that is committed from then on.
//!
//! ```text
//!   reach of a session ─→ compared with the numbers of what is shut, as of the entry that closed
//!         meets none: the commit says up to which entry       meets some: the session begins anew
//! ```
//!
//! To find that out all packs of a vault are walked through, by one at a time, and again only when
//! something came that may say less: a pack that nobody had looked into, or that is packed anew.
//!
//! The ledger takes no point whose commit was not compared behind the newest such entry, so a
//! member that lags commits nothing, whatever it has answered.

use super::needs::{ShutNumbers, given_up_at, shut_numbers};
use crate::house::House;
use holdfast_common::{Code, Error, Result, VaultId};
use holdfast_repository::Reach;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// How often all packs are walked through while the ledger is brought anew.
const WALKS_MAX: usize = 4;

/// What is shut in each vault, as of the entry that closed something last.
#[derive(Default)]
pub(crate) struct Shut {
    known: Mutex<BTreeMap<VaultId, (u64, Arc<ShutNumbers>)>>,
    /// Whoever walks; those who come meanwhile look at what he found.
    walking: tokio::sync::Mutex<()>,
}

impl Shut {
    fn known(&self, vault: &VaultId, closed_at: u64) -> Option<Arc<ShutNumbers>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(vault).filter(|(at, _)| *at == closed_at).map(|(_, shut)| shut.clone())
    }

    fn keep(&self, vault: VaultId, closed_at: u64, shut: Arc<ShutNumbers>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(vault, (closed_at, shut));
    }
}

impl ShutNumbers {
    /// Whether a reach meets none of it; none: only a further walk can tell. It never says less
    /// than it did but by what was not known, and by what was given up since.
    fn is_clear_of(&self, reach: &Reach, given_up_at: u64) -> Option<bool> {
        let is_final = !self.is_guessed && self.as_of == Some(given_up_at);
        match reach.overlaps(&self.numbers) {
            false => Some(true),
            true => is_final.then_some(false),
        }
    }
}

impl House {
    /// Up to which entry a reach was compared with what is shut; none when it meets some of that.
    pub(crate) async fn compared_with_shut(
        &self,
        vault: &VaultId,
        reach: &Reach,
    ) -> Result<Option<u64>> {
        let closed = self.ledger.query().closed_keys(vault)?;
        if closed.versions.is_empty() {
            return Ok(Some(closed.at));
        }
        let before = self.shut.known(vault, closed.at);
        let given_up = given_up_at(self.ledger.query(), vault)?;
        if let Some(is_clear) = before.as_ref().and_then(|shut| shut.is_clear_of(reach, given_up)) {
            return Ok(is_clear.then_some(closed.at));
        }
        let _walk = self.shut.walking.lock().await;
        let known = self.shut.known(vault, closed.at);
        let is_newer = |known: &Arc<ShutNumbers>| {
            before.as_ref().is_none_or(|before| !Arc::ptr_eq(before, known))
        };
        let shut = match known.filter(is_newer) {
            Some(shut) => shut,
            None => self.walk(vault, closed.at).await?,
        };
        Ok((!reach.overlaps(&shut.numbers)).then_some(closed.at))
    }

    /// Not while a snapshot takes the place of the tables: half of them would be missing.
    async fn walk(&self, vault: &VaultId, closed_at: u64) -> Result<Arc<ShutNumbers>> {
        let (ledger, id) = (self.ledger.clone(), *vault);
        let find = move || {
            for _ in 0..WALKS_MAX {
                let before = ledger.replaced();
                let shut = shut_numbers(ledger.query(), &id)?;
                if before.is_some() && ledger.replaced() == before {
                    return Ok(shut);
                }
            }
            let message = "the ledger of this member is brought anew";
            Err(Error::new(Code::ClusterBusy, message).next("try again in a moment"))
        };
        let shut = Arc::new(self.tasks.run_blocking("closed keys", find).await?);
        self.shut.keep(*vault, closed_at, shut.clone());
        Ok(shut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_repository::ChunkNumber;

    #[test]
    fn what_is_shut_is_walked_for_again_only_when_it_may_say_less() {
        let reach = |number| {
            let mut reach = Reach::new();
            reach.insert(ChunkNumber::from_u64(number));
            reach
        };
        let shut = |is_guessed, as_of| ShutNumbers { numbers: reach(7), as_of, is_guessed };
        for known in [shut(false, Some(3)), shut(true, Some(3)), shut(false, None)] {
            assert_eq!(known.is_clear_of(&reach(8), 4), Some(true));
        }
        assert_eq!(shut(false, Some(3)).is_clear_of(&reach(7), 3), Some(false));
        assert_eq!(shut(false, Some(3)).is_clear_of(&reach(7), 4), None, "packed anew since");
        assert_eq!(shut(true, Some(3)).is_clear_of(&reach(7), 3), None, "looked into since");
        assert_eq!(shut(false, None).is_clear_of(&reach(7), 3), None, "rather too many");
    }
}
