//! What the clients of both clouds have in common: their patience, their keys, their faces.
//!
//! Every call is tried once here; whoever wants more wraps the store in `Retry`, which counts and
//! waits in one place for all kinds of locations.

use core::{pin::Pin, time::Duration};
use holdfast_common::{Code, Error, Result};
use object_store::{ClientOptions, RetryConfig, list::PaginatedListStore};
use std::{fs, io, os::unix::fs::PermissionsExt};

const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Without a byte for so long an answer will not come, or has stalled.
const STALL_MAX: Duration = Duration::from_secs(60);
/// Of a whole call, with the largest object on a slow line.
const CALL_MAX: Duration = Duration::from_secs(900);
const KEY_BYTES_MAX: u64 = 64 << 10;

/// A client of a cloud: objects, pages of keys, and who it is there.
pub(super) trait Cloud: object_store::ObjectStore + PaginatedListStore {
    /// Has credentials at hand. They are kept until shortly before they end.
    fn identify(&self) -> Identified<'_>;
}

pub(super) type Identified<'a> =
    Pin<Box<dyn Future<Output = object_store::Result<()>> + Send + 'a>>;

pub(super) const ONCE: RetryConfig = RetryConfig {
    backoff: object_store::BackoffConfig {
        init_backoff: Duration::ZERO,
        max_backoff: Duration::ZERO,
        base: 1.0,
    },
    max_retries: 0,
    retry_timeout: CALL_MAX,
};

/// What the environment says of the line itself is not heard: it could turn off TLS.
pub(super) fn patience(endpoint: &str) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(endpoint.starts_with("http://"))
        .with_connect_timeout(CONNECT_MAX)
        .with_read_timeout(STALL_MAX)
        .with_timeout(CALL_MAX)
}

/// The text of a file that holds a key. Others must not be able to read it.
pub(super) fn key_in(path: &str) -> Result<String> {
    let unread = |error: io::Error| {
        let message = format!("reading the key in {path}");
        Error::new(Code::LocationCredentialsMissing, message).cause(error)
    };
    let found = fs::metadata(path).map_err(unread)?;
    if found.permissions().mode() & 0o007 != 0 {
        let message = format!("everybody on this host may use the key in {path}");
        return Err(
            Error::new(Code::LocationCredentialsRefused, message).next(format!("chmod o= {path}"))
        );
    }
    if found.len() > KEY_BYTES_MAX {
        let message = format!("{path} is too long for a key");
        return Err(Error::new(Code::LocationCredentialsRefused, message));
    }
    fs::read_to_string(path).map_err(unread)
}

/// The client was not made: what it was given is no key, no account, no file.
pub(super) fn unmade(error: object_store::Error) -> Error {
    Error::new(Code::LocationCredentialsRefused, "making a client of the location").cause(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_everybody_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let text = path.to_str().unwrap();
        assert_eq!(key_in(text).unwrap_err().code, Code::LocationCredentialsMissing);
        fs::write(&path, "secret\n").unwrap();
        for (mode, is_read) in [(0o600, true), (0o440, true), (0o644, false), (0o602, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            match key_in(text) {
                Ok(key) => assert!(is_read && key == "secret\n", "{mode:o}"),
                Err(error) => {
                    assert!(!is_read, "{mode:o}: {error:?}");
                    assert_eq!(error.code, Code::LocationCredentialsRefused);
                    assert!(!format!("{error:?}").contains("secret"));
                }
            }
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, vec![b'a'; 65 << 10]).unwrap();
        assert_eq!(key_in(text).unwrap_err().code, Code::LocationCredentialsRefused);
    }
}
