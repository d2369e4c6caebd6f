//! Locations and what was tried of them, as fields and as tables.

use crate::output::{
    figures::{self, json_time},
    table::Table,
};
use holdfast_wire::v1;
use serde_json::{Value, json};

pub(super) fn trial_fields(trial: &v1::LocationTrial) -> Value {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    json!({
        "location": text(&trial.location),
        "url": trial.url,
        "usable": trial.usable,
        "checks": trial.checks.iter().map(|check| json!({
            "name": check.name,
            "ok": check.ok,
            "ms": check.ms,
            "code": text(&check.code),
            "detail": text(&check.detail),
            "next": text(&check.next),
        })).collect::<Vec<_>>(),
        "create_only": trial.create_only,
        "checked": trial.checked,
        "versioned": trial.versioned,
        "object_lock": trial.object_lock,
        "object_lock_refused": text(&trial.object_lock_code).map(|code| json!({
            "code": code,
            "detail": trial.object_lock_detail,
        })),
        "free_bytes": trial.free_bytes,
        "clock_skew_ms": trial.clock_skew_ms,
        "permissions_missing": trial.permissions_missing,
    })
}

pub(super) fn trial_text(trial: &v1::LocationTrial) -> String {
    let mut table = Table::new(["check", "ok", ">ms", "found"]);
    for check in &trial.checks {
        let found = match check.ok {
            true => passed(check, trial),
            false => format!("{}: {}", check.code, check.detail),
        };
        table.row([
            check.name.clone(),
            if check.ok { "yes" } else { "NO" }.to_owned(),
            check.ms.map_or_else(String::new, |ms| ms.to_string()),
            found,
        ]);
    }
    let verdict = if trial.usable { "usable" } else { "NOT usable" };
    let mut parts = vec![format!("{} is {verdict}", trial.url), table.render()];
    let keeps = keeps(trial);
    if !keeps.is_empty() {
        parts.push(keeps.join("\n"));
    }
    if let Some(refused) = trial.checks.iter().find(|check| !check.ok) {
        parts.push(format!("next: {}", refused.next));
    }
    parts.join("\n\n")
}

/// What is worth saying of a check that passed.
fn passed(check: &v1::LocationCheck, trial: &v1::LocationTrial) -> String {
    match (&*check.name, trial.clock_skew_ms) {
        ("create_only", _) => "of several writers of a name one wins".to_owned(),
        ("clock", Some(0)) => "as the coordinator's".to_owned(),
        ("clock", Some(skew)) => format!("{skew} ms from the coordinator's"),
        _ => String::new(),
    }
}

/// What the place was seen to see to. Of one that could not be tried there is nothing to say.
fn keeps(trial: &v1::LocationTrial) -> Vec<String> {
    let mut lines = Vec::new();
    if !trial.permissions_missing.is_empty() {
        lines.push(format!("permissions missing   {}", trial.permissions_missing.join(", ")));
    }
    if trial.usable {
        match trial.checked {
            Some(true) => lines.push("bytes on arrival      checked there".to_owned()),
            Some(false) => lines.push("bytes on arrival      read back by us".to_owned()),
            None => {}
        }
        if let Some(versioned) = trial.versioned {
            let kept = if versioned { "kept" } else { "not kept" };
            lines.push(format!("older versions        {kept}"));
        }
        let lock = match &*trial.object_lock_code {
            "" => trial.object_lock.clone(),
            code => format!("not tried: {code}: {}", trial.object_lock_detail),
        };
        lines.push(format!("object lock           {lock}"));
    }
    if let Some(free) = trial.free_bytes {
        lines.push(format!("free                  {}", figures::size(free)));
    }
    lines
}

pub(super) fn fields(location: &v1::LocationStatus) -> Value {
    json!({
        "name": location.name,
        "url": location.url,
        "region": location.region,
        "state": location.state,
        "disabled_since": json_time(location.disabled_since_ns),
        "required_by": location.required_by,
        "copies": location.copies.iter().map(copy_fields).collect::<Vec<_>>(),
        "locks": location.locks.iter().map(lock_fields).collect::<Vec<_>>(),
        "checks": location.checks.iter().map(check_fields).collect::<Vec<_>>(),
        "answers": location.answers,
        "free_bytes": location.free_bytes,
        "calls": location.calls,
        "errors": location.errors,
        "bytes_read": location.bytes_read,
        "last_error": location.last_error.as_ref().map(|error| json!({
            "code": error.code,
            "message": error.message,
            "time": json_time(Some(error.time_ns)),
        })),
    })
}

fn copy_fields(copy: &v1::CopyStatus) -> Value {
    let problem =
        (!copy.code.is_empty()).then(|| json!({ "code": copy.code, "message": copy.message }));
    json!({
        "vault": copy.vault,
        "role": copy.role,
        "state": copy.state,
        "since": json_time(Some(copy.since_ns)),
        "whole": json_time(copy.whole_ns),
        "lag_ms": copy.lag_ms,
        "lag_points": copy.points,
        "lag_bytes": copy.bytes,
        "problem": problem,
    })
}

fn lock_fields(lock: &v1::LockStatus) -> Value {
    let problem =
        (!lock.code.is_empty()).then(|| json!({ "code": lock.code, "message": lock.message }));
    json!({
        "vault": lock.vault,
        "class": lock.class,
        "until": json_time(lock.until_ns),
        "covers": json_time(lock.covers_ns),
        "objects": lock.objects,
        "problem": problem,
    })
}

