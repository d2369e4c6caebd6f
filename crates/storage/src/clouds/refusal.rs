//! What a cloud, or the way to it, said no to: a code that tells what to do.
//!
//! The client wraps errors in errors of its own. The [`Refusal`] that the witness put in is found
//! beneath them, with the server's own word for what is wrong; nothing of the request is in it,
//! which has been signed with a secret.

use crate::refusal::missing;
use crate::ObjectName;
use core::{error::Error as StdError, fmt, iter};
use holdfast_common::{Code, Error};

const SAID_CHARS_MAX: usize = 300;

/// How a server said no, or why nobody answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// None if there was no answer.
    pub(super) status: Option<u16>,
    /// The server's word for it, such as `ContainerNotFound`; empty if it has none.
    pub(super) code: String,
    said: String,
    /// Asked without TLS, as an instance asks its cloud who it is.
    is_plain: bool,
}

impl Refusal {
    /// `named` is the code in the head of the answer, which has no body when a head was asked for.
    pub(super) fn answered(status: u16, named: Option<&str>, body: &str, is_plain: bool) -> Self {
        let detail = element(body, "AuthenticationErrorDetail").unwrap_or_default();
        let code = match named.or_else(|| element(body, "Code")) {
            // Azure has one code for a wrong key and for a wrong clock.
            Some("AuthenticationFailed") if detail.starts_with("Request date header too old") => {
                "RequestTimeTooSkewed"
            }
            code => code.unwrap_or_default(),
        };
        let message = element(body, "Message").and_then(|message| message.lines().next());
        let said = message.unwrap_or_default().chars().take(SAID_CHARS_MAX).collect();
        Self { status: Some(status), code: code.to_owned(), said, is_plain }
    }

    pub(super) fn unanswered(error: &(dyn StdError + 'static), is_plain: bool) -> Self {
        let mut said: Vec<String> = causes(error).map(ToString::to_string).collect();
        // Each error of the chain likes to say again what the next one says.
        said.dedup_by(|next, before| before.contains(next.as_str()));
        Self { status: None, code: String::new(), said: said.join(": "), is_plain }
    }

    /// The one beneath an error of the client.
    fn beneath(error: &object_store::Error) -> Option<Self> {
        if let Some(found) = causes(error).find_map(|cause| cause.downcast_ref::<Self>()) {
            return Some(found.clone());
        }
        // Azure deletes in batches, whose parts have a status but no answer of their own.
        let words = error.to_string();
        let status = words.rsplit_once("(code: ")?.1.split(')').next()?.parse().ok()?;
        let code = String::new();
        Some(Self { status: Some(status), code, said: String::new(), is_plain: false })
    }

    fn code(&self) -> Code {
        let Some(status) = self.status else { return Code::LocationIoFailed };
        match (self.code.as_str(), status) {
            ("RequestTimeTooSkewed", _) => Code::LocationClockSkewed,
            ("NoSuchBucket" | "ContainerNotFound" | "ContainerBeingDeleted", _) => {
                Code::LocationBucketMissing
            }
            ("AuthenticationFailed" | "InvalidAuthenticationInfo", _) | (_, 401) => {
                Code::LocationCredentialsRefused
            }
            // What was torn on the way is sent again.
            ("Md5Mismatch" | "BadDigest" | "IncompleteBody", _) => Code::LocationIoFailed,
            ("BlobImmutableDueToPolicy", _) | (_, 403) => Code::LocationRefused,
            (_, 404) => Code::LocationBucketMissing,
            (_, 507) => Code::LocationFull,
            (_, 408 | 409 | 425 | 429 | 500..) => Code::LocationIoFailed,
            _ => Code::LocationRequestRefused,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(status) = self.status else { return f.write_str(&self.said) };
        match (self.code.as_str(), self.said.as_str()) {
            ("", "") => write!(f, "status {status}"),
            ("", said) => write!(f, "{said} ({status})"),
            (code, "") => write!(f, "{code} ({status})"),
            (code, said) => write!(f, "{code}: {said} ({status})"),
        }
    }
}

impl StdError for Refusal {}

/// How a put that must find its name free went on when it did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    No,
    /// Something stands in the way; what lies there tells what.
    Perhaps,
    Yes,
}

pub(super) fn is_taken(error: &object_store::Error) -> Taken {
    let Some(refusal) = Refusal::beneath(error) else { return Taken::No };
    match (refusal.status, refusal.code.as_str()) {
        (Some(412), _) | (Some(409), "BlobAlreadyExists") => Taken::Yes,
        (Some(409), _) => Taken::Perhaps,
        _ => Taken::No,
    }
}

/// The server answered that there is no such object.
pub(super) fn is_absent(error: &object_store::Error) -> bool {
    if let object_store::Error::NotFound { .. } = error {
        return true;
    }
    let is_other = ["NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted"];
    Refusal::beneath(error).is_some_and(|refusal| {
        refusal.status == Some(404) && !is_other.contains(&refusal.code.as_str())
    })
}

/// The range that was asked for may lie behind the object's end: the server says so, or answers in
/// a way that the client does not take.
pub(super) fn may_be_past_end(error: &object_store::Error) -> bool {
    Refusal::beneath(error).is_none_or(|refusal| refusal.status == Some(416))
}

/// The error for people.
pub(super) fn refused(what: &str, error: &object_store::Error) -> Error {
    let Some(refusal) = Refusal::beneath(error) else {
        return Error::new(Code::LocationIoFailed, what).cause(error);
    };
    let said = Error::new(refusal.code(), what).cause(&refusal);
    match said.code {
        Code::LocationRefused => said
            .next("let the identity that the coordinators use read, write, list and delete there"),
        _ => said,
    }
}

/// The error of a read: absent, or refused.
pub(super) fn unread(name: &ObjectName, error: &object_store::Error) -> Error {
    if is_absent(error) { missing(name) } else { refused(&format!("reading {name}"), error) }
}

/// No credentials could be had. An instance's own service that says no, or is not there, means
/// that this machine was given none.
pub(super) fn unidentified(error: &object_store::Error) -> Error {
    let what = "asking for credentials";
    let Some(refusal) = Refusal::beneath(error) else {
        return Error::new(Code::LocationCredentialsRefused, what).cause(error);
    };
    let code = match refusal.status {
        Some(429 | 500..) => Code::LocationIoFailed,
        _ if refusal.is_plain => Code::LocationCredentialsMissing,
        None => Code::LocationIoFailed,
        Some(_) => Code::LocationCredentialsRefused,
    };
    Error::new(code, what).cause(refusal)
}

fn causes<'e>(
    error: &'e (dyn StdError + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    let mut next = Some(error);
    iter::from_fn(move || {
        let this = next?;
        next = this.source();
        Some(this)
    })
}

/// What stands in the first such element of a small XML text.
fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(inner, _)| inner.trim())
}
