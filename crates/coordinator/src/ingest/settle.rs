//! Fresh rows of the index become a segment: in a file of our own, then in every location.
//!
//! It runs in a task of its own: whoever asked may go away, but rows that are in a file must not
//! stay out of the locations for it. One at a time for a vault; who comes meanwhile waits, so that
//! a point is committed only after the segments with its rows are durable. What fails is tried
//! again by whoever settles next, and by the keeper of the index.

use crate::{
    catalog::Outlet,
    house::{House, Vault},
};
use bytes::Bytes;
use futures::future::BoxFuture;
use holdfast_common::{Code, Error, Result};
use holdfast_ledger::{Actor, command::AddSegment, row::SegmentRow};
use holdfast_repository::layout;
use holdfast_runtime::tasks::OnError;
use std::sync::Arc;
use tokio::sync::oneshot;

impl House {
    pub(crate) async fn settle(self: &Arc<Self>, vault: &Vault) -> Result<()> {
        let settled = self.settle_once(vault).await;
        if settled.is_err() {
            vault.catalog.look_again();
        }
        settled
    }

    /// As the keeper of the index does it, which comes again by itself.
    pub(crate) async fn settle_once(self: &Arc<Self>, vault: &Vault) -> Result<()> {
        let (tell, settled) = oneshot::channel();
        let (house, vault) = (self.clone(), vault.clone());
        self.tasks.spawn("settle", OnError::Log, async move {
            let outlet = Locations { house: &house, vault: &vault };
            let (custody, entropy) = (&vault.custody, &house.entropy);
            let settled = vault.catalog.settle(custody, entropy, &house.tasks, &outlet).await;
            if vault.catalog.is_merge_due() {
                house.merge(&vault);
            }
            let _unheard = tell.send(settled);
            Ok(())
        });
        settled.await.map_err(|_| {
            Error::new(Code::ClusterUnreachable, "this coordinator is shutting down")
        })?
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

struct Locations<'a> {
    house: &'a House,
    vault: &'a Vault,
}

impl Outlet for Locations<'_> {
    fn ship(&self, segment: SegmentRow, object: Bytes) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let (house, id) = (self.house, &self.vault.row.id);
            let name = layout::ObjectName::segment(&segment.id);
            let vault = house.ledger.query().vault(id)?;
            house.places.put(&vault, name.as_str(), object.clone()).await?;
            house.ledger.propose(Actor::System, AddSegment { segment }).await?;
            // What came to be required meanwhile is filled up with what was known before.
            let now = house.ledger.query().vault(id)?;
            if now.grown == vault.grown {
                return Ok(());
            }
            house.places.put(&now, name.as_str(), object).await
        })
    }
}
