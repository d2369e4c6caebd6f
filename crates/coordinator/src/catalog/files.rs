//! Segments in our own directory, plain and mapped: `header ‖ plaintext ‖ BLAKE3`.
//!
//! They hold chunk ids and places, which coordinators may know, and nothing else. Written under a
//! temporary name and renamed; not synced, because a lost one is made again.

use holdfast_common::{ChunkId, Entropy, Error, PackId, Result, SegmentId, VaultId};
use holdfast_repository::segment::{
    ChunkLocation, SegmentBuilder, SegmentHeader, SegmentRows, SegmentTable, merge as merge_rows,
};
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

const HASH_BYTES: usize = 32;

pub(super) struct SegmentFile {
    path: PathBuf,
    map: memmap2::Mmap,
    header: SegmentHeader,
    packs: Vec<PackId>,
}

fn io(what: &str) -> impl Fn(std::io::Error) -> Error + '_ {
    move |error| Error::io(what, &error)
}

pub(super) fn open_all(vault: &VaultId, directory: &Path) -> Result<Vec<SegmentFile>> {
    fs::create_dir_all(directory).map_err(io("the index directory cannot be made"))?;
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(io("the index cannot be listed"))? {
        let path = entry.map_err(io("the index cannot be listed"))?.path();
        match SegmentFile::open(vault, path.clone()) {
            Ok(file) => files.push(file),
            Err(error) => {
                tracing::warn!(%error, "an index file is damaged; it is made again");
                fs::remove_file(&path).map_err(io("a damaged index file cannot be removed"))?;
            }
        }
    }
    Ok(files)
}

impl SegmentFile {
    pub(super) fn write(vault: &VaultId, directory: &Path, table: &SegmentTable) -> Result<Self> {
        let header = table.header().to_bytes();
        let path = directory.join(table.header().segment.to_string());
        let temporary = directory.join("part");
        let mut hasher = blake3::Hasher::new();
        hasher.update(&header).update(table.plaintext());
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&temporary)?;
            file.write_all(&header)?;
            file.write_all(table.plaintext())?;
            file.write_all(hasher.finalize().as_bytes())?;
            fs::rename(&temporary, &path)
        };
        write().map_err(io("an index file cannot be written"))?;
        Self::open(vault, path)
    }

    #[expect(unsafe_code, reason = "mapped files: ours alone, replaced by rename, never truncated")]
    fn open(vault: &VaultId, path: PathBuf) -> Result<Self> {
        let file = File::open(&path).map_err(io("an index file cannot be opened"))?;
        // SAFETY: the directory belongs to this process; files in it are never changed in place.
        let map =
            unsafe { memmap2::Mmap::map(&file) }.map_err(io("an index file cannot be mapped"))?;
        let short = || damaged("it is too short");
        let body = map.len().checked_sub(HASH_BYTES).ok_or_else(short)?;
        if blake3::hash(&map[..body]).as_bytes() != &map[body..] {
            return Err(damaged("its hash does not fit"));
        }
        let header =
            SegmentHeader::parse(vault, map.get(..SegmentHeader::BYTES).ok_or_else(short)?)?;
        let plaintext = map.get(SegmentHeader::BYTES..body).ok_or_else(short)?;
        let rows = SegmentRows::new(&header, plaintext)?;
        rows.check()?;
        let packs = rows.packs()?;
        Ok(Self { path, map, header, packs })
    }

    pub(super) fn packs(&self) -> &[PackId] {
        &self.packs
    }

    fn rows(&self) -> Result<SegmentRows<'_>> {
        let body = self.map.len() - HASH_BYTES;
        SegmentRows::new(&self.header, &self.map[SegmentHeader::BYTES..body])
    }

    pub(super) fn find(&self, chunk: &ChunkId) -> Result<Vec<ChunkLocation>> {
        self.rows()?.lookup(chunk).collect()
    }

    pub(super) fn chunks_of(&self, pack: &PackId, chunks: &mut Vec<ChunkId>) -> Result<()> {
        if !self.packs.contains(pack) {
            return Ok(());
        }
        for row in self.rows()?.iter() {
            let row = row?;
            if row.location.pack == *pack {
                chunks.push(row.chunk);
            }
        }
        Ok(())
    }
}

/// Merges all files into as few as fit their size, and removes the old ones.
pub(super) fn merge(
    vault: &VaultId,
    directory: &Path,
    files: &mut Vec<SegmentFile>,
    entropy: &dyn Entropy,
) -> Result<Vec<SegmentFile>> {
    let (full, small): (Vec<_>, Vec<_>) = std::mem::take(files).into_iter().partition(|file| {
        file.header.rows as usize >= holdfast_common::limits::SEGMENT_ROWS_MAX / 2
    });
    *files = full;
    let inputs = small.iter().map(SegmentFile::rows).collect::<Result<Vec<_>>>()?;
    let mut merged = Vec::new();
    let mut builder = SegmentBuilder::new(*vault, SegmentId::random(entropy));
    for row in merge_rows(inputs) {
        let row = row?;
        if builder.is_full() {
            let full = std::mem::replace(
                &mut builder,
                SegmentBuilder::new(*vault, SegmentId::random(entropy)),
            );
            merged.push(SegmentFile::write(vault, directory, &full.build())?);
        }
        builder.push(row.chunk, &row.location)?;
    }
    if !builder.is_empty() {
        merged.push(SegmentFile::write(vault, directory, &builder.build())?);
    }
    for old in &small {
        fs::remove_file(&old.path).map_err(io("an old index file cannot be removed"))?;
    }
    Ok(merged)
}

fn damaged(why: &str) -> Error {
    Error::new(holdfast_common::Code::SegmentDamaged, "an index file is damaged").cause(why)
}
