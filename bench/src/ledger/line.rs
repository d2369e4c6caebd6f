//! A line to one member: HTTP/2 over TLS with a client's certificate.
//!
//! The connector does TLS itself, as the product's does; to tonic the connection looks plain. A
//! line whose connection broke dials again at the next call. All sides are spoken to over it.

use core::time::Duration;
use holdfast_common::{Code, Error, Result};
use hyper_util::rt::TokioIo;
use prost::Message;
use rustls::{ClientConfig, pki_types::ServerName};
use std::{io, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    Request,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

/// Dials at the first call.
#[derive(Clone)]
pub struct Line {
    endpoint: String,
    channel: Channel,
}

impl Line {
    /// `name` is what the member's certificate is for.
    pub fn new(endpoint: &str, name: &'static str, tls: &Arc<ClientConfig>) -> Result<Self> {
        let name = ServerName::try_from(name).map_err(|error| unreachable(endpoint, error))?;
        let origin = Endpoint::from_shared(format!("http://{endpoint}"));
        let origin = origin.map_err(|error| unreachable(endpoint, error))?.timeout(PATIENCE);
        let (address, tls) = (endpoint.to_owned(), Arc::clone(tls));
        let connector = tower::service_fn(move |_: tonic::codegen::http::Uri| {
            let (address, name, tls) = (address.clone(), name.clone(), Arc::clone(&tls));
            async move { dial(&address, name, tls).await.map(TokioIo::new) }
        });
        let channel = origin.connect_with_connector_lazy(connector);
        Ok(Self { endpoint: endpoint.to_owned(), channel })
    }

    pub async fn call<Q, A>(&self, path: &'static str, request: Q) -> Result<A>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| self.failed(error))?;
        let codec = ProstCodec::<Q, A>::default();
        let path = PathAndQuery::from_static(path);
        let answer = grpc.unary(Request::new(request), path, codec).await;
        answer.map(tonic::Response::into_inner).map_err(|error| self.failed(error))
    }

    pub fn failed(&self, cause: impl core::fmt::Display) -> Error {
        unreachable(&self.endpoint, cause)
    }
}

async fn dial(
    address: &str,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    TlsConnector::from(tls).connect(name, stream).await
}

/// tonic's own words are "transport error"; the reason lies beneath.
fn unreachable(endpoint: &str, cause: impl core::fmt::Display) -> Error {
    let message = format!("the member at {endpoint} did not answer");
    Error::new(Code::ClusterUnreachable, message).cause(cause)
}

/// A run must end, whatever a member does.
const PATIENCE: Duration = Duration::from_secs(30);
