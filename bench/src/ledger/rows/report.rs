//! The part of the report that tells of very many rows: what was wanted, times, memory.

use super::{Filled, Measured, Start};
use crate::side::median;
use core::{fmt::Write, time::Duration};

pub fn render(measured: &Measured) -> String {
    let mut out = String::new();
    let rows = grouped(measured.history.catalog_rows());
    line(&mut out, &format!("## A member with {rows} catalog rows\n"));
    line(
        &mut out,
        "Written by `holdfast-bench ledger-rows`; how it is measured: [README](README.md).\n",
    );
    for note in &measured.notes {
        line(&mut out, &format!("**{note}**\n"));
    }
    targets(&mut out, measured);
    times(&mut out, measured);
    ways(&mut out, measured);
    out
}

/// For who waits.
pub fn told(start: &Start) -> String {
    let after = after(start.was_killed);
    let (ready, read) = (start.ready.as_secs_f64(), start.read.as_secs_f64());
    let peak = mib(start.peak_bytes);
    format!("started after {after}: ready {ready:.2} s, a read {read:.2} s, {peak} MiB")
}

/// For who waits.
pub fn told_filled(filled: &Filled) -> String {
    format!(
        "filled in {:.0} s, {} MiB of memory; tables {} MiB, log {} MiB, snapshots {} MiB",
        filled.took.as_secs_f64(),
        mib(filled.peak_bytes),
        mib(filled.tables_bytes),
        mib(filled.log_bytes),
        mib(filled.snapshot_bytes),
    )
}

fn targets(out: &mut String, measured: &Measured) {
    line(out, "| wanted | found | |\n|---|---|---|");
    for was_killed in [true, false] {
        let read = Spread::of(measured, was_killed, |start| start.read.as_secs_f64());
        let wanted = format!(
            "after {}, a read is answered within {START_SECS_MAX} s of the start (median)",
            after(was_killed)
        );
        target(out, &wanted, &format!("{:.1} s", read.middle), read.middle <= START_SECS_MAX);
    }
    let peak = measured.starts.iter().map(|start| start.peak_bytes).max().unwrap_or(0);
    let joined = &measured.joined;
    for (whose, bytes) in [
        ("a start", peak),
        ("a member that is filled", measured.filled.peak_bytes),
        ("one that joins", joined.own_peak_bytes),
        ("one that sends it all", joined.leader_peak_bytes),
    ] {
        let wanted = format!("peak memory of {whose} within {MEMORY_MIB_MAX} MiB");
        target(out, &wanted, &format!("{} MiB", mib(bytes)), mib(bytes) <= MEMORY_MIB_MAX);
    }
    out.push('\n');
}

fn target(out: &mut String, wanted: &str, found: &str, is_met: bool) {
    let told = if is_met { "met" } else { "**missed**" };
    line(out, &format!("| {wanted} | {found} | {told} |"));
}

fn times(out: &mut String, measured: &Measured) {
    line(out, "| what | ready s | done s | peak MiB |\n|---|---:|---:|---:|");
    for was_killed in [true, false] {
        let [ready, read, peak] = [
            Spread::of(measured, was_killed, |start| start.ready.as_secs_f64()).told(2),
            Spread::of(measured, was_killed, |start| start.read.as_secs_f64()).told(2),
            Spread::of(measured, was_killed, |start| mib(start.peak_bytes) as f64).told(0),
        ];
        let what = format!("start after {}, until a read is answered", after(was_killed));
        line(out, &format!("| {what} | {ready} | {read} | {peak} |"));
    }
    let joined = &measured.joined;
    let own = mib(joined.own_peak_bytes);
    for (what, took) in [
        ("joining over a snapshot, until nothing is lacking", joined.level),
        ("the same, until it votes as well", joined.votes),
    ] {
        line(out, &format!("| {what} | – | {:.2} | {own} |", seconds(took)));
    }
    out.push('\n');
}

