//! The report: one table a phase, every figure with its ratio to Holdfast's, then how it was done.

use super::{
    figures::{Facts, Middle, Phase, Sample, middle},
    round::CEILING,
};
use core::fmt::Write;

pub fn render(facts: &Facts, samples: &[Sample]) -> String {
    let mut out = String::from("# Holdfast beside its peers\n\n");
    line(&mut out, "Written by `holdfast-bench run`; how it is measured: [README](README.md).");
    for note in &facts.notes {
        line(&mut out, &format!("**{note}**"));
    }
    line(
        &mut out,
        &format!("Medians of {} round(s); in brackets the multiple of Holdfast's.", facts.rounds),
    );
    line(&mut out, &format!("Data: {}.", facts.data));
    targets(&mut out, facts, samples);
    for (phase, title) in PHASES {
        table(&mut out, facts, samples, phase, title);
    }
    line(&mut out, "## The machine, the tools, the commands\n");
    for (what, said) in &facts.machine {
        bullet(&mut out, &format!("{what}: {said}"));
    }
    bullet(&mut out, &format!("scale {}, seed {}", facts.scale, facts.seed));
    for tool in &facts.tools {
        let commands: Vec<String> = tool.commands.iter().map(|c| format!("`{c}`")).collect();
        bullet(&mut out, &format!("{}: {}; {}", tool.name, tool.version, commands.join(", ")));
    }
    out
}

/// What was wanted, and what came of it, each peer by itself.
fn targets(out: &mut String, facts: &Facts, samples: &[Sample]) {
    line(out, "## Targets\n");
    line(out, &format!("Wanted: {WANTED} times as fast as each peer, by wall time."));
    line_of(out, "| phase | peer | as fast | |");
    line_of(out, "|---|---|---:|---|");
    for (phase, title) in PHASES.into_iter().filter(|(phase, _)| AIMED_AT.contains(phase)) {
        let Some(own) = middle(samples, facts.tools[0].name, phase) else { continue };
        for tool in &facts.tools[1..] {
            let Some(found) = middle(samples, tool.name, phase) else { continue };
            let times = found.wall_seconds / own.wall_seconds;
            let verdict = if times < WANTED { "**missed**" } else { "met" };
            line_of(out, &format!("| {title} | {} | {times:.2}× | {verdict} |", tool.name));
        }
    }
    out.push('\n');
}

fn table(out: &mut String, facts: &Facts, samples: &[Sample], phase: Phase, title: &str) {
    let own = middle(samples, facts.tools[0].name, phase);
    line(out, &format!("## {title}\n"));
    line_of(out, "| tool | wall s | CPU s | peak RSS MiB | new bytes stored MB |");
    line_of(out, "|---|---:|---:|---:|---:|");
    for tool in &facts.tools {
        if let Some(found) = middle(samples, tool.name, phase) {
            row(out, tool.name, found, own);
        }
    }
    if phase == Phase::First
        && let Some(found) = middle(samples, CEILING, Phase::Ceiling)
    {
        row(out, &format!("`{CEILING}`"), found, own);
    }
    out.push('\n');
}

fn row(out: &mut String, name: &str, found: Middle, own: Option<Middle>) {
    let own = own.unwrap_or(found);
    let cell = |value: f64, own: f64, unit: f64, digits: usize| {
        let ratio = if own > 0.0 { format!(" ({:.2}×)", value / own) } else { String::new() };
        format!("{:.digits$}{ratio}", value / unit)
    };
    line_of(
        out,
        &format!(
            "| {name} | {} | {} | {} | {} |",
            cell(found.wall_seconds, own.wall_seconds, 1.0, 2),
            cell(found.cpu_seconds, own.cpu_seconds, 1.0, 2),
            cell(found.peak_bytes, own.peak_bytes, f64::from(1 << 20), 0),
            cell(found.stored_bytes, own.stored_bytes, 1e6, 1),
        ),
    );
}

fn line(out: &mut String, text: &str) {
    line_of(out, text);
    if !text.ends_with('\n') {
        out.push('\n');
    }
}

fn bullet(out: &mut String, text: &str) {
    line_of(out, &format!("- {}", text.replace('\n', " ")));
}

fn line_of(out: &mut String, text: &str) {
    // Writing to a string does not fail.
    let _always = writeln!(out, "{text}");
}

const WANTED: f64 = 1.5;
const AIMED_AT: [Phase; 2] = [Phase::First, Phase::Restore];

const PHASES: [(Phase, &str); 6] = [
    (Phase::First, "First backup"),
    (Phase::Unchanged, "Second backup, nothing changed"),
    (Phase::Changed, "Second backup after a day's changes"),
    (Phase::Restore, "Restore"),
    (Phase::DatabasesFirst, "First backup of the databases alone, in a fresh repository"),
    (Phase::DatabasesChanged, "Databases alone, 2 % of their pages changed"),
];

#[cfg(test)]
mod tests {
    use super::super::figures::ToolFacts;
    use super::*;
    use crate::tool::Usage;

    #[test]
    fn ratios_are_to_the_first_tool_and_zero_divides_nothing() {
        let tool = |name| ToolFacts { name, version: "1".into(), commands: vec!["x".into()] };
        let facts = Facts {
            machine: vec![("cores", "2".into())],
            notes: vec!["one round".into()],
            rounds: 1,
            scale: 1.0,
            seed: 1,
            data: "some".into(),
            tools: vec![tool("a"), tool("b")],
        };
        let sample = |tool, wall_seconds| Sample {
            round: 1,
            tool,
            phase: Phase::First,
            usage: Usage { wall_seconds, cpu_seconds: 1.0, peak_bytes: 1 << 20, parts: vec![] },
            stored_bytes: 0,
        };
        let text = render(&facts, &[sample("a", 2.0), sample("b", 5.0)]);
        assert!(text.contains("| b | 5.00 (2.50×) | 1.00 (1.00×) | 1 (1.00×) | 0.0 |"), "{text}");
        assert!(text.contains("**one round**"));
        assert!(text.contains("| First backup | b | 2.50× | met |"), "{text}");
        let text = render(&facts, &[sample("a", 2.0), sample("b", 2.99)]);
        assert!(text.contains("| First backup | b | 1.50× | **missed** |"), "{text}");
    }
}
