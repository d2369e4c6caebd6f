//! The points of a location: read, matched against their signatures, told in the same form as a
//! cluster tells them. A point that does not parse or was not signed by its agent is set aside with
//! the reason; it can not be chosen.

use super::{Offline, get, list};
use holdfast_common::{Code, Error, PointId, Result, limits};
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
    pub has_inline_packs: bool,
}

/// A point that cannot be trusted, and why.
pub struct Refused {
    pub id: PointId,
    pub error: Error,
}

pub async fn read_all(offline: &mut Offline) -> Result<()> {
    for name in list(&*offline.store, "points/").await? {
        let Object::Point(id) = name.object() else { continue };
        match read(offline, &name, &id).await {
            Ok(point) => offline.points.push(point),
            Err(error) => offline.refused.push(Refused { id, error }),
        }
    }
    Ok(())
}

async fn read(offline: &Offline, name: &ObjectName, id: &PointId) -> Result<OfflinePoint> {
    let object = object(offline, name, id).await?;
    let record = object.record().clone();
    let mut agent = record.agent.to_string();
    if let Some(enrolment) = &offline.enrolment {
        agent = signer(enrolment, &object)?.name.to_string();
    }
    Ok(OfflinePoint {
        agent,
        record_bytes: object.record_bytes().clone(),
        signature: *object.signature(),
        has_inline_packs: !object.inline().is_empty(),
        record,
    })
}

pub async fn object(offline: &Offline, name: &ObjectName, id: &PointId) -> Result<PointObject> {
    let bytes = get(&*offline.store, name, limits::POINT_OBJECT_BYTES_MAX).await?;
    PointObject::parse(&offline.vault.id, id, &bytes)
}

fn signer<'a>(enrolment: &'a [Enrolled], object: &PointObject) -> Result<&'a Enrolled> {
    let agent = object.record().agent;
    let enrolled = enrolment.iter().find(|one| one.agent == agent).ok_or_else(|| {
        Error::new(
            Code::PointSignatureWrong,
            format!("agent {agent}, who signed the point, is not in the bundle's enrolment list"),
        )
        .next("use a bundle that was exported after this agent was enrolled")
    })?;
    enrolled.identity.verify_point(object.record_bytes(), object.signature())?;
    Ok(enrolled)
}

impl Offline {
    /// The point that `text` means: an id, its beginning, or `latest`.
    pub fn select(&self, text: &str, policy: Option<&str>) -> Result<&OfflinePoint> {
        for refused in &self.refused {
            if text.len() >= 8 && refused.id.to_string().starts_with(text) {
                return Err(refused.error.clone());
            }
        }
        let chosen = crate::client::select::among(self.points()?, text, policy)?;
        let fits = |point: &&OfflinePoint| point.record.point.as_bytes()[..] == chosen.id[..];
        self.points
            .iter()
            .find(fits)
            .ok_or_else(|| Error::new(Code::InternalBug, "a point that was listed is not there"))
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
            locations: vec![v1::PointLocation { name: self.url.clone(), confirmed: true }],
            run_id: id(record.run.as_bytes()),
            skipped: record.skipped,
        }
    }
}
