//! How long points are kept, as people write it: counts, and spans like `30d`.

use crate::output::figures::parse_span;
use holdfast_common::{Code, Error, Result};
use holdfast_wire::v1;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RetentionForm {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hourly: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    daily: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weekly: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    monthly: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    yearly: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    within: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    versions: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    protect_for: Option<String>,
}

impl RetentionForm {
    pub(super) fn of(spec: &v1::RetentionSpec) -> Self {
        Self {
            last: spec.last,
            hourly: spec.hourly,
            daily: spec.daily,
            weekly: spec.weekly,
            monthly: spec.monthly,
            yearly: spec.yearly,
            within: spec.within_secs.map(written),
            versions: spec.versions,
            protect_for: spec.protect_secs.map(written),
        }
    }

    pub(super) fn into_spec(self) -> Result<v1::RetentionSpec> {
        Ok(v1::RetentionSpec {
            last: self.last,
            hourly: self.hourly,
            daily: self.daily,
            weekly: self.weekly,
            monthly: self.monthly,
            yearly: self.yearly,
            within_secs: self.within.as_deref().map(seconds).transpose()?,
            versions: self.versions,
            protect_secs: self.protect_for.as_deref().map(seconds).transpose()?,
        })
    }

    pub(super) fn in_a_line(&self) -> String {
        let counts = [
            ("last", self.last),
            ("hourly", self.hourly),
            ("daily", self.daily),
            ("weekly", self.weekly),
            ("monthly", self.monthly),
            ("yearly", self.yearly),
            ("versions", self.versions),
        ];
        let counts = counts.into_iter().filter_map(|(rule, count)| Some((rule, count?)));
        let mut parts: Vec<String> =
            counts.map(|(rule, count)| format!("{rule} {count}")).collect();
        parts.extend(self.within.as_ref().map(|span| format!("within {span}")));
        parts.join(", ")
    }
}

/// In the largest unit that says it exactly.
pub(super) fn written(seconds: u64) -> String {
    let units = [(86_400, "d"), (3600, "h"), (60, "m")];
    let fits = |(length, _): &&(u64, &str)| seconds > 0 && seconds.is_multiple_of(*length);
    match units.iter().find(fits) {
        Some((length, unit)) => format!("{}{unit}", seconds / length),
        None => format!("{seconds}s"),
    }
}

pub(super) fn seconds(text: &str) -> Result<u64> {
    let malformed = |why: String| {
        Error::new(Code::ResourceMalformed, format!("`{text}` is not a span"))
            .cause(why)
            .next("write it as 90s, 15m, 1h or 30d")
    };
    let span = parse_span(text).map_err(malformed)?;
    match span.subsec_nanos() {
        0 => Ok(span.as_secs()),
        _ => Err(malformed("it is not of whole seconds".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_written_in_the_largest_unit_that_is_exact() {
        for (text, secs) in [("30d", 30 * 86_400), ("36h", 36 * 3600), ("90s", 90), ("0s", 0)] {
            assert_eq!((seconds(text).unwrap(), written(secs)), (secs, text.to_owned()));
        }
        assert_eq!(written(seconds("48h").unwrap()), "2d");
        for text in ["", "30", "d", "1500ms", "-1d", "99999999999999999d"] {
            assert_eq!(seconds(text).unwrap_err().code, Code::ResourceMalformed, "{text}");
        }
    }

    #[test]
    fn what_is_kept_is_said_in_a_line() {
        let form = RetentionForm {
            last: Some(7),
            monthly: Some(12),
            within: Some("30d".to_owned()),
            ..RetentionForm::default()
        };
        assert_eq!(form.in_a_line(), "last 7, monthly 12, within 30d");
    }
}
