//! Points, reaches, vault objects, and what an object of any name is checked for.

use crate::{
    Refused,
    examples::{Blind, POINT, VAULT, unhex},
    parsers::{pack, segment},
};
use bytes::Bytes;
use holdfast_repository::{
    Finding, Object, ObjectName, Openers, PointObject, PointRecord, Reach, VaultObject,
    check_object,
};

const OBJECT: &str = include_str!("../../../crates/repository/tests/golden/point-1.hex");
const REACH: &str = include_str!("../../../crates/repository/tests/golden/reach-1.hex");
const VAULT_OBJECT: &str = include_str!("../../../crates/repository/tests/golden/vault-1.hex");
const NUMBERS_LOOKED_AT: usize = 1000;

pub fn point(bytes: &[u8]) -> Result<(), Refused> {
    let object = PointObject::parse(&VAULT, &POINT, &Bytes::copy_from_slice(bytes))?;
    assert!(object.to_object() == bytes, "a point has one spelling");
    Ok(())
}

pub fn point_record(bytes: &[u8]) -> Result<(), Refused> {
    let record = PointRecord::from_bytes(bytes)?;
    assert_eq!(PointRecord::from_bytes(&record.to_bytes())?, record);
    Ok(())
}

/// The bitmap; its header, which holds a hash of it, is put before it.
pub fn reach(bytes: &[u8]) -> Result<(), Refused> {
    let object = reach_object(bytes);
    let reach = Reach::from_object(&object, &VAULT, &POINT)?;
    let again = reach.to_object(&VAULT, &POINT)?;
    assert!(Reach::from_object(&again, &VAULT, &POINT)? == reach);
    let mut numbers = reach.iter().take(NUMBERS_LOOKED_AT);
    assert!(numbers.all(|number| reach.contains(number)) && reach.is_subset(&reach));
    Ok(())
}

fn reach_object(bitmap: &[u8]) -> Vec<u8> {
    let hash = blake3::hash(bitmap);
    [b"HFRE\x01\0\0\0", &VAULT.as_bytes()[..], POINT.as_bytes(), hash.as_bytes(), bitmap].concat()
}

pub fn vault_object(bytes: &[u8]) -> Result<(), Refused> {
    let vault = VaultObject::from_bytes(bytes)?;
    assert_eq!(VaultObject::from_bytes(&vault.to_bytes())?, vault);
    Ok(())
}

pub fn object_name(bytes: &[u8]) -> Result<(), Refused> {
    let text = core::str::from_utf8(bytes)?;
    let name: ObjectName = text.parse()?;
    assert_eq!(name.as_str(), text);
    let again = match name.object() {
        Object::ClusterKey(kek) => ObjectName::cluster_key(&kek),
        Object::Epoch(number) => ObjectName::epoch(number),
        Object::Keys { version, kek_version } => ObjectName::keys(version, kek_version)?,
        Object::Log { epoch, from } => ObjectName::log(epoch, from),
        Object::Pack(id) => ObjectName::pack(&id),
        Object::Point(id) => ObjectName::point(&id),
        Object::Reach(id) => ObjectName::reach(&id),
        Object::Segment(id) => ObjectName::segment(&id),
        Object::Snapshot { epoch, index, part } => ObjectName::snapshot(epoch, index, part),
        Object::Vault => ObjectName::vault(),
        Object::Unknown => name.clone(),
    };
    assert_eq!(again, name, "a name has one spelling");
    Ok(())
}

/// Which kind of object, then its bytes: what keyless and keyed scrubbing say of it.
pub fn scrubbed_object(bytes: &[u8]) -> Result<(), Refused> {
    let (kind, bytes) = bytes.split_first().ok_or(Refused)?;
    let bytes = Bytes::copy_from_slice(bytes);
    let name = names(&bytes).into_iter().nth(usize::from(*kind)).ok_or(Refused)?;
    let keyless = Openers { footer: None, segment: None };
    let keyed = Openers { footer: Some(&Blind), segment: Some(&Blind) };
    let found = check_object(&VAULT, &name, &bytes, keyless);
    let further = check_object(&VAULT, &name, &bytes, keyed);
    let healed = further == Finding::Sound && found != Finding::Sound;
    assert!(!healed, "a key heals nothing: {found:?}");
    if further == Finding::Sound { Ok(()) } else { Err(Refused) }
}

fn names(bytes: &[u8]) -> Vec<ObjectName> {
    let pack = holdfast_common::PackId::from_bytes(*blake3::hash(bytes).as_bytes());
    vec![
        ObjectName::vault(),
        ObjectName::pack(&pack),
        ObjectName::segment(&crate::examples::SEGMENT),
        ObjectName::point(&POINT),
        ObjectName::reach(&POINT),
        ObjectName::log(1, 1),
    ]
}

pub fn points() -> Vec<Vec<u8>> {
    vec![unhex(OBJECT)]
}

pub fn point_records() -> Vec<Vec<u8>> {
    let object = PointObject::parse(&VAULT, &POINT, &unhex(OBJECT).into()).unwrap();
    vec![object.record_bytes().to_vec()]
}

pub fn reaches() -> Vec<Vec<u8>> {
    let object = unhex(REACH);
    let bitmap = object[reach_object(&[]).len()..].to_vec();
    assert!(reach_object(&bitmap) == object);
    vec![bitmap]
}

pub fn vault_objects() -> Vec<Vec<u8>> {
    vec![unhex(VAULT_OBJECT)]
}

pub fn object_names() -> Vec<Vec<u8>> {
    names(b"").iter().map(|name| name.as_str().as_bytes().to_vec()).collect()
}

pub fn scrubbed_objects() -> Vec<Vec<u8>> {
    let objects =
        [vault_objects(), pack::packs(), segment::segments(), points(), vec![unhex(REACH)]];
    let numbered = (0..).zip(objects);
    numbered.map(|(kind, objects)| [&[kind][..], &objects[0]].concat()).collect()
}
