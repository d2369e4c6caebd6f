//! What a cloud, or the way to it, said no to: a code that tells what to do.
//!
//! The client wraps errors in errors of its own. The [`Refusal`] that the witness put in is found
//! beneath them, with the server's own word for what is wrong; nothing of the request is in it,
//! which has been signed with a secret.

use crate::remote::Absence;
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
            // It will not know the next time either.
            (_, 501) => Code::LocationRequestRefused,
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

/// Whether the server answered that there is no such object. Google's answer to a head says no more
/// than that something is not there.
pub(super) fn absence(error: &object_store::Error) -> Absence {
    let Some(refusal) = Refusal::beneath(error) else {
        let is_absent = matches!(error, object_store::Error::NotFound { .. });
        return if is_absent { Absence::Perhaps } else { Absence::No };
    };
    match (refusal.status, refusal.code.as_str()) {
        (Some(404), "BlobNotFound" | "NoSuchKey") => Absence::Sure,
        (Some(404), "NoSuchBucket" | "ContainerNotFound" | "ContainerBeingDeleted") => Absence::No,
        (Some(404), _) => Absence::Perhaps,
        _ => Absence::No,
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::client::{HttpError, HttpErrorKind};

    fn xml(code: &str, more: &str) -> String {
        let head = r#"<?xml version="1.0" encoding="utf-8"?>"#;
        let message = "<Message>It is so.\nRequestId:1\nTime:2</Message>";
        format!("{head}<Error><Code>{code}</Code>{message}{more}</Error>")
    }

    /// As the client hands it over.
    fn error(refusal: Refusal) -> object_store::Error {
        let source = Box::new(HttpError::new(HttpErrorKind::Unknown, refusal));
        object_store::Error::Generic { store: "tests", source }
    }

    fn answer(status: u16, code: &str) -> object_store::Error {
        error(Refusal::answered(status, None, &xml(code, ""), false))
    }

    #[test]
    fn what_servers_say_has_a_code_each() {
        use Code::*;
        for (status, code, due) in [
            (400, "InvalidHeaderValue", LocationRequestRefused),
            (400, "Md5Mismatch", LocationIoFailed),
            (401, "InvalidAuthenticationInfo", LocationCredentialsRefused),
            (401, "AuthenticationRequired", LocationCredentialsRefused),
            (403, "AuthenticationFailed", LocationCredentialsRefused),
            (403, "AuthorizationFailure", LocationRefused),
            (403, "AccessDenied", LocationRefused),
            (404, "ContainerNotFound", LocationBucketMissing),
            (404, "NoSuchBucket", LocationBucketMissing),
            (409, "ContainerBeingDeleted", LocationBucketMissing),
            (409, "BlobImmutableDueToPolicy", LocationRefused),
            (409, "LeaseAlreadyPresent", LocationIoFailed),
            (429, "SlowDown", LocationIoFailed),
            (501, "NotImplemented", LocationRequestRefused),
            (503, "ServerBusy", LocationIoFailed),
            (507, "", LocationFull),
        ] {
            let found = refused("writing", &answer(status, code));
            assert_eq!(found.code, due, "{status} {code}");
        }
        let said = refused("writing", &answer(403, "AccessDenied"));
        assert_eq!(said.cause.as_deref(), Some("AccessDenied: It is so. (403)"));
    }

    #[test]
    fn a_wrong_clock_is_no_wrong_key_and_no_signature_is_repeated() {
        let detail = "<AuthenticationErrorDetail>Request date header too old: 'Fri'\
                      </AuthenticationErrorDetail>";
        let body = xml("AuthenticationFailed", detail);
        let late = error(Refusal::answered(403, None, &body, false));
        assert_eq!(refused("writing", &late).code, Code::LocationClockSkewed);
        let detail = "<AuthenticationErrorDetail>The MAC signature 'c2VjcmV0' is not the same\
                      </AuthenticationErrorDetail>";
        let body = xml("AuthenticationFailed", detail);
        let wrong = error(Refusal::answered(403, None, &body, false));
        let found = refused("writing", &wrong);
        assert_eq!(found.code, Code::LocationCredentialsRefused);
        assert!(!format!("{found:?}").contains("c2VjcmV0"), "{found:?}");
        let page = format!("<html>{}</html>", "x".repeat(1000));
        let strange = error(Refusal::answered(502, None, &page, false));
        assert_eq!(refused("writing", &strange).cause.as_deref(), Some("status 502"));
    }

    #[test]
    fn absent_and_taken_are_told_from_refused() {
        for (status, code, absent, taken) in [
            (404, "BlobNotFound", Absence::Sure, Taken::No),
            (404, "NoSuchKey", Absence::Sure, Taken::No),
            (404, "", Absence::Perhaps, Taken::No),
            (404, "ContainerNotFound", Absence::No, Taken::No),
            (404, "NoSuchBucket", Absence::No, Taken::No),
            (409, "BlobAlreadyExists", Absence::No, Taken::Yes),
            (409, "BlobImmutableDueToPolicy", Absence::No, Taken::Perhaps),
            (412, "PreconditionFailed", Absence::No, Taken::Yes),
            (403, "AccessDenied", Absence::No, Taken::No),
        ] {
            let error = answer(status, code);
            assert_eq!((absence(&error), is_taken(&error)), (absent, taken), "{status} {code}");
        }
        let named = error(Refusal::answered(404, Some("ContainerNotFound"), "", false));
        assert_eq!(absence(&named), Absence::No, "a head has its code in the head");
        let words = "Bulk delete request failed for key a: Forbidden (code: 403)";
        let part = object_store::Error::Generic { store: "tests", source: words.into() };
        assert_eq!(refused("deleting", &part).code, Code::LocationRefused);
    }

    #[test]
    fn nobody_there_is_no_network_or_no_instance() {
        let silent = std::io::Error::other("connection refused");
        let plain = error(Refusal::unanswered(&silent, true));
        assert_eq!(refused("writing", &plain).code, Code::LocationIoFailed);
        assert_eq!(unidentified(&plain).code, Code::LocationCredentialsMissing);
        let sealed = error(Refusal::unanswered(&silent, false));
        assert_eq!(unidentified(&sealed).code, Code::LocationIoFailed);
        for (status, is_plain, due) in [
            (404, true, Code::LocationCredentialsMissing),
            (400, false, Code::LocationCredentialsRefused),
            (503, true, Code::LocationIoFailed),
            (429, false, Code::LocationIoFailed),
        ] {
            let said = error(Refusal::answered(status, None, "", is_plain));
            assert_eq!(unidentified(&said).code, due, "{status} {is_plain}");
        }
    }
}
