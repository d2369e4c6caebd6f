//! Chunks on their way out, each with its key.
//!
//! A chunk is given only when the point's reach has its number, from any required location that
//! still has it. Its key goes out under the secret of the grant, which only the caller can open.
//!
//! ```text
//!   location ─▶ piece 1 ─▶ caller
//!                piece 2 is read while piece 1 goes out, as long as half of the memory for
//!                transfers is left to others
//! ```

use super::ReadSession;
use crate::{
    budget::Share,
    house::{House, Vault},
    reading::reader::Reader,
};
use bytes::Bytes;
use holdfast_common::{
    ChunkId, ChunkKind, Code, Error, Name, PackId, Result, VaultId, codes::Exit,
};
use holdfast_ledger::{
    Query,
    row::{PackHome, PackState},
};
use holdfast_repository::{
    ChunkNumber, layout,
    pack::{HeaderRead, read_header},
    segment::{ChunkLocation, Home},
};
use holdfast_storage::{ObjectName, ObjectStore};
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

/// Enough for a pack's header with a few capsules.
const HEADER_BYTES: u64 = 4096;
/// Frames this close together are read in one piece.
const GAP_BYTES_MAX: u64 = 128 << 10;
const SPAN_BYTES_MAX: u64 = 4 << 20;
/// What a location is given for one piece while another one may have it too.
const READ_PATIENCE: Duration = Duration::from_secs(30);

/// A chunk on its way out.
pub(crate) struct Given {
    pub(crate) position: u32,
    pub(crate) chunk: Result<(Bytes, Vec<u8>)>,
}

