//! A refusal on the wire: the gRPC status says the class, a trailer says the rest.

use crate::v1::ErrorDetail;
use holdfast_common::{Code, Error, codes::Exit};
use prost::Message;
use tonic::{Status, metadata::MetadataValue};

const TRAILER: &str = "holdfast-error-bin";

impl From<&Error> for ErrorDetail {
    fn from(error: &Error) -> Self {
        Self {
            code: error.code.name().to_owned(),
            message: error.message.clone(),
            cause: error.cause.clone(),
            next: error.next.clone(),
        }
    }
}

impl From<ErrorDetail> for Error {
    fn from(detail: ErrorDetail) -> Self {
        let code = Code::from_name(&detail.code).unwrap_or(Code::InternalBug);
        Self { code, message: detail.message, cause: detail.cause, next: detail.next }
    }
}

/// What a coordinator may know of an error on somebody's host: a message may quote a path, so its
/// code is all, and a cause that is a code alone.
pub fn bare(error: &Error) -> ErrorDetail {
    let cause = error.cause.clone().filter(|cause| Code::from_name(cause).is_some());
    ErrorDetail { code: error.code.name().to_owned(), cause, ..ErrorDetail::default() }
}

/// Renders an error as the status of a failed call.
pub fn to_status(error: &Error) -> Status {
    let class = match error.code.exit() {
        Exit::Usage => tonic::Code::InvalidArgument,
        Exit::NotFound => tonic::Code::NotFound,
        Exit::Refused => tonic::Code::PermissionDenied,
        Exit::Unreachable => tonic::Code::Unavailable,
        Exit::Damage => tonic::Code::DataLoss,
        Exit::Conflict => tonic::Code::Aborted,
        Exit::NoSpace => tonic::Code::ResourceExhausted,
        Exit::Failed => tonic::Code::Internal,
    };
    let mut status = Status::new(class, error.to_string());
    let detail = ErrorDetail::from(error).encode_to_vec();
    status.metadata_mut().insert_bin(TRAILER, MetadataValue::from_bytes(&detail));
    status
}

/// Reads an error back. A status that carries none came from the transport.
pub fn from_status(status: &Status) -> Error {
    let detail = status
        .metadata()
        .get_bin(TRAILER)
        .and_then(|value| value.to_bytes().ok())
        .and_then(|bytes| ErrorDetail::decode(bytes).ok());
    match detail {
        Some(detail) => detail.into(),
        None => from_transport(status),
    }
}

fn from_transport(status: &Status) -> Error {
    let code = match status.code() {
        tonic::Code::Unauthenticated => Code::AuthMissing,
        tonic::Code::PermissionDenied => Code::AuthDenied,
        tonic::Code::OutOfRange | tonic::Code::ResourceExhausted => Code::LimitExceeded,
        _ => Code::ClusterUnreachable,
    };
    Error::new(code, "the call did not get through").cause(status.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_crosses_the_wire_whole() {
        for code in Code::ALL {
            let sent = Error::new(*code, "müssage").cause("cause").next("next");
            assert_eq!(from_status(&to_status(&sent)), sent);
        }
    }

    #[test]
    fn a_status_of_the_transport_is_unreachable() {
        let status = Status::new(tonic::Code::Unknown, "connection reset");
        assert_eq!(from_status(&status).code, Code::ClusterUnreachable);
    }

    #[test]
    fn a_bare_error_says_nothing_that_could_quote_a_path() {
        let error = Error::new(Code::FileIoFailed, "/srv/patients/anna: denied").next("see /srv");
        for (cause, kept) in [("/srv/patients", None), ("file.io_failed", Some("file.io_failed"))] {
            let told = bare(&error.clone().cause(cause));
            assert_eq!((&*told.code, &*told.message), ("file.io_failed", ""));
            assert_eq!((told.cause.as_deref(), told.next), (kept, None));
        }
    }
}
