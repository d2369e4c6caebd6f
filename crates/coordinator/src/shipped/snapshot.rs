//! Snapshots of the ledger in the locations: without them a recovery would have to apply the log
//! from its very first entry.
//!
//! ```text
//!   a snapshot file ─→ pieces of 8 MiB ─→ parts, each sealed and saying how many there are
//! ```
//!
//! A snapshot is whole when all its parts are there and the file they make fits its own hash. Two
//! leaders that ship one of the same index put the same pieces, so that a part that is there is
//! looked at and left. Shipped by the leader, now and then; and before anything else after a
//! recovery, because the log before it does not lead there, and where a location was taken in place
//! of lost ones, because the log in it may have a gap.

use crate::{house::House, shipped::ship};
use bytes::Bytes;
use holdfast_common::{ClusterId, Code, Entropy, Error, Result, Secret, limits};
use holdfast_keyring::aead;
use holdfast_ledger::{Actor, Query, command::NoteSnapshot, row::VaultRow};
use holdfast_repository::layout::ObjectName;
use std::{
    fs::File,
    io::Read,
    os::unix::fs::FileExt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

const MAGIC: &[u8; 8] = b"HFLS\x01\0\0\0";
const HEADER_BYTES: usize = 8 + 16 + 8 + 8 + 4 + 4;
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(2);

/// Which part of which snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartHead {
    pub(crate) cluster: ClusterId,
    pub(crate) epoch: u64,
    /// The last entry that the snapshot holds.
    pub(crate) index: u64,
    pub(crate) part: u32,
    pub(crate) parts: u32,
}

impl PartHead {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let header = bytes.first_chunk::<HEADER_BYTES>().ok_or_else(damaged)?;
        let (magic, rest) = header.split_at(8);
        let (cluster, rest) = rest.split_at(16);
        let word = |at: usize| -> [u8; 8] { std::array::from_fn(|i| rest[at + i]) };
        let half = |at: usize| -> [u8; 4] { std::array::from_fn(|i| rest[at + i]) };
        let head = Self {
            cluster: ClusterId::from_slice(cluster)?,
            epoch: u64::from_le_bytes(word(0)),
            index: u64::from_le_bytes(word(8)),
            part: u32::from_le_bytes(half(16)),
            parts: u32::from_le_bytes(half(20)),
        };
        if magic != MAGIC || head.part >= head.parts || head.parts > PARTS_MAX {
            return Err(damaged());
        }
        Ok(head)
    }

    fn to_bytes(self) -> Vec<u8> {
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(self.cluster.as_bytes());
        header.extend_from_slice(&self.epoch.to_le_bytes());
        header.extend_from_slice(&self.index.to_le_bytes());
        header.extend_from_slice(&self.part.to_le_bytes());
        header.extend_from_slice(&self.parts.to_le_bytes());
        header
    }
}

pub(crate) fn seal(key: &Secret<32>, head: PartHead, piece: &[u8], chance: &dyn Entropy) -> Bytes {
    let header = head.to_bytes();
    let field = aead::seal(key.expose(), &header, piece, chance);
    Bytes::from([header, field].concat())
}

/// The piece of a part, and which one it is.
pub(crate) fn open(key: &Secret<32>, bytes: &[u8]) -> Result<(PartHead, Vec<u8>)> {
    let head = PartHead::parse(bytes)?;
    let (header, field) = bytes.split_at(HEADER_BYTES);
    let piece = aead::open(key.expose(), header, field).map_err(|error| damaged().cause(error))?;
    Ok((head, piece))
}

