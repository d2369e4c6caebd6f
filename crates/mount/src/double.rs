//! Points that live in memory, for the tests of this crate: real manifests, chunks by their ids,
//! and switches for what goes wrong.

use crate::{
    lock,
    point::{Library, Listing, Point, Unreadable},
};
use core::time::Duration;
use holdfast_common::{
    ChunkId, Clock, Code, ContentHash, Error, PointId, Result, Secret, Timestamp,
};
use holdfast_keyring::IdKey;
use holdfast_seal::{
    ManifestBuilder, ManifestReader, PageSource, Root,
    manifest::{
        entry::{ChunkRef, Content, Entry, EntryKind, Profile, Range},
        path,
    },
};
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

fn ids() -> IdKey {
    IdKey::from_secret(Secret::take(&mut [1; 32]))
}

/// What a point is made of.
#[derive(Default)]
pub(crate) struct Made {
    entries: Vec<Entry>,
    chunks: HashMap<ChunkId, Vec<u8>>,
}

impl Made {
    pub(crate) fn entry(kind: EntryKind, path: &str) -> Entry {
        Entry {
            path: path.as_bytes().to_vec().into(),
            kind,
            mode: 0o640,
            uid: 7,
            gid: 8,
            user: None,
            group: None,
            mtime_ns: 5,
            ctime_ns: 6,
            size: 0,
            xattrs: None,
            link_target: None,
            device: None,
            hardlink_group: None,
            inode: None,
            content: None,
            flags: None,
        }
    }

    pub(crate) fn add(&mut self, entry: Entry) -> &mut Entry {
        self.entries.push(entry);
        self.entries.last_mut().unwrap()
    }

    /// A chunk of these bytes.
    pub(crate) fn chunk(&mut self, bytes: &[u8]) -> ChunkRef {
        let id = ids().data_id(bytes);
        self.chunks.insert(id, bytes.to_vec());
        ChunkRef { id, length: bytes.len() as u32 }
    }

    /// A file: its bytes, cut into chunks, with zeros where it has holes.
    pub(crate) fn file(
        &mut self,
        path: &str,
        bytes: &[u8],
        chunk_bytes: usize,
        data: Option<Vec<(usize, usize)>>,
    ) -> &mut Entry {
        let stream: Vec<u8> = match &data {
            None => bytes.to_vec(),
            Some(data) => {
                data.iter().flat_map(|(at, length)| bytes[*at..at + length].to_vec()).collect()
            }
        };
        let chunks = stream.chunks(chunk_bytes).map(|chunk| self.chunk(chunk)).collect();
        let range =
            |(at, length): (usize, usize)| Range { offset: at as u64, length: length as u64 };
        let ranges = data.map(|data| data.into_iter().map(range).collect());
        let content = Content {
            profile: Profile::ContentDefined,
            hash: ContentHash::from_bytes([0; 32]),
            chunks: Some(chunks),
            lists: None,
            ranges,
        };
        let entry = Self::entry(EntryKind::File, path);
        self.add(Entry { size: bytes.len() as u64, content: Some(content), ..entry })
    }

    pub(crate) fn point(mut self) -> Arc<Double> {
        self.entries.sort_by(|a, b| path::order(&a.path, &b.path));
        let (ids, mut pages) = (ids(), HashMap::new());
        let mut sink = |page: holdfast_seal::PlainChunk| {
            pages.insert(page.id, page.bytes.to_vec());
            Ok(())
        };
        let mut builder = ManifestBuilder::new(&ids);
        for entry in self.entries {
            builder.push(entry, &mut sink).unwrap();
        }
        let root = builder.finish(&mut sink).unwrap();
        Arc::new(Double { root, pages, chunks: self.chunks, ..Double::empty(root) })
    }
}

/// A point in memory.
pub(crate) struct Double {
    root: Root,
    pages: HashMap<ChunkId, Vec<u8>>,
    chunks: HashMap<ChunkId, Vec<u8>>,
    pub(crate) damaged: Mutex<HashSet<ChunkId>>,
    /// Chunks that were opened.
    pub(crate) opened: AtomicUsize,
    /// Held while chunks are opened, so that a test can make readers meet.
    pub(crate) gate: Mutex<()>,
    /// How many pages of the manifest are given yet, before nobody answers.
    pub(crate) pages_left: AtomicUsize,
    /// Why nothing can be asked for.
    pub(crate) away: Mutex<Option<Error>>,
    /// Why it cannot be kept any more.
    pub(crate) lost: Mutex<Option<Error>>,
}

