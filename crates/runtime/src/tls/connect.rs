//! A channel to the cluster. It dials the endpoints in turn, beginning with the one that answered
//! last; when the connection breaks, the next call dials again by itself, so that a member that is
//! lost costs its callers one failed attempt.
//!
//! A server that proves to be the wrong one is a refusal, which trying again does not mend; one
//! that does not answer is unreachable. A client's own certificate is judged by the server after
//! the handshake: in TLS 1.3 that refusal shows in the first call, not here.

use super::{ChannelKind, ClientTls};
use crate::pki::COORDINATOR_NAME;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use holdfast_common::{Code, Error, Result, limits};
use hyper_util::rt::TokioIo;
use rustls::CertificateError;
use rustls::pki_types::ServerName;
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint};

/// Connects to the first of `endpoints` (`host:port`) that answers as a coordinator.
pub async fn connect(
    endpoints: &[String],
    tls: Arc<ClientTls>,
    kind: ChannelKind,
) -> Result<Channel> {
    let dialler = Arc::new(Dialler::new(endpoints, tls)?);
    let connector = tower::service_fn(move |_: tonic::codegen::http::Uri| {
        let dialler = Arc::clone(&dialler);
        async move { dialler.dial().await.map(TokioIo::new) }
    });
    // The connector does TLS itself; to tonic the connection looks plain.
    let origin = Endpoint::from_shared(format!("http://{COORDINATOR_NAME}"))
        .map_err(|error| unreachable_at("the cluster", error))?;
    let channel = kind.endpoint(origin).connect_with_connector(connector).await;
    channel.map_err(|error| ours_within(&error))
}

struct Dialler {
    endpoints: Vec<String>,
    last: AtomicUsize,
    tls: Arc<ClientTls>,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(limits::CONNECT_TIMEOUT_SECS);

impl Dialler {
    fn new(endpoints: &[String], tls: Arc<ClientTls>) -> Result<Self> {
        if endpoints.is_empty() {
            return Err(Error::new(Code::ConfigMalformed, "no endpoint of the cluster is named"));
        }
        if let Some(bad) = endpoints.iter().find(|endpoint| !is_host_and_port(endpoint)) {
            let message = format!("`{}` is not an endpoint", bad.escape_debug());
            return Err(Error::new(Code::ConfigMalformed, message).next("write it as host:port"));
        }
        Ok(Self { endpoints: endpoints.to_vec(), last: AtomicUsize::new(0), tls })
    }

    async fn dial(&self) -> Result<TlsStream<TcpStream>> {
        let first = self.last.load(Ordering::Relaxed);
        let mut failures = Vec::with_capacity(self.endpoints.len());
        for turn in 0..self.endpoints.len() {
            let at = (first + turn) % self.endpoints.len();
            match dial_one(&self.endpoints[at], &self.tls).await {
                Ok(stream) => {
                    self.last.store(at, Ordering::Relaxed);
                    return Ok(stream);
                }
                Err(error) => failures.push(error),
            }
        }
        Err(none_answered(failures))
    }
}

fn is_host_and_port(endpoint: &str) -> bool {
    endpoint
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

async fn dial_one(endpoint: &str, tls: &ClientTls) -> Result<TlsStream<TcpStream>> {
    let dialled = async {
        let stream = TcpStream::connect(endpoint).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(COORDINATOR_NAME).map_err(io::Error::other)?;
        TlsConnector::from(tls.config()).connect(name, stream).await
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, dialled).await {
        Ok(dialled) => dialled.map_err(|error| failed_at(endpoint, &error)),
        Err(_) => Err(unreachable_at(endpoint, "no answer in time")),
    }
}

/// Whose fault a failed handshake is, as far as this side can tell.
fn failed_at(endpoint: &str, error: &io::Error) -> Error {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(other))) => {
            match other.0.downcast_ref::<Error>() {
                Some(own) => own.clone().cause(format!("at {endpoint}")),
                None => wrong_server(endpoint, error),
            }
        }
        Some(rustls::Error::InvalidCertificate(_)) => wrong_server(endpoint, error),
        _ => unreachable_at(endpoint, error),
    }
}

fn wrong_server(endpoint: &str, error: &io::Error) -> Error {
    let message = format!("the server at {endpoint} is not a coordinator of this cluster");
    Error::new(Code::CertificateRefused, message).cause(error)
}

fn unreachable_at(place: &str, cause: impl core::fmt::Display) -> Error {
    Error::new(Code::ClusterUnreachable, format!("{place} cannot be reached")).cause(cause)
}

/// One failure is told as it is; of several, one that trying again may mend decides.
fn none_answered(mut failures: Vec<Error>) -> Error {
    if failures.len() == 1 {
        return failures.remove(0);
    }
    let told: Vec<_> = failures
        .iter()
        .map(|f| match &f.cause {
            Some(cause) => format!("{} ({cause})", f.message),
            None => f.message.clone(),
        })
        .collect();
    let code = failures
        .iter()
        .map(|failure| failure.code)
        .find(|code| code.retry())
        .or_else(|| failures.first().map(|failure| failure.code))
        .unwrap_or(Code::ClusterUnreachable);
    Error::new(code, "no endpoint of the cluster answers").cause(told.join("; "))
}

/// tonic wraps what the dialler said; it is found again beneath.
fn ours_within(error: &tonic::transport::Error) -> Error {
    let mut beneath: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(layer) = beneath {
        if let Some(own) = layer.downcast_ref::<Error>() {
            return own.clone();
        }
        beneath = layer.source();
    }
    unreachable_at("the cluster", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_and_a_port() {
        for good in ["127.0.0.1:7600", "[::1]:7600", "coordinator-1.example:1"] {
            assert!(is_host_and_port(good), "{good}");
        }
        for bad in ["", ":1", "host", "host:", "host:99999", "http://host"] {
            assert!(!is_host_and_port(bad), "{bad}");
        }
    }

    #[test]
    fn of_several_failures_one_that_may_mend_decides() {
        let refused = || Error::new(Code::CertificateRefused, "wrong server at a");
        let silent = || unreachable_at("b", "refused");
        let error = none_answered(vec![refused(), silent()]);
        assert_eq!(error.code, Code::ClusterUnreachable);
        let cause = error.cause.unwrap();
        assert!(cause.contains("wrong server at a") && cause.contains("b cannot be reached"));
        assert_eq!(none_answered(vec![refused(), refused()]).code, Code::CertificateRefused);
        assert_eq!(none_answered(vec![refused()]), refused());
    }
}
