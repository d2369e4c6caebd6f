//! Points that lie in a location and that this ledger never heard to be committed: taken in when
//! all they need is there, and named when not.
//!
//! ```text
//!   points/ − ledger ─→ signed by an enrolled agent? ─→ every number of its reach known?
//!        numbers: packs of the ledger, packs of segments that it lacks, packs inside the point
//! ```
//!
//! Nothing is guessed: the numbers of a pack stand in the ledger or in a sealed segment, and a
//! point's own packs are where its reach has numbers that nothing else explains. For whoever
//! rebuilds a ledger, and for whoever takes in what another side of the cluster made.

use super::{
    LeftPoint,
    source::{Sources, objects},
};
use crate::{
    ingest::{inline_homes, point_row},
    keys::{needs::shut_numbers, sealed::sealed_to_of},
};
use bytes::Bytes;
use holdfast_common::{
    AgentId, Code, Error, Name, PackId, PointId, Result, SegmentId, SessionId, limits,
};
use holdfast_keyring::{IdentityPublicKey, VaultKeys, aead};
use holdfast_ledger::{
    Query,
    command::ImportPoint,
    level::{COLLECTED, SEALED},
    row::{PackHome, PackRow, PackState, PointRow, VaultRow},
};
use holdfast_repository::{
    ChunkNumber, PointObject, PointState, Reach,
    layout::{Object, ObjectName},
    pack::PackView,
    segment::{Home, SegmentTable},
};
use std::collections::{BTreeMap, BTreeSet};

/// What may be taken in, in the order in which it was made, and what may not.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) imports: Vec<ImportPoint>,
    pub(crate) left: Vec<LeftPoint>,
}

/// Looks for points of a vault that the ledger lacks. Only reads. Packs that were given up and lie
/// there count when they are going to be found again.
pub(crate) async fn find(
    query: Query<'_>,
    sources: &Sources,
    vault: &VaultRow,
    (keys, counts_lost): (&VaultKeys, bool),
) -> Result<Found> {
    let (mut unknown, mut forgotten) = (Vec::new(), BTreeSet::new());
    for object in objects(&sources.list("points/").await?) {
        let Object::Point(id) = object else { continue };
        if query.row::<PointRow>(id.as_bytes())?.is_some() {
            continue;
        }
        match query.forgotten(&id)? {
            Some(_) => drop(forgotten.insert(id)),
            None if query.is_point_gone(&id)? => {}
            None => unknown.push(id),
        }
    }
    let mut found = Found::default();
    if unknown.is_empty() {
        return Ok(found);
    }
    let asked = (keys, forgotten, counts_lost);
    let mut search = Search::begin(query, sources, vault, asked).await?;
    for point in unknown {
        match search.look(point).await {
            Ok(import) => found.imports.push(import),
            Err(error) => found.left.push(LeftPoint { point, why: told(&error) }),
        }
    }
    found.imports.sort_by_key(|import| import.point.started);
    Ok(found)
}

fn told(error: &Error) -> String {
    match &error.cause {
        Some(cause) => format!("{}: {} ({cause})", error.code, error.message),
        None => format!("{}: {}", error.code, error.message),
    }
}

struct Search<'a> {
    query: Query<'a>,
    sources: &'a Sources,
    vault: &'a VaultRow,
    keys: &'a VaultKeys,
    /// The locations that were named, as the ledger calls them.
    locations: Vec<Name>,
    /// What was doomed by then is counted on by nobody here.
    whole_at: Option<u64>,
    /// What was closed by then is not taken in: a commit that was refused for it left a point here
    /// that looks whole.
    keys_at: Option<u64>,
    shut: Reach,
    present: BTreeSet<PackId>,
    /// Points that were forgotten, and whose object is there.
    forgotten: BTreeSet<PointId>,
    counts_lost: bool,
    /// Numbers of packs that the ledger has and that are there.
    covered: Reach,
    /// Announced, never said to be stored, and there.
    intended: Vec<PackRow>,
    /// Of segments that the ledger lacks: which packs, at which numbers. The segments themselves
    /// may name packs that are not here, so the index is made from the packs instead.
    segmented: BTreeMap<PackId, ChunkNumber>,
}

