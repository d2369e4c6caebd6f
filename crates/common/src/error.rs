//! One error for whoever must act: what was tried, why it failed, what to type next.
//!
//! Every refusal in the house is an [`Error`] with a stable [`Code`]. It crosses the wire whole and
//! is shown once, at the edge. It never carries a key, a token or the content of a backup.

use crate::Code;
use core::fmt;

pub type Result<T, E = Error> = core::result::Result<T, E>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub code: Code,
    /// What was tried and did not work, in a sentence without a full stop.
    pub message: String,
    /// The reason beneath, in the words of whoever gave it.
    pub cause: Option<String>,
    /// What to do or type next.
    pub next: Option<String>,
}

impl Error {
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), cause: None, next: None }
    }

    #[must_use]
    pub fn cause(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// What to do next: the particular advice, else the code's own.
    pub fn advice(&self) -> &str {
        self.next.as_deref().unwrap_or_else(|| self.code.advice())
    }

    pub fn is_retryable(&self) -> bool {
        self.code.retry()
    }

    /// Wraps what the operating system said of a path or device.
    #[must_use]
    pub fn io(what: impl Into<String>, error: &std::io::Error) -> Self {
        let code = match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Code::DiskFull,
            std::io::ErrorKind::PermissionDenied => Code::FilePermissionDenied,
            std::io::ErrorKind::NotFound => Code::FileMissing,
            _ => Code::FileIoFailed,
        };
        Self::new(code, what).cause(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        match &self.cause {
            Some(cause) => write!(f, " ({cause})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}
