//! Hours, days, weeks, months and years in UTC, each by a number that grows with time.
//!
//! Weeks begin on Monday. There is no daylight saving here, and nothing depends on where anybody
//! stands.

use holdfast_common::Timestamp;

const HOUR_NANOS: i64 = 3_600_000_000_000;
const DAY_NANOS: i64 = 24 * HOUR_NANOS;

pub(super) fn hour(time: Timestamp) -> i64 {
    time.as_nanos().div_euclid(HOUR_NANOS)
}

pub(super) fn day(time: Timestamp) -> i64 {
    time.as_nanos().div_euclid(DAY_NANOS)
}

/// The first day of all was a Thursday.
pub(super) fn week(time: Timestamp) -> i64 {
    (day(time) + 3).div_euclid(7)
}

pub(super) fn month(time: Timestamp) -> i64 {
    let (year, month) = date(time);
    12 * year + month
}

pub(super) fn year(time: Timestamp) -> i64 {
    date(time).0
}

/// Year and month. Years are counted from March, so that a leap day is the last of one; four
/// hundred of them always have the same number of days.
fn date(time: Timestamp) -> (i64, i64) {
    const ERA_DAYS: i64 = 146_097;
    const MARCH_OF_YEAR_ZERO: i64 = 719_468;
    let days = day(time) + MARCH_OF_YEAR_ZERO;
    let (era, day) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let (year, month) = (400 * era + year, month + 3);
    if month > 12 { (year + 1, month - 12) } else { (year, month) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn months_and_years_change_at_midnight_in_utc_and_leap_days_belong_to_february() {
        for (before, after) in [
            ("2026-12-31T23:59:59.999999999Z", "2027-01-01T00:00:00Z"),
            ("1999-12-31T23:59:59.999999999Z", "2000-01-01T00:00:00Z"),
            ("1969-12-31T23:59:59.999999999Z", "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(month(at(before)) + 1, month(at(after)), "{after}");
            assert_eq!(year(at(before)) + 1, year(at(after)), "{after}");
        }
        for (day, wanted) in [
            ("2024-02-29T12:00:00Z", (2024, 2)),
            ("2024-03-01T00:00:00Z", (2024, 3)),
            ("2100-02-28T23:00:00Z", (2100, 2)),
            ("2100-03-01T00:00:00Z", (2100, 3)),
            ("2026-11-22T22:00:00Z", (2026, 11)),
        ] {
            assert_eq!(date(at(day)), wanted, "{day}");
        }
    }

    #[test]
    fn weeks_begin_on_monday_and_days_and_hours_at_their_first_nanosecond() {
        let (sunday, monday) = (at("2026-11-22T23:59:59.999999999Z"), at("2026-11-23T00:00:00Z"));
        assert_eq!(week(sunday) + 1, week(monday));
        assert_eq!(week(at("2026-11-29T23:59:59Z")), week(monday));
        assert_eq!(day(sunday) + 1, day(monday));
        assert_eq!(hour(sunday) + 1, hour(monday));
        assert_eq!(hour(at("2026-11-23T00:59:59Z")), hour(monday));
    }

    #[test]
    fn the_hour_that_clocks_repeat_in_autumn_is_two_hours() {
        // In Berlin both were two o'clock.
        let (first, second) = (at("2026-10-25T00:30:00Z"), at("2026-10-25T01:30:00Z"));
        assert_eq!(hour(first) + 1, hour(second));
        assert_eq!(day(first), day(second));
    }
}
