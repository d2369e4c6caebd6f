//! What a member knows of its cluster before it has any of the ledger: `data/cluster`.
//!
//! The same row that the ledger holds: the authority's certificate, and keys that are wrapped. It
//! lets a member that has just joined show who it is, so that the others can bring it the rest; and
//! it says whose data lies in the directory.

use crate::options::Options;
use holdfast_common::{Code, Error, Result, record};
use holdfast_ledger::row::ClusterRow;
use holdfast_runtime::files;
use minicbor::{Decode, Encode};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

const FILE: &str = "cluster";

/// Members by their numbers, and where they can be reached.
pub(crate) type Addresses = BTreeMap<u64, String>;

#[derive(Decode, Encode)]
#[cbor(map)]
struct Seed {
    #[n(0)]
    cluster: ClusterRow,
    /// Where the others were when this one joined.
    #[n(1)]
    peers: Addresses,
}

pub(crate) fn save(data: &Path, cluster: &ClusterRow, peers: &Addresses) -> Result<()> {
    files::write_private(&path(data), &render(cluster, peers))
}

pub(crate) fn load(config: &Options) -> Result<Option<(ClusterRow, Addresses)>> {
    let path = path(&config.data);
    if !path.exists() {
        return Ok(None);
    }
    let (cluster, peers) = parse(&files::read_private(&path)?)?;
    insist_on(config, &cluster)?;
    Ok(Some((cluster, peers)))
}

pub(crate) fn parse(bytes: &[u8]) -> Result<(ClusterRow, Addresses)> {
    let seed: Seed = record::from_bytes("cluster", bytes)?;
    Ok((seed.cluster, seed.peers))
}

pub(crate) fn render(cluster: &ClusterRow, peers: &Addresses) -> Vec<u8> {
    record::to_bytes(&Seed { cluster: cluster.clone(), peers: peers.clone() })
}

/// The data is of the cluster that the configuration names.
pub(crate) fn insist_on(config: &Options, cluster: &ClusterRow) -> Result<()> {
    if cluster.id == config.cluster {
        return Ok(());
    }
    let message = format!("{} holds the data of another cluster", config.data.display());
    Err(Error::new(Code::ConfigMalformed, message)
        .next("name this member's own directory as `data` in coordinator.toml"))
}

fn path(data: &Path) -> PathBuf {
    data.join(FILE)
}