impl House {
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
        let applied = self.ledger.state().applied;
        let is_loaded = vault.catalog.is_loaded() && vault.catalog.has_heard(applied);
        let asked = (0u32..).zip(ids.iter().copied()).collect();
        let (found, mut missing) = self.seek(&vault, session, asked, copy).await?;
        self.give_found(&vault, session, kind, found, copy, out).await?;
        if !missing.is_empty() && !is_loaded {
            let loaded = vault.catalog.loaded(applied).await;
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
        let mut spans = spans(&found);
        let mut next = spans.next();
        let mut early: Option<(Share, Vec<Given>)> = None;
        while let Some(span) = next {
            self.insist_on_standing(session)?;
            let (share, chunks) = match early.take() {
                Some(early) => early,
                None => {
                    let share = self.outgoing.reserve(span_bytes(span)).await?;
                    (share, self.read_span(vault, session, kind, span, copy).await?)
                }
            };
            let read: Vec<bool> = chunks.iter().map(|given| given.chunk.is_ok()).collect();
            next = spans.next();
            // A location may be far away: the next piece comes while this one goes.
            let ahead = async {
                let (ahead, share) =
                    next.and_then(|ahead| Some((ahead, self.outgoing.spare(span_bytes(ahead))?)))?;
                let chunks = self.read_span(vault, session, kind, ahead, copy).await;
                Some(chunks.map(|chunks| (share, chunks)))
            };
            let (given, ahead) = tokio::join!(out.give(chunks, Some(share)), ahead);
            given?;
            session.note(span.iter().map(|sought| &sought.numbers[..]).zip(read));
            early = ahead.transpose()?;
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
        let (vault, session, ledger) = (vault.clone(), session.clone(), self.ledger.clone());
        let seek = move || {
            let (mut found, mut missing) = (Vec::new(), Vec::new());
            let mut rows =
                Rows { query: ledger.query(), vault: vault.row.id, known: HashMap::new() };
            for (position, id) in asked {
                match place_of(&vault, (&session, &mut rows), &id, copy) {
                    Ok((place, numbers)) => found.push(Sought { position, id, place, numbers }),
                    Err(error) => missing.push(Given { position, chunk: Err(error) }),
                }
            }
            Ok((found, missing))
        };
        self.tasks.run_blocking("seek", seek).await
    }

    /// Reads neighbours of one pack in one piece; falls back to other locations where any will do.
    async fn read_span(
        &self,
        vault: &Vault,
        session: &ReadSession,
        kind: ChunkKind,
        span: &[Sought],
        copy: usize,
    ) -> Result<Vec<Given>> {
        let Some(first) = span.first() else { return Ok(Vec::new()) };
        let (mut best, mut tried): (Option<Vec<Given>>, bool) = (None, false);
        let mut last = Error::new(Code::PackMissing, "the pack is in no location");
        let each = self.places.each_of(&vault.row).await;
        if let Some(error) = none_opens(&each) {
            return Err(error);
        }
        let mut stores = asked_for(each, copy);
        // One that hangs is asked when no other one has it.
        let silent = &self.places.silent;
        stores.sort_by_key(|(name, store)| (store.is_ok(), silent.has(name)));
        let mut stores = stores.into_iter().peekable();
        while let Some((location, store)) = stores.next() {
            let store = match store {
                Ok(store) => store,
                Err(error) if error.code == Code::LocationDisabled => continue,
                Err(error) => {
                    last = worse(last, error);
                    continue;
                }
            };
            // Another copy is asked for because something was wrong: its header is read anew.
            let is_first = copy == 0 && !std::mem::replace(&mut tried, true);
            let known = session.known_capsules(&first.place.pack).filter(|_| is_first);
            let from = u64::from(first.place.offset);
            let read = self.read(vault, (first, span_bytes(span)), known, &store);
            let patience = if stores.peek().is_some() { READ_PATIENCE } else { Duration::MAX };
            let read = tokio::time::timeout(patience, read).await;
            match read.unwrap_or_else(|_| Err(self.places.silent.note(&location))) {
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
                Err(error) => last = worse(last, error),
            }
        }
        if let Some(best) = best {
            return Ok(best.into_iter().map(|given| given.or_unheard(&last)).collect());
        }
        let lost = |sought: &Sought| Given { position: sought.position, chunk: Err(last.clone()) };
        Ok(span.iter().map(lost).collect())
    }

    /// The capsules of a pack, and some bytes of it from its first wanted frame on.
    async fn read(
        &self,
        vault: &Vault,
        (first, length): (&Sought, usize),
        known: Option<Arc<[Bytes]>>,
        store: &Arc<dyn ObjectStore>,
    ) -> Result<(Arc<[Bytes]>, Bytes)> {
        let (name, base) = self.object_of(vault, &first.place)?;
        let from = base + u64::from(first.place.offset);
        let bytes = store.get_range(&name, from..from + length as u64);
        match known {
            Some(capsules) => Ok((capsules, bytes.await?)),
            None => {
                let capsules = self.capsules(vault, &first.place, (&name, base), store);
                tokio::try_join!(capsules, bytes)
            }
        }
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
        store: &Arc<dyn ObjectStore>,
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

/// What is told when no location gives a pack. As long as one that may have it is away, nobody
/// knows that it is missing.
pub(super) fn worse(one: Error, other: Error) -> Error {
    if one.code.exit() == Exit::Damage || other.code.exit() != Exit::Damage { other } else { one }
}

fn failures(given: &[Given]) -> usize {
    given.iter().filter(|given| given.chunk.is_err()).count()
}

struct Sought {
    position: u32,
    id: ChunkId,
    place: ChunkLocation,
    /// All that the point reaches it by.
    numbers: Vec<ChunkNumber>,
}

impl Given {
    /// What is wrong in one copy is right in another, as far as anybody knows, while that one
    /// cannot be read.
    fn or_unheard(self, last: &Error) -> Self {
        Self { chunk: self.chunk.map_err(|error| worse(last.clone(), error)), ..self }
    }

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

/// What the ledger says of packs now: the index is never told of what was given up.
struct Rows<'a> {
    query: Query<'a>,
    vault: VaultId,
    known: HashMap<PackId, Option<PackState>>,
}

impl Rows<'_> {
    /// None: it is gone from everywhere.
    fn state(&mut self, pack: &PackId) -> Result<Option<PackState>> {
        if let Some(known) = self.known.get(pack) {
            return Ok(*known);
        }
        let state = self.query.pack(&self.vault, pack)?.map(|row| row.state);
        self.known.insert(*pack, state);
        Ok(state)
    }
}

/// Why not one of them can be read; that one of them is out of use explains it last.
fn none_opens<T>(each: &[(Name, Result<T>)]) -> Option<Error> {
    let errors: Option<Vec<&Error>> = each.iter().map(|(_, store)| store.as_ref().err()).collect();
    errors?.into_iter().max_by_key(|error| error.code != Code::LocationDisabled).cloned()
}

/// The places that a copy may be read from: number 0 is any of them. From number 1 on one of them
/// is meant and no other, whether it can be read or not: whoever asks has to learn of each of them.
fn asked_for<T>(mut places: Vec<T>, copy: usize) -> Vec<T> {
    match copy.checked_sub(1) {
        Some(nth) if !places.is_empty() => vec![places.swap_remove(nth % places.len())],
        _ => places,
    }
}

/// Where copy number `copy` of a chunk lies: every pack that holds it, in every location, counted
/// from 1 on; number 0 is the first pack, wherever that is read. What was given up comes last;
/// another one has its numbers by now.
fn place_of(
    vault: &Vault,
    (session, rows): (&ReadSession, &mut Rows<'_>),
    id: &ChunkId,
    copy: usize,
) -> Result<(ChunkLocation, Vec<ChunkNumber>)> {
    let mut places = Vec::new();
    for place in vault.catalog.find(id)? {
        let state = rows.state(&place.pack)?;
        places.extend(state.map(|state| (state == PackState::Doomed, place)));
    }
    if places.is_empty() {
        return Err(Error::new(Code::ChunkMissing, "the chunk is in no pack that is known"));
    }
    let mut granted = Vec::with_capacity(places.len());
    for (is_given_up, place) in places {
        if session.reach.contains(place.number()?) {
            granted.push((is_given_up, place));
        }
    }
    let numbers = granted.iter().map(|(_, place)| place.number()).collect::<Result<_>>()?;
    // A frame may answer to several of the numbers.
    granted.sort_unstable();
    granted.dedup_by_key(|(_, place)| place.pack);
    let locations = vault.row.holding().count().max(1);
    match granted.get(copy.saturating_sub(1) / locations) {
        Some((_, place)) => Ok((*place, numbers)),
        None if granted.is_empty() => {
            Err(Error::new(Code::ChunkRefused, "the chunk is not part of the granted point"))
        }
        None => Err(Error::new(Code::ChunkMissing, "there is no other copy of the chunk")),
    }
}

fn end_of(sought: &Sought) -> u64 {
    u64::from(sought.place.offset) + u64::from(sought.place.length)
}

fn span_bytes(span: &[Sought]) -> usize {
    let bytes = match (span.first(), span.last()) {
        (Some(first), Some(last)) => end_of(last) - u64::from(first.place.offset),
        _ => 0,
    };
    usize::try_from(bytes).unwrap_or(usize::MAX)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_that_is_away_may_have_what_another_one_lacks() {
        let away = || Error::new(Code::LocationIoFailed, "away");
        let lacks = || Error::new(Code::ObjectMissing, "lacks it");
        for told in [worse(away(), lacks()), worse(lacks(), away())] {
            assert_eq!(told.code, Code::LocationIoFailed);
        }
        assert_eq!(worse(lacks(), lacks()).code, Code::ObjectMissing);
    }

    #[test]
    fn each_number_names_one_place_and_no_other() {
        let places = vec!["a", "b", "c"];
        let asked = |copy| asked_for(places.clone(), copy);
        assert_eq!(asked(0), places, "any of them");
        let turns: Vec<_> = (1..=6).flat_map(asked).collect();
        assert_eq!(turns, ["a", "b", "c", "a", "b", "c"], "of one pack, and of the next");
        assert!(asked_for(Vec::<&str>::new(), 1).is_empty());
    }

    #[test]
    fn what_is_wrong_in_one_copy_is_no_damage_while_another_cannot_be_read() {
        let bad = || Given { position: 3, chunk: Err(Error::new(Code::PackDamaged, "a capsule")) };
        let told = |last: Code| {
            let given = bad().or_unheard(&Error::new(last, "the other location"));
            assert_eq!(given.position, 3);
            given.chunk.map_err(|error| error.code)
        };
        assert_eq!(told(Code::LocationIoFailed), Err(Code::LocationIoFailed));
        assert_eq!(told(Code::PackMissing), Err(Code::PackDamaged), "all were read");
        let good = Given { position: 0, chunk: Ok((Bytes::new(), Vec::new())) };
        assert!(good.or_unheard(&Error::new(Code::LocationIoFailed, "away")).chunk.is_ok());
    }
}
