//! The points of a location: read, matched against their signatures, told in the same form as a
//! cluster tells them. A point that does not parse or was not signed by its agent is set aside with
//! the reason; it can not be chosen.
//!
//! A bundle that is older than an agent does not know its signature. Whoever has no newer one may
//! accept such points: their chunks are authentic under the vault's keys all the same, and that
//! nobody proved who put them together is said wherever they are told.

use super::{Offline, choose::ACCEPT, get, list, order};
use holdfast_common::{AgentId, Code, Error, PointId, Result, limits};
use holdfast_keyring::Enrolled;
use holdfast_repository::{Object, ObjectName, PointObject, PointRecord, PointState};
use holdfast_wire::v1;

pub struct OfflinePoint {
    pub record: PointRecord,
    /// The agent's name, where the enrolment list is here; else its id.
    pub agent: String,
    /// Exactly what was signed, and the signature.
    pub record_bytes: bytes::Bytes,
    pub signature: [u8; 64],
    pub proof: Proof,
    pub has_inline_packs: bool,
}

/// Whether the point is known to be its agent's own work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    Checked,
    /// Nothing here knows its agent.
    NotChecked,
    /// It is not what its agent signed, and was accepted in spite of it.
    Wrong,
}

/// A point that cannot be trusted, and why.
pub struct Refused {
    pub id: PointId,
    pub error: Error,
    /// What it says of itself, where nothing is wrong but that its agent is not known.
    pub unproven: Option<PointRecord>,
}

impl Proof {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Checked => "checked",
            Self::NotChecked => "not_checked",
            Self::Wrong => "wrong",
        }
    }
}

/// Newest first.
pub async fn read_all(offline: &mut Offline) -> Result<()> {
    let mut points = Vec::new();
    for name in list(&*offline.store, "points/").await? {
        let Object::Point(id) = name.object() else { continue };
        match read(offline, &name, &id).await {
            Ok(point) => points.push(Some(point)),
            Err(refused) => offline.refused.push(*refused),
        }
    }
    let records: Vec<_> = points.iter().flatten().map(|point| &point.record).collect();
    let order = order::newest_first(&records);
    offline.points = order.into_iter().filter_map(|at| points[at].take()).collect();
    Ok(())
}

async fn read(
    offline: &Offline,
    name: &ObjectName,
    id: &PointId,
) -> Result<OfflinePoint, Box<Refused>> {
    let refused = |error, unproven| Box::new(Refused { id: *id, error, unproven });
    let object = object(offline, name, id).await.map_err(|error| refused(error, None))?;
    let record = object.record().clone();
    let (agent, proof) = match (&offline.enrolment, offline.accept_unsigned) {
        (None, _) => (None, Proof::NotChecked),
        (Some(enrolment), accepted) => match (signer(enrolment, &object), accepted) {
            (Ok(Some(enrolled)), _) => (Some(enrolled.name.to_string()), Proof::Checked),
            (Ok(None), true) => (None, Proof::NotChecked),
            (Ok(None), false) => return Err(refused(unknown(&record.agent), Some(record))),
            (Err(_), true) => (None, Proof::Wrong),
            (Err(error), false) => return Err(refused(error, None)),
        },
    };
    Ok(OfflinePoint {
        agent: agent.unwrap_or_else(|| record.agent.to_string()),
        record_bytes: object.record_bytes().clone(),
        signature: *object.signature(),
        proof,
        has_inline_packs: !object.inline().is_empty(),
        record,
    })
}

pub async fn object(offline: &Offline, name: &ObjectName, id: &PointId) -> Result<PointObject> {
    let bytes = get(&*offline.store, name, limits::POINT_OBJECT_BYTES_MAX).await?;
    PointObject::parse(&offline.vault.id, id, &bytes)
}

/// The agent whose signature it is; `None` when the list does not have the one that it names.
fn signer<'a>(enrolment: &'a [Enrolled], object: &PointObject) -> Result<Option<&'a Enrolled>> {
    let agent = object.record().agent;
    let Some(enrolled) = enrolment.iter().find(|one| one.agent == agent) else { return Ok(None) };
    enrolled.identity.verify_point(object.record_bytes(), object.signature())?;
    Ok(Some(enrolled))
}

fn unknown(agent: &AgentId) -> Error {
    let message =
        format!("agent {agent}, who signed the point, is not in the bundle's enrolment list");
    Error::new(Code::PointSignatureWrong, message).next(format!(
        "use a bundle that was exported after this agent was enrolled, or, if there is none, open \
         the point without the proof of who made it: {ACCEPT}"
    ))
}

impl Offline {
    /// Newest first.
    pub fn points(&self) -> Vec<v1::Point> {
        self.points.iter().map(|point| self.told(point)).collect()
    }

    /// How far the point of this id is proven.
    pub fn proof(&self, id: &[u8]) -> Option<Proof> {
        let fits = |point: &&OfflinePoint| point.record.point.as_bytes()[..] == *id;
        self.points.iter().find(fits).map(|point| point.proof)
    }

    pub fn told(&self, point: &OfflinePoint) -> v1::Point {
        let record = &point.record;
        let id = |bytes: &[u8]| bytes::Bytes::copy_from_slice(bytes);
        v1::Point {
            id: id(record.point.as_bytes()),
            policy: record.policy.as_ref().map(ToString::to_string),
            agent: point.agent.clone(),
            vault: self.vault_name.clone(),
            source: record.source.clone(),
            time_ns: record.started.as_nanos(),
            state: match record.state {
                PointState::Checkpoint => "checkpoint",
                PointState::Complete => "complete",
                PointState::Partial => "partial",
                PointState::Safety => "safety",
            }
            .to_owned(),
            entries: record.entries,
            bytes: record.bytes,
            locations: vec![v1::PointLocation {
                name: self.url.clone(),
                confirmed: true,
                locked_until_ns: None,
            }],
            run_id: id(record.run.as_bytes()),
            skipped: record.skipped,
            verified_ns: None,
            verified_by: None,
        }
    }
}
