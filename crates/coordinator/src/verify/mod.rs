//! Reading objects back and comparing them with what was committed. Needs no data key.
//!
//! `structure` looks at what a restore walks over first: the points' records and reach, and that
//! every pack is there with its length. `storage` reads every byte of every object in every
//! required location. What one location lost or damaged is healed from another that has it whole.

mod heal;

use crate::house::{House, Vault};
use bytes::Bytes;
use holdfast_common::{ChunkId, Code, Error, PackId, PointId, Result, VaultId, limits};
use holdfast_ledger::row::{PackHome, PackRow, PackState, PointRow};
use holdfast_ledger::{
    Actor,
    command::{FindPack, LosePack, Note, NoteKind},
};
use holdfast_repository::{Reach, layout};
use holdfast_storage::ObjectName;
use holdfast_wire::{parse, status::to_status, v1};
use std::collections::{BTreeMap, HashMap};
use tokio::sync::mpsc;
use tonic::Status;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Structure,
    Storage,
}

pub(crate) struct Request {
    points: Vec<PointRow>,
    level: Level,
}

impl Request {
    pub(crate) fn parse(house: &House, request: v1::VerifyObjectsRequest) -> Result<Self> {
        let level = match request.level.as_str() {
            "structure" => Level::Structure,
            "storage" => Level::Storage,
            other => {
                return Err(Error::new(Code::UsageMalformed, format!("`{other}` is no level")));
            }
        };
        let query = house.ledger.query();
        let policy = parse::name_if_any(request.policy.as_deref())?;
        let points = if request.points.is_empty() {
            let mut points = query.points(limits::LIST_PAGE_ROWS)?;
            points.retain(|point| policy.is_none() || point.policy == policy);
            points
        } else {
            let ids = request.points.iter().map(|id| parse::point_id(id));
            ids.map(|id| query.point(&id?)).collect::<Result<_>>()?
        };
        Ok(Self { points, level })
    }
}

type Events = mpsc::Sender<Result<v1::VerifyEvent, Status>>;

pub(crate) async fn verify(house: &House, request: Request, events: Events) {
    let mut tally = v1::VerifyEvent::default();
    let result = Box::pin(run(house, &request, &mut tally, &events)).await;
    tally.done = true;
    let last = result.map(|()| tally).map_err(|error| to_status(&error));
    // The caller may have gone; the findings are logged where they were made.
    let _ = events.send(last).await;
}

