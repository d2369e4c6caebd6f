//! The report: what was measured, on what, and what must be known to read it.

use super::{
    cluster::{Played, Round},
    peers::Pruned,
    shape::Shape,
};
use crate::{
    arguments::CollectionOptions,
    machine,
    side::median,
    tool::{Holdfast, Peer, Tool},
};
use holdfast_common::Result;
use std::fmt::Write;

pub struct Told<'a> {
    pub options: &'a CollectionOptions,
    pub tool: &'a Holdfast,
    pub large: (&'a Shape, &'a Played),
    pub small: &'a Played,
}

impl Told<'_> {
    pub fn text(&self, small: &Shape, pruned: &[(Peer, Pruned)]) -> Result<String> {
        let (shape, played) = self.large;
        let mut out = String::from("# Collection\n\nWritten by `holdfast-bench collection`.\n\n");
        for (what, said) in machine::facts(&self.options.work)? {
            line(&mut out, &format!("- {what}: {said}"));
        }
        line(&mut out, &format!("- {}", self.tool.version()?));
        for note in &self.options.note {
            line(&mut out, &format!("- {note}"));
        }
        line(&mut out, &format!("\n## {} chunks in {} points\n", shape.chunks(), shape.points()));
        line(
            &mut out,
            &format!(
                "{shape}. {:.1} GB, made by {} backups in {:.0} minutes. At the end {} points are \
                 left: all of their objects are there with the bytes that they must have, and one \
                 of them was restored and compared.\n",
                gigabytes(played.stored_bytes),
                shape.points(),
                played.made_seconds / 60.0,
                played.points_left
            ),
        );
        line(&mut out, HEAD_OF_ROUNDS);
        for (name, round) in rounds(played) {
            line(&mut out, &row(&name, round));
        }
        beside(&mut out, played);
        line(&mut out, &format!("\n## Beside others\n\n{small}.\n"));
        line(&mut out, "| | s | peak MiB | stored GB | given up |\n|---|---:|---:|---:|---|");
        if let Some(round) = self.small.rounds.first() {
            let cells = [
                "Holdfast: `collect`; the coordinator's peak".to_owned(),
                format!("{:.1}", round.seconds),
                mebibytes(round.coordinator_bytes),
                format!("{:.2}", gigabytes(self.small.stored_bytes)),
                format!("{} packs, {:.1} MB", round.doomed, round.doomed_bytes as f64 / 1e6),
            ];
            line(&mut out, &format!("| {} |", cells.join(" | ")));
        }
        for (peer, cost) in pruned {
            let cells = [
                format!("{}: `prune`", peer.version()?),
                format!("{:.1}", cost.usage.wall_seconds),
                mebibytes(cost.usage.peak_bytes),
                format!("{:.2}", gigabytes(cost.stored_bytes)),
                format!("{:.1} MB freed at once", cost.freed_bytes as f64 / 1e6),
            ];
            line(&mut out, &format!("| {} |", cells.join(" | ")));
        }
        line(&mut out, WHAT_DIFFERS);
        Ok(out)
    }
}

fn rounds(played: &Played) -> Vec<(String, &Round)> {
    let mut all = Vec::new();
    for (number, (alone, pair)) in (1..).zip(played.rounds.iter().zip(&played.pairs)) {
        all.push((format!("{number}, alone"), alone));
        all.push((format!("{number}, with a backup beside it"), &pair.round));
    }
    all
}

fn row(name: &str, round: &Round) -> String {
    format!(
        "| {name} | {:.1} | {} | {} | {} | {:.1} |",
        round.seconds,
        mebibytes(round.coordinator_bytes),
        round.doomed,
        round.repacked,
        round.doomed_bytes as f64 / 1e6
    )
}

fn beside(out: &mut String, played: &Played) {
    line(out, "\n| backup | alone s | beside a round s | ratio |\n|---|---:|---:|---:|");
    let (mut alone, mut beside, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for (number, pair) in (1..).zip(&played.pairs) {
        let (one, other) = (pair.alone.wall_seconds, pair.beside.wall_seconds);
        line(out, &format!("| {number} | {one:.1} | {other:.1} | {:.2}× |", other / one));
        alone.push(one);
        beside.push(other);
        ratios.push(other / one);
    }
    if let (Some(one), Some(other), Some(ratio)) = (median(alone), median(beside), median(ratios)) {
        line(out, &format!("| median | {one:.1} | {other:.1} | **{ratio:.2}×** |"));
    }
}

fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

fn mebibytes(bytes: u64) -> String {
    bytes.div_ceil(1 << 20).to_string()
}

fn line(out: &mut String, text: &str) {
    let _infallible = writeln!(out, "{text}");
}

const HEAD_OF_ROUNDS: &str = "\
| round | s | coordinator's peak MiB | packs given up | of these packed anew | MB given up |
|---|---:|---:|---:|---:|---:|";

const WHAT_DIFFERS: &str = "
Before each round, each prune and each backup beside a round everything was stopped, the kernel's
caches were dropped, and Holdfast's services were started anew; that start is not measured. A round
is over when its packs are given up: their objects go a day later. A round that began after a backup
did waits for it, so what a round with a backup beside it took is at least what that took. restic
deletes at once and locks backups out meanwhile; rustic marks first, and deletes by a later prune.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{collection::cluster::Pair, tool::Usage};

    #[test]
    fn the_ratio_is_the_median_of_the_pairs_and_not_of_their_sums() {
        let took = |wall_seconds| Usage { wall_seconds, ..Usage::default() };
        let pair = |alone, beside| Pair {
            alone: took(alone),
            beside: took(beside),
            round: Round::default(),
        };
        let pairs = vec![pair(1.0, 1.5), pair(10.0, 11.0), pair(2.0, 2.4)];
        let mut out = String::new();
        beside(&mut out, &Played { pairs, ..Played::default() });
        assert!(out.contains("| 1 | 1.0 | 1.5 | 1.50× |"), "{out}");
        assert!(out.ends_with("| median | 2.0 | 2.4 | **1.20×** |\n"), "{out}");
    }
}
