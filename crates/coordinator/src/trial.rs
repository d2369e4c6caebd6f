//! Whether a location can be used: what was tried there, judged and put for people.
//!
//! ```text
//!   open ─→ probe (write, read, list, delete, races) ─→ judge ─→ checks: ok, or refused and why
//!     └───────── refused, or no answer within a minute ─────┘
//! ```
//!
//! The store tells what it saw; what that means is decided here, without a clock and without a
//! store. The first check that is not ok is what whoever asked is told.

use holdfast_common::{Clock, Code, Error, Name, Result, Timestamp};
use holdfast_runtime::tasks::Tasks;
use holdfast_storage::{LocationUrl, ObjectStore, Probe, layers::Operation, url};
use std::{sync::Arc, time::Duration};

/// A bucket with locks takes some seconds for what has to pass.
const PATIENCE: Duration = Duration::from_secs(60);
/// Signed requests are refused from a quarter of an hour on, and locks would end at other times.
const SKEW_MS_MAX: u64 = 5 * 60 * 1000;

/// What was tried of a place, in the order in which it was.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) checks: Vec<Check>,
    pub(crate) probe: Probe,
    pub(crate) skew_ms: Option<i64>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) took: Option<Duration>,
    pub(crate) refused: Option<Error>,
}

/// Opens a place and tries it; it is never made.
pub(crate) async fn attempt(url: &LocationUrl, clock: &dyn Clock, tasks: &Tasks) -> Trial {
    let tried = tokio::time::timeout(PATIENCE, attempt_once(url.clone(), clock, tasks)).await;
    let message = format!("the location did not answer within {} s", PATIENCE.as_secs());
    tried.unwrap_or_else(|_| failed("answer", Error::new(Code::LocationIoFailed, message)))
}

async fn attempt_once(url: LocationUrl, clock: &dyn Clock, tasks: &Tasks) -> Trial {
    let opened = tasks.run_blocking("location", move || url::visit(&url)).await;
    let store: Arc<dyn ObjectStore> = match opened {
        Ok(store) => store,
        Err(error) => return failed("open", error),
    };
    let before = clock.now();
    match store.probe().await {
        Ok(probe) => judge(probe, (before, clock.now())),
        Err(error) => failed("answer", error),
    }
}

fn failed(name: &'static str, error: Error) -> Trial {
    let checks = vec![Check { name, took: None, refused: Some(error) }];
    Trial { checks, probe: Probe::default(), skew_ms: None }
}

/// What a probe comes to that was made between two times of the own clock.
fn judge(probe: Probe, asked: (Timestamp, Timestamp)) -> Trial {
    let mut checks = Vec::new();
    if let Some(error) = &probe.write_refused {
        checks.push(Check { name: "write", took: None, refused: Some(error.clone()) });
    }
    for operation in [Operation::Put, Operation::Get, Operation::List, Operation::Delete] {
        let took = probe.took.iter().find(|(made, _)| *made == operation).map(|(_, took)| *took);
        let refused = probe.refused.iter().find(|(made, _)| *made == operation);
        if took.is_some() || refused.is_some() {
            let refused = refused.map(|(_, error)| error.clone());
            checks.push(Check { name: verb(operation), took, refused });
        }
    }
    // Where something was refused, what is beyond it was not tried.
    if probe.write_refused.is_none() && probe.refused.is_empty() {
        checks.push(Check { name: "create_only", took: None, refused: probe.refusal() });
    }
    let skew_ms = probe.now.map(|now| skew_ms(now, asked));
    if let Some(skew) = skew_ms {
        let refused = (skew.unsigned_abs() > SKEW_MS_MAX).then(|| skewed(skew));
        checks.push(Check { name: "clock", took: None, refused });
    }
    Trial { checks, probe, skew_ms }
}

fn verb(operation: Operation) -> &'static str {
    match operation {
        Operation::Put => "write",
        Operation::Get => "read",
        other => other.name(),
    }
}

/// The place said it within the two times; it tells whole seconds.
fn skew_ms(there: Timestamp, (before, after): (Timestamp, Timestamp)) -> i64 {
    const MS: i64 = 1_000_000;
    let earliest = before.minus(Duration::from_secs(1));
    match there {
        _ if there < earliest => (there.as_nanos() - earliest.as_nanos()) / MS,
        _ if there > after => (there.as_nanos() - after.as_nanos()) / MS,
        _ => 0,
    }
}

fn skewed(skew_ms: i64) -> Error {
    let side = if skew_ms > 0 { "ahead of" } else { "behind" };
    let seconds = skew_ms.unsigned_abs() / 1000;
    let message = format!("the location's clock is {seconds} s {side} the coordinator's");
    Error::new(Code::LocationClockSkewed, message)
}

