//! One file of our own index: a sorted table, mapped.
//!
//! ```text
//!   packs × 64 │ rows × 48 │ segments × 16 │ trailer │ BLAKE3 of all before
//! ```
//!
//! The tables are those of a segment (format §9), in plain, and may have any number of rows. The
//! segments are those whose rows are here, so that they are not fetched from a location again.
//! Chunk ids and places are what coordinators may know; nothing else is here. A file that names a
//! pack has all of its rows, so any file may be lost without leaving a pack known by half. Written
//! under a temporary name, synced and renamed; never changed afterwards.

use holdfast_common::{
    ChunkId, Code, Entropy, Error, PackId, Result, SegmentId, VaultId, limits::KIB,
};
use holdfast_repository::segment::{ChunkLocation, Fold, SegmentHeader, SegmentRows};
use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
};

/// The beginning of the name of a file that is being written.
pub(super) const PART: &str = "part-";

pub(super) struct IndexFile {
    path: PathBuf,
    map: memmap2::Mmap,
    tables: SegmentHeader,
    segments: usize,
}

impl IndexFile {
    /// Opens a file after reading it through: its hash is right.
    pub(super) fn open(vault: &VaultId, path: PathBuf) -> Result<Self> {
        let mut file = File::open(&path).map_err(io("an index file cannot be opened"))?;
        let map = map(&file)?;
        // Read, not looked at through the map: what is mapped in counts as our memory.
        let mut hasher = blake3::Hasher::new();
        let body = map.len().checked_sub(HASH_BYTES).ok_or_else(|| damaged("it is too short"))?;
        let mut rest = Read::by_ref(&mut file).take(body as u64);
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match rest.read(&mut buffer).map_err(io("an index file cannot be read"))? {
                0 => break,
                read => hasher.update(&buffer[..read]),
            };
        }
        if hasher.finalize().as_bytes() != &map[body..] {
            return Err(damaged("its hash does not fit"));
        }
        let (tables, segments) = parse_trailer(vault, &map[..body])?;
        Ok(Self { path, map, tables, segments })
    }

    /// Writes all rows of several tables, which hold what the `segments` hold.
    pub(super) fn write(
        vault: &VaultId,
        directory: &Path,
        inputs: Vec<SegmentRows<'_>>,
        mut segments: Vec<SegmentId>,
        entropy: &dyn Entropy,
        is_stopping: &dyn Fn() -> bool,
    ) -> Result<Self> {
        segments.sort_unstable();
        segments.dedup();
        let name = SegmentId::random(entropy);
        let part = directory.join(format!("{PART}{name}"));
        let written = write_part(vault, &part, inputs, &segments, is_stopping);
        let path = directory.join(name.to_string());
        let renamed = written.and_then(|()| {
            fs::rename(&part, &path).map_err(io("an index file cannot be renamed"))?;
            crate::store::sync_directory(directory)
        });
        if let Err(error) = renamed {
            // What cannot be removed either goes at the next start.
            let _ = fs::remove_file(&part);
            return Err(error);
        }
        Self::open(vault, path)
    }

    pub(super) fn len(&self) -> usize {
        self.tables.rows as usize
    }

    pub(super) fn rows(&self) -> Result<SegmentRows<'_>> {
        SegmentRows::new(&self.tables, &self.map[..self.tables.plain_bytes()])
    }

    pub(super) fn find(&self, chunk: &ChunkId, found: &mut Vec<ChunkLocation>) -> Result<()> {
        for place in self.rows()?.lookup(chunk) {
            found.push(place?);
        }
        Ok(())
    }

    pub(super) fn knows(&self, pack: &PackId) -> bool {
        self.rows().is_ok_and(|rows| rows.names(pack))
    }

    pub(super) fn chunks_in(&self, pack: &PackId, found: &mut Vec<ChunkId>) -> Result<()> {
        found.extend(self.rows()?.chunks_in(pack));
        Ok(())
    }

    /// The segments whose rows are here, in order.
    pub(super) fn segments(&self) -> impl ExactSizeIterator<Item = SegmentId> + '_ {
        self.segment_bytes().iter().map(|bytes| SegmentId::from_bytes(*bytes))
    }

    pub(super) fn covers(&self, segment: &SegmentId) -> bool {
        self.segment_bytes().binary_search(segment.as_bytes()).is_ok()
    }

    fn segment_bytes(&self) -> &[[u8; SEGMENT_BYTES]] {
        let start = self.tables.plain_bytes();
        self.map[start..start + self.segments * SEGMENT_BYTES].as_chunks().0
    }

    pub(super) fn is_at(&self, path: &Path) -> bool {
        self.path == path
    }

    pub(super) fn remove(&self) -> Result<()> {
        fs::remove_file(&self.path).map_err(io("an old index file stays"))
    }
}

