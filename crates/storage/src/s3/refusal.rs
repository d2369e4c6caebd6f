//! What an S3 server, or the way to it, said no to: a code that tells what to do.

use crate::remote::Absence;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use core::error::Error as StdError;
use holdfast_common::{Code, Error};

/// What a server says is shown, up to a bound.
const SAID_MAX: usize = 300;

/// Whether the server answered that there is no such object. An answer to a head has no code: it
/// may be the bucket that is not there.
pub(super) fn absence<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Absence {
    match (status(error), error.code()) {
        (Some(404), Some("NoSuchKey")) => Absence::Sure,
        (Some(404), Some("NoSuchBucket")) => Absence::No,
        (Some(404), _) => Absence::Perhaps,
        _ => Absence::No,
    }
}

/// A put found its name taken, or somebody else putting under it at this moment.
pub(super) fn is_taken<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Taken {
    match (status(error), error.code()) {
        (Some(412), _) => Taken::Yes,
        (Some(409), Some("ConditionalRequestConflict" | "OperationAborted") | None) => Taken::Soon,
        _ => Taken::No,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    No,
    /// Another put is under way; how it ends is not known.
    Soon,
    Yes,
}

pub(super) fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// The error for people. Nothing of the request is in it: it has been signed with a secret.
pub(super) fn refused<E>(what: &str, error: &SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    let Some(status) = status(error) else { return unanswered(what, error) };
    let region = error.raw_response().and_then(|found| found.headers().get("x-amz-bucket-region"));
    let said = match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message} ({status})"),
        (Some(code), None) => format!("{code} ({status})"),
        _ => format!("status {status}"),
    };
    let new = |code: Code| Error::new(code, what).cause(short(&said));
    match (error.code().unwrap_or_default(), status) {
        (code, 400 | 403) if is_of_the_key(code, &said) => new(Code::LocationRequestRefused)
            .next("let kms_key name a key that is there, enabled, and allowed to the coordinators"),
        ("NoSuchBucket", _) => new(Code::LocationBucketMissing),
        (
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "InvalidToken"
            | "ExpiredToken"
            | "TokenRefreshRequired",
            _,
        ) => new(Code::LocationCredentialsRefused),
        ("RequestTimeTooSkewed" | "RequestExpired", _) => new(Code::LocationClockSkewed),
        ("PermanentRedirect" | "AuthorizationHeaderMalformed" | "TemporaryRedirect", _)
        | ("IllegalLocationConstraintException", _)
        | (_, 301 | 307) => {
            let error = new(Code::LocationRegionWrong);
            match region {
                Some(region) => error
                    .cause(short(&format!("the bucket is in {region}: {said}")))
                    .next(format!("add ?region={region} to the location's URL")),
                None => error,
            }
        }
        ("QuotaExceeded" | "InsufficientCapacity" | "XMinioStorageFull", _) | (_, 507) => {
            new(Code::LocationFull)
        }
        // What was torn on the way is sent again.
        ("KMS.ThrottlingException", _) => new(Code::LocationIoFailed),
        ("XAmzContentSHA256Mismatch" | "BadDigest" | "IncompleteBody" | "RequestTimeout", _) => {
            new(Code::LocationIoFailed)
        }
        (_, 401 | 403) => new(Code::LocationRefused)
            .next("let the identity that the coordinators use read, write, list and delete there"),
        // It will not know the next time either.
        ("NotImplemented", _) | (_, 501) => new(Code::LocationRequestRefused),
        (_, ..=300 | 408 | 409 | 425 | 429 | 500..) => new(Code::LocationIoFailed),
        _ => new(Code::LocationRequestRefused),
    }
}

/// It was about the key that the server encrypts with (`sse=kms`). Ceph tells that under the name
/// of another trouble.
fn is_of_the_key(code: &str, said: &str) -> bool {
    let will_do_later = code == "KMS.ThrottlingException";
    (code.starts_with("KMS.") && !will_do_later) || said.contains("kms-keyid")
}

fn short(said: &str) -> String {
    said.chars().take(SAID_MAX).collect()
}

/// Nobody answered, or nothing was asked.
fn unanswered<E>(what: &str, error: &SdkError<E, HttpResponse>) -> Error
where
    E: StdError + 'static,
{
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    let (mut said, mut has_no_key) = (Vec::<String>::new(), false);
    while let Some(error) = cause {
        // A service that gives credentials may do so the next time.
        has_no_key |= matches!(
            error.downcast_ref(),
            Some(CredentialsError::CredentialsNotLoaded(_))
                | Some(CredentialsError::InvalidConfiguration(_))
        );
        let text = error.to_string();
        if said.last() != Some(&text) {
            said.push(text);
        }
        cause = error.source();
    }
    let code = match error {
        _ if has_no_key => Code::LocationCredentialsMissing,
        SdkError::ConstructionFailure(_) => Code::LocationRequestRefused,
        _ => Code::LocationIoFailed,
    };
    Error::new(code, what).cause(short(&said.join(": ")))
}
