//! The way back: a read session over one point, and its chunks with their keys.
//!
//! A chunk is given only when the point's reach has its number, from any required location that
//! still has it. Its key goes out under the secret of the grant, which only the caller can open.

use crate::{
    custody::{id_key, insist_on_custody},
    house::{House, Vault},
    reader::Reader,
};
use bytes::Bytes;
use holdfast_common::{
    ChunkId, ChunkKind, Code, Error, PackId, PointId, Result, RunId, SessionId, limits,
};
use holdfast_keyring::{ChunkKey, GrantSender};
use holdfast_ledger::{
    Actor,
    command::{BeginRead, EndSession, RenewSession},
    row::{AgentState, PackHome, PointRow},
};
use holdfast_repository::{
    PointObject, Reach, layout,
    pack::{HeaderRead, read_header},
    segment::{ChunkLocation, Home},
};
use holdfast_storage::ObjectName;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

const GRANT_CONTEXT: &[u8] = b"holdfast restore v1";
/// Enough for a pack's header with a few capsules.
const HEADER_BYTES: u64 = 4096;
/// Frames this close together are read in one piece.
const GAP_BYTES_MAX: u64 = 128 << 10;
const SPAN_BYTES_MAX: u64 = 4 << 20;
const RENEW_AFTER_SECS: u64 = limits::SESSION_LEASE_SECS / 3;

#[derive(Default)]
pub(crate) struct Reads {
    open: Mutex<HashMap<SessionId, Arc<ReadSession>>>,
}

pub(crate) struct ReadSession {
    pub(crate) id: SessionId,
    /// The restore that grants the reading.
    run: Option<RunId>,
    pub(crate) point: PointRow,
    actor: Actor,
    reach: Reach,
    grant: GrantSender,
    headers: Mutex<HashMap<PackId, Arc<[Bytes]>>>,
    renewed: Mutex<holdfast_common::Timestamp>,
}

/// What the caller of `Open` gets.
pub(crate) struct Opened {
    pub(crate) session: Arc<ReadSession>,
    pub(crate) record: Bytes,
    pub(crate) signature: [u8; 64],
    pub(crate) identity: [u8; 32],
    pub(crate) opening: Vec<u8>,
    pub(crate) id_key: Vec<u8>,
}

/// A chunk on its way out.
pub(crate) struct Given {
    pub(crate) position: u32,
    pub(crate) chunk: Result<(Bytes, Vec<u8>)>,
}

impl House {
    pub(crate) async fn open_point(
        &self,
        actor: Actor,
        point: PointId,
        run: Option<RunId>,
        one_time_public: &[u8; 32],
        purpose: &str,
    ) -> Result<Opened> {
        self.ledger.catch_up().await?;
        let row = self.ledger.query().point(&point)?;
        let vault = self.vault(&row.vault)?;
        insist_on_custody(&vault.row)?;
        if self.reads.lock().len() >= limits::READ_SESSIONS_MAX {
            return Err(Error::new(Code::ClusterBusy, "as many points are open as may be"));
        }
        let id = SessionId::random(self.entropy.as_ref());
        let begin = BeginRead { session: id, point, purpose: purpose.to_owned(), run };
        self.ledger.propose(actor.clone(), begin).await?;
        let reach = self.read_reach(&vault, &row).await?;
        let object = self.read_point(&vault, &row).await?;
        let agent = self.ledger.query().agent(&row.agent)?;
        let (grant, opening) =
            GrantSender::open_to(one_time_public, GRANT_CONTEXT, self.entropy.as_ref())?;
        let (key, _) = id_key(&vault.custody, &vault.row, &row.agent);
        // The id-key travels like a chunk key, under a name that no chunk has.
        let key = ChunkKey::from_slice(key.secret().expose())?;
        let id_key = grant.mask(&ChunkId::from_bytes([0; 32]), &key, self.entropy.as_ref());
        let session = Arc::new(ReadSession {
            id,
            run,
            point: row,
            actor,
            reach,
            grant,
            headers: Mutex::default(),
            renewed: Mutex::new(self.ledger.now()),
        });
        self.reads.lock().insert(id, session.clone());
        Ok(Opened {
            session,
            record: object.record_bytes().clone(),
            signature: *object.signature(),
            identity: agent.identity_public,
            opening,
            id_key,
        })
    }