/// The reconciler: has a snapshot in the locations whenever one is due, on the leader.
pub(crate) async fn keep(
    house: Arc<House>,
    key: Secret<32>,
    shutdown: CancellationToken,
) -> Result<()> {
    let mut applied = house.ledger.applied();
    loop {
        if house.ledger.leads()
            && let Err(error) = look(&house, &key).await
        {
            tracing::warn!(%error, "no snapshot could be shipped; trying again");
            tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
        }
        // What is owed keeps everybody waiting; anything else has time.
        let owed = is_owed(house.ledger.query()).unwrap_or(false);
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            changed = applied.changed(), if owed => if changed.is_err() { return Ok(()) },
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
}

/// The locations hold nothing that the log goes on from.
pub(crate) fn is_owed(query: Query<'_>) -> Result<bool> {
    let shipped = query.shipped_snapshot()?.map_or(0, |shipped| shipped.index);
    Ok(shipped < begun_at(query)?)
}

/// The first entry that a snapshot must show: after a recovery, and where the log goes to a
/// location that followed and may have a gap before that.
fn begun_at(query: Query<'_>) -> Result<u64> {
    let recovered = query.recoveries()?.pop().map_or(0, |recovery| recovery.base);
    let gap = query.epoch()?.and_then(|epoch| epoch.gap);
    Ok(recovered.max(gap.unwrap_or(0)))
}

fn is_due(house: &House) -> Result<bool> {
    let query = house.ledger.query();
    if is_owed(query)? {
        return Ok(true);
    }
    let shipped = query.shipped_snapshot()?;
    if house.shipping.gap.load(Ordering::Relaxed) > shipped.map_or(0, |shipped| shipped.index) {
        return Ok(true);
    }
    let new = *house.ledger.applied().borrow() - shipped.map_or(0, |shipped| shipped.index);
    let since = match shipped {
        Some(shipped) => shipped.when,
        None => query.cluster()?.created,
    };
    let age_max = Duration::from_secs(limits::SHIPPED_SNAPSHOT_SECS);
    let is_old = house.ledger.now().since(since) >= age_max;
    Ok(new >= limits::SHIPPED_SNAPSHOT_TIMES * house.ledger.snapshot_every()
        || (is_old && new >= limits::SHIPPED_SNAPSHOT_ENTRIES_MIN))
}

async fn look(house: &House, key: &Secret<32>) -> Result<()> {
    if !is_due(house)? {
        return Ok(());
    }
    let vault = ship::catalog_vault(house)?;
    let since = begun_at(house.ledger.query())?.max(house.shipping.gap.load(Ordering::Relaxed));
    let (index, file) = house.ledger.snapshot_of_now(since).await?;
    ship_file(house, key, &vault, (index, Arc::new(file))).await?;
    house.ledger.propose(Actor::System, NoteSnapshot { index }).await?;
    tracing::info!(index, "a snapshot of the ledger lies in the locations");
    house.shipping.hurry();
    Ok(())
}

async fn ship_file(
    house: &House,
    key: &Secret<32>,
    vault: &VaultRow,
    (index, file): (u64, Arc<File>),
) -> Result<()> {
    let unread = |error| Error::io("a snapshot cannot be read", &error);
    let length = file.metadata().map_err(unread)?.len();
    let parts = length.div_ceil(limits::SHIPPED_PART_BYTES as u64).max(1);
    let parts = u32::try_from(parts).unwrap_or(u32::MAX);
    if parts > PARTS_MAX {
        return Err(Error::new(Code::LimitExceeded, "the ledger is too large to be shipped"));
    }
    let (cluster, epoch) = (house.cluster, u64::from(ship::epoch(house)?));
    for part in 0..parts {
        house.ledger.peers().insist_on_epoch()?;
        let head = PartHead { cluster, epoch, index, part, parts };
        let file = file.clone();
        let read = move || piece_of(&file, part).map_err(unread);
        let piece = house.tasks.run_blocking("snapshot", read).await?;
        ship_part(house, key, vault, head, &piece).await?;
    }
    Ok(())
}

fn piece_of(file: &File, part: u32) -> std::io::Result<Vec<u8>> {
    let start = u64::from(part) * limits::SHIPPED_PART_BYTES as u64;
    let mut piece = Vec::new();
    At(file, start).take(limits::SHIPPED_PART_BYTES as u64).read_to_end(&mut piece)?;
    Ok(piece)
}

/// A file read from somewhere on, without a place that others would move.
struct At<'a>(&'a File, u64);

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.0.read_at(buffer, self.1)?;
        self.1 += read as u64;
        Ok(read)
    }
}

