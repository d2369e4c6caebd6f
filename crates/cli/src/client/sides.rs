//! Every coordinator asked by itself, when there may be two sides that do not know of each other.
//!
//! Elsewhere one answer is as good as another. Here it is not: a side that was cut off answers too.
//! Endpoints that an answer names are asked as well, so that one that is known leads to all.

use super::Admin;
use futures::future::join_all;
use holdfast_common::{Code, Error, Result, SystemClock};
use holdfast_runtime::{ChannelKind, ClientTls, Context, connect};
use holdfast_wire::{status::from_status, v1};
use std::{collections::BTreeSet, path::Path, sync::Arc};

/// One coordinator, and what it says of the regions.
pub struct Side {
    pub admin: Admin,
    pub view: v1::RegionsResponse,
}

impl Side {
    /// How much of the ledger it has.
    pub fn reach(&self) -> (u64, u64) {
        (self.view.last_term, self.view.last)
    }

    pub async fn look_again(&mut self) -> Result<()> {
        let answer = self.admin.regions(v1::RegionsRequest::default()).await;
        self.view = answer.map_err(|status| from_status(&status))?.into_inner();
        Ok(())
    }
}

/// Who answers, of all that the context or another answer names.
pub async fn sides(context: &Path) -> Result<Vec<Side>> {
    let context = Context::load(context)?;
    let tls = context.tls(Arc::new(SystemClock::start()))?;
    let (mut asked, mut found) = (BTreeSet::new(), Vec::new());
    let mut next: BTreeSet<String> = context.endpoints.iter().cloned().collect();
    let mut failed = Error::new(Code::ClusterUnreachable, "no coordinator answers");
    while !next.is_empty() {
        let answers = join_all(next.iter().map(|endpoint| ask(endpoint, &tls))).await;
        asked.append(&mut next);
        for answer in answers {
            match answer {
                Ok(side) => found.push(side),
                Err(error) => failed = failed.cause(error),
            }
        }
        let named = found.iter().flat_map(|side: &Side| &side.view.regions);
        let named = named.flat_map(|region| &region.members).map(|member| &member.address);
        next = named.filter(|address| !asked.contains(*address)).cloned().collect();
    }
    if found.is_empty() { Err(failed) } else { Ok(found) }
}

async fn ask(endpoint: &str, tls: &Arc<ClientTls>) -> Result<Side> {
    let endpoints = [endpoint.to_owned()];
    let mut admin = Admin::new(connect(&endpoints, Arc::clone(tls), ChannelKind::Control).await?);
    let answer = admin.regions(v1::RegionsRequest::default()).await;
    let view = answer.map_err(|status| from_status(&status))?.into_inner();
    Ok(Side { admin, view })
}
