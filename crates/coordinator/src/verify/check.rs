//! One object, in every location that must have it.

use super::{
    Level, Looked, heal,
    lost::{find, judge, lose_home},
};
use crate::{
    house::{House, Vault},
    places::{Place, show},
    region::awaited,
};
use bytes::Bytes;
use holdfast_common::{ChunkId, Code, Error, Name, PackId, PointId, Result, VaultId, limits};
use holdfast_ledger::{
    Actor, Query,
    command::{LosePack, Note, NoteKind},
    row::{PackRow, PackState, PointRow, SegmentRow, VaultRow},
};
use holdfast_repository::layout::{self, Object};
use holdfast_storage::ObjectName;
use holdfast_wire::v1;

/// One object, and how it must look.
pub(crate) struct Expected {
    name: ObjectName,
    hash: [u8; 32],
    length: Option<u64>,
    pack: Option<PackRow>,
    /// The point whose object it is: packs may lie in it.
    home: Option<PointId>,
    /// The point that it is looked at for, where there is one.
    needed_by: Option<PointId>,
    /// Small and read whole at every level.
    is_record: bool,
}

impl Expected {
    pub(crate) fn point(row: &PointRow) -> Result<Self> {
        Ok(Self { needed_by: Some(row.id), ..Self::home(row)? })
    }

    /// A point's object, for what others need of it.
    pub(crate) fn home(row: &PointRow) -> Result<Self> {
        let record = Self::record(&layout::ObjectName::point(&row.id), row.object_hash)?;
        Ok(Self { home: Some(row.id), ..record })
    }

    pub(crate) fn reach(row: &PointRow) -> Result<Self> {
        let record = Self::record(&layout::ObjectName::reach(&row.id), row.reach_hash)?;
        Ok(Self { needed_by: Some(row.id), ..record })
    }

    pub(crate) fn pack(row: &PackRow) -> Result<Self> {
        Ok(Self {
            length: Some(u64::from(row.length)),
            pack: Some(row.clone()),
            is_record: false,
            ..Self::record(&layout::ObjectName::pack(&row.id), *row.id.as_bytes())?
        })
    }

    pub(crate) fn segment(row: &SegmentRow) -> Result<Self> {
        Ok(Self {
            length: Some(row.length),
            is_record: false,
            ..Self::record(&layout::ObjectName::segment(&row.id), row.hash)?
        })
    }

    fn record(name: &layout::ObjectName, hash: [u8; 32]) -> Result<Self> {
        let name = name.as_str().parse()?;
        let (length, pack, home, needed_by) = (None, None, None, None);
        Ok(Self { name, hash, length, pack, home, needed_by, is_record: true })
    }

    pub(crate) fn name(&self) -> &ObjectName {
        &self.name
    }

    /// The record of a point, or its reach.
    pub(crate) fn is_of_a_point(&self) -> bool {
        self.is_record
    }

    /// The point whose object it is, when it is only looked at for what others need of it.
    pub(crate) fn home_alone(&self) -> Option<PointId> {
        self.home.filter(|_| self.needed_by.is_none())
    }

    /// No location had it whole when it was looked for.
    pub(crate) fn is_lost(&self) -> bool {
        self.pack.as_ref().is_some_and(|row| row.state == PackState::Lost)
    }

    pub(crate) fn pack_row(&self) -> Option<&PackRow> {
        self.pack.as_ref()
    }

    /// A lost pack counts as found only when its bytes were seen.
    fn is_read_always(&self) -> bool {
        self.is_record || self.is_lost()
    }
}

/// What was found of an object, and what was read of it in each place: none where it was passed by
/// or nobody asked for more than its length.
pub(super) struct Looks {
    pub(super) event: v1::VerifyEvent,
    pub(super) read: Vec<Option<u64>>,
    pub(super) fate: Fate,
}

