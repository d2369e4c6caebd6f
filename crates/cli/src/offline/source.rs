//! Gives chunks out of a location: frame and key, as a coordinator would.
//!
//! A chunk may lie in several packs. Copies are tried in turn and one is given only if it opens;
//! whoever asked opens it again and compares its id, so a wrong byte cannot pass. The data keys of
//! the packs in use are kept, up to a bound.

use super::{
    Offline,
    gather::{Gathered, PackPlace, is_unread},
    index::Place,
    points,
};
use bytes::Bytes;
use holdfast_agent::restore::{ChunkSource, FetchedFrame};
use holdfast_common::{ChunkId, ChunkKind, Code, Error, PackId, PointId, Result, limits};
use holdfast_keyring::{Capsule, ChunkKey, DataKey, IdKey};
use holdfast_repository::{
    Home, ObjectName, PackHeader, PackView, pack::HeaderRead, pack::read_header,
};
use holdfast_seal::Opener;
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::runtime::Handle;

/// How many packs' keys, and how many points with inline packs, stay in memory.
const PACKS_KEPT_MAX: usize = 512;
const POINTS_KEPT_MAX: usize = 64;
const HEADER_PREFIX_BYTES: usize = 8 * limits::KIB;

/// Each pack that lies in a point's object, by its name.
type InlinePacks = Arc<Vec<(PackId, Bytes)>>;

pub struct Location {
    runtime: Handle,
    offline: Arc<Offline>,
    gathered: Arc<Gathered>,
    /// Names the chunks of the point that is read.
    ids: IdKey,
    headers: Mutex<HashMap<u32, Arc<PackHeader>>>,
    points: Mutex<HashMap<PointId, InlinePacks>>,
    /// Packs that were told as such.
    unread: Mutex<HashSet<PackId>>,
}

impl Location {
    /// Must be called inside a runtime; used on threads of its own.
    pub fn new(offline: Arc<Offline>, gathered: Arc<Gathered>, ids: IdKey) -> Self {
        let (headers, points, unread) = Default::default();
        Self { runtime: Handle::current(), offline, gathered, ids, headers, points, unread }
    }

    /// The sealed chunk and what opens it; the first copy that can be read.
    async fn chunk(&self, kind: ChunkKind, chunk: &ChunkId) -> Result<(Bytes, ChunkKey)> {
        let mut refusal = None;
        let mut places = self.gathered.index.lookup(chunk)?;
        places.retain(|place| self.pack(place).is_some_and(|pack| pack.present));
        for place in &places {
            let Some(pack) = self.pack(place) else { continue };
            let found = self.copy(kind, chunk, place, pack).await;
            let proven = found.and_then(|(frame, key)| {
                // With one copy the reader's own check says all there is to say.
                if places.len() > 1 {
                    self.authenticate(kind, chunk, &key, &frame)?;
                }
                Ok((frame, key))
            });
            match proven {
                Ok(found) => return Ok(found),
                Err(error) => refusal = Some(self.named(pack, error)),
            }
        }
        Err(refusal.unwrap_or_else(|| self.gathered.missing(chunk)))
    }

    async fn copy(
        &self,
        kind: ChunkKind,
        chunk: &ChunkId,
        place: &Place,
        pack: &PackPlace,
    ) -> Result<(Bytes, ChunkKey)> {
        let frame = self.bytes(pack, place.offset, place.length).await?;
        let header = self.header(place.pack, pack).await?;
        if header.kind != kind {
            return Err(Error::new(Code::PackDamaged, "the pack holds another kind of chunk"));
        }
        let capsule = header.capsules.get(usize::from(place.capsule)).ok_or_else(|| {
            Error::new(Code::PackDamaged, "the pack lacks the capsule of one of its chunks")
        })?;
        let data_key: DataKey = self.offline.keys.open(&Capsule::from_bytes(capsule)?)?;
        Ok((frame, data_key.chunk_key(kind, chunk)))
    }

    /// Refuses a copy that was changed, so that another one can be tried.
    fn authenticate(
        &self,
        kind: ChunkKind,
        chunk: &ChunkId,
        key: &ChunkKey,
        frame: &[u8],
    ) -> Result<()> {
        let mut opener = Opener::new(self.offline.vault.id)?;
        opener.open(kind, chunk, key, &self.ids, frame).map(drop)
    }

