//! One point, opened: whose it is was checked before anything else of it is believed.
//!
//! The record must be signed by the identity that the cluster (or the bundle) enrolled, and be of
//! the point that was asked for. From its root on, every page is authentic under its own key and
//! hashes to its id. Pages are cached up to a bound; when one is missing, those that a walk will
//! want next come along.

use super::source::{ChunkSource, FetchedFrame};
use crate::flow::lock;
use crate::pipeline::parse_skipped;
use holdfast_common::codes::Exit;
use holdfast_common::{ChunkId, ChunkKind, Code, Error, PointId, Result, limits::MIB};
use holdfast_keyring::{IdKey, IdentityPublicKey};
use holdfast_repository::PointRecord;
use holdfast_seal::manifest::page::Page;
use holdfast_seal::{ManifestReader, Opener, PageSource, Root};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

/// What a point is checked and opened with.
pub struct PointKeys {
    /// The enrolled key that must have signed the record.
    pub identity: IdentityPublicKey,
    /// The id-key of the point's scope.
    pub ids: IdKey,
}

pub struct PointReader {
    source: Arc<dyn ChunkSource>,
    record: PointRecord,
    ids: IdKey,
    pages: Mutex<Pages>,
}

impl PointReader {
    /// Checks the signature, and that the record is of the point that was asked for.
    pub fn open(
        source: Arc<dyn ChunkSource>,
        asked: PointId,
        record: &[u8],
        signature: &[u8; 64],
        keys: PointKeys,
    ) -> Result<Self> {
        keys.identity.verify_point(record, signature)?;
        Self::open_unproven(source, asked, record, keys.ids)
    }

    /// Without the proof of who made the point: for whoever has a location and its KEK and nothing
    /// that knows the enrolled keys. Every byte is still authentic under the vault's keys.
    pub fn open_unproven(
        source: Arc<dyn ChunkSource>,
        asked: PointId,
        record: &[u8],
        ids: IdKey,
    ) -> Result<Self> {
        let record = PointRecord::from_bytes(record)?;
        if record.point != asked {
            return Err(Error::new(
                Code::PointSignatureWrong,
                format!("the record is of point {} and not of {asked}", record.point),
            ));
        }
        Ok(Self { source, record, ids, pages: Mutex::default() })
    }

    pub fn record(&self) -> &PointRecord {
        &self.record
    }