impl<'a> Search<'a> {
    async fn begin(
        query: Query<'a>,
        sources: &'a Sources,
        vault: &'a VaultRow,
        (keys, forgotten, counts_lost): (&'a VaultKeys, BTreeSet<PointId>, bool),
    ) -> Result<Self> {
        let says = query.level()? >= COLLECTED;
        let whole_at = query.collection(&vault.id)?.map_or(0, |row| row.doomed_at);
        let keys_at = query.closed_keys(&vault.id)?.at;
        let mut present = BTreeSet::new();
        for object in objects(&sources.list("packs/").await?) {
            // What was collected may be gone by the next look.
            if let Object::Pack(id) = object
                && !query.is_collected(&vault.id, &id)?
            {
                present.insert(id);
            }
        }
        let is_named = |url: &str| sources.iter().any(|source| source.url == url);
        let locations = query.locations()?;
        let named = locations.into_iter().filter(|row| is_named(&row.url)).map(|row| row.name);
        let mut search = Self {
            query,
            sources,
            vault,
            keys,
            locations: named.filter(|name| vault.holding().any(|held| held == name)).collect(),
            whole_at: says.then_some(whole_at),
            keys_at: (query.level()? >= SEALED).then_some(keys_at),
            shut: shut_numbers(query, &vault.id)?.numbers,
            present,
            forgotten,
            counts_lost,
            covered: Reach::new(),
            intended: Vec::new(),
            segmented: BTreeMap::new(),
        };
        search.cover()?;
        search.read_segments().await?;
        Ok(search)
    }

    /// What the ledger knows of packs that are there.
    fn cover(&mut self) -> Result<()> {
        let mut after = None;
        loop {
            let page = self.query.packs(&self.vault.id, after.as_ref())?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id);
            for row in page {
                let is_there = match row.home {
                    PackHome::Object => self.present.contains(&row.id),
                    PackHome::Point(home, _) => is_home(self.query, &self.forgotten, &home)?,
                };
                let counts = match row.state {
                    PackState::Doomed => false,
                    PackState::Lost => self.counts_lost,
                    PackState::Intended | PackState::Stored => true,
                };
                if !is_there || !counts {
                    continue;
                }
                for (first, count) in row.numbers() {
                    self.covered.insert_range(ChunkNumber::from_u64(first), count)?;
                }
                if row.state == PackState::Intended {
                    self.intended.push(row);
                }
            }
        }
    }

    async fn read_segments(&mut self) -> Result<()> {
        let known: BTreeSet<SegmentId> =
            self.query.segments(&self.vault.id)?.into_iter().map(|row| row.id).collect();
        for object in objects(&self.sources.list("index/").await?) {
            let Object::Segment(id) = object else { continue };
            if known.contains(&id) {
                continue;
            }
            let open = |segment: &SegmentId, aad: &[u8], sealed: &[u8]| {
                let key = self.keys.coordinator().segment_key(segment);
                aead::open(key.expose(), aad, sealed)
            };
            let read = |bytes: Bytes| SegmentTable::parse(&self.vault.id, &id, &bytes, &open);
            let name = ObjectName::segment(&id);
            // A segment is a cache: one that cannot be read makes a point incomplete at most.
            let mut ignored = Vec::new();
            let bytes_max = limits::SEGMENT_ROWS_MAX * SEGMENT_ROW_BYTES_MAX;
            let read = self.sources.find(&name, bytes_max, &mut ignored, read).await?;
            let Some(table) = read else { continue };
            for row in table.rows().iter() {
                let location = row?.location;
                if location.home == Home::Pack {
                    // Numbers that it took over are lower than its own.
                    let base = self.segmented.entry(location.pack).or_insert(location.base);
                    *base = location.base.max(*base);
                }
            }
        }
        Ok(())
    }