/// One line for each vault that locks what it keeps.
fn locks_text(location: &v1::LocationStatus, lock: &v1::LockStatus) -> String {
    let v1::LockStatus { vault, class, objects, .. } = lock;
    let held = match lock.until_ns {
        None => "nothing is locked yet".to_owned(),
        until => {
            let (until, covers) =
                (figures::time_if_any(until), figures::time_if_any(lock.covers_ns));
            format!("{objects} objects until {until}, of points up to {covers}")
        }
    };
    let problem = match lock.code.is_empty() {
        true => String::new(),
        false => format!(": {}: {}", lock.code, lock.message),
    };
    format!("{} ({class} {vault}): {held}{problem}", location.name)
}

fn check_fields(check: &v1::CheckStatus) -> Value {
    let pass = |pass: &v1::CheckPass| {
        json!({
            "began": json_time(Some(pass.began_ns)),
            "ended": json_time(pass.ended_ns),
            "objects": pass.objects,
            "bytes": pass.bytes,
            "damaged": pass.damaged,
            "healed": pass.healed,
        })
    };
    json!({
        "vault": check.vault,
        "state": check.state,
        "bytes_per_day": check.bytes_per_day,
        "oldest": json_time(check.oldest_ns),
        "since": json_time(check.since_ns),
        "progress": f64::from(check.thousandths) / 1000.0,
        "pass": check.pass.as_ref().map(pass),
        "last": check.last.as_ref().map(pass),
        "damage": check.damage,
    })
}

/// One line for each vault that is read back from a location.
fn check_text(location: &v1::LocationStatus, check: &v1::CheckStatus) -> String {
    let oldest = match check.oldest_ns {
        Some(oldest) => format!("the oldest check is of {}", figures::time_if_any(Some(oldest))),
        None => "not all was read back yet".to_owned(),
    };
    let pass = match (&check.pass, check.state.as_str()) {
        (_, "off") => "off; ".to_owned(),
        (Some(pass), _) => {
            let (share, bytes) = (check.thousandths / 10, figures::size(pass.bytes));
            format!("at {share} %, {bytes} read; ")
        }
        (None, _) => String::new(),
    };
    let damage = match check.damage {
        0 => String::new(),
        1 => "; 1 object is damaged".to_owned(),
        count => format!("; {count} objects are damaged"),
    };
    format!("{} ({}): {pass}{oldest}{damage}", location.name, check.vault)
}

/// One line for each vault that a location may lack something of.
fn copies_text(location: &v1::LocationStatus, copy: &v1::CopyStatus) -> String {
    let (name, v1::CopyStatus { vault, role, state, .. }) = (&location.name, copy);
    let lag = match copy.points {
        0 => String::new(),
        points => {
            let seconds = copy.lag_ms / 1000;
            format!(", {points} points behind, the oldest by {seconds} s")
        }
    };
    let bytes = match copy.bytes {
        0 => String::new(),
        bytes => format!(", {} to copy", figures::size(bytes)),
    };
    let problem = match copy.code.is_empty() {
        true => String::new(),
        false => format!(": {}: {}", copy.code, copy.message),
    };
    format!("{name} ({role} {vault}): {state}{lag}{bytes}{problem}")
}

pub(super) fn table(locations: &[v1::LocationStatus]) -> String {
    let columns =
        ["location", "region", "state", "required by", ">free", ">calls", ">errors", "url"];
    let mut table = Table::new(columns);
    let (mut errors, mut copies) = (Vec::new(), Vec::new());
    let (mut checks, mut locks) = (Vec::new(), Vec::new());
    for location in locations {
        checks.extend(location.checks.iter().map(|check| check_text(location, check)));
        copies.extend(location.copies.iter().map(|copy| copies_text(location, copy)));
        locks.extend(location.locks.iter().map(|lock| locks_text(location, lock)));
        let state = match location.answers {
            Some(false) => "does not answer".to_owned(),
            _ => location.state.clone(),
        };
        table.row([
            location.name.clone(),
            location.region.clone(),
            state,
            location.required_by.join(","),
            location.free_bytes.map_or_else(|| "-".to_owned(), figures::size),
            location.calls.to_string(),
            location.errors.to_string(),
            location.url.clone(),
        ]);
        if let Some(error) = &location.last_error {
            let at = figures::time_if_any(Some(error.time_ns));
            errors.push(format!("{} at {at}: {}: {}", location.name, error.code, error.message));
        }
    }
    let mut parts = vec![table.render()];
    if !copies.is_empty() {
        parts.push(format!("copies\n{}", copies.join("\n")));
    }
    if !locks.is_empty() {
        parts.push(format!("locks\n{}", locks.join("\n")));
    }
    if !checks.is_empty() {
        parts.push(format!("read back\n{}", checks.join("\n")));
    }
    if !errors.is_empty() {
        parts.push(format!("newest errors\n{}", errors.join("\n")));
    }
    parts.join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_a_lock_could_not_be_tried_is_told() {
        let mut trial = v1::LocationTrial { usable: true, ..v1::LocationTrial::default() };
        trial.object_lock = "off".to_owned();
        assert!(trial_text(&trial).contains("object lock           off"));
        assert_eq!(trial_fields(&trial)["object_lock_refused"], Value::Null);
        trial.object_lock_code = "location.access_refused".to_owned();
        trial.object_lock_detail = "writing a locked object: AccessDenied".to_owned();
        let due = "not tried: location.access_refused: writing a locked object: AccessDenied";
        assert!(trial_text(&trial).contains(due), "{}", trial_text(&trial));
        let told = &trial_fields(&trial)["object_lock_refused"];
        assert_eq!(told["code"], "location.access_refused");
        assert_eq!(told["detail"], "writing a locked object: AccessDenied");
    }
}
