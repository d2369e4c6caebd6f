//! Fresh rows of the index become a segment: in a file of our own, then in every location.
//!
//! It runs in a task of its own: whoever asked may go away, but rows that are in a file must not
//! stay out of the locations for it. One at a time for a vault; who comes meanwhile waits, so that
//! a point is committed only after the segments with its rows are durable.

use crate::house::{House, Vault};
use bytes::Bytes;
use holdfast_common::{Code, Error, Result};
use holdfast_ledger::{Actor, command::AddSegment, row::SegmentRow};
use holdfast_repository::layout;
use holdfast_runtime::tasks::OnError;
use std::sync::Arc;
use tokio::sync::oneshot;

impl House {
    pub(crate) async fn settle(self: &Arc<Self>, vault: &Vault) -> Result<()> {
        let (tell, settled) = oneshot::channel();
        let (house, vault) = (self.clone(), vault.clone());
        self.tasks.spawn("settle", OnError::Log, async move {
            let _unheard = tell.send(house.settle_one(vault).await);
            Ok(())
        });
        settled.await.map_err(|_| {
            Error::new(Code::ClusterUnreachable, "this coordinator is shutting down")
        })?
    }

    async fn settle_one(self: &Arc<Self>, vault: Vault) -> Result<()> {
        let _one = vault.catalog.settling.lock().await;
        let (catalog, custody) = (vault.catalog.clone(), vault.custody.clone());
        let entropy = self.entropy.clone();
        let settle = move || catalog.settle(&custody, entropy.as_ref());
        for settled in self.tasks.run_blocking("settle", settle).await? {
            tracing::debug!(rows = settled.rows, "index segment settled");
            let name = layout::ObjectName::segment(&settled.id);
            let object = Bytes::from(settled.object);
            let segment = SegmentRow {
                id: settled.id,
                vault: vault.row.id,
                rows: settled.rows,
                length: object.len() as u64,
                hash: *self.hash(object.clone()).await?.as_bytes(),
            };
            self.places.put(&vault.row, name.as_str(), object).await?;
            self.ledger.propose(Actor::System, AddSegment { segment }).await?;
        }
        if vault.catalog.is_merge_due() {
            self.merge(&vault);
        }
        Ok(())
    }

    /// Nobody waits for it.
    fn merge(&self, vault: &Vault) {
        let (catalog, entropy) = (vault.catalog.clone(), self.entropy.clone());
        let token = self.tasks.token().clone();
        self.tasks.spawn_blocking("index merge", OnError::Log, move || {
            catalog.merge(entropy.as_ref(), &|| token.is_cancelled())
        });
    }
}