    /// The reach of a point, as it was committed.
    pub(crate) async fn read_reach(&self, vault: &Vault, point: &PointRow) -> Result<Reach> {
        let name = layout::ObjectName::reach(&point.id);
        let bytes =
            self.read_checked(vault, name.as_str(), limits::REACH_BYTES_MAX, &point.reach_hash);
        let (bytes, vault, point) = (bytes.await?, vault.row.id, point.id);
        let parse = move || Reach::from_object(&bytes, &vault, &point);
        self.tasks.run_blocking("reach", parse).await
    }

    async fn read_point(&self, vault: &Vault, point: &PointRow) -> Result<PointObject> {
        let name = layout::ObjectName::point(&point.id);
        let bound = limits::POINT_OBJECT_BYTES_MAX;
        let bytes = self.read_checked(vault, name.as_str(), bound, &point.object_hash).await?;
        PointObject::parse(&vault.row.id, &point.id, &bytes)
    }

    /// An object whose hash the ledger knows, from the first location that has it whole.
    async fn read_checked(
        &self,
        vault: &Vault,
        name: &str,
        bytes_max: usize,
        hash: &[u8; 32],
    ) -> Result<Bytes> {
        let name: ObjectName = name.parse()?;
        let mut last = Error::new(Code::ObjectMissing, format!("{name} is in no location"));
        for (location, store) in self.places.readable(&vault.row).await? {
            match store.get(&name, bytes_max).await {
                Ok(bytes) if self.hash(bytes.clone()).await? == *hash => return Ok(bytes),
                Ok(_) => {
                    last = Error::new(
                        Code::ObjectDamaged,
                        format!("{name} in `{location}` is not what was committed"),
                    );
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    pub(crate) fn read_session(&self, actor: &Actor, id: &SessionId) -> Result<Arc<ReadSession>> {
        let session = match self.reads.lock().get(id) {
            Some(session) if session.actor == *actor => session.clone(),
            Some(_) => {
                return Err(Error::new(Code::AuthDenied, "the session belongs to somebody else"));
            }
            None => {
                return Err(Error::new(
                    Code::SessionMissing,
                    "this coordinator has no such session",
                ));
            }
        };
        self.insist_on_standing(&session)?;
        Ok(session)
    }

    /// What was granted lasts as long as its run, its session and its agent's rights. Asked of the
    /// ledger for every call, and for every piece of a long one.
    fn insist_on_standing(&self, session: &ReadSession) -> Result<()> {
        let query = self.ledger.query();
        if let Some(run) = &session.run {
            let run = query.run(run)?;
            if run.state.is_end() || run.cancelled {
                return Err(Error::new(Code::RunCancelled, format!("run {} has ended", run.id)));
            }
        }
        if let Actor::Agent(agent) = &session.actor
            && query.agent(agent)?.state == AgentState::Revoked
        {
            return Err(Error::new(Code::AgentRevoked, "the agent was revoked while it read"));
        }
        query.session(&session.id).map(drop)
    }

    pub(crate) async fn close_point(&self, actor: &Actor, id: &SessionId) -> Result<()> {
        let closed = self.read_session(actor, id);
        if closed.as_ref().is_err_and(|error| error.code == Code::AuthDenied) {
            return closed.map(drop);
        }
        self.reads.lock().remove(id);
        let end = EndSession { session: closed?.id };
        self.ledger.propose(actor.clone(), end).await.map(drop)
    }

    /// Keeps the lease of a session that is being used.
    pub(crate) async fn keep_reading(&self, session: &ReadSession) -> Result<()> {
        let now = self.ledger.now();
        let due = {
            let mut renewed = session.renewed.lock().unwrap_or_else(PoisonError::into_inner);
            let due = now.since(*renewed).as_secs() >= RENEW_AFTER_SECS;
            if due {
                *renewed = now;
            }
            due
        };
        if due {
            let renew = RenewSession { session: session.id };
            self.ledger.propose(session.actor.clone(), renew).await?;
        }
        Ok(())
    }

    /// Fetches chunks, in whatever order the packs are best read. What the index does not have yet
    /// is waited for when all else was given; then it is told that it may come.
    pub(crate) async fn fetch(
        &self,
        session: &Arc<ReadSession>,
        kind: ChunkKind,
        ids: &[ChunkId],
        copy: usize,
        out: &Reader,
    ) -> Result<()> {
        let vault = self.vault(&session.point.vault)?;
        // Asked before, or what is loaded between the two would be called missing.
        let is_loaded =
            vault.catalog.is_loaded() && vault.catalog.has_heard(self.ledger.state().applied);
        let asked = (0u32..).zip(ids.iter().copied()).collect();
        let (found, mut missing) = self.seek(&vault, session, asked, copy).await?;
        self.give_found(&vault, session, kind, found, copy, out).await?;
        if !missing.is_empty() && !is_loaded {
            let loaded = vault.catalog.loaded().await;
            let asked = missing.iter().map(|given| (given.position, ids[given.position as usize]));
            let (found, still) = self.seek(&vault, session, asked.collect(), copy).await?;
            self.give_found(&vault, session, kind, found, copy, out).await?;
            missing = match loaded {
                Ok(()) => still,
                Err(loading) => {
                    let chunks = still.len();
                    tracing::info!(chunks, %loading, "chunks are asked for that may come later");
                    still.into_iter().map(|given| given.or_later(&loading)).collect()
                }
            };
        }
        if missing.is_empty() { Ok(()) } else { out.give(missing, None).await }
    }

    async fn give_found(
        &self,
        vault: &Vault,
        session: &Arc<ReadSession>,
        kind: ChunkKind,
        mut found: Vec<Sought>,
        copy: usize,
        out: &Reader,
    ) -> Result<()> {
        found.sort_unstable_by_key(|sought| (sought.place.pack, sought.place.offset));
        for span in spans(&found) {
            self.insist_on_standing(session)?;
            let bytes = usize::try_from(span_bytes(span)).unwrap_or(0);
            let share = Some(self.outgoing.reserve(bytes).await?);
            let chunks = self.read_span(vault, session, kind, span, copy).await?;
            out.give(chunks, share).await?;
        }
        Ok(())
    }

    /// Where the chunks lie that the session may read, and why others cannot be given.
    async fn seek(
        &self,
        vault: &Vault,
        session: &Arc<ReadSession>,
        asked: Vec<(u32, ChunkId)>,
        copy: usize,
    ) -> Result<(Vec<Sought>, Vec<Given>)> {
        let (vault, session) = (vault.clone(), session.clone());
        let seek = move || {
            let (mut found, mut missing) = (Vec::new(), Vec::new());
            for (position, id) in asked {
                match place_of(&vault, &session, &id, copy) {
                    Ok(place) => found.push(Sought { position, id, place }),
                    Err(error) => missing.push(Given { position, chunk: Err(error) }),
                }
            }
            Ok((found, missing))
        };
        self.tasks.run_blocking("seek", seek).await
    }

    /// Reads neighbours of one pack in one piece; falls back to other locations.
    async fn read_span(
        &self,
        vault: &Vault,
        session: &ReadSession,
        kind: ChunkKind,
        span: &[Sought],
        copy: usize,
    ) -> Result<Vec<Given>> {
        let Some(first) = span.first() else { return Ok(Vec::new()) };
        let mut last = Error::new(Code::PackMissing, "the pack is in no location");
        let mut best: Option<Vec<Given>> = None;
        let mut stores = self.places.readable(&vault.row).await?;
        let first_store = copy % stores.len().max(1);
        stores.rotate_left(first_store);
        for (nth, (_, store)) in stores.into_iter().enumerate() {
            let (name, base) = self.object_of(vault, &first.place)?;
            let from = u64::from(first.place.offset);
            // Another copy is asked for because something was wrong: its header is read anew.
            let known = session.known_capsules(&first.place.pack).filter(|_| copy + nth == 0);
            let read = async {
                let capsules = match known {
                    Some(capsules) => capsules,
                    None => self.capsules(vault, &first.place, (&name, base), &store).await?,
                };
                let range = base + from..base + from + span_bytes(span);
                Ok((capsules, store.get_range(&name, range).await?))
            };
            match read.await {
                Ok((capsules, bytes)) => {
                    let give = |sought: &Sought| Given {
                        position: sought.position,
                        chunk: give_chunk(
                            vault, session, kind, sought, &capsules, &bytes, from, self,
                        ),
                    };
                    let given: Vec<Given> = span.iter().map(give).collect();
                    if failures(&given) == 0 {
                        session.know_capsules(first.place.pack, capsules);
                        return Ok(given);
                    }
                    // A header has no sum of its own: that a capsule is wrong shows only here.
                    if best.as_ref().is_none_or(|best| failures(&given) < failures(best)) {
                        best = Some(given);
                    }
                }
                Err(error) => last = error,
            }
        }
        if let Some(best) = best {
            return Ok(best);
        }
        let lost = |sought: &Sought| Given { position: sought.position, chunk: Err(last.clone()) };
        Ok(span.iter().map(lost).collect())
    }

    /// The object that holds a pack's bytes, and where in it the pack begins.
    fn object_of(&self, vault: &Vault, place: &ChunkLocation) -> Result<(ObjectName, u64)> {
        match place.home {
            Home::Pack => Ok((layout::ObjectName::pack(&place.pack).as_str().parse()?, 0)),
            Home::Point(point) => {
                let row = self.ledger.query().pack(&vault.row.id, &place.pack)?;
                match row.map(|row| row.home) {
                    Some(PackHome::Point(_, offset)) => {
                        Ok((layout::ObjectName::point(&point).as_str().parse()?, u64::from(offset)))
                    }
                    _ => Err(Error::new(Code::PackMissing, "an inline pack has no row")),
                }
            }
        }
    }

    async fn capsules(
        &self,
        vault: &Vault,
        place: &ChunkLocation,
        (name, base): (&ObjectName, u64),
        store: &Arc<dyn holdfast_storage::ObjectStore>,
    ) -> Result<Arc<[Bytes]>> {
        // Frames begin behind the header: the first frame's offset bounds it.
        let mut want = HEADER_BYTES.min(u64::from(place.offset));
        loop {
            let prefix = store.get_range(name, base..base + want).await?;
            match read_header(&vault.row.id, &prefix)? {
                HeaderRead::Complete(header) => {
                    return Ok(header.capsules.into());
                }
                HeaderRead::More { .. } if want < u64::from(place.offset) => {
                    want = u64::from(place.offset);
                }
                HeaderRead::More { .. } => {
                    return Err(Error::new(Code::PackDamaged, "a pack's header is too long"));
                }
            }
        }
    }
}

/// Headers of packs that one session keeps; a restore walks over packs in order.
const HEADERS_KEPT: usize = 4096;

impl ReadSession {
    fn known_capsules(&self, pack: &PackId) -> Option<Arc<[Bytes]>> {
        self.headers.lock().unwrap_or_else(PoisonError::into_inner).get(pack).cloned()
    }

    fn know_capsules(&self, pack: PackId, capsules: Arc<[Bytes]>) {
        let mut known = self.headers.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= HEADERS_KEPT {
            known.clear();
        }
        known.insert(pack, capsules);
    }
}

fn failures(given: &[Given]) -> usize {
    given.iter().filter(|given| given.chunk.is_err()).count()
}

struct Sought {
    position: u32,
    id: ChunkId,
    place: ChunkLocation,
}

impl Given {
    /// As long as the index is loading, no chunk is absent and none is known to be refused.
    fn or_later(self, loading: &Error) -> Self {
        match self.chunk {
            Err(error) if matches!(error.code, Code::ChunkMissing | Code::ChunkRefused) => {
                Self { position: self.position, chunk: Err(loading.clone()) }
            }
            chunk => Self { position: self.position, chunk },
        }
    }
}

/// Where copy number `copy` of a chunk lies: every pack that holds it, in every location.
fn place_of(
    vault: &Vault,
    session: &ReadSession,
    id: &ChunkId,
    copy: usize,
) -> Result<ChunkLocation> {
    let places = vault.catalog.find(id)?;
    if places.is_empty() {
        return Err(Error::new(Code::ChunkMissing, "the chunk is in no pack that is known"));
    }
    let mut granted = Vec::with_capacity(places.len());
    for place in places {
        if session.reach.contains(place.number()?) {
            granted.push(place);
        }
    }
    let locations = vault.row.required.len().max(1);
    match granted.get(copy / locations) {
        Some(place) => Ok(*place),
        None if granted.is_empty() => {
            Err(Error::new(Code::ChunkRefused, "the chunk is not part of the granted point"))
        }
        None => Err(Error::new(Code::ChunkMissing, "there is no other copy of the chunk")),
    }
}

fn end_of(sought: &Sought) -> u64 {
    u64::from(sought.place.offset) + u64::from(sought.place.length)
}

fn span_bytes(span: &[Sought]) -> u64 {
    match (span.first(), span.last()) {
        (Some(first), Some(last)) => end_of(last) - u64::from(first.place.offset),
        _ => 0,
    }
}

/// Cuts sorted chunks where the pack changes, a gap is wide or a piece grows large.
fn spans(found: &[Sought]) -> impl Iterator<Item = &[Sought]> {
    let mut start = 0;
    let mut begins = 0;
    let mut cuts = Vec::new();
    for (at, pair) in found.windows(2).enumerate() {
        let (a, b) = (&pair[0], &pair[1]);
        let gap = u64::from(b.place.offset).saturating_sub(end_of(a));
        if at == begins {
            start = u64::from(a.place.offset);
        }
        let wide = end_of(b).saturating_sub(start) > SPAN_BYTES_MAX;
        if a.place.pack != b.place.pack || gap > GAP_BYTES_MAX || wide {
            begins = at + 1;
            cuts.push(begins);
        }
    }
    cuts.push(found.len());
    let mut from = 0;
    cuts.into_iter().map(move |to| {
        let span = &found[from..to];
        from = to;
        span
    })
}

#[expect(clippy::too_many_arguments, reason = "one call site; a struct would only rename them")]
fn give_chunk(
    vault: &Vault,
    session: &ReadSession,
    kind: ChunkKind,
    sought: &Sought,
    capsules: &[Bytes],
    bytes: &Bytes,
    from: u64,
    house: &House,
) -> Result<(Bytes, Vec<u8>)> {
    let capsule = capsules.get(usize::from(sought.place.capsule)).ok_or_else(|| {
        Error::new(Code::PackDamaged, "a frame names a capsule that its pack lacks")
    })?;
    let key =
        vault.custody.chunk_key(capsule, kind, &sought.id).map_err(|error| match error.code {
            // The vault's keys have proven themselves: this is not what was sealed.
            Code::KeyWrong | Code::LimitExceeded | Code::RecordMalformed => {
                Error::new(Code::PackDamaged, "a capsule of a pack does not open").cause(error)
            }
            _ => error,
        })?;
    let start = usize::try_from(u64::from(sought.place.offset) - from).unwrap_or(usize::MAX);
    let end = start.saturating_add(sought.place.length as usize);
    if end > bytes.len() {
        return Err(Error::new(Code::PackDamaged, "a pack is shorter than its footer says"));
    }
    let masked = session.grant.mask(&sought.id, &key, house.entropy.as_ref());
    Ok((bytes.slice(start..end), masked))
}

impl Reads {
    /// Forgets the sessions that the ledger has ended.
    pub(crate) fn keep(&self, is_open: impl Fn(&SessionId) -> bool) {
        self.lock().retain(|id, _| is_open(id));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, Arc<ReadSession>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
