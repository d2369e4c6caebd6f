//! What closed versions of the keys open is in nothing that is committed from then on.
//!
//! ```text
//!   reach of a session ─→ compared with the numbers of what is shut, as of the entry that closed
//!         meets none: the commit says up to which entry       meets some: the session begins anew
//! ```
//!
//! The ledger takes no point whose commit was not compared behind the newest such entry, so a
//! member that lags commits nothing, whatever it has answered.

use super::needs::shut_numbers;
use crate::house::House;
use holdfast_common::{Result, VaultId};
use holdfast_repository::Reach;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// The numbers of what is shut in each vault, as of the entry that closed something last.
#[derive(Default)]
pub(crate) struct Shut(Mutex<BTreeMap<VaultId, (u64, Arc<Reach>)>>);

impl Shut {
    fn known(&self, vault: &VaultId, closed_at: u64) -> Option<Arc<Reach>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(vault).filter(|(at, _)| *at == closed_at).map(|(_, reach)| reach.clone())
    }

    fn keep(&self, vault: VaultId, (closed_at, reach): (u64, Arc<Reach>)) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(vault, (closed_at, reach));
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
        if let Some(shut) = self.shut.known(vault, closed.at)
            && !reach.overlaps(&shut)
        {
            return Ok(Some(closed.at));
        }
        // What nobody had looked into then may be known by now.
        let (ledger, id) = (self.ledger.clone(), *vault);
        let find = move || shut_numbers(ledger.query(), &id);
        let shut = Arc::new(self.tasks.run_blocking("closed keys", find).await?);
        self.shut.keep(*vault, (closed.at, shut.clone()));
        Ok((!reach.overlaps(&shut)).then_some(closed.at))
    }
}
