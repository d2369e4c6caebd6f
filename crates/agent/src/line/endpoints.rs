//! Where a line's channels come from: the cluster's endpoints, over mutual TLS.
//!
//! The identity in `ClientTls` is replaced while running; each new connection shows the newest.

use super::Whereabouts;
use futures::future::BoxFuture;
use holdfast_common::Result;
use holdfast_runtime::tls::{ChannelKind, ClientTls, connect};
use std::sync::Arc;
use tonic::transport::Channel;

/// Makes a connection to any coordinator.
pub trait Connect: Send + Sync + 'static {
    fn connect(&self) -> BoxFuture<'_, Result<Channel>>;

    /// Whoever was connected could not help: the next connection is to another one.
    fn go_on(&self) {}
}

pub struct Endpoints {
    pub whereabouts: Arc<Whereabouts>,
    pub tls: Arc<ClientTls>,
    pub kind: ChannelKind,
}

impl Connect for Endpoints {
    fn connect(&self) -> BoxFuture<'_, Result<Channel>> {
        Box::pin(async move {
            connect(&self.whereabouts.in_turn(), Arc::clone(&self.tls), self.kind).await
        })
    }

    fn go_on(&self) {
        self.whereabouts.next_turn();
    }
}