    /// Why a pack gives no chunk: its bytes are wrong, or nobody could read them, which is said
    /// once and is no damage.
    fn named(&self, pack: &PackPlace, error: Error) -> Error {
        let cause = error.cause.unwrap_or(error.message);
        if !is_unread(error.code) {
            let message = format!("pack {} does not give its chunks", pack.id);
            return Error::new(Code::PackDamaged, message)
                .cause(cause)
                .next("restore from another location, or another point");
        }
        let unread = Error::new(error.code, format!("pack {} cannot be read", pack.id));
        let unread = unread.cause(cause);
        if lock(&self.unread).insert(pack.id) {
            tracing::warn!(error = %unread, "the location does not give what it has");
        }
        unread
    }

    fn pack(&self, place: &Place) -> Option<&PackPlace> {
        self.gathered.packs.get(place.pack as usize)
    }

    async fn bytes(&self, pack: &PackPlace, offset: u32, length: u32) -> Result<Bytes> {
        match pack.home {
            Home::Pack => {
                let name = ObjectName::pack(&pack.id).as_str().parse()?;
                let range = u64::from(offset)..u64::from(offset) + u64::from(length);
                self.offline.store.get_range(&name, range).await
            }
            Home::Point(point) => self.inline(pack, &point).await?.frame_at(offset, length),
        }
    }

    async fn header(&self, number: u32, pack: &PackPlace) -> Result<Arc<PackHeader>> {
        if let Some(header) = lock(&self.headers).get(&number) {
            return Ok(Arc::clone(header));
        }
        let header = Arc::new(match pack.home {
            Home::Pack => self.read_header(pack).await?,
            Home::Point(point) => {
                let view = self.inline(pack, &point).await?;
                parse_header(&self.offline, view.bytes())?.0.ok_or_else(cut_short)?
            }
        });
        let mut headers = lock(&self.headers);
        if headers.len() >= PACKS_KEPT_MAX {
            headers.clear();
        }
        headers.insert(number, Arc::clone(&header));
        Ok(header)
    }

    async fn read_header(&self, pack: &PackPlace) -> Result<PackHeader> {
        let name = ObjectName::pack(&pack.id).as_str().parse()?;
        let meta = self.offline.store.head(&name).await?;
        let length = meta.ok_or_else(|| Error::new(Code::PackMissing, "it went away"))?.length;
        let mut wanted = HEADER_PREFIX_BYTES as u64;
        loop {
            let end = wanted.min(length);
            let prefix = self.offline.store.get_range(&name, 0..end).await?;
            match parse_header(&self.offline, &prefix)? {
                (Some(header), _) => return Ok(header),
                (None, _) if end == length => return Err(cut_short()),
                (None, more) => wanted = (more as u64).max(end + 1),
            }
        }
    }

    async fn inline(&self, pack: &PackPlace, point: &PointId) -> Result<PackView> {
        let packs = self.inline_packs(point).await?;
        let (_, bytes) = packs.iter().find(|(id, _)| *id == pack.id).ok_or_else(cut_short)?;
        PackView::parse(&self.offline.vault.id, bytes.clone())
    }

    async fn inline_packs(&self, point: &PointId) -> Result<InlinePacks> {
        if let Some(packs) = lock(&self.points).get(point) {
            return Ok(Arc::clone(packs));
        }
        let object = points::object(&self.offline, &ObjectName::point(point), point).await?;
        let ids = object.record().inline_packs.iter().copied();
        let packs = Arc::new(ids.zip(object.inline().iter().cloned()).collect::<Vec<_>>());
        let mut kept = lock(&self.points);
        if kept.len() >= POINTS_KEPT_MAX {
            kept.clear();
        }
        kept.insert(*point, Arc::clone(&packs));
        Ok(packs)
    }
}

impl ChunkSource for Location {
    fn fetch(
        &self,
        kind: ChunkKind,
        ids: &[ChunkId],
        each: &mut dyn FnMut(usize, Result<FetchedFrame>),
    ) -> Result<()> {
        for (position, id) in ids.iter().enumerate() {
            let found = self.runtime.block_on(self.chunk(kind, id));
            each(position, found.map(|(frame, key)| FetchedFrame { frame, key }));
        }
        Ok(())
    }
}

fn parse_header(offline: &Offline, prefix: &Bytes) -> Result<(Option<PackHeader>, usize)> {
    Ok(match read_header(&offline.vault.id, prefix)? {
        HeaderRead::Complete(header) => (Some(header), 0),
        HeaderRead::More { bytes } => (None, bytes),
    })
}

fn cut_short() -> Error {
    Error::new(Code::PackDamaged, "the pack ends too early")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
