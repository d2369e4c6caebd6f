//! A witness between the client and the network, who tells what the client keeps to itself.
//!
//! ```text
//!   client ─→ witness ─→ network
//!                │
//!                ├─ an answer that says no is an error of ours, with the server's own word for it
//!                ├─ the hash that the server made of what it got stays with the answer: [`Echo`]
//!                └─ what is no object's key is taken out of a listing
//! ```
//!
//! The last one is for safety, not for tidiness: the client refuses a whole page for one key such
//! as `a//b`, and takes the folder mark `a/b/`, which web consoles put, for the object `a/b`.

use super::refusal::Refusal;
use crate::place::Place;
use core::pin::Pin;
use futures::StreamExt;
use object_store::{
    ClientOptions, HeaderMap,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
        HttpResponseBody, HttpService, ReqwestConnector,
    },
};

const REFUSAL_BYTES_MAX: usize = 64 << 10;
const PAGE_BYTES_MAX: usize = 16 << 20;

/// The MD5, in base64, of the bytes that a server took. It was told none to repeat, so it made one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Echo(pub(super) String);

/// Goes with a request for a page: keep the keys of this place's objects.
#[derive(Clone, Debug)]
pub(super) struct Sieve(pub(super) Place);

/// Connects clients through a witness.
#[derive(Debug, Default)]
pub(super) struct Witness(ReqwestConnector);

impl HttpConnector for Witness {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Witnessed(self.0.connect(options)?)))
    }
}

#[derive(Debug)]
struct Witnessed(HttpClient);

impl HttpService for Witnessed {
    // As the trait's macro writes it.
    fn call<'life0, 'async_trait>(
        &'life0 self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(self.pass(request))
    }
}

impl Witnessed {
    async fn pass(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_plain = request.uri().scheme_str() == Some("http");
        let sieve = request.extensions().get::<Sieve>().cloned();
        let answer = self.0.execute(request).await;
        let answer = answer
            .map_err(|error| HttpError::new(error.kind(), Refusal::unanswered(&error, is_plain)))?;
        let (mut head, body) = answer.into_parts();
        if !head.status.is_success() {
            let body = all(body, REFUSAL_BYTES_MAX).await.unwrap_or_default();
            let named = head.headers.get("x-ms-error-code").and_then(|code| code.to_str().ok());
            let status = head.status.as_u16();
            let refusal = Refusal::answered(status, named, &body, is_plain);
            return Err(HttpError::new(HttpErrorKind::Unknown, refusal));
        }
        if let Some(echo) = echo(&head.headers) {
            head.extensions.insert(echo);
        }
        let body = match sieve {
            None => body,
            Some(Sieve(place)) => {
                let page = all(body, PAGE_BYTES_MAX).await?;
                HttpResponseBody::from(sifted(&page, &place))
            }
        };
        Ok(HttpResponse::from_parts(head, body))
    }
}

/// A body of text, up to a bound.
async fn all(body: HttpResponseBody, bytes_max: usize) -> Result<String, HttpError> {
    let (mut parts, mut text) = (body.bytes_stream(), Vec::new());
    while let Some(part) = parts.next().await {
        text.extend_from_slice(&part?);
        if text.len() > bytes_max {
            let error = std::io::Error::other(format!("the answer exceeds {bytes_max} bytes"));
            return Err(HttpError::new(HttpErrorKind::Decode, error));
        }
    }
    String::from_utf8(text).map_err(|error| HttpError::new(HttpErrorKind::Decode, error))
}

/// Azure says it by the header of HTTP, Google by one of its own with several hashes.
fn echo(head: &HeaderMap) -> Option<Echo> {
    let text = |name| head.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let hashes = text("x-goog-hash").flat_map(|hashes| hashes.split(','));
    let named = hashes.filter_map(|hash| hash.trim().strip_prefix("md5="));
    text("content-md5").chain(named).next().map(|hash| Echo(hash.to_owned()))
}

/// A page without the entries whose keys are no objects of the place.
fn sifted(page: &str, place: &Place) -> String {
    let is_object = |entry: &str, tag: &str| {
        let key = entry.split_once(&format!("<{tag}>")).map(|(_, rest)| rest);
        let key = key.and_then(|rest| rest.split_once(&format!("</{tag}>")));
        key.is_some_and(|(key, _)| place.name(key).is_some())
    };
    let google = without(page, "Contents", |entry| is_object(entry, "Key"));
    without(&google, "Blob", |entry| is_object(entry, "Name"))
}

/// The text without the elements of this name that are not to be kept. In text that is escaped no
/// tag is anything else.
fn without(text: &str, name: &str, keep: impl Fn(&str) -> bool) -> String {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let (mut kept, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(start) = rest.find(&open) {
        let Some(length) = rest[start..].find(&close) else { break };
        let end = start + length + close.len();
        kept.push_str(&rest[..start]);
        if keep(&rest[start..end]) {
            kept.push_str(&rest[start..end]);
        }
        rest = &rest[end..];
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_no_objects_leave_the_page_and_nothing_else_does() {
        let place = Place::parse("bucket/vault", 1, &[]).unwrap();
        let google = |keys: &[&str]| {
            let entry = |key: &&str| format!("<Contents><Key>{key}</Key><Size>1</Size></Contents>");
            let entries: String = keys.iter().map(entry).collect();
            format!("<ListBucketResult><Name>bucket</Name>{entries}<IsTruncated/></List…>")
        };
        let page = google(&[
            "vault/packs/ab/cd",
            "vault/packs/ab/",
            "vault//a",
            "vault/Upper",
            "vault/a&amp;b",
            "other/a",
            "vault/tmp/probe",
            "vault/z",
        ]);
        assert_eq!(sifted(&page, &place), google(&["vault/packs/ab/cd", "vault/z"]));

        let azure = |names: &[&str]| {
            let entry = |name: &&str| format!("<Blob><Name>{name}</Name><Properties/></Blob>");
            let entries: String = names.iter().map(entry).collect();
            format!("<Enum…><Blobs>{entries}</Blobs><NextMarker>m</NextMarker></Enum…>")
        };
        let page = azure(&["vault/a/", "vault/a", "vault/..", "vault/b"]);
        assert_eq!(sifted(&page, &place), azure(&["vault/a", "vault/b"]));
        let encoded = "<Blob><Name Encoded=\"true\">vault%2Fa</Name></Blob>";
        assert_eq!(sifted(encoded, &place), "", "what is encoded is no object's key");
        for strange in ["", "<Blob>", "<Contents><Key>", "</Blob><Blob>"] {
            assert_eq!(sifted(strange, &place), strange, "what is not understood stays");
        }
    }

    #[test]
    fn the_hash_of_what_was_taken_is_heard_from_either_cloud() {
        let heard = |headers: &[(&'static str, &'static str)]| {
            let mut head = HeaderMap::new();
            for (name, value) in headers {
                head.append(*name, value.parse().unwrap());
            }
            echo(&head).map(|echo| echo.0)
        };
        assert_eq!(heard(&[("content-md5", "aaa==")]).as_deref(), Some("aaa=="));
        assert_eq!(heard(&[("x-goog-hash", "crc32c=b,md5=c==")]).as_deref(), Some("c=="));
        let apart = [("x-goog-hash", "crc32c=b"), ("x-goog-hash", "md5=c==")];
        assert_eq!(heard(&apart).as_deref(), Some("c=="));
        assert_eq!(heard(&[("x-goog-hash", "crc32c=b"), ("etag", "d")]), None);
    }
}