    pub fn manifest(&self) -> ManifestReader<'_> {
        let PointRecord { root, height, entries, bytes, .. } = self.record;
        ManifestReader::new(self, Root { page: root, height: u32::from(height), entries, bytes })
    }

    /// What the backup could not save, as far as it kept the paths.
    pub fn skipped(&self) -> Result<Vec<(Vec<u8>, Code)>> {
        match &self.record.skipped_page {
            Some(page) => parse_skipped(&self.page(page)?),
            None => Ok(Vec::new()),
        }
    }

    /// Says that the point is still being read; an error says why it cannot be any more.
    pub fn keep(&self) -> Result<()> {
        self.source.keep()
    }

    pub(super) fn ids(&self) -> &IdKey {
        &self.ids
    }

    pub(super) fn source(&self) -> &dyn ChunkSource {
        &*self.source
    }

    /// Opens a chunk from any other copy, after one did not open or was not there. The first
    /// failure is the answer when every copy fails; as long as one cannot be read now, nobody knows
    /// that all do.
    pub(super) fn open_another(
        &self,
        opener: &mut Opener,
        kind: ChunkKind,
        id: &ChunkId,
        first: Error,
    ) -> Result<Vec<u8>> {
        let mut away = None;
        for copy in 1..=COPIES_MAX {
            let opened = self
                .source
                .another(kind, id, copy)
                .and_then(|fetched| opener.open(kind, id, &fetched.key, &self.ids, &fetched.frame));
            match opened {
                Ok(plain) => return Ok(plain),
                Err(error) if error.code == Code::ChunkMissing => break,
                Err(error) if error.code.exit() == Exit::Damage => {}
                // It is one location's, and the next one may have the chunk.
                Err(error) if error.code.name().starts_with("location.") => {
                    away.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(away.unwrap_or(first))
    }

    /// Fetches pages and opens them; the first one must be there.
    fn fetch(&self, ids: &[ChunkId]) -> Result<Vec<u8>> {
        let mut opener = Opener::new(self.record.vault)?;
        let mut first = Err(missing(&ids[0]));
        self.source.fetch(ChunkKind::Page, ids, &mut |position, fetched| {
            let Some(id) = ids.get(position) else { return };
            let opened = fetched.and_then(|FetchedFrame { frame, key }| {
                opener.open(ChunkKind::Page, id, &key, &self.ids, &frame)
            });
            match (position, opened) {
                (0, opened) => first = opened,
                // What came along and is no good is asked for again when it is needed.
                (_, Err(_)) => {}
                (_, Ok(page)) => lock(&self.pages).keep(*id, page),
            }
        })?;
        first.or_else(|error| self.open_another(&mut opener, ChunkKind::Page, &ids[0], error))
    }
}

impl PageSource for PointReader {
    fn page(&self, id: &ChunkId) -> Result<Vec<u8>> {
        let ids = {
            let pages = lock(&self.pages);
            if let Some(page) = pages.find(id) {
                return Ok(page);
            }
            pages.with_next(id)
        };
        let page = self.fetch(&ids)?;
        let mut pages = lock(&self.pages);
        if let Ok(Page::Branch(rows)) = Page::parse(&page) {
            pages.note(rows.iter().map(|row| row.page).collect());
        }
        pages.keep(*id, page.clone());
        Ok(page)
    }
}

/// Opened pages, and what stands in the branches that were opened last.
#[derive(Default)]
struct Pages {
    kept: HashMap<ChunkId, Vec<u8>>,
    order: VecDeque<ChunkId>,
    bytes: usize,
    branches: VecDeque<Vec<ChunkId>>,
}

impl Pages {
    fn find(&self, id: &ChunkId) -> Option<Vec<u8>> {
        self.kept.get(id).cloned()
    }

    fn keep(&mut self, id: ChunkId, page: Vec<u8>) {
        if self.kept.contains_key(&id) {
            return;
        }
        self.bytes += page.len();
        self.kept.insert(id, page);
        self.order.push_back(id);
        while self.bytes > CACHE_BYTES_MAX && self.order.len() > 1 {
            let oldest = self.order.pop_front().and_then(|id| self.kept.remove(&id));
            self.bytes -= oldest.map_or(0, |page| page.len());
        }
    }

    fn note(&mut self, children: Vec<ChunkId>) {
        self.branches.push_back(children);
        if self.branches.len() > BRANCHES_NOTED {
            self.branches.pop_front();
        }
    }

    /// The page, and those after it in its branch that are not here.
    fn with_next(&self, id: &ChunkId) -> Vec<ChunkId> {
        let mut out = vec![*id];
        let found = self.branches.iter().rev().find_map(|children| {
            let at = children.iter().position(|child| child == id)?;
            Some(&children[at + 1..])
        });
        let next = found.into_iter().flatten().take(PAGES_AHEAD);
        for child in next.filter(|child| !self.kept.contains_key(*child)) {
            if !out.contains(child) {
                out.push(*child);
            }
        }
        out
    }
}

fn missing(id: &ChunkId) -> Error {
    Error::new(Code::ChunkMissing, format!("page {id:.8} of the manifest is missing"))
}

const CACHE_BYTES_MAX: usize = 16 * MIB;
const BRANCHES_NOTED: usize = 8;
const PAGES_AHEAD: usize = 8;

/// Copies that are tried: packs that hold the chunk, times locations.
const COPIES_MAX: u32 = 16;
