//! Snapshots on their way to another member, and in.
//!
//! ```text
//!   offset of what is there ─→ header, parts of 256 KiB ─→ incoming-<hash>.part ─→ hash fits
//!                                                             ─→ snapshot-<index> ─→ install
//! ```
//!
//! A transfer that breaks off goes on where it ended: the part file stays, named by the hash. What
//! counts as progress is a part, not the whole: a large snapshot may take its time.

use super::{Lane, Peers, replication::silent, wire};
use crate::{
    raft::{snapshot, types::Vote},
    store::sync_directory,
};
use bytes::Bytes;
use holdfast_common::{Code, Error, Result, limits};
use holdfast_runtime::tasks::Tasks;
use holdfast_wire::{
    status::from_status,
    v1::{self, snapshot_part::Part},
};
use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

const PART_BYTES: usize = limits::STREAM_FRAME_BYTES;
const PARTS_AHEAD: usize = 8;
const PART_PATIENCE: Duration = Duration::from_secs(20);
/// Checking and installing, after the last part.
const INSTALL_PATIENCE: Duration = Duration::from_secs(600);

impl Peers {
    /// Sends a snapshot from where the other side has it; the vote that it answered with.
    pub(super) async fn send_snapshot(
        &self,
        member: u64,
        vote: &Vote,
        path: PathBuf,
    ) -> Result<Vote> {
        let mut raft = self.client(member, Lane::Snapshots).await?;
        let (hash, length) = snapshot::hash_of(&path)?;
        let hash = Bytes::copy_from_slice(&hash);
        let question =
            v1::SnapshotOffsetRequest { header: self.header(member), hash: hash.clone() };
        let asked = tokio::time::timeout(PART_PATIENCE, raft.snapshot_offset(question)).await;
        let answer = asked.map_err(|_| silent(member))?.map_err(|status| from_status(&status))?;
        let offset = answer.into_inner().offset.min(length);
        let head = v1::SnapshotHeader {
            header: self.header(member),
            vote: Some(wire::ballot(vote)),
            hash,
            length,
            offset,
        };
        let (parts, receiver) = mpsc::channel(PARTS_AHEAD);
        let reading = read_parts(path, offset, head, parts);
        let sending = async {
            let answer = raft.send_snapshot(ReceiverStream::new(receiver)).await;
            answer.map_err(|status| from_status(&status)).map(tonic::Response::into_inner)
        };
        let whole = async {
            let (read, sent) = tokio::join!(reading, sending);
            // What the other side said explains better why reading could not go on.
            let answer = sent?;
            read?;
            wire::vote(answer.vote)
        };
        whole.await
    }
}

/// Reads the file and hands its parts on, each within its time.
async fn read_parts(
    path: PathBuf,
    offset: u64,
    head: v1::SnapshotHeader,
    parts: mpsc::Sender<v1::SnapshotPart>,
) -> Result<()> {
    let io = |error: std::io::Error| Error::io("a snapshot cannot be read", &error);
    let tasks = Tasks::new("snapshot");
    hand(&parts, Part::Header(head)).await?;
    let mut file = File::open(&path).map_err(io)?;
    file.seek(SeekFrom::Start(offset)).map_err(io)?;
    loop {
        let (read, rest) = tasks
            .run_blocking("snapshot", move || {
                let mut data = vec![0; PART_BYTES];
                let length = file.read(&mut data).map_err(io)?;
                data.truncate(length);
                Ok((data, file))
            })
            .await?;
        file = rest;
        if read.is_empty() {
            return Ok(());
        }
        hand(&parts, Part::Data(read.into())).await?;
    }
}

async fn hand(parts: &mpsc::Sender<v1::SnapshotPart>, part: Part) -> Result<()> {
    let part = v1::SnapshotPart { part: Some(part) };
    let patience = match &part.part {
        Some(Part::Header(_)) => PART_PATIENCE,
        _ => INSTALL_PATIENCE.min(PART_PATIENCE),
    };
    match tokio::time::timeout(patience, parts.send(part)).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(Error::new(Code::ClusterUnreachable, "a member takes no more of a snapshot")),
    }
}

/// A snapshot that is being received.
pub(crate) struct Incoming {
    part: PathBuf,
    file: File,
    hash: [u8; 32],
    length: u64,
    received: u64,
}

impl Incoming {
    /// How much of the snapshot of this hash is here already.
    pub(crate) fn offset(directory: &Path, hash: &[u8; 32]) -> u64 {
        fs::metadata(part_path(directory, hash)).map_or(0, |found| found.len())
    }

    pub(crate) fn begin(
        directory: &Path,
        hash: [u8; 32],
        length: u64,
        offset: u64,
    ) -> Result<Self> {
        let part = part_path(directory, &hash);
        sweep(directory, &part)?;
        let file = OpenOptions::new().append(true).create(true).open(&part).map_err(unwritable)?;
        let received = file.metadata().map_err(unwritable)?.len();
        if received != offset || offset > length || length > limits::SNAPSHOT_BYTES_MAX {
            return Err(Error::new(Code::UsageMalformed, "a snapshot does not go on where it was"));
        }
        Ok(Self { part, file, hash, length, received })
    }

    pub(crate) fn push(&mut self, data: &[u8]) -> Result<()> {
        self.received += data.len() as u64;
        if self.received > self.length {
            return Err(Error::new(Code::UsageMalformed, "a snapshot is longer than it was said"));
        }
        self.file.write_all(data).map_err(unwritable)
    }

    /// The snapshot under its own name, when it is whole and right. What is wrong is removed.
    pub(crate) fn finish(self, directory: &Path) -> Result<PathBuf> {
        if self.received < self.length {
            return Err(Error::new(Code::ClusterUnreachable, "a snapshot broke off"));
        }
        self.file.sync_all().map_err(unwritable)?;
        let adopted = snapshot::adopt(directory, &self.part, &self.hash);
        if adopted.is_err() {
            drop(fs::remove_file(&self.part));
        }
        sync_directory(directory)?;
        adopted
    }
}

fn part_path(directory: &Path, hash: &[u8; 32]) -> PathBuf {
    directory.join(format!("incoming-{}.part", blake3::Hash::from_bytes(*hash).to_hex()))
}

/// One at a time: what is left of others is not coming back.
fn sweep(directory: &Path, keep: &Path) -> Result<()> {
    for entry in fs::read_dir(directory).map_err(unwritable)? {
        let path = entry.map_err(unwritable)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("incoming-") && path != keep {
            fs::remove_file(&path).map_err(unwritable)?;
        }
    }
    Ok(())
}

fn unwritable(error: std::io::Error) -> Error {
    Error::io("a snapshot cannot be received", &error)
}
