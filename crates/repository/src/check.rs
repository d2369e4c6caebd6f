//! What a scrub can say about one object from its name and bytes alone.
//!
//! Without any key every hash, magic, version, vault and length is checked; with the index key or
//! the coordinator key lent as [`Openers`], footers and segments are opened and checked too. A
//! [`Finding`] is a statement, not an error: a scrub goes on and counts.

use crate::{
    defect::{Defect, Form},
    layout::{Object, ObjectName},
    pack::{self, FooterOpener, PackView},
    point::{self, PointObject},
    reach::{self, Reach},
    segment::{self, SegmentOpener, SegmentTable},
    vault_object::{self, VaultObject},
};
use bytes::Bytes;
use holdfast_common::{Error, PackId, PointId, SegmentId, VaultId};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It belongs to this other vault.
    Foreign(VaultId),
    HashMismatch,
    /// Everything that can be checked with what was lent is as it must be.
    Sound,
    Truncated,
    /// An object of no kind that is checked here: left alone.
    Unknown,
    /// Whole perhaps, but not to be read: malformed, of a later version, or refused by an opener.
    Unreadable(Error),
}

/// Keys lent for a deeper look.
#[derive(Clone, Copy, Default)]
pub struct Openers<'a> {
    pub footer: Option<&'a dyn FooterOpener>,
    pub segment: Option<&'a dyn SegmentOpener>,
}

pub fn check_object(
    vault: &VaultId,
    name: &ObjectName,
    bytes: &Bytes,
    openers: Openers<'_>,
) -> Finding {
    match name.object() {
        Object::Pack(id) => finding(check_pack(vault, &id, bytes, openers.footer), &pack::FORM),
        Object::Point(id) => finding(check_point(vault, &id, bytes, openers.footer), &point::FORM),
        Object::Reach(id) => finding(Reach::parse(bytes, vault, &id).map(drop), &reach::FORM),
        Object::Segment(id) => {
            finding(check_segment(vault, &id, bytes, openers.segment), &segment::FORM)
        }
        Object::Vault => finding(check_vault(vault, bytes), &vault_object::FORM),
        Object::ClusterKey(_)
        | Object::Epoch(_)
        | Object::Keys { .. }
        | Object::Log { .. }
        | Object::Snapshot { .. }
        | Object::Unknown => Finding::Unknown,
    }
}

fn check_pack(
    vault: &VaultId,
    id: &PackId,
    bytes: &Bytes,
    opener: Option<&dyn FooterOpener>,
) -> Result<(), Defect> {
    if *blake3::hash(bytes).as_bytes() != *id.as_bytes() {
        // The hash is wrong either way; that the end is missing says more.
        return match PackView::parse_bytes(vault, bytes.clone()) {
            Err(Defect::Truncated) => Err(Defect::Truncated),
            _ => Err(Defect::HashMismatch),
        };
    }
    let view = PackView::parse_bytes(vault, bytes.clone())?;
    opener.map_or(Ok(()), |opener| view.open_footer_field(opener).map(drop))
}

fn check_point(
    vault: &VaultId,
    id: &PointId,
    bytes: &Bytes,
    opener: Option<&dyn FooterOpener>,
) -> Result<(), Defect> {
    let object = PointObject::parse_bytes(vault, id, bytes)?;
    let mut packs = object.record().inline_packs.iter().zip(object.inline());
    packs.try_for_each(|(id, pack)| check_pack(vault, id, pack, opener))
}

fn check_segment(
    vault: &VaultId,
    id: &SegmentId,
    bytes: &[u8],
    opener: Option<&dyn SegmentOpener>,
) -> Result<(), Defect> {
    match opener {
        Some(opener) => SegmentTable::parse_bytes(vault, id, bytes, opener).map(drop),
        None => segment::check_outside(vault, id, bytes).map(drop),
    }
}

fn check_vault(vault: &VaultId, bytes: &[u8]) -> Result<(), Defect> {
    let object = VaultObject::parse(bytes)?;
    if object.id == *vault { Ok(()) } else { Err(Defect::Foreign(object.id)) }
}

fn finding(outcome: Result<(), Defect>, form: &Form) -> Finding {
    match outcome {
        Ok(()) => Finding::Sound,
        Err(Defect::Foreign(vault)) => Finding::Foreign(vault),
        Err(Defect::HashMismatch) => Finding::HashMismatch,
        Err(Defect::Truncated) => Finding::Truncated,
        Err(defect) => Finding::Unreadable(defect.told_of(form)),
    }
}
