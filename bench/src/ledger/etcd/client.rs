//! What an etcd member is asked: to put a value, and who leads.

use super::messages::{PUT, PutRequest, PutResponse, STATUS, StatusRequest, StatusResponse};
use crate::ledger::{
    cluster::{Pending, Target},
    line::Line,
};
use core::sync::atomic::{AtomicU64, Ordering};
use holdfast_common::Result;
use rustls::ClientConfig;
use std::sync::Arc;

/// Dials at the first call.
#[derive(Clone)]
pub struct Client(Line);

impl Client {
    pub fn new(endpoint: &str, tls: &Arc<ClientConfig>) -> Result<Self> {
        Ok(Self(Line::new(endpoint, "127.0.0.1", tls)?))
    }

    pub async fn status(&self) -> Result<StatusResponse> {
        self.0.call(STATUS, StatusRequest {}).await
    }

    async fn put(&self, key: Vec<u8>, value: Vec<u8>) -> Result<PutResponse> {
        self.0.call(PUT, PutRequest { key, value }).await
    }
}

/// A connection that puts every payload under a new key.
pub struct Connection {
    client: Client,
    number: u64,
    sent: AtomicU64,
}

impl Connection {
    /// `number` is the connection's own: it is part of its keys.
    pub fn new(client: Client, number: u64) -> Self {
        Self { client, number, sent: AtomicU64::new(0) }
    }
}

impl Target for Connection {
    fn commit<'a>(&'a self, payload: &'a [u8]) -> Pending<'a, ()> {
        Box::pin(async move {
            let sent = self.sent.fetch_add(1, Ordering::Relaxed);
            let key = [self.number.to_be_bytes(), sent.to_be_bytes()].concat();
            let answer = self.client.put(key, payload.to_vec()).await?;
            match answer.header {
                Some(header) if header.revision > 0 => Ok(()),
                _ => Err(self.client.0.failed("an answer without a revision")),
            }
        })
    }
}
