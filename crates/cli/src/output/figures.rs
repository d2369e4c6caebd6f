//! Numbers as people read them: sizes in binary units, times in the local zone, spans in their two
//! largest units. Programs get the exact numbers instead (`--output json`).

use core::time::Duration;
use holdfast_common::Timestamp;
use jiff::tz::TimeZone;

pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let power = (bytes.ilog2() / 10) as usize;
    let tenths = (u128::from(bytes) * 10) >> (10 * power);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[power - 1])
}

pub fn time(time: Timestamp) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(time.as_nanos())) {
        Ok(moment) => moment.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => time.to_string(),
    }
}

pub fn time_if_any(nanos: Option<i64>) -> String {
    nanos.map_or_else(|| "-".to_owned(), |nanos| time(Timestamp::from_nanos(nanos)))
}

pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) if seconds < 10 => format!("{:.1} s", span.as_secs_f64()),
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// `--ttl 90s`, `15m`, `1h`, `2d`; nothing else.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("write a span as 90s, 15m, 1h or 2d".to_owned()),
    };
    let count: u64 = digits.parse().map_err(|_| "a span begins with a number".to_owned())?;
    count.checked_mul(unit).map(Duration::from_millis).ok_or_else(|| "too long".to_owned())
}

/// `--cache 64MiB`, `2G`, or bytes alone; units are binary.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let power = match &text[digits.len()..] {
        "" | "B" => 0,
        "K" | "KiB" => 1,
        "M" | "MiB" => 2,
        "G" | "GiB" => 3,
        _ => return Err("write a size as 512K, 64M or 2G".to_owned()),
    };
    let count: usize = digits.parse().map_err(|_| "a size begins with a number".to_owned())?;
    count.checked_mul(1 << (10 * power)).ok_or_else(|| "too large".to_owned())
}

/// The time in JSON: RFC 3339, UTC, nine digits; null when absent.
pub fn json_time(nanos: Option<i64>) -> serde_json::Value {
    nanos.map(|nanos| Timestamp::from_nanos(nanos).to_string()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_in_the_largest_unit_that_fits() {
        let written = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1023.9 KiB"),
            (1 << 20, "1.0 MiB"),
            (u64::MAX, "15.9 EiB"),
        ];
        for (bytes, text) in written {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn spans_name_their_two_largest_units() {
        let written = [
            (3, "3.0 s"),
            (59, "59 s"),
            (61, "1 min 1 s"),
            (7260, "2 h 1 min"),
            (90_000, "1 d 1 h"),
        ];
        for (seconds, text) in written {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_size_may_have_a_unit() {
        assert_eq!(parse_size("4096"), Ok(4096));
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("2G"), Ok(2 << 30));
        for bad in ["", "M", "1T", "1 M", "-1", "1.5G", "99999999999999G"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_span_needs_a_number_and_a_unit() {
        assert_eq!(parse_span("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(parse_span("1s"), Ok(Duration::from_secs(1)));
        for bad in ["", "1", "h", "1w", "-1h", "1.5h", "99999999999999999999h"] {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
    }
}
