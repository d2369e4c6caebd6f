//! What the clients of both clouds have in common: their patience, their keys, their faces.
//!
//! Every call is tried once here; whoever wants more wraps the store in `Retry`, which counts and
//! waits in one place for all kinds of locations.

use core::{fmt, pin::Pin, time::Duration};
use holdfast_common::{Code, Error, Result};
use object_store::{ClientOptions, RetryConfig, list::PaginatedListStore};
use rustix::fs::{Mode, OFlags};
use std::{fs::File, io::Read, os::unix::fs::PermissionsExt};

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

/// The text of a file that holds a key. Others must not be able to read it. It is opened once, so
/// that what is looked at is what is read, and never waited for: it may be a pipe.
pub(super) fn key_in(path: &str) -> Result<String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty());
    let file = File::from(opened.map_err(|errno| unread(path, &errno))?);
    let found = file.metadata().map_err(|error| unread(path, &error))?;
    if !found.is_file() {
        return Err(no_key(format!("{path} is not a file, and holds no key")));
    }
    if found.permissions().mode() & 0o007 != 0 {
        let message = format!("everybody on this host may use the key in {path}");
        return Err(no_key(message).next(format!("chmod o= {path}")));
    }
    key_of(&file, path, KEY_BYTES_MAX)
}

/// All that comes of it, up to a bound: what a file says of its length may not be so.
fn key_of(file: &File, path: &str, bytes_max: u64) -> Result<String> {
    let mut text = String::new();
    file.take(bytes_max + 1).read_to_string(&mut text).map_err(|error| unread(path, &error))?;
    if text.len() as u64 > bytes_max {
        return Err(no_key(format!("{path} is too long for a key")));
    }
    Ok(text)
}

fn unread(path: &str, error: &dyn fmt::Display) -> Error {
    Error::new(Code::LocationCredentialsMissing, format!("reading the key in {path}")).cause(error)
}

fn no_key(message: String) -> Error {
    Error::new(Code::LocationCredentialsRefused, message)
}

/// The client was not made: what it was given is no key, no account, no file.
pub(super) fn unmade(error: object_store::Error) -> Error {
    Error::new(Code::LocationCredentialsRefused, "making a client of the location").cause(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    /// What `key_in` says of a path, unless it hangs.
    fn told(path: &str) -> Option<Result<String>> {
        let (path, (tell, told)) = (path.to_owned(), std::sync::mpsc::sync_channel(1));
        std::thread::spawn(move || tell.send(key_in(&path)));
        told.recv_timeout(Duration::from_secs(10)).ok()
    }

    #[test]
    fn what_is_no_plain_file_holds_no_key_and_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        for path in [pipe.as_path(), directory.path(), Path::new("/dev/zero")] {
            let told = told(path.to_str().unwrap());
            let error = told.unwrap_or_else(|| panic!("{} hangs", path.display())).unwrap_err();
            assert_eq!(error.code, Code::LocationCredentialsRefused, "{error:?}");
        }
    }

    #[test]
    fn a_file_that_tells_no_length_is_read_up_to_a_bound() {
        let path = "/proc/self/smaps";
        let error = key_of(&fs::File::open(path).unwrap(), path, 64).unwrap_err();
        assert_eq!(error.code, Code::LocationCredentialsRefused, "{error:?}");
    }

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
