//! From the locations to the tables: the newest whole snapshot, then every extent after it.
//!
//! A copy that is damaged is taken from another location; what is in none is a gap. Nobody goes on
//! behind a gap: what came after it was decided upon by what is missing.

use super::{
    Blemish,
    line::{Beginnings, Line, Taken},
    source::{Sources, objects},
    unlock::Opening,
};
use crate::{
    raft::Rebuild,
    shipped::{
        extent::{self, Claim},
        snapshot::{self, PartHead},
    },
};
use holdfast_common::{Code, Error, Result, limits};
use holdfast_ledger::StateKv;
use holdfast_repository::layout::{Object, ObjectName};
use std::{collections::BTreeSet, fs::File, io::Write, path::Path};

/// What was read, beside the tables themselves.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// The last entry of the snapshot that it began with.
    pub(crate) snapshot: Option<u64>,
    pub(crate) entries: u64,
    /// The first entry that is missing, and the last one that is known to be.
    pub(crate) missing: Option<(u64, u64)>,
    pub(crate) blemishes: Vec<Blemish>,
}

/// Fills the tables as far as what is there goes on without a gap.
pub(crate) async fn read<K: StateKv>(
    sources: &Sources,
    opening: &Opening,
    rebuild: &mut Rebuild<K>,
    part_file: &Path,
) -> Result<Read> {
    let names = sources.list("cluster/").await?;
    let mut beginnings = Beginnings::default();
    for object in objects(&names) {
        if let Object::Log { epoch, from } = object {
            beginnings.add(u64::from(epoch), from);
        }
    }
    let mut read = Read::default();
    read.snapshot =
        newest_snapshot(sources, opening, (&names, &beginnings), rebuild, part_file, &mut read)
            .await?;
    let mut line = Line::from(rebuild.next());
    let mut lost: Vec<(u64, u64)> = Vec::new();
    for (epoch, from) in beginnings.from(line.next(), limits::EXTENT_ENTRIES_MAX) {
        match extents(sources, opening, (epoch, from), &mut read.blemishes).await? {
            (found, _) if !found.is_empty() => {
                for entries in found {
                    match line.take(entries, beginnings.end_of(epoch))? {
                        Taken::New(new) => {
                            rebuild.replay(epoch, &new)?;
                            read.entries += new.len() as u64;
                        }
                        Taken::Gap(at) => {
                            read.missing = Some((at, from - 1));
                            return Ok(read);
                        }
                    }
                }
            }
            (_, end) => lost.push((from, end)),
        }
    }
    // One that no copy of can be read, and behind which nothing came.
    let end = lost.into_iter().filter(|(_, end)| *end >= line.next()).map(|(_, end)| end).max();
    read.missing = end.map(|end| (line.next(), end));
    if read.snapshot.is_none() && read.entries == 0 && read.missing.is_none() {
        return Err(Error::new(Code::HistoryMissing, "the locations hold no ledger"));
    }
    Ok(read)
}

/// The whole copies of an extent, which may end differently in two locations; and how far it is
/// said to reach, when there is none.
async fn extents(
    sources: &Sources,
    opening: &Opening,
    (epoch, from): (u64, u64),
    blemishes: &mut Vec<Blemish>,
) -> Result<(Vec<Vec<(u64, Vec<u8>)>>, u64)> {
    let claim = Claim { cluster: opening.cluster, epoch, from };
    let key = opening.recovery.log_key();
    let name = ObjectName::log(u32::try_from(epoch).unwrap_or(u32::MAX), from);
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    // A name is anybody's who writes in a location: it may say any number.
    let most = from.saturating_add(limits::EXTENT_ENTRIES_MAX - 1);
    let mut end = 0;
    for source in sources.iter() {
        let bytes = match source.get(&name, 2 * limits::EXTENT_BYTES_MAX).await {
            Ok(bytes) => bytes,
            Err(error) if error.code == Code::ObjectMissing => continue,
            Err(error) => {
                blemishes.push(Blemish::of(source, &name, &error));
                continue;
            }
        };
        if !seen.insert(*blake3::hash(&bytes).as_bytes()) {
            continue;
        }
        match extent::open(&key, &claim, &bytes) {
            Ok(entries) => found.push(entries),
            Err(error) => {
                insist_on_cluster(opening, extent::cluster_of(&bytes).ok())?;
                let said = extent::claimed_end(&bytes, &opening.cluster);
                end = end.max(said.unwrap_or(most));
                blemishes.push(Blemish::of(source, &name, &error));
            }
        }
    }
    // One that vanished since it was listed, or whose only copies cannot be read.
    let end = if end == 0 { most } else { end };
    Ok((found, end))
}