impl Double {
    fn empty(root: Root) -> Self {
        let (pages, chunks, damaged, opened, gate, away, lost) = Default::default();
        let pages_left = AtomicUsize::new(usize::MAX);
        Self { root, pages, chunks, damaged, opened, gate, pages_left, away, lost }
    }
}

impl PageSource for Double {
    fn page(&self, id: &ChunkId) -> Result<Vec<u8>> {
        let left = self.pages_left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        left.map_err(|_| Error::new(Code::ClusterUnreachable, "nobody answers"))?;
        let missing = || Error::new(Code::ChunkMissing, "no such page");
        self.pages.get(id).cloned().ok_or_else(missing)
    }
}

impl Point for Double {
    fn manifest(&self) -> ManifestReader<'_> {
        ManifestReader::new(self, self.root)
    }

    fn open(
        &self,
        chunks: &[ChunkRef],
        each: &mut dyn FnMut(usize, Result<Vec<u8>>),
    ) -> Result<()> {
        let _others_wait = lock(&self.gate);
        if let Some(error) = &*lock(&self.away) {
            return Err(error.clone());
        }
        for (at, chunk) in chunks.iter().enumerate() {
            self.opened.fetch_add(1, Relaxed);
            let found = match lock(&self.damaged).contains(&chunk.id) {
                true => Err(Error::new(Code::ChunkDamaged, "it was damaged")),
                false => Ok(self.chunks[&chunk.id].clone()),
            };
            each(at, found);
        }
        Ok(())
    }

    fn keep(&self) -> Result<()> {
        lock(&self.lost).clone().map_or(Ok(()), Err)
    }
}

/// A library of such points, and what it was asked and told.
#[derive(Default)]
pub(crate) struct Books {
    pub(crate) points: Mutex<HashMap<PointId, Arc<Double>>>,
    pub(crate) listing: Mutex<Listing>,
    pub(crate) opened: Mutex<Vec<PointId>>,
    pub(crate) lists: AtomicUsize,
    /// Held while a point is opened, so that a test can make readers meet.
    pub(crate) gate: Mutex<()>,
    pub(crate) away: Mutex<Option<Error>>,
    pub(crate) silences: AtomicUsize,
    /// How long a list takes.
    pub(crate) slow: Mutex<Option<(Arc<Hand>, u64)>>,
    pub(crate) told: Mutex<Vec<Unreadable>>,
}

impl Books {
    pub(crate) fn of(points: &[(u8, &Arc<Double>)]) -> Arc<Self> {
        let books = Self::default();
        for (id, point) in points {
            lock(&books.points).insert(PointId::from_bytes([*id; 16]), Arc::clone(point));
        }
        Arc::new(books)
    }
}

impl Library for Books {
    fn list(&self) -> Result<Listing> {
        self.lists.fetch_add(1, Relaxed);
        if let Some((clock, seconds)) = &*lock(&self.slow) {
            clock.go_on(*seconds);
        }
        Ok(lock(&self.listing).clone())
    }

    fn open(&self, point: &PointId) -> Result<Arc<dyn Point>> {
        lock(&self.opened).push(*point);
        let _others_wait = lock(&self.gate);
        if let Some(error) = &*lock(&self.away) {
            return Err(error.clone());
        }
        match lock(&self.points).get(point) {
            Some(double) => Ok(double.clone()),
            None => Err(Error::new(Code::PointMissing, "no such point")),
        }
    }

    fn tell(&self, what: &Unreadable) {
        lock(&self.told).push(what.clone());
    }

    fn fall_silent(&self) {
        self.silences.fetch_add(1, Relaxed);
    }
}

/// A clock that goes when it is told to.
#[derive(Default)]
pub(crate) struct Hand(AtomicU64);

impl Hand {
    pub(crate) fn go_on(&self, seconds: u64) {
        self.0.fetch_add(seconds, Relaxed);
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::ZERO.plus(self.elapsed())
    }

    fn elapsed(&self) -> Duration {
        Duration::from_secs(self.0.load(Relaxed))
    }
}

/// Bytes that follow from a seed and do not repeat.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}