    /// One point, and all that has to come with it.
    async fn look(&mut self, id: PointId) -> Result<ImportPoint> {
        let vault = self.vault.id;
        let name = ObjectName::point(&id);
        let parse = |bytes: Bytes| Ok((PointObject::parse(&vault, &id, &bytes)?, bytes));
        let (object, bytes) = self.whole(&name, limits::POINT_OBJECT_BYTES_MAX, parse).await?;
        let record = object.record();
        let agent = self.query.agent(&record.agent)?;
        IdentityPublicKey::from_bytes(agent.identity_public)
            .verify_point(object.record_bytes(), object.signature())?;
        if record.state == PointState::Checkpoint {
            let message = "it is a checkpoint of a run that did not end";
            return Err(Error::new(Code::RunInterrupted, message));
        }
        let name = ObjectName::reach(&id);
        let parse = |bytes: Bytes| {
            let reach = Reach::from_object(&bytes, &vault, &id)?;
            Ok((reach, *blake3::hash(&bytes).as_bytes()))
        };
        let (reach, reach_hash) = self.whole(&name, limits::REACH_BYTES_MAX, parse).await?;
        if reach.overlaps(&self.shut) {
            let message = "it needs what only a closed version of the vault's keys opens";
            return Err(Error::new(Code::VaultKeysClosed, message));
        }
        let mut packs = self.packs_of(&reach, &record.agent).await?;
        packs.extend(self.inline_packs(&object, &bytes, &reach, &packs)?);
        let mut point = point_row(record, self.vault, record.run);
        point.object_hash = *blake3::hash(&bytes).as_bytes();
        point.reach_hash = reach_hash;
        point.locations.clone_from(&self.locations);
        self.say_sealed(&mut packs);
        let closed = self.query.closed_keys(&vault)?;
        if let Some(pack) = packs.iter().find(|pack| closed.shuts(pack)) {
            let message = format!("{} opens with a closed version of the vault's keys", pack.id);
            return Err(Error::new(Code::VaultKeysClosed, message));
        }
        Ok(ImportPoint { point, packs, whole_at: self.whole_at, keys_at: self.keys_at })
    }

    /// Members of an older level would not keep it.
    fn say_sealed(&self, packs: &mut [PackRow]) {
        if self.keys_at.is_none() {
            packs.iter_mut().for_each(|pack| pack.sealed_to = None);
        }
    }

    async fn whole<T>(
        &self,
        name: &ObjectName,
        bytes_max: usize,
        read: impl FnMut(Bytes) -> Result<T>,
    ) -> Result<T> {
        let mut blemishes = Vec::new();
        let found = self.sources.find(name, bytes_max, &mut blemishes, read).await?;
        found.ok_or_else(|| match blemishes.pop() {
            Some(blemish) => {
                Error::new(Code::ObjectDamaged, format!("{name} is damaged")).cause(blemish.problem)
            }
            None => Error::new(Code::ObjectMissing, format!("there is no {name}")),
        })
    }

    /// Rows for packs that a point reaches and that the ledger lacks, or holds for announced only.
    async fn packs_of(&self, reach: &Reach, agent: &AgentId) -> Result<Vec<PackRow>> {
        let reaches = |base: u64, slots: u32| {
            let mut numbers = base..base.saturating_add(u64::from(slots));
            numbers.any(|number| reach.contains(ChunkNumber::from_u64(number)))
        };
        let announced = self.intended.iter().filter(|row| reaches(row.base, row.slots));
        let mut packs: Vec<PackRow> = announced.cloned().collect();
        for (id, base) in &self.segmented {
            let is_new = self.query.pack(&self.vault.id, id)?.is_none();
            if is_new && self.present.contains(id) && reach.contains(*base) {
                packs.push(self.pack(id, *base, agent).await?);
            }
        }
        Ok(packs)
    }

    /// The row of a pack, from the pack itself.
    async fn pack(&self, id: &PackId, base: ChunkNumber, agent: &AgentId) -> Result<PackRow> {
        let read = |bytes: Bytes| self.row_of(id, bytes, base.as_u64(), PackHome::Object, agent);
        self.whole(&ObjectName::pack(id), limits::PACK_BYTES_MAX, read).await
    }