/// What was found of one object, in all the places that must have it: so many required ones, and
/// then those that follow, which end nothing when they go away meanwhile.
pub(super) async fn check_everywhere(
    house: &House,
    vault: &Vault,
    (places, required): (&[Place], usize),
    (object, level): (&Expected, Level),
) -> Result<Looks> {
    let (mut event, mut counts) = (v1::VerifyEvent::default(), vec![None; places.len()]);
    let mut good: Option<heal::Good> = None;
    let (mut bad, mut problems) = (Vec::new(), Vec::new());
    for (at, place) in places.iter().enumerate() {
        let copy = match copy_in(house, vault, object, place, level).await {
            Err(error) if at >= required => {
                tracing::warn!(location = %place.0, %error, "passed by");
                Copy::Unread
            }
            copy => copy?,
        };
        match copy {
            Copy::Bad { problem, read } => {
                counts[at] = Some(read);
                bad.push(at);
                problems.push(problem);
            }
            Copy::Unread => {}
            Copy::Whole(bytes) => {
                counts[at] = Some(bytes.len() as u64);
                good.get_or_insert((place.0.to_string(), bytes));
            }
        }
    }
    let mut is_nowhere = true;
    if good.is_none() && !bad.is_empty() {
        let bad: Vec<Name> = bad.iter().map(|at| places[*at].0.clone()).collect();
        (good, is_nowhere) =
            heal::find_good(house, vault, &bad, &object.name, &object.hash).await?;
    }
    let mut fate = Fate::Whole;
    for (at, problem) in bad.into_iter().zip(problems) {
        let location = places[at].0.to_string();
        tracing::error!(object = %object.name, location, problem, "damaged");
        let (mut healed_from, mut chunks) = (None, Vec::new());
        match (&good, &object.pack) {
            (Some(good), _) if heal::heal(house, vault, &places[at], &object.name, good).await => {
                healed_from = Some(good.0.clone());
                let subject = format!("{} in {location}", object.name);
                let note = Note { kind: NoteKind::ObjectHealed, subject };
                house.ledger.propose(Actor::System, note).await?;
            }
            (Some(_), _) => fate = Fate::Damaged,
            // One that could not be read may have it.
            (None, _) if !is_nowhere => fate = Fate::Damaged,
            (None, pack) => {
                fate = Fate::of_nowhere(&house.ledger.query(), &vault.row)?;
                if let Some(pack) = pack {
                    chunks = chunks_of(house, vault, pack.id).await?;
                }
            }
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
    note_fate(house, vault, object, fate).await?;
    event.bytes = counts.iter().flatten().sum();
    Ok(Looks { event, read: counts, fate })
}

/// An object read in one place, and left as it is.
pub(crate) struct One {
    pub(crate) bytes: u64,
    pub(crate) is_whole: bool,
    pub(crate) is_missing: bool,
}

/// Reads an object in one place.
pub(crate) async fn look_at(
    house: &House,
    vault: &Vault,
    object: &Expected,
    place: &Place,
) -> Result<One> {
    Ok(match copy_in(house, vault, object, place, Level::Storage).await? {
        Copy::Bad { problem, read } => {
            One { bytes: read, is_whole: false, is_missing: problem == "missing" }
        }
        Copy::Unread => One { bytes: 0, is_whole: true, is_missing: false },
        Copy::Whole(bytes) => One { bytes: bytes.len() as u64, is_whole: true, is_missing: false },
    })
}

/// Reads an object wherever it must lie, heals it, and notes what is lost; `extra` follows and must
/// have it too. What was found, and in how many it is whole in the end.
pub(crate) async fn look_everywhere(
    house: &House,
    vault: &Vault,
    object: &Expected,
    extra: Option<&Name>,
) -> Result<(v1::VerifyEvent, Fate)> {
    let looked = Looked::at(house, &vault.row).await?;
    let mut places = house.places.required(&looked.required).await?;
    let required = places.len();
    let extra = extra.into_iter().cloned().collect();
    places.extend(house.places.open_of(&vault.row, extra).await.0);
    let places = (&places[..], required);
    let looks = check_everywhere(house, vault, places, (object, Level::Storage)).await?;
    Ok((looks.event, looks.fate))
}

/// What one location has of an object.
enum Copy {
    Bad {
        problem: &'static str,
        read: u64,
    },
    /// There with its length, and not asked for more.
    Unread,
    Whole(Bytes),
}

/// Where the vault's own object is not, nothing is missing: that is another place.
async fn copy_in(
    house: &House,
    vault: &Vault,
    object: &Expected,
    place: &Place,
    level: Level,
) -> Result<Copy> {
    let copy = read_in(house, vault, object, place, level).await?;
    if matches!(copy, Copy::Bad { .. }) {
        show(&vault.row, place).await?;
    }
    Ok(copy)
}

async fn read_in(
    house: &House,
    vault: &Vault,
    object: &Expected,
    place: &Place,
    level: Level,
) -> Result<Copy> {
    let store = &place.1;
    let head = match store.head(&object.name).await {
        Ok(head) => head,
        Err(error) => return no_copy(vault, object, place, error).await,
    };
    let problem = match (&head, object.length) {
        (None, _) => "missing",
        (Some(head), Some(length)) if head.length < length => "truncated",
        (Some(head), Some(length)) if head.length > length => "hash",
        _ if level == Level::Structure && !object.is_read_always() => return Ok(Copy::Unread),
        _ => {
            let _share = house.outgoing.reserve(limits::PACK_BYTES_MAX).await?;
            let bytes = match store.get(&object.name, limits::REACH_BYTES_MAX).await {
                Ok(bytes) => bytes,
                Err(error) => return no_copy(vault, object, place, error).await,
            };
            if house.hash(bytes.clone()).await? == object.hash {
                return Ok(Copy::Whole(bytes));
            }
            return Ok(Copy::Bad { problem: "hash", read: bytes.len() as u64 });
        }
    };
    Ok(Copy::Bad { problem, read: 0 })
}

/// An object that cannot be read is a finding. A location that cannot be read at all is none of
/// this object's, and ends the verification: nothing there is known to be damaged.
async fn no_copy(vault: &Vault, object: &Expected, place: &Place, error: Error) -> Result<Copy> {
    let problem = problem_of(&vault.row, place, &error).await?;
    tracing::warn!(object = %object.name, location = %place.0, %error, "not read");
    Ok(Copy::Bad { problem, read: 0 })
}

/// What the error says of one object; or the error that says something of the location.
pub(crate) async fn problem_of(
    vault: &VaultRow,
    place: &Place,
    error: &Error,
) -> Result<&'static str> {
    match error.code {
        // It went between two looks at it.
        Code::ObjectMissing => Ok("missing"),
        Code::ObjectDamaged => Ok("truncated"),
        // Longer than any object of its kind.
        Code::LimitExceeded => Ok("hash"),
        Code::LocationIoFailed | Code::LocationRefused => {
            show(vault, place).await?;
            Ok("unreadable")
        }
        _ => Err(error.clone()),
    }
}

/// What the ledger says that an object hashes to; nothing of one that it does not know.
pub(crate) fn hash_of(
    query: Query<'_>,
    vault: &VaultId,
    name: &layout::ObjectName,
) -> Result<Option<[u8; 32]>> {
    let point = |id: &PointId| query.point_even_forgotten(id);
    let expected = match name.object() {
        Object::Pack(id) => return Ok(Some(*id.as_bytes())),
        Object::Point(id) => point(&id)?.map(|row| Expected::point(&row)),
        Object::Reach(id) => point(&id)?.map(|row| Expected::reach(&row)),
        Object::Segment(id) => {
            let key = [vault.as_bytes().as_slice(), id.as_bytes()].concat();
            query.row::<SegmentRow>(&key)?.map(|row| Expected::segment(&row))
        }
        _ => None,
    };
    Ok(expected.transpose()?.map(|expected| expected.hash))
}

/// The chunks that are lost with a pack: all of them, or it is said that they are not known yet.
async fn chunks_of(house: &House, vault: &Vault, pack: PackId) -> Result<Vec<ChunkId>> {
    vault.catalog.loaded(house.ledger.state().applied).await?;
    let catalog = vault.catalog.clone();
    house.tasks.run_blocking("index", move || catalog.chunks_of(&pack)).await
}

/// In how many locations an object is whole in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// In some, and could not be healed in others.
    Damaged,
    /// In none.
    Lost,
    /// In none that can be reached: one of a region that was given up may have it.
    OutOfReach,
    Whole,
}