async fn ship_part(
    house: &House,
    key: &Secret<32>,
    vault: &VaultRow,
    head: PartHead,
    piece: &[u8],
) -> Result<()> {
    house.places.prove_all(vault).await?;
    let object = ObjectName::snapshot(ship::epoch(house)?, head.index, head.part);
    let name = object.as_str().parse()?;
    let mut sealed = None;
    for (location, store) in house.places.required(vault).await? {
        if store.head(&name).await?.is_some() {
            let there = store.get(&name, limits::SHIPPED_PART_BYTES * 2).await?;
            // Chance makes a part that is sealed again differ: what it says is what counts.
            if open(key, &there).is_ok_and(|(its, says)| its == head && says == piece) {
                continue;
            }
            let message = format!("`{location}` holds another {object}");
            return Err(Error::new(Code::ObjectConflict, message));
        }
        let sealed = sealed.get_or_insert_with(|| seal(key, head, piece, house.entropy.as_ref()));
        store.put_new(&name, sealed.clone()).await?;
    }
    Ok(())
}

fn damaged() -> Error {
    Error::new(Code::LogDamaged, "a part of a shipped snapshot is damaged")
}

/// Parts of the largest snapshot that members take from each other.
const PARTS_MAX: u32 = (limits::SNAPSHOT_BYTES_MAX / limits::SHIPPED_PART_BYTES as u64) as u32;

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_keyring::ClusterRecoveryKey;

    struct Counting;

    impl Entropy for Counting {
        fn fill(&self, out: &mut [u8]) {
            (0..).zip(out).for_each(|(count, byte)| *byte = count);
        }
    }

    fn key() -> Secret<32> {
        ClusterRecoveryKey::from_secret(Secret::take(&mut [9; 32])).snapshot_key()
    }

    fn head() -> PartHead {
        let cluster = ClusterId::from_bytes([7; 16]);
        PartHead { cluster, epoch: 1, index: 300, part: 1, parts: 3 }
    }

    /// Format §12. Never edited: a form that changes gets a version and a file of its own.
    #[test]
    fn a_part_of_the_first_version_is_written_and_read() {
        let golden = include_str!("../../tests/golden/snapshot-part.hex");
        let digits: Vec<u8> = golden.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        let golden: Vec<u8> = digits.chunks(2).map(byte).collect();
        let now = seal(&key(), head(), b"a piece of a snapshot", &Counting);
        let shown: String = now.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(now == golden, "snapshot-part.hex would now be {shown}");
        assert_eq!(open(&key(), &golden).unwrap(), (head(), b"a piece of a snapshot".to_vec()));
    }

    #[test]
    fn no_byte_of_a_part_can_be_changed_unseen() {
        let good = seal(&key(), head(), b"a piece", &Counting);
        for at in 0..good.len() {
            let mut bad = good.to_vec();
            bad[at] ^= 1;
            assert_eq!(open(&key(), &bad).unwrap_err().code, Code::LogDamaged, "{at}");
            assert!(open(&key(), &good[..at]).is_err(), "{at}");
        }
    }

    #[test]
    fn the_pieces_of_a_file_are_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("snapshot");
        let bytes: Vec<u8> =
            (0..limits::SHIPPED_PART_BYTES + 70).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let file = File::open(&path).unwrap();
        let pieces = [piece_of(&file, 0).unwrap(), piece_of(&file, 1).unwrap()];
        assert_eq!(pieces[0].len(), limits::SHIPPED_PART_BYTES);
        assert!(pieces.concat() == bytes);
    }
}
