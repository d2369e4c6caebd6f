//! The same days with restic or rustic, and its prune with cold caches.

use super::{cluster::insist_on_cold, shape::Shape};
use crate::{
    files,
    tool::{Peer, Repository, Tool, Usage},
};
use holdfast_common::{Code, Error, Result};
use std::path::Path;

/// What a prune took, and by how much the repository shrank at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pruned {
    pub usage: Usage,
    pub stored_bytes: u64,
    pub freed_bytes: u64,
}

/// The first turn of the shape: as many days are forgotten as before the first round.
pub fn play(peer: &Peer, shape: &Shape, dir: &Path) -> Result<Pruned> {
    let store = dir.join(peer.name());
    let mut repository: Box<dyn Repository> = peer.create(&store)?;
    for host in 0..shape.hosts {
        let tree = dir.join(format!("host-{host}"));
        for day in 1..=shape.days {
            shape.write_day(&tree, host, day)?;
            repository.backup(&tree)?;
        }
    }
    peer.keep_last(&store, shape.kept(1)).output()?;
    let before = files::bytes(&repository.stored())?;
    insist_on_cold()?;
    let usage = peer.prune(&store).measure(&store.join("prune.log"))?;
    let after = files::bytes(&repository.stored())?;
    peer.check(&store).output()?;
    let (tree, to) = (dir.join("host-0"), dir.join("restored"));
    files::make_dir(&to)?;
    let (_, back) = repository.restore(&tree, &to)?;
    if files::digest(&back)? != files::digest(&tree)? {
        let message = format!("{} gave back other bytes than it was given", peer.name());
        return Err(Error::new(Code::ChunkDamaged, message));
    }
    // One that marks first and deletes a day later, as Holdfast does, has freed nothing yet.
    let freed_bytes = before.saturating_sub(after);
    Ok(Pruned { usage, stored_bytes: before, freed_bytes })
}