impl Fate {
    /// Of what no location has that was asked, which are those that the vault had when the look
    /// began. What is awaited is as of now: a region may have been given up while it was looked
    /// for. One that came or came back meanwhile was not asked, and may have it.
    fn of_nowhere(query: &Query<'_>, asked: &VaultRow) -> Result<Self> {
        let now = query.vault(&asked.id)?;
        if now.holding().any(|name| asked.holding().all(|known| known != name)) {
            return Ok(Self::Damaged);
        }
        let lost = awaited(query, &now)?;
        Ok(if lost.is_empty() { Self::Lost } else { Self::OutOfReach })
    }
}

/// What no location has whole is relied on no more; a pack that all have again is. A point is lost
/// only when nobody may come back who has it.
async fn note_fate(house: &House, vault: &Vault, object: &Expected, fate: Fate) -> Result<()> {
    let is_gone = matches!(fate, Fate::Lost | Fate::OutOfReach);
    if let Some(home) = object.home.filter(|_| is_gone) {
        lose_home(house, vault.row.id, home).await?;
    }
    if let Some(point) = object.needed_by.filter(|_| fate == Fate::Lost) {
        judge(house, point, false).await?;
    }
    let Some(row) = &object.pack else { return Ok(()) };
    let (vault_id, pack) = (vault.row.id, row.id);
    match (row.state, fate) {
        (PackState::Lost, Fate::Whole) => find(house, vault, pack).await,
        (PackState::Stored, Fate::Lost | Fate::OutOfReach) => {
            let command = LosePack { vault: vault_id, pack };
            house.ledger.propose(Actor::System, command).await.map(drop)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{Crowd, VAULT, moment, name, vault};
    use holdfast_ledger::row::{EpochRow, epoch::Suspended};

    fn requiring(required: &[&str]) -> VaultRow {
        VaultRow { required: required.iter().map(|called| name(called)).collect(), ..vault() }
    }

    fn fate(now: &VaultRow, awaits: bool) -> Fate {
        let mut crowd = Crowd::default();
        crowd.put(now);
        let suspended = Suspended { vault: VAULT, locations: vec![name("main")], alone: None };
        crowd.put(&EpochRow {
            number: 2,
            regions: vec![name("dr")],
            member: 2,
            base: 9,
            since: moment(1),
            operator: "admin".to_owned(),
            reason: None,
            suspended: if awaits { vec![suspended] } else { Vec::new() },
            taken: None,
            gap: None,
        });
        crowd.ask(|query| Fate::of_nowhere(&query, &requiring(&["far"]))).unwrap()
    }

    #[test]
    fn what_came_back_while_it_was_looked_for_was_not_asked() {
        let (before, back) = (requiring(&["far"]), requiring(&["far", "main"]));
        assert_eq!(fate(&before, true), Fate::OutOfReach);
        assert_eq!(fate(&back, true), Fate::Damaged, "it is required again, and not whole yet");
        assert_eq!(fate(&back, false), Fate::Damaged, "it is whole");
        assert_eq!(fate(&before, false), Fate::Lost, "it was forgotten");
    }
}
