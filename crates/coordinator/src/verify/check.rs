//! One object, in every location that must have it.

use super::{Level, heal};
use crate::house::{House, Vault};
use bytes::Bytes;
use holdfast_common::{ChunkId, PackId, PointId, Result, limits};
use holdfast_ledger::{
    Actor,
    command::{FindPack, LosePack, Note, NoteKind},
    row::{PackRow, PackState, PointRow, SegmentRow},
};
use holdfast_repository::layout;
use holdfast_storage::ObjectName;
use holdfast_wire::v1;

/// One object, and how it must look.
pub(super) struct Expected {
    name: ObjectName,
    hash: [u8; 32],
    length: Option<u64>,
    pack: Option<PackRow>,
    /// The point that it is looked at for.
    needed_by: Option<PointId>,
    /// Small and read whole at every level.
    is_record: bool,
}

impl Expected {
    /// A point's object, which another point may need too.
    pub(super) fn point(row: &PointRow, needed_by: PointId) -> Result<Self> {
        let record = Self::record(&layout::ObjectName::point(&row.id), row.object_hash)?;
        Ok(Self { needed_by: Some(needed_by), ..record })
    }

    pub(super) fn reach(row: &PointRow) -> Result<Self> {
        let record = Self::record(&layout::ObjectName::reach(&row.id), row.reach_hash)?;
        Ok(Self { needed_by: Some(row.id), ..record })
    }

    pub(super) fn pack(row: &PackRow, needed_by: PointId) -> Result<Self> {
        Ok(Self {
            needed_by: Some(needed_by),
            length: Some(u64::from(row.length)),
            pack: Some(row.clone()),
            is_record: false,
            ..Self::record(&layout::ObjectName::pack(&row.id), *row.id.as_bytes())?
        })
    }

    pub(super) fn segment(row: &SegmentRow) -> Result<Self> {
        Ok(Self {
            length: Some(row.length),
            is_record: false,
            ..Self::record(&layout::ObjectName::segment(&row.id), row.hash)?
        })
    }

    fn record(name: &layout::ObjectName, hash: [u8; 32]) -> Result<Self> {
        let name = name.as_str().parse()?;
        Ok(Self { name, hash, length: None, pack: None, needed_by: None, is_record: true })
    }

    /// A lost pack counts as found only when its bytes were seen.
    fn is_read_always(&self) -> bool {
        self.is_record || self.pack.as_ref().is_some_and(|row| row.state == PackState::Lost)
    }
}

/// What was found of one object, in all its locations.
pub(super) async fn check_everywhere(
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
            points: object.needed_by.iter().map(|p| Bytes::copy_from_slice(p.as_bytes())).collect(),
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
    let (vault, catalog, pack) = (vault.row.id, &vault.catalog, row.id);
    match (row.state, whole) {
        (PackState::Lost, true) => {
            house.ledger.propose(Actor::System, FindPack { vault, pack }).await?;
            catalog.look_again();
        }
        (PackState::Stored, false) => {
            house.ledger.propose(Actor::System, LosePack { vault, pack }).await?;
        }
        _ => {}
    }
    Ok(())
}