    fn row_of(
        &self,
        id: &PackId,
        bytes: Bytes,
        base: u64,
        home: PackHome,
        agent: &AgentId,
    ) -> Result<PackRow> {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let view = PackView::parse(&self.vault.id, bytes)?;
        view.verify(id)?;
        let footer = view.open_footer(&|version: u32, digest: &[u8; 32], sealed: &[u8]| {
            self.keys.index_private(version)?.open_footer(digest, sealed)
        })?;
        Ok(PackRow {
            condemned: None,
            doomed: None,
            live: None,
            taken: None,
            into: None,
            sealed_to: sealed_to_of(&view).ok(),
            id: *id,
            vault: self.vault.id,
            kind: view.kind() as u8,
            base,
            slots: u32::try_from(footer.rows.len()).unwrap_or(u32::MAX),
            length,
            writer: *agent,
            session: SessionId::from_bytes([0; 16]),
            state: PackState::Stored,
            home,
            digest: *view.digest(),
        })
    }

    /// What lies in the point itself, at the numbers that nothing else explains. All numbers are
    /// explained then, or the point is not whole.
    fn inline_packs(
        &self,
        object: &PointObject,
        bytes: &Bytes,
        reach: &Reach,
        others: &[PackRow],
    ) -> Result<Vec<PackRow>> {
        let mut covered = self.covered.clone();
        for row in others {
            covered.insert_range(ChunkNumber::from_u64(row.base), row.slots)?;
        }
        let unexplained: Vec<u64> = reach
            .iter()
            .filter(|number| !covered.contains(*number))
            .map(ChunkNumber::as_u64)
            .take(limits::PACK_SLOTS_MAX * 2 + 1)
            .collect();
        let record = object.record();
        let homes = inline_homes(&record.point, bytes, object.inline());
        let (mut rows, mut next) = (Vec::new(), unexplained.first().copied().unwrap_or(0));
        for ((id, pack), home) in record.inline_packs.iter().zip(object.inline()).zip(homes) {
            let row = match self.query.pack(&self.vault.id, id)? {
                Some(row) => row,
                None => self.row_of(id, pack.clone(), next, home, &record.agent)?,
            };
            next = row.base + u64::from(row.slots);
            rows.push(row);
        }
        let explained: Vec<u64> = rows
            .iter()
            .flat_map(|row| row.base..row.base + u64::from(row.slots))
            .filter(|number| !covered.contains(ChunkNumber::from_u64(*number)))
            .collect();
        if unexplained.iter().all(|number| explained.contains(number)) {
            return Ok(rows);
        }
        let message = format!("{} of its chunks and more are not there", unexplained.len());
        Err(Error::new(Code::PackMissing, message))
    }
}

/// A row and its share of the pack table, with room.
const SEGMENT_ROW_BYTES_MAX: usize = 128;

/// Whether packs may lie in the object of a point. One that is committed was seen whole, and
/// another one is looked at itself; one that was forgotten must be among those that are there.
fn is_home(query: Query<'_>, forgotten: &BTreeSet<PointId>, point: &PointId) -> Result<bool> {
    let is_live = query.row::<PointRow>(point.as_bytes())?.is_some();
    Ok(is_live || forgotten.contains(point))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{self, Crowd, id};

    #[test]
    fn packs_in_the_object_of_a_forgotten_point_are_there_where_that_was_listed() {
        let mut crowd = Crowd::default();
        crowd.point(1, |_| ());
        crowd.put(&crowd::forgotten(2));
        crowd.put(&crowd::forgotten(3));
        let point = |number| PointId::from_bytes(id(number));
        let listed = BTreeSet::from([point(2)]);
        let there = crowd.ask(|query| {
            [1, 2, 3, 4].map(|number| is_home(query, &listed, &point(number)).unwrap())
        });
        assert_eq!(there, [true, true, false, false]);
    }
}
