//! Time, injected. A [`Timestamp`] is a moment in UTC; a [`Clock`] says what moment it is and how
//! long the process has run. Only [`SystemClock`] may look at the real clocks.

use crate::{Code, Error, Result};
use core::{fmt, str::FromStr, time::Duration};
use minicbor::{Decode, Encode};
use std::time::{Instant, SystemTime};

/// Nanoseconds since 1970 in UTC; reaches to the year 2262. Written as RFC 3339 with all nine
/// digits, so that written times sort like times.
#[derive(Clone, Copy, Debug, Decode, Default, Encode, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cbor(transparent)]
pub struct Timestamp(#[n(0)] i64);

impl Timestamp {
    pub const ZERO: Self = Self(0);

    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)))
    }

    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// How long ago `earlier` was; zero when it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(moment) => write!(f, "{moment:.9}"),
            Err(_) => Err(fmt::Error),
        }
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.parse::<jiff::Timestamp>()
            .ok()
            .and_then(|moment| i64::try_from(moment.as_nanosecond()).ok())
            .map(Self)
            .ok_or_else(|| {
                Error::new(Code::UsageTimeMalformed, format!("`{text}` is not a time"))
                    .next("write it as 2026-11-21T10:00:00Z")
            })
    }
}

/// What moment it is.
pub trait Clock: Send + Sync {
    /// The wall clock. It may jump; nothing destructive may trust it alone.
    fn now(&self) -> Timestamp;
    /// Time since some fixed moment of this process; never goes back.
    fn elapsed(&self) -> Duration;
    /// Time since this machine started, where the system tells: it outlives the process, and
    /// nobody can set it.
    fn uptime(&self) -> Option<Uptime> {
        None
    }
}

/// How long a machine has been running, sleep included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uptime {
    /// Names this start of this machine.
    pub boot: String,
    pub elapsed: Duration,
}

impl Uptime {
    fn read() -> Option<Self> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let text = std::fs::read_to_string("/proc/uptime").ok()?;
        let seconds: f64 = text.split_ascii_whitespace().next()?.parse().ok()?;
        let elapsed = Duration::try_from_secs_f64(seconds).ok()?;
        Some(Self { boot: boot.trim().to_owned(), elapsed })
    }
}

/// The real clocks of this machine.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> Timestamp {
        let since_epoch =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::ZERO.plus(since_epoch)
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn uptime(&self) -> Option<Uptime> {
        Uptime::read()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_with_nine_digits_and_read_back() {
        let time = Timestamp::from_nanos(1_795_255_200_000_000_001);
        assert_eq!(time.to_string(), "2026-11-21T10:00:00.000000001Z");
        assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
        assert_eq!(Timestamp::ZERO.to_string(), "1970-01-01T00:00:00.000000000Z");
    }

    #[test]
    fn what_is_not_a_time_is_refused() {
        for bad in ["", "yesterday", "2026-13-01T00:00:00Z", "9999-01-01T00:00:00Z"] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }
}
