//! What a round of collection costs, and what it costs a backup that runs beside it.
//!
//! ```text
//!   hosts × days: trees of small files, of which a slice is written anew daily ─▶ as many points
//!   each turn: some days are forgotten ─▶ everything anew, caches cold ─▶ a round, alone
//!              some more               ─▶ a backup alone ─▶ another one, beside a round
//!   the same with fewer files, beside restic's and rustic's prune
//! ```
//!
//! Every point is made by a backup, every segment and reach lies in the location: nothing is put
//! past the product. No figure is written unless every round gave packs up, and what is left
//! verifies and restores.

mod cluster;
mod peers;
mod report;
mod shape;

use crate::{
    arguments::CollectionOptions,
    files, say,
    tool::{Holdfast, Peer, Tool},
};
use cluster::Played;
use holdfast_common::Result;
use peers::Pruned;
use shape::Shape;
use std::path::Path;

/// Of the peers' vault: enough for every day to be a point worth forgetting.
const PEER_POINTS: u64 = 20;

/// Measures, checks, and writes a report.
pub fn run(options: &CollectionOptions) -> Result<()> {
    let work = std::path::absolute(&options.work)
        .map_err(|error| files::failed("find", &options.work, &error))?
        .join("collection");
    let tool = Holdfast::beside_this_program()?;
    let large = Shape::of(options.chunks, options.points, options.pairs)?;
    let small = Shape::of(options.peer_files, PEER_POINTS, 1)?;
    let mut peers = Vec::with_capacity(options.peers.len());
    for name in &options.peers {
        peers.push(Peer::find(*name, &options.peer_bin)?);
    }
    files::remove_dir(&work)?;
    say(&format!("the vault: {large}"));
    let played = play(&tool, &large, &work)?;
    say(&format!("beside the peers: {small}"));
    let beside = play(&tool, &small, &work)?;
    let mut pruned: Vec<(Peer, Pruned)> = Vec::with_capacity(peers.len());
    for peer in peers {
        say(&format!("{}: {small}", peer.name()));
        let cost = fresh(&work, |dir| peers::play(&peer, &small, dir))?;
        pruned.push((peer, cost));
    }
    let told = report::Told { options, tool: &tool, large: (&large, &played), small: &beside };
    let text = told.text(&small, &pruned)?;
    std::fs::write(&options.report, text)
        .map_err(|error| files::failed("write", &options.report, &error))
}

fn play(tool: &Holdfast, shape: &Shape, work: &Path) -> Result<Played> {
    fresh(work, |dir| cluster::play(tool, shape, dir))
}

/// In a directory that is made for it, and removed whatever comes of it.
fn fresh<T>(dir: &Path, play: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    files::make_dir(dir)?;
    let played = play(dir);
    files::remove_dir(dir)?;
    played
}
