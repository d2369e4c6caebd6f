//! What a coordinator reads from its disk, from a location and from a call, parsed without a house.
//!
//! Everything here is bytes in, values out: the fuzzer knocks on these doors, and whoever looks at
//! a file of a cluster that does not run may do the same. The code behind each is the one that the
//! running coordinator uses.

/// What another member says of the log or of an election, parsed and said anew.
pub use crate::raft::MemberMessage;
use crate::{
    api,
    cluster::seed,
    options::Options,
    raft,
    region::{Claim, Epoch, Intent, Standing},
    shipped::ship,
    shipped::{extent, snapshot::PartHead},
};
use holdfast_common::{ClusterId, Result, Secret, record};
use holdfast_ledger::MemoryKv;
use holdfast_wire::{parse, v1};
use std::path::Path;

/// `coordinator.toml`, as it would be written anew.
pub fn config(text: &str, path: &Path) -> Result<String> {
    Options::parse(text, path)?.render()
}

/// The last index of an extent of the shipped log. Its sealed part is not opened.
pub fn log_extent(extent: &[u8], cluster: &ClusterId) -> Result<u64> {
    ship::reach_of(extent, cluster)
}

/// How many entries an opened extent holds that says to hold those from `from` to `to`.
pub fn extent_entries(plaintext: &[u8], from: u64, to: u64) -> Result<usize> {
    extent::entries(plaintext, from, to).map(|entries| entries.len())
}

/// Which part of how many, of a shipped snapshot. Its sealed part is not opened.
pub fn snapshot_part(bytes: &[u8]) -> Result<(u32, u32)> {
    PartHead::parse(bytes).map(|head| (head.part, head.parts))
}

/// What a claimed epoch says, in its stored form.
pub fn epoch_claim(bytes: &[u8], cluster: &ClusterId, key: &Secret<32>) -> Result<Vec<u8>> {
    Claim::open(bytes, cluster, key).map(|claim| record::to_bytes(&claim))
}

/// Where a member stands, as it would be written anew.
pub fn standing(bytes: &[u8]) -> Result<Vec<u8>> {
    record::from_bytes::<Standing>("epoch", bytes).map(|read| record::to_bytes(&read))
}

/// A member's intent to lead a new epoch, as it would be written anew.
pub fn promotion(bytes: &[u8]) -> Result<Vec<u8>> {
    record::from_bytes::<Intent>("promotion", bytes).map(|read| record::to_bytes(&read))
}

/// What a member knows of its cluster before it has any of the ledger, as it would be written anew.
pub fn member_seed(bytes: &[u8]) -> Result<Vec<u8>> {
    seed::parse(bytes).map(|(cluster, peers)| seed::render(&cluster, &peers))
}

/// The epoch that another member tells of, as it would be told on.
pub fn epoch(told: &v1::EpochInForce) -> Result<Option<v1::EpochInForce>> {
    Epoch::from_wire(Some(told)).map(|epoch| epoch.to_wire())
}

/// An entry of the log, as it would be written anew.
pub fn log_entry(bytes: &[u8]) -> Result<Vec<u8>> {
    raft::entry_written_anew(bytes)
}

/// A declared resource, checked and told as the ledger would hold it.
pub fn resource(resource: &v1::Resource) -> Result<v1::Resource> {
    let spec = parse::required("a spec", resource.spec.as_ref())?;
    api::preview(&parse::name(&resource.name)?, spec)
}

/// The rows of a snapshot without the hash at its end.
pub fn snapshot(bytes: &[u8]) -> Result<MemoryKv> {
    let tables = MemoryKv::default();
    raft::fill_from_snapshot(&mut { bytes }, &tables)?;
    Ok(tables)
}
