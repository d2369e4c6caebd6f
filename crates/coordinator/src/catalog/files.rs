//! Segments in our own directory, plain and mapped: `header ‖ plaintext ‖ BLAKE3`.
//!
//! They hold chunk ids and places, which coordinators may know, and nothing else. Written under a
//! temporary name, synced and renamed; old ones go only when what replaces them is durable.

use holdfast_common::{ChunkId, Entropy, Error, PackId, Result, SegmentId, VaultId, limits};
use holdfast_repository::segment::{
    ChunkLocation, SegmentBuilder, SegmentHeader, SegmentRows, SegmentTable, merge as merge_rows,
};
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

const HASH_BYTES: usize = 32;
/// The name of a file that is being written.
const PART: &str = "part";

pub(super) struct SegmentFile {
    path: PathBuf,
    map: memmap2::Mmap,
    header: SegmentHeader,
    packs: Vec<PackId>,
}

fn io(what: &str) -> impl Fn(std::io::Error) -> Error + '_ {
    move |error| Error::io(what, &error)
}

/// Opens every file. One that is damaged takes all others with it: they may hold the rest of a
/// pack's rows, and what is missing is only noticed for packs that no file knows.
pub(super) fn open_all(vault: &VaultId, directory: &Path) -> Result<Vec<SegmentFile>> {
    fs::create_dir_all(directory).map_err(io("the index directory cannot be made"))?;
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(io("the index cannot be listed"))? {
        let path = entry.map_err(io("the index cannot be listed"))?.path();
        if path.file_name().is_some_and(|name| name == PART) {
            fs::remove_file(&path).map_err(io("a part of an index file cannot be removed"))?;
        } else {
            paths.push(path);
        }
    }
    let opened: Result<Vec<_>> =
        paths.iter().map(|path| SegmentFile::open(vault, path.clone())).collect();
    opened.or_else(|error| {
        tracing::warn!(%error, "the index is damaged; it is made again from the packs");
        paths.iter().try_for_each(fs::remove_file).map_err(io("the index cannot be removed"))?;
        Ok(Vec::new())
    })
}

impl SegmentFile {
    pub(super) fn write(vault: &VaultId, directory: &Path, table: &SegmentTable) -> Result<Self> {
        let header = table.header().to_bytes();
        let path = directory.join(table.header().segment.to_string());
        let temporary = directory.join(PART);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&header).update(table.plaintext());
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&temporary)?;
            file.write_all(&header)?;
            file.write_all(table.plaintext())?;
            file.write_all(hasher.finalize().as_bytes())?;
            file.sync_data()?;
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

/// What a merge made, and what it replaces.
pub(super) struct Merged {
    pub(super) files: Vec<SegmentFile>,
    replaced: Vec<PathBuf>,
}

impl Merged {
    pub(super) fn replaces(&self, file: &SegmentFile) -> bool {
        self.replaced.contains(&file.path)
    }

    /// Removes what was replaced; the new files are durable.
    pub(super) fn remove_replaced(&self) -> Result<()> {
        self.replaced.iter().try_for_each(fs::remove_file).map_err(io("an old index file stays"))
    }
}

/// Merges the small files into as few as their size allows. Nothing is removed yet.
pub(super) fn merge(
    vault: &VaultId,
    directory: &Path,
    files: &[SegmentFile],
    entropy: &dyn Entropy,
) -> Result<Merged> {
    let half = limits::SEGMENT_ROWS_MAX / 2;
    let small: Vec<_> = files.iter().filter(|file| (file.header.rows as usize) < half).collect();
    let inputs = small.iter().map(|file| file.rows()).collect::<Result<Vec<_>>>()?;
    let replaced = small.iter().map(|file| file.path.clone()).collect();
    let mut merged = Merged { files: Vec::new(), replaced };
    let new = || SegmentBuilder::new(*vault, SegmentId::random(entropy));
    let mut builder = new();
    for row in merge_rows(inputs) {
        let row = row?;
        if builder.is_full() {
            let full = std::mem::replace(&mut builder, new());
            merged.files.push(SegmentFile::write(vault, directory, &full.build())?);
        }
        builder.push(row.chunk, &row.location)?;
    }
    if !builder.is_empty() {
        merged.files.push(SegmentFile::write(vault, directory, &builder.build())?);
    }
    crate::store::sync_directory(directory)?;
    Ok(merged)
}

fn damaged(why: &str) -> Error {
    Error::new(holdfast_common::Code::SegmentDamaged, "an index file is damaged").cause(why)
}
