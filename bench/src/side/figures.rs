//! What was measured, and the middle of it.

use crate::tool::Usage;
use serde::Serialize;

#[derive(Serialize)]
pub struct Facts {
    pub machine: Vec<(&'static str, String)>,
    pub notes: Vec<String>,
    pub rounds: usize,
    pub scale: f64,
    pub seed: u64,
    /// The data set in words.
    pub data: String,
    pub tools: Vec<ToolFacts>,
}

#[derive(Serialize)]
pub struct ToolFacts {
    pub name: &'static str,
    pub version: String,
    pub commands: Vec<String>,
}

/// What a tool did, in the order of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Ceiling,
    First,
    Unchanged,
    DatabasesFirst,
    Changed,
    DatabasesChanged,
    Restore,
}

#[derive(Clone, Serialize)]
pub struct Sample {
    pub round: usize,
    pub tool: &'static str,
    pub phase: Phase,
    #[serde(flatten)]
    pub usage: Usage,
    /// By how much the repository grew.
    pub stored_bytes: u64,
}

/// The medians of one tool in one phase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Middle {
    pub wall_seconds: f64,
    pub cpu_seconds: f64,
    pub peak_bytes: f64,
    pub stored_bytes: f64,
}

pub fn middle(samples: &[Sample], tool: &str, phase: Phase) -> Option<Middle> {
    let of = |value: fn(&Sample) -> f64| {
        let like = samples.iter().filter(|sample| sample.tool == tool && sample.phase == phase);
        median(like.map(value).collect())
    };
    Some(Middle {
        wall_seconds: of(|sample| sample.usage.wall_seconds)?,
        cpu_seconds: of(|sample| sample.usage.cpu_seconds)?,
        peak_bytes: of(|sample| sample.usage.peak_bytes as f64)?,
        stored_bytes: of(|sample| sample.stored_bytes as f64)?,
    })
}

/// Of nothing there is none.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[half]),
        _ => Some((values[half - 1] + values[half]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_of_nothing_is_nothing() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn tools_and_phases_are_not_mixed() {
        let sample = |tool, phase, wall_seconds| {
            let usage = Usage { wall_seconds, ..Usage::default() };
            Sample { round: 1, tool, phase, usage, stored_bytes: 5 }
        };
        let samples = [
            sample("a", Phase::First, 1.0),
            sample("a", Phase::Changed, 9.0),
            sample("b", Phase::First, 7.0),
        ];
        assert_eq!(middle(&samples, "a", Phase::First).unwrap().wall_seconds, 1.0);
        assert_eq!(middle(&samples, "b", Phase::Changed), None);
    }
}
