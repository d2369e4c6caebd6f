//! Questions and answers over HTTP: JSON, bounded in size, in the time of `tries`.

use crate::tries::{CONNECT_MAX, away};
use bytes::Bytes;
use holdfast_common::{Code, Error, Result, limits};
use reqwest::{Certificate, Client, RequestBuilder, header::HeaderValue, redirect::Policy};
use serde_json::Value;
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};
use zeroize::Zeroizing;

pub(crate) struct Exchange {
    client: Client,
    address: String,
}

type Headers = [(&'static str, Zeroizing<String>)];

impl Exchange {
    pub(crate) fn new(address: &str, ca: Option<&Path>) -> Result<Self> {
        let builder = Client::builder()
            .connect_timeout(CONNECT_MAX)
            .redirect(Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(0);
        let builder = match ca {
            Some(path) => builder.tls_certs_only(authorities(path)?),
            // On this very host nothing is encrypted, and nobody's word is needed.
            None if address.starts_with("http://") => builder.tls_certs_only([]),
            None => builder,
        };
        let client = builder.build().map_err(|error| {
            Error::new(Code::KekUnavailable, "no connection to the KEK's provider can be made")
                .cause(chain(&error))
        })?;
        Ok(Self { client, address: address.to_owned() })
    }

    pub(crate) async fn get(&self, path: &str, headers: &Headers) -> Result<(u16, Value)> {
        self.ask(self.client.get(format!("{}{path}", self.address)), headers).await
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        headers: &Headers,
        body: Zeroizing<Vec<u8>>,
    ) -> Result<(u16, Value)> {
        let request = self.client.post(format!("{}{path}", self.address));
        self.ask(request.body(Bytes::from_owner(body)), headers).await
    }

    async fn ask(&self, request: RequestBuilder, headers: &Headers) -> Result<(u16, Value)> {
        let mut request = request;
        for (name, value) in headers {
            let mut value = HeaderValue::from_str(value).map_err(|_| {
                Error::new(Code::KekUnavailable, "the token holds what no token holds")
            })?;
            value.set_sensitive(true);
            request = request.header(*name, value);
        }
        let mut answer = request.send().await.map_err(|error| away(&chain(&error)))?;
        let status = answer.status().as_u16();
        let mut said = Zeroizing::new(Vec::with_capacity(limits::PROVIDER_ANSWER_BYTES_MAX));
        while let Some(part) = answer.chunk().await.map_err(|error| away(&chain(&error)))? {
            if said.len() + part.len() > limits::PROVIDER_ANSWER_BYTES_MAX {
                return Err(away("its answer is too long"));
            }
            said.extend_from_slice(&part);
        }
        match serde_json::from_slice(&said) {
            Ok(said) => Ok((status, said)),
            Err(_) if (200..300).contains(&status) && !said.is_empty() => {
                Err(away("it does not speak as a provider does"))
            }
            Err(_) => Ok((status, Value::Null)),
        }
    }
}

fn authorities(path: &Path) -> Result<Vec<Certificate>> {
    let unusable = |cause: String| {
        let message = format!("the certificates in {} cannot be used", path.display());
        Error::new(Code::KekUnavailable, message).cause(cause)
    };
    let bytes = read_bounded(path).map_err(|error| unusable(error.to_string()))?;
    let found = Certificate::from_pem_bundle(&bytes).map_err(|error| unusable(chain(&error)))?;
    match found.is_empty() {
        true => Err(unusable("there is none in it".to_owned())),
        false => Ok(found),
    }
}

/// The system's own list of authorities is smaller.
const AUTHORITIES_BYTES_MAX: u64 = 1024 * 1024;

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(AUTHORITIES_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// An error with what it stems from: the outermost one alone says nothing. Addresses are in it,
/// and headers are not.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let links = std::iter::successors(Some(error), |error| error.source());
    links.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