/// What it was measured on.
fn ways(out: &mut String, measured: &Measured) {
    let (history, filled) = (measured.history, &measured.filled);
    for (what, said) in &measured.machine {
        line(out, &format!("- {what}: {said}"));
    }
    let (runs, commands) = (grouped(history.runs()), grouped(history.commands()));
    line(
        out,
        &format!(
            "- history: {} agents, {} days, {runs} runs, each with a point and ten packs; \
             {commands} commands in {:.0} s, each with an audit row beside",
            history.agents,
            history.days,
            seconds(filled.took)
        ),
    );
    line(
        out,
        &format!(
            "- on disk: tables {} MiB, log {} MiB, snapshots {} MiB",
            mib(filled.tables_bytes),
            mib(filled.log_bytes),
            mib(filled.snapshot_bytes)
        ),
    );
    line(out, &format!("- run: `holdfast-bench {}`, {}", measured.command, measured.version));
}

/// The middle of several starts, with the least and the most.
struct Spread {
    middle: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(measured: &Measured, was_killed: bool, value: impl Fn(&Start) -> f64) -> Self {
        let starts = measured.starts.iter().filter(|start| start.was_killed == was_killed);
        let values: Vec<f64> = starts.map(value).collect();
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(0.0, f64::max);
        Self { middle: median(values).unwrap_or(f64::NAN), least, most }
    }

    fn told(&self, digits: usize) -> String {
        let Self { middle, least, most } = self;
        format!("{middle:.digits$} ({least:.digits$}–{most:.digits$})")
    }
}

fn after(was_killed: bool) -> &'static str {
    if was_killed { "SIGKILL" } else { "SIGTERM" }
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

/// With a comma between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut told = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            told.push(',');
        }
        told.push(digit);
    }
    told
}

fn line(out: &mut String, text: &str) {
    // Writing to a string does not fail.
    let _always = writeln!(out, "{text}");
}

const START_SECS_MAX: f64 = 10.0;
const MEMORY_MIB_MAX: u64 = 256;

#[cfg(test)]
mod tests {
    use super::{
        super::{Joined, history::History},
        *,
    };

    fn start(was_killed: bool, seconds: u64, mib: u64) -> Start {
        let read = Duration::from_secs(seconds);
        Start { was_killed, ready: read - Duration::from_millis(500), read, peak_bytes: mib << 20 }
    }

    fn measured() -> Measured {
        Measured {
            machine: vec![("date", "today".into())],
            notes: Vec::new(),
            version: "holdfast 1".into(),
            command: "ledger-rows".into(),
            history: History { agents: 200, days: 360 },
            filled: Filled {
                took: Duration::from_secs(99),
                peak_bytes: 100 << 20,
                tables_bytes: 5 << 20,
                log_bytes: 1,
                snapshot_bytes: 0,
            },
            starts: vec![
                start(true, 4, 90),
                start(true, 11, 91),
                start(true, 12, 300),
                start(false, 8, 92),
            ],
            joined: Joined {
                level: Duration::from_secs(5),
                votes: Duration::from_secs(6),
                own_peak_bytes: 256 << 20,
                leader_peak_bytes: 257 << 20,
            },
        }
    }

    #[test]
    fn targets_are_judged_by_the_middle_of_the_starts_and_by_the_most_memory() {
        let text = render(&measured());
        let judged = |what: &str| -> bool {
            let found = text.lines().find(|line| line.contains(what)).unwrap();
            !found.contains("missed")
        };
        assert!(text.starts_with("## A member with 1,008,000 catalog rows"), "{text}");
        assert!(!judged("after SIGKILL, a read") && judged("after SIGTERM, a read"), "{text}");
        assert!(!judged("memory of a start") && judged("memory of a member that is"), "{text}");
        assert!(judged("memory of one that joins") && !judged("memory of one that sends"));
        assert!(text.contains("| 10.50 (3.50–11.50) | 11.00 (4.00–12.00) | 91 (90–300) |"));
    }
}