/// Bytes on their way into a file, hashed as they go.
struct Writer {
    file: File,
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
}

impl Writer {
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.hasher.update(&self.buffer);
        self.file.write_all(&self.buffer).map_err(io("an index file cannot be written"))?;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        self.flush()?;
        let hash = *self.hasher.finalize().as_bytes();
        let ended = self.file.write_all(&hash).and_then(|()| self.file.sync_data());
        ended.map_err(io("an index file cannot be written"))
    }
}

fn write_part(
    vault: &VaultId,
    part: &Path,
    inputs: Vec<SegmentRows<'_>>,
    segments: &[SegmentId],
    is_stopping: &dyn Fn() -> bool,
) -> Result<()> {
    let file = File::options().read(true).write(true).create_new(true).open(part);
    let file = file.map_err(io("an index file cannot be made"))?;
    let hasher = blake3::Hasher::new();
    let mut writer = Writer { file, hasher, buffer: Vec::with_capacity(BUFFER_BYTES + KIB) };
    let fold = Fold::of(inputs);
    let packs = fold.packs(&mut |bytes| writer.push(bytes))?;
    writer.flush()?;
    // Rows look their packs up in what was just written, however much it is.
    let written = if packs == 0 { None } else { Some(map(&writer.file)?) };
    let mut countdown = ROWS_BETWEEN_LOOKS;
    let rows = fold.rows(written.as_deref().unwrap_or_default(), &mut |bytes| {
        countdown -= 1;
        if countdown == 0 {
            countdown = ROWS_BETWEEN_LOOKS;
            if is_stopping() {
                return Err(Error::new(Code::RunCancelled, "the process is stopping"));
            }
        }
        writer.push(bytes)
    })?;
    for segment in segments {
        writer.push(segment.as_bytes())?;
    }
    writer.push(&trailer(vault, [packs, rows, segments.len() as u32]))?;
    writer.finish()
}

#[expect(unsafe_code, reason = "mapped files: ours alone, never truncated, only appended to")]
fn map(file: &File) -> Result<memmap2::Mmap> {
    // SAFETY: the directory belongs to this process, and bytes that are in a file of it are never
    // changed: a file that is being written grows behind what is mapped, others are whole.
    unsafe { memmap2::Mmap::map(file) }.map_err(io("an index file cannot be mapped"))
}

fn trailer(vault: &VaultId, counts: [u32; 3]) -> [u8; TRAILER_BYTES] {
    let mut out = [0; TRAILER_BYTES];
    out[..8].copy_from_slice(MAGIC);
    out[8..24].copy_from_slice(vault.as_bytes());
    for (field, count) in out[24..].chunks_exact_mut(4).zip(counts) {
        field.copy_from_slice(&count.to_le_bytes());
    }
    out
}

/// The tables that `body` holds, and how many segments they are made of.
fn parse_trailer(vault: &VaultId, body: &[u8]) -> Result<(SegmentHeader, usize)> {
    let short = || damaged("it is too short");
    let (front, found) = body.split_last_chunk::<TRAILER_BYTES>().ok_or_else(short)?;
    let mut counts = [0; 3];
    for (count, field) in counts.iter_mut().zip(found[24..].as_chunks().0) {
        *count = u32::from_le_bytes(*field);
    }
    if *found != trailer(vault, counts) {
        return Err(damaged("it is of another vault or form"));
    }
    let [packs, rows, segments] = counts;
    let (vault, segment) = (*vault, SegmentId::from_bytes([0; 16]));
    let tables = SegmentHeader { vault, segment, packs, rows };
    if front.len() != tables.plain_bytes() + segments as usize * SEGMENT_BYTES {
        return Err(damaged("its tables do not have their lengths"));
    }
    Ok((tables, segments as usize))
}

pub(super) fn io(what: &str) -> impl Fn(std::io::Error) -> Error + '_ {
    move |error| Error::io(what, &error)
}

fn damaged(why: &str) -> Error {
    Error::new(Code::SegmentDamaged, "an index file is damaged").cause(why)
}

const MAGIC: &[u8; 8] = b"HFLI\x01\0\0\0";
const TRAILER_BYTES: usize = 8 + 16 + 3 * 4;
const SEGMENT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
const BUFFER_BYTES: usize = 256 * KIB;
const ROWS_BETWEEN_LOOKS: u32 = 1 << 16;