/// Another cluster's objects are no damage: somebody named the wrong location.
fn insist_on_cluster(opening: &Opening, found: Option<holdfast_common::ClusterId>) -> Result<()> {
    match found {
        Some(found) if found != opening.cluster => {
            let ours = opening.cluster;
            let message = format!("the location holds the ledger of cluster {found}, not {ours}");
            Err(Error::new(Code::VaultForeign, message)
                .next("name a location of the cluster that the key or the bundle is of"))
        }
        _ => Ok(()),
    }
}

/// Installs the newest snapshot of which all parts are there and fit.
async fn newest_snapshot<K: StateKv>(
    sources: &Sources,
    opening: &Opening,
    (names, beginnings): (&BTreeSet<ObjectName>, &Beginnings),
    rebuild: &mut Rebuild<K>,
    part_file: &Path,
    read: &mut Read,
) -> Result<Option<u64>> {
    let mut known = BTreeSet::new();
    for object in objects(names) {
        if let Object::Snapshot { epoch, index, .. } = object
            && index < beginnings.end_of(u64::from(epoch))
        {
            known.insert((index, epoch));
        }
    }
    for (index, epoch) in known.into_iter().rev() {
        let parts = snapshot_into(sources, opening, (epoch, index), part_file, read).await?;
        let Some(parts) = parts else { continue };
        match rebuild.install(part_file, u64::from(epoch)) {
            Ok(()) if rebuild.next() == index + 1 => return Ok(Some(index)),
            Ok(()) => return Err(Error::new(Code::LogDamaged, "a snapshot is of another entry")),
            Err(error) if error.code == Code::LogDamaged => {
                tracing::warn!(%error, index, parts, "a shipped snapshot does not fit together");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Puts the parts of a snapshot end to end; nothing when one of them is in no location.
async fn snapshot_into(
    sources: &Sources,
    opening: &Opening,
    (epoch, index): (u32, u64),
    part_file: &Path,
    read: &mut Read,
) -> Result<Option<u32>> {
    let unwritten = |error| Error::io("a snapshot cannot be put together", &error);
    let mut file = File::create(part_file).map_err(unwritten)?;
    let key = opening.recovery.snapshot_key();
    let (mut part, mut parts) = (0, 1);
    while part < parts {
        let name = ObjectName::snapshot(epoch, index, part);
        let open = |bytes: bytes::Bytes| {
            insist_on_cluster(opening, PartHead::parse(&bytes).ok().map(|head| head.cluster))?;
            let (head, piece) = snapshot::open(&key, &bytes)?;
            let expected = PartHead {
                cluster: opening.cluster,
                epoch: u64::from(epoch),
                index,
                part,
                parts: head.parts,
            };
            match head == expected && (part == 0 || head.parts == parts) {
                true => Ok((head.parts, piece)),
                false => Err(Error::new(Code::LogDamaged, "it is another part")),
            }
        };
        let bytes_max = 2 * limits::SHIPPED_PART_BYTES;
        let found = sources.find(&name, bytes_max, &mut read.blemishes, open).await?;
        let Some((count, piece)) = found else { return Ok(None) };
        file.write_all(&piece).map_err(unwritten)?;
        (part, parts) = (part + 1, count);
    }
    file.sync_all().map_err(unwritten)?;
    Ok(Some(parts))
}