impl Trial {
    /// The first thing that stands against the place.
    pub(crate) fn refusal(&self) -> Option<&Error> {
        self.checks.iter().find_map(|check| check.refused.as_ref())
    }

    pub(crate) fn insist_on_usable(&self, name: &Name) -> Result<()> {
        match self.refusal() {
            None => Ok(()),
            Some(error) => {
                let message = format!("the location `{name}` cannot be used");
                Err(Error { message, ..error.clone().cause(error) })
            }
        }
    }

    /// What whoever asked may not do there, as the place calls it.
    pub(crate) fn permissions_missing(&self, scheme: &str) -> Vec<String> {
        let is_denied = |check: &&Check| {
            check.refused.as_ref().is_some_and(|e| e.code == Code::LocationRefused)
        };
        let called = |check: &Check| match (scheme, check.name) {
            ("s3", "write") => "s3:PutObject".to_owned(),
            ("s3", "read") => "s3:GetObject".to_owned(),
            ("s3", "list") => "s3:ListBucket".to_owned(),
            ("s3", "delete") => "s3:DeleteObject".to_owned(),
            (_, name) => name.to_owned(),
        };
        self.checks.iter().filter(is_denied).map(called).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: (i64, i64) = (1_000_000_000_000, 1_002_000_000_000);

    fn judged(probe: Probe) -> Trial {
        judge(probe, (Timestamp::from_nanos(ASKED.0), Timestamp::from_nanos(ASKED.1)))
    }

    fn sound() -> Probe {
        let ms = Duration::from_millis(3);
        let took = [Operation::Put, Operation::Get, Operation::List, Operation::Delete];
        let took = took.map(|operation| (operation, ms)).to_vec();
        Probe { create_only: true, took, ..Probe::default() }
    }

    fn told(trial: &Trial) -> Vec<(&str, Option<Code>)> {
        let code = |check: &Check| check.refused.as_ref().map(|error| error.code);
        trial.checks.iter().map(|check| (check.name, code(check))).collect()
    }

    fn denied() -> Error {
        Error::new(Code::LocationRefused, "no")
    }

    #[test]
    fn a_sound_place_passes_every_check() {
        let trial = judged(sound());
        let names = ["write", "read", "list", "delete", "create_only"];
        assert_eq!(told(&trial), names.map(|name| (name, None)));
        assert!(trial.refusal().is_none() && trial.skew_ms.is_none());
        assert!(trial.checks[..4].iter().all(|check| check.took.is_some()));
        trial.insist_on_usable(&"far".parse().unwrap()).unwrap();
    }

    #[test]
    fn what_was_refused_first_is_what_is_told() {
        let trial = judged(Probe { write_refused: Some(denied()), ..Probe::default() });
        assert_eq!(told(&trial), [("write", Some(Code::LocationRefused))]);
        assert_eq!(trial.permissions_missing("s3"), ["s3:PutObject"]);
        assert_eq!(trial.permissions_missing("local"), ["write"]);
        let error = trial.insist_on_usable(&"far".parse().unwrap()).unwrap_err();
        assert_eq!(error.code, Code::LocationRefused);
        assert!(error.message.contains("`far`"), "{error}");

        let mut probe = sound();
        probe.took.retain(|(operation, _)| *operation != Operation::Delete);
        probe.refused.push((Operation::Delete, denied()));
        let trial = judged(Probe { create_only: false, ..probe });
        let last = ("delete", Some(Code::LocationRefused));
        assert_eq!(told(&trial), [("write", None), ("read", None), ("list", None), last]);
        assert_eq!(trial.permissions_missing("s3"), ["s3:DeleteObject"]);
    }

    #[test]
    fn a_place_where_a_name_is_written_twice_is_not_usable() {
        let trial = judged(Probe { create_only: false, ..sound() });
        assert_eq!(trial.refusal().unwrap().code, Code::LocationUnfenced);
        assert!(trial.permissions_missing("s3").is_empty());
    }

    #[test]
    fn a_clock_that_is_more_than_five_minutes_off_is_refused() {
        for (there, skew, is_off) in [
            (ASKED.0 - 1_000_000_000, 0, false),
            (ASKED.1, 0, false),
            (ASKED.1 + 300_000_000_000, 300_000, false),
            (ASKED.1 + 300_001_000_000, 300_001, true),
            (ASKED.0 - 301_000_000_000, -300_000, false),
            (ASKED.0 - 301_001_000_000, -300_001, true),
        ] {
            let now = Some(Timestamp::from_nanos(there));
            let trial = judged(Probe { now, ..sound() });
            assert_eq!(trial.skew_ms, Some(skew));
            let code = is_off.then_some(Code::LocationClockSkewed);
            assert_eq!(told(&trial).last(), Some(&("clock", code)), "{skew}");
        }
    }
}
