//! The report: one table a payload, one of outages, then how it was done.

use super::{
    figures::{Pace, percentile},
    load::Load,
};
use crate::side::median;
use core::{fmt::Write, time::Duration};

#[derive(Default)]
pub struct Measured {
    pub facts: Facts,
    /// By the number of the side.
    pub paces: Vec<(usize, Load, Pace)>,
    pub outages: Vec<(usize, Duration)>,
    /// Of backups, by the same kill.
    pub interruptions: Vec<Duration>,
}

#[derive(Default)]
pub struct Facts {
    pub machine: Vec<(&'static str, String)>,
    pub notes: Vec<String>,
    pub rounds: usize,
    pub attempt_ms: u64,
    pub sides: Vec<Side>,
    /// What the run was asked for.
    pub command: String,
}

pub struct Side {
    pub name: String,
    pub version: String,
    pub command: String,
}

pub fn render(measured: &Measured) -> String {
    let facts = &measured.facts;
    let mut out = String::from("# The ledger beside its peers\n\n");
    line(
        &mut out,
        "Written by `holdfast-bench ledger`; how it is measured: [README](README.md).\n",
    );
    for note in &facts.notes {
        line(&mut out, &format!("**{note}**\n"));
    }
    let rounds = facts.rounds;
    line(
        &mut out,
        &format!("Medians of {rounds} round(s); in brackets the least and the most of them.\n"),
    );
    targets(&mut out, measured);
    for bytes in payloads(measured) {
        paces(&mut out, measured, bytes);
    }
    outages(&mut out, measured);
    interruptions(&mut out, measured);
    line(&mut out, "## The machine, the sides, the commands\n");
    for (what, said) in &facts.machine {
        line(&mut out, &format!("- {what}: {said}"));
    }
    line(&mut out, &format!("- run: `holdfast-bench {}`", facts.command));
    for side in &facts.sides {
        line(&mut out, &format!("- {}: {}; `{}`", side.name, side.version, side.command));
    }
    out
}

/// For who waits.
pub fn told(side: &str, round: usize, load: &Load, pace: &Pace) -> String {
    format!(
        "round {}: {side}, {} B, {} client(s): {:.0} a second, p50 {:.2} ms, p99 {:.2} ms",
        round + 1,
        load.payload_bytes,
        load.clients,
        pace.per_second,
        millis(pace.p50),
        millis(pace.p99)
    )
}

/// For who waits.
pub fn told_outages(side: &str, round: usize, took: &[Duration]) -> String {
    let took: Vec<_> = took.iter().map(|took| format!("{:.0}", millis(*took))).collect();
    format!("round {}: {side}, ms without a leader: {}", round + 1, took.join(" "))
}

/// For who waits.
pub fn told_interruptions(took: &[Duration]) -> String {
    let took: Vec<_> = took.iter().map(|took| format!("{:.0}", millis(*took))).collect();
    format!("ms without a pack: {}", took.join(" "))
}

/// What was wanted, and whether it was met: computed, so that nobody can forget to write a miss.
fn targets(out: &mut String, measured: &Measured) {
    let side = |name: &str| measured.facts.sides.iter().position(|side| side.name == name);
    let own: Vec<_> = OWN.iter().filter_map(|name| Some((*name, side(name)?))).collect();
    if own.is_empty() {
        return;
    }
    line(out, "## Targets\n");
    line(out, "| wanted | found | |\n|---|---|---|");
    for (name, own) in own {
        if let Some(peer) = side(PEER) {
            beside(out, measured, (name, own), peer);
        }
        ended(out, measured, (name, own));
    }
    out.push('\n');
}

/// Commands per second and the slowest of a hundred, beside a peer's.
fn beside(out: &mut String, measured: &Measured, (name, own): (&str, usize), peer: usize) {
    for (bytes, clients) in loads(measured) {
        let middle = |number, value: fn(&Pace) -> f64| {
            let like = measured.paces.iter().filter(|(of, load, _)| {
                (*of, load.payload_bytes, load.clients) == (number, bytes, clients)
            });
            median(like.map(|(_, _, pace)| value(pace)).collect())
        };
        let rates = (middle(own, |pace| pace.per_second), middle(peer, |pace| pace.per_second));
        let (Some(own_rate), Some(peer_rate)) = rates else { continue };
        let load = format!("{clients} client(s), {bytes} B");
        let found =
            format!("{own_rate:.0}, etcd {peer_rate:.0}: {:.2} times", own_rate / peer_rate);
        target(
            out,
            (&format!("{name}: as many commands/s as etcd, {load}"), &found),
            own_rate >= peer_rate,
        );
        let slowest = (middle(own, |pace| millis(pace.p99)), middle(peer, |pace| millis(pace.p99)));
        let (Some(own_p99), Some(peer_p99)) = slowest else { continue };
        let found = format!("{own_p99:.2} ms, etcd {peer_p99:.2} ms");
        target(out, (&format!("{name}: a p99 no worse, {load}"), &found), own_p99 <= peer_p99);
    }
}

/// How soon a write is committed after a kill.
fn ended(out: &mut String, measured: &Measured, (name, own): (&str, usize)) {
    let like = measured.outages.iter().filter(|(of, _)| *of == own);
    let mut took: Vec<Duration> = like.map(|(_, took)| *took).collect();
    took.sort_unstable();
    for (hundredths, of, most) in [(50, "median", OUTAGE_MS_MAX), (99, "p99", OUTAGE_P99_MS_MAX)] {
        let Some(found) = percentile(&took, hundredths) else { continue };
        let wanted = format!("{name}: after a kill, a write within {most} ms ({of})");
        let is_met = millis(found) <= f64::from(most);
        target(out, (&wanted, &format!("{:.0} ms", millis(found))), is_met);
    }
}

fn target(out: &mut String, (wanted, found): (&str, &str), is_met: bool) {
    let told = if is_met { "met" } else { "**missed**" };
    line(out, &format!("| {wanted} | {found} | {told} |"));
}

/// Every payload with every number of clients, in order.
fn loads(measured: &Measured) -> Vec<(usize, usize)> {
    let of = |(_, load, _): &(usize, Load, Pace)| (load.payload_bytes, load.clients);
    let mut loads: Vec<_> = measured.paces.iter().map(of).collect();
    loads.sort_unstable();
    loads.dedup();
    loads
}

fn payloads(measured: &Measured) -> Vec<usize> {
    let mut payloads: Vec<_> =
        measured.paces.iter().map(|(_, load, _)| load.payload_bytes).collect();
    payloads.sort_unstable();
    payloads.dedup();
    payloads
}

fn paces(out: &mut String, measured: &Measured, bytes: usize) {
    line(out, &format!("## Committed commands, {bytes} bytes each\n"));
    line(out, "| clients | side | commands/s | p50 ms | p99 ms |");
    line(out, "|---:|---|---:|---:|---:|");
    let of_size = || measured.paces.iter().filter(|(_, load, _)| load.payload_bytes == bytes);
    let mut clients: Vec<_> = of_size().map(|(_, load, _)| load.clients).collect();
    clients.sort_unstable();
    clients.dedup();
    for clients in clients {
        for (number, side) in measured.facts.sides.iter().enumerate() {
            let like: Vec<Pace> = of_size()
                .filter(|(of, load, _)| *of == number && load.clients == clients)
                .map(|(_, _, pace)| *pace)
                .collect();
            let cell = |value: fn(&Pace) -> f64, digits| spread(&like, value, digits);
            let (rate, p50, p99) = (
                cell(|pace| pace.per_second, 0),
                cell(|pace| millis(pace.p50), 2),
                cell(|pace| millis(pace.p99), 2),
            );
            line(out, &format!("| {clients} | {} | {rate} | {p50} | {p99} |", side.name));
        }
    }
    out.push('\n');
}

fn outages(out: &mut String, measured: &Measured) {
    if measured.outages.is_empty() {
        return;
    }
    let attempt = measured.facts.attempt_ms;
    line(out, "## From SIGKILL of the leader to the next committed write\n");
    let waits = format!("One client, which asks the next member after an error or {attempt} ms.");
    line(out, &format!("{waits} Percentiles of all kills together.\n"));
    line(out, "| side | kills | median ms | p99 ms | longest ms |");
    line(out, "|---|---:|---:|---:|---:|");
    for (number, side) in measured.facts.sides.iter().enumerate() {
        let like = measured.outages.iter().filter(|(of, _)| *of == number);
        let took: Vec<Duration> = like.map(|(_, took)| *took).collect();
        if !took.is_empty() {
            // Else its leader was not killed.
            kills(out, &side.name, took);
        }
    }
    out.push('\n');
}

fn interruptions(out: &mut String, measured: &Measured) {
    if measured.interruptions.is_empty() {
        return;
    }
    line(out, "## From SIGKILL of the leader to a backup's next pack\n");
    line(out, "One agent, in the midst of a backup that then comes to its end. Of all kills.\n");
    line(out, "| side | kills | median ms | p99 ms | longest ms |");
    line(out, "|---|---:|---:|---:|---:|");
    kills(out, OWN[1], measured.interruptions.clone());
    out.push('\n');
}

/// A row of a table.
fn kills(out: &mut String, side: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let cell = |hundredths| match percentile(&took, hundredths) {
        Some(found) => format!("{:.0}", millis(found)),
        None => "–".to_owned(),
    };
    let (p50, p99, longest) = (cell(50), cell(99), cell(100));
    line(out, &format!("| {side} | {} | {p50} | {p99} | {longest} |", took.len()));
}

fn spread(paces: &[Pace], value: fn(&Pace) -> f64, digits: usize) -> String {
    let values: Vec<f64> = paces.iter().map(value).collect();
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    match median(values) {
        Some(middle) => format!("{middle:.digits$} ({least:.digits$}–{most:.digits$})"),
        None => "–".to_owned(),
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn line(out: &mut String, text: &str) {
    // Writing to a string does not fail.
    let _always = writeln!(out, "{text}");
}

const OWN: [&str; 2] = ["Holdfast", "Holdfast, shipped"];
const PEER: &str = "etcd, default timeouts";
const OUTAGE_MS_MAX: u32 = 1_000;
const OUTAGE_P99_MS_MAX: u32 = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> Measured {
        let side =
            |name: &str| Side { name: name.into(), version: "1".into(), command: "x".into() };
        let load = |clients| Load { clients, commands: 9, payload_bytes: 256 };
        let pace = |per_second, p50, p99| Pace {
            per_second,
            p50: Duration::from_millis(p50),
            p99: Duration::from_millis(p99),
        };
        Measured {
            facts: Facts {
                rounds: 3,
                attempt_ms: 100,
                sides: vec![side("a"), side("b")],
                notes: vec!["a busy machine".into()],
                ..Facts::default()
            },
            paces: vec![
                (0, load(16), pace(100.0, 2, 9)),
                (0, load(16), pace(300.0, 1, 7)),
                (0, load(16), pace(200.0, 3, 8)),
                (0, load(1), pace(10.0, 1, 1)),
                (1, load(16), pace(77.0, 4, 5)),
            ],
            outages: [900, 700, 800].map(|took| (0, Duration::from_millis(took))).to_vec(),
            interruptions: Vec::new(),
        }
    }

    #[test]
    fn a_row_is_the_middle_of_the_rounds_of_one_side_and_one_number_of_clients() {
        let text = render(&measured());
        for row in [
            "| 16 | a | 200 (100–300) | 2.00 (1.00–3.00) | 8.00 (7.00–9.00) |",
            "| 1 | a | 10 (10–10) | 1.00 (1.00–1.00) | 1.00 (1.00–1.00) |",
            "| 16 | b | 77 (77–77) | 4.00 (4.00–4.00) | 5.00 (5.00–5.00) |",
            "| 1 | b | – | – | – |",
        ] {
            assert!(text.contains(row), "{row} is not in\n{text}");
        }
        assert!(text.contains("**a busy machine**"));
    }

    #[test]
    fn outages_are_pooled_and_a_side_that_was_not_killed_has_no_row() {
        let text = render(&measured());
        assert!(text.contains("| a | 3 | 800 | 900 | 900 |"), "{text}");
        assert!(!text.contains("| b | 0 |"), "{text}");
        let quiet = render(&Measured { outages: Vec::new(), ..measured() });
        assert!(!quiet.contains("SIGKILL"), "{quiet}");
    }

    #[test]
    fn a_backup_that_was_interrupted_has_a_table_of_its_own_or_none() {
        assert!(!render(&measured()).contains("next pack"));
        let interruptions = [1500, 1100].map(Duration::from_millis).to_vec();
        let text = render(&Measured { interruptions, ..measured() });
        let (_, told) = text.split_once("to a backup's next pack").unwrap();
        assert!(told.contains("| Holdfast, shipped | 2 | 1100 | 1500 | 1500 |"), "{text}");
    }

    #[test]
    fn targets_are_computed_and_a_miss_is_told() {
        let mut measured = measured();
        assert!(!render(&measured).contains("## Targets"), "neither side is ours");
        measured.facts.sides[0].name = OWN[0].into();
        measured.facts.sides[1].name = PEER.into();
        let text = render(&measured);
        for row in [
            "Holdfast: as many commands/s as etcd, 16 client(s), 256 B | 200, etcd 77: 2.60 times \
             | met",
            "Holdfast: a p99 no worse, 16 client(s), 256 B | 8.00 ms, etcd 5.00 ms | **missed**",
            "Holdfast: after a kill, a write within 1000 ms (median) | 800 ms | met",
            "Holdfast: after a kill, a write within 2000 ms (p99) | 900 ms | met",
        ] {
            assert!(text.contains(&format!("| {row} |")), "{row} is not in\n{text}");
        }
        measured.paces[4].2.per_second = 201.0;
        measured.outages = vec![(0, Duration::from_millis(2001)), (1, Duration::from_millis(9))];
        let text = render(&measured);
        assert!(text.contains("200, etcd 201: 1.00 times | **missed** |"), "{text}");
        assert_eq!(text.matches("| 2001 ms | **missed** |").count(), 2, "{text}");
        measured.facts.sides[1].name = OWN[1].into();
        assert!(render(&measured).contains("| Holdfast, shipped: after a kill"), "each on its own");
    }
}