async fn run(
    house: &House,
    request: &Request,
    tally: &mut v1::VerifyEvent,
    events: &Events,
) -> Result<()> {
    let mut by_vault: BTreeMap<VaultId, Vec<&PointRow>> = BTreeMap::new();
    for point in &request.points {
        by_vault.entry(point.vault).or_default().push(point);
    }
    for (id, points) in by_vault {
        let vault = house.vault(&id)?;
        let mut objects = Objects::default();
        for point in &points {
            tally.points += 1;
            objects.add_point(point);
            match house.read_reach(&vault, point).await {
                Ok(reach) => objects.add_packs(house, &vault, point, &reach)?,
                Err(error) => tracing::warn!(%error, point = %point.id, "reach cannot be read"),
            }
        }
        objects.add_segments(house, &vault)?;
        for object in objects.map.values() {
            let event = check_everywhere(house, &vault, object, request.level).await?;
            tally.objects += 1;
            tally.bytes += event.bytes;
            tally.damaged.extend(event.damaged.iter().cloned());
            if !event.damaged.is_empty() || tally.objects.is_multiple_of(64) {
                let progress = v1::VerifyEvent { damaged: Vec::new(), ..tally.clone() };
                if events.send(Ok(progress)).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// One object that points rely on, and how it must look.
struct Expected {
    name: ObjectName,
    hash: [u8; 32],
    length: Option<u64>,
    pack: Option<PackRow>,
    points: Vec<PointId>,
    /// Small and read whole at every level.
    is_record: bool,
}

impl Expected {
    /// A lost pack counts as found only when its bytes were seen.
    fn is_read_always(&self) -> bool {
        self.is_record || self.pack.as_ref().is_some_and(|row| row.state == PackState::Lost)
    }
}

#[derive(Default)]
struct Objects {
    map: BTreeMap<String, Expected>,
    packs: HashMap<VaultId, Vec<PackRow>>,
}

impl Objects {
    fn add(
        &mut self,
        point: PointId,
        expected: impl FnOnce() -> Result<Expected>,
        key: &str,
    ) -> Result<()> {
        if !self.map.contains_key(key) {
            self.map.insert(key.to_owned(), expected()?);
        }
        if let Some(object) = self.map.get_mut(key)
            && !object.points.contains(&point)
        {
            object.points.push(point);
        }
        Ok(())
    }

    fn add_point(&mut self, point: &PointRow) {
        let records = [
            (layout::ObjectName::point(&point.id), point.object_hash),
            (layout::ObjectName::reach(&point.id), point.reach_hash),
        ];
        for (name, hash) in records {
            let key = name.as_str().to_owned();
            let made = self.add(
                point.id,
                || {
                    Ok(Expected {
                        name: name.as_str().parse()?,
                        hash,
                        length: None,
                        pack: None,
                        points: Vec::new(),
                        is_record: true,
                    })
                },
                &key,
            );
            if let Err(error) = made {
                tracing::error!(%error, "an object's own name was refused");
            }
        }
    }

    /// A small run's pack lies in another point's object: this point needs that object too.
    fn add_home(&mut self, house: &House, point: &PointRow, home: &PointId) -> Result<()> {
        let row = house.ledger.query().point(home)?;
        let name = layout::ObjectName::point(home);
        let expected = || {
            Ok(Expected {
                name: name.as_str().parse()?,
                hash: row.object_hash,
                length: None,
                pack: None,
                points: Vec::new(),
                is_record: true,
            })
        };
        self.add(point.id, expected, name.as_str())
    }

    /// Segments of the index: no point needs them, but whoever recovers is faster with them.
    fn add_segments(&mut self, house: &House, vault: &Vault) -> Result<()> {
        for segment in house.ledger.query().segments(&vault.row.id)? {
            let name = layout::ObjectName::segment(&segment.id);
            let expected = Expected {
                name: name.as_str().parse()?,
                hash: segment.hash,
                length: Some(segment.length),
                pack: None,
                points: Vec::new(),
                is_record: false,
            };
            self.map.insert(name.into_string(), expected);
        }
        Ok(())
    }

    /// The packs that a reach has numbers of.
    fn add_packs(
        &mut self,
        house: &House,
        vault: &Vault,
        point: &PointRow,
        reach: &Reach,
    ) -> Result<()> {
        let rows = match self.packs.get(&vault.row.id) {
            Some(rows) => rows.clone(),
            None => {
                let rows = packs_by_base(house, &vault.row.id)?;
                self.packs.insert(vault.row.id, rows.clone());
                rows
            }
        };
        let mut last = None;
        for number in reach.iter() {
            let number = number.as_u64();
            let at = rows.partition_point(|row| row.base <= number);
            let Some(row) = at.checked_sub(1).and_then(|at| rows.get(at)) else { continue };
            if last == Some(row.id) {
                continue;
            }
            last = Some(row.id);
            if let PackHome::Point(home, _) = row.home {
                self.add_home(house, point, &home)?;
                continue;
            }
            let name = layout::ObjectName::pack(&row.id);
            let key = name.as_str().to_owned();
            self.add(
                point.id,
                || {
                    Ok(Expected {
                        name: name.as_str().parse()?,
                        hash: *row.id.as_bytes(),
                        length: Some(u64::from(row.length)),
                        pack: Some(row.clone()),
                        points: Vec::new(),
                        is_record: false,
                    })
                },
                &key,
            )?;
        }
        Ok(())
    }
}

fn packs_by_base(house: &House, vault: &VaultId) -> Result<Vec<PackRow>> {
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let page = house.ledger.query().packs(vault, after.as_ref())?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        rows.extend(page.into_iter().filter(|row| row.state != PackState::Intended));
    }
    rows.sort_unstable_by_key(|row| row.base);
    Ok(rows)
}

/// What was found of one object, in all its locations.
async fn check_everywhere(
    house: &House,
    vault: &Vault,
    object: &Expected,
    level: Level,
) -> Result<v1::VerifyEvent> {
    let mut event = v1::VerifyEvent::default();
    let mut good: Option<(String, Bytes)> = None;
    let mut bad: Vec<(usize, &'static str)> = Vec::new();
    let places = house.places.required(&vault.row).await?;
    for (at, (name, store)) in places.iter().enumerate() {
        let head = store.head(&object.name).await?;
        let problem = match (&head, object.length) {
            (None, _) => Some("missing"),
            (Some(head), Some(length)) if head.length < length => Some("truncated"),
            (Some(head), Some(length)) if head.length > length => Some("hash"),
            _ if level == Level::Structure && !object.is_read_always() => None,
            _ => {
                let _share = house.outgoing.reserve(limits::PACK_BYTES_MAX).await?;
                let bytes = store.get(&object.name, limits::REACH_BYTES_MAX).await?;
                event.bytes += bytes.len() as u64;
                if house.hash(bytes.clone()).await? == object.hash {
                    good.get_or_insert((name.to_string(), bytes));
                    None
                } else {
                    Some("hash")
                }
            }
        };
        if let Some(problem) = problem {
            bad.push((at, problem));
        }
    }
    let mut whole = true;
    for (at, problem) in bad {
        let healed_from =
            heal::heal(house, vault, &places, at, &object.name, &object.hash, good.as_ref())
                .await?;
        let location = places[at].0.to_string();
        tracing::error!(object = %object.name, location, problem, "damaged");
        let chunks = match (&healed_from, &object.pack) {
            (None, Some(pack)) => chunks_of(house, vault, pack.id).await?,
            _ => Vec::new(),
        };
        whole &= healed_from.is_some();
        if healed_from.is_some() {
            let subject = format!("{} in {location}", object.name);
            let note = Note { kind: NoteKind::ObjectHealed, subject };
            house.ledger.propose(Actor::System, note).await?;
        }
        event.damaged.push(v1::Damage {
            object: object.name.to_string(),
            location,
            problem: problem.to_owned(),
            healed_from,
            points: object.points.iter().map(|p| Bytes::copy_from_slice(p.as_bytes())).collect(),
            chunk_ids: chunks.iter().map(|c| Bytes::copy_from_slice(c.as_bytes())).collect(),
        });
    }
    note_fate(house, vault, object, whole).await?;
    Ok(event)
}

/// The chunks that are lost with a pack: all of them, or it is said that they are not known yet.
async fn chunks_of(house: &House, vault: &Vault, pack: PackId) -> Result<Vec<ChunkId>> {
    vault.catalog.loaded().await?;
    let catalog = vault.catalog.clone();
    house.tasks.run_blocking("index", move || catalog.chunks_of(&pack)).await
}

/// A pack that no location has whole is relied on no more; one that all have again is.
async fn note_fate(house: &House, vault: &Vault, object: &Expected, whole: bool) -> Result<()> {
    let Some(row) = &object.pack else { return Ok(()) };
    let (vault, pack) = (vault.row.id, row.id);
    match (row.state, whole) {
        (PackState::Lost, true) => {
            house.ledger.propose(Actor::System, FindPack { vault, pack }).await?;
        }
        (PackState::Stored, false) => {
            house.ledger.propose(Actor::System, LosePack { vault, pack }).await?;
        }
        _ => {}
    }
    Ok(())
}
