//! Claims about key objects and the keys they give out, in both custodies.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail by panicking")]

#[path = "../src/seeded.rs"]
mod seeded;

use holdfast_common::{Code, Result, Secret, VaultId, limits};
use holdfast_keyring::{Argon, Custody, Kek, KeyObject, VaultKeys, VaultPrivateKey};
use proptest::prelude::*;
use seeded::Seeded;

const VAULT: VaultId = VaultId::from_bytes([1; 16]);
const OTHER: VaultId = VaultId::from_bytes([2; 16]);

fn kek(byte: u8) -> Kek {
    Kek::from_secret(Secret::take(&mut [byte; 32]))
}

fn keys() -> VaultKeys {
    VaultKeys::generate(VAULT, &Seeded::new(1))
}

fn wrapped(operator: Option<&Kek>) -> KeyObject {
    KeyObject::wrap(&keys(), 1, &kek(1), 7, operator, &Seeded::new(2)).unwrap()
}

fn code<T>(result: Result<T>) -> Code {
    result.err().expect("it was not refused").code
}

/// The object with one run of bytes replaced, as an attacker at the location would.
fn tampered(object: &KeyObject, from: &[u8], to: &[u8]) -> KeyObject {
    let mut bytes = object.to_bytes();
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    bytes[at..at + from.len()].copy_from_slice(to);
    KeyObject::from_bytes(&bytes).unwrap()
}

#[test]
fn in_coordinator_custody_the_kek_gives_every_key_back() {
    let object = KeyObject::from_bytes(&wrapped(None).to_bytes()).unwrap();
    assert_eq!(object, wrapped(None));
    assert_eq!((object.vault(), object.version(), object.kek_version()), (VAULT, 1, 7));
    assert_eq!((object.custody(), object.kek()), (Custody::Coordinator, kek(1).id));
    let (found, made) = (object.unwrap_coordinator(&kek(1)).unwrap(), keys());
    assert_eq!(found.id().secret().expose(), made.id().secret().expose());
    assert_eq!(found.chunking().secret().expose(), made.chunking().secret().expose());
    assert_eq!(found.coordinator().secret().expose(), made.coordinator().secret().expose());
    assert_eq!(found.public(1).unwrap(), made.public(1).unwrap());
    assert_eq!(found.index_public(1).unwrap(), made.index_public(1).unwrap());
    let (_, capsule) = made.public(1).unwrap().encapsulate(&Seeded::new(3)).unwrap();
    found.open(&capsule).unwrap();
}

#[test]
fn in_operator_custody_coordinators_seal_but_cannot_open() {
    let object = wrapped(Some(&kek(2)));
    assert_eq!((object.custody(), object.operator_kek()), (Custody::Operator, Some(kek(2).id)));
    let mut found = object.unwrap_coordinator(&kek(1)).unwrap();
    let (_, capsule) = found.public(1).unwrap().encapsulate(&Seeded::new(3)).unwrap();
    assert_eq!(code(found.open(&capsule)), Code::KeyCustodyRefused);
    assert_eq!(
        code(KeyObject::wrap(&found, 1, &kek(3), 8, None, &Seeded::new(4))),
        Code::KeyCustodyRefused
    );
    found.admit(object.unwrap_operator(&kek(2)).unwrap()).unwrap();
    found.open(&capsule).unwrap();
}

#[test]
fn a_wrong_kek_is_refused_by_name() {
    let object = wrapped(Some(&kek(2)));
    let error = object.unwrap_coordinator(&kek(9)).unwrap_err();
    assert_eq!(error.code, Code::KeyWrong);
    assert!(error.message.contains(&kek(9).id.to_string()), "{error}");
    assert!(error.message.contains(&kek(1).id.to_string()), "{error}");
    assert_eq!(code(object.unwrap_coordinator(&kek(2))), Code::KeyWrong, "the operator's");
    assert_eq!(code(object.unwrap_operator(&kek(1))), Code::KeyWrong, "the coordinators'");
    assert_eq!(code(wrapped(None).unwrap_operator(&kek(1))), Code::KeyWrong, "no operator");
}

#[test]
fn a_wrong_kek_is_refused_even_when_the_object_lies_about_its_kek() {
    let lying = tampered(&wrapped(None), kek(1).id.as_bytes(), kek(9).id.as_bytes());
    assert_eq!(code(lying.unwrap_coordinator(&kek(9))), Code::KeyWrong);
    assert_eq!(code(lying.unwrap_coordinator(&kek(1))), Code::KeyWrong);
}

#[test]
fn the_keys_of_another_vault_are_foreign() {
    let object = wrapped(None);
    object.insist_on_vault(&VAULT).unwrap();
    assert_eq!(code(object.insist_on_vault(&OTHER)), Code::VaultForeign);
    let moved = tampered(&object, VAULT.as_bytes(), OTHER.as_bytes());
    moved.insist_on_vault(&OTHER).unwrap();
    assert_eq!(code(moved.unwrap_coordinator(&kek(1))), Code::KeyWrong, "parts are bound");
    let foreign = VaultKeys::generate(OTHER, &Seeded::new(1));
    assert_eq!(code(keys().merge(foreign)), Code::VaultForeign);
    let stranger = VaultPrivateKey::generate(OTHER, 1, &Seeded::new(1));
    assert_eq!(code(keys().admit(stranger)), Code::VaultForeign);
}

#[test]
fn parts_are_bound_to_their_place_and_to_both_versions() {
    let bytes = wrapped(None).to_bytes();
    // Fields 2 and 3 follow the vault's id: the versions of the keys and of the KEK.
    let at = bytes.windows(4).position(|fields| fields == [2, 1, 3, 7]).unwrap();
    for place in [at + 1, at + 3] {
        let mut renamed = bytes.clone();
        renamed[place] += 1;
        let object = KeyObject::from_bytes(&renamed).unwrap();
        assert_eq!(code(object.unwrap_coordinator(&kek(1))), Code::KeyWrong, "byte {place}");
    }
    // Parts 4 and 5 begin with their number and the header of 60 bytes.
    let part = |number| bytes.windows(3).position(|head| head == [number, 0x58, 60]).unwrap() + 3;
    let (id, chunking) = (part(4), part(5));
    let mut swapped = bytes.clone();
    swapped[id..id + 60].copy_from_slice(&bytes[chunking..chunking + 60]);
    swapped[chunking..chunking + 60].copy_from_slice(&bytes[id..id + 60]);
    let object = KeyObject::from_bytes(&swapped).unwrap();
    assert_eq!(code(object.unwrap_coordinator(&kek(1))), Code::KeyWrong);
}

#[test]
fn every_flipped_bit_is_refused_in_coordinator_custody() {
    let bytes = wrapped(None).to_bytes();
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let opened = KeyObject::from_bytes(&bad).and_then(|o| o.unwrap_coordinator(&kek(1)));
        assert!(opened.is_err(), "bit {bit}");
    }
}

#[test]
fn truncated_extended_later_and_oversized_objects_are_refused() {
    let bytes = wrapped(None).to_bytes();
    for length in 0..bytes.len() {
        assert!(KeyObject::from_bytes(&bytes[..length]).is_err(), "length {length}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(code(KeyObject::from_bytes(&longer)), Code::RecordMalformed);
    let mut later = bytes;
    assert_eq!(later[1..3], [0, 1], "the format comes first");
    later[2] = 2;
    assert_eq!(code(KeyObject::from_bytes(&later)), Code::VersionUnknown);
    let large = vec![0; limits::KEY_OBJECT_BYTES_MAX + 1];
    assert_eq!(code(KeyObject::from_bytes(&large)), Code::LimitExceeded);
}

#[test]
fn operator_and_coordinator_notice_an_exchanged_public_key() {
    let object = wrapped(Some(&kek(2)));
    let attacker = VaultPrivateKey::generate(VAULT, 1, &Seeded::new(9)).public().key;
    let swapped = tampered(&object, &keys().public(1).unwrap().key, &attacker);
    assert_eq!(code(swapped.unwrap_operator(&kek(2))), Code::KeyWrong);
    object.unwrap_coordinator(&kek(1)).unwrap();
    assert_eq!(code(swapped.unwrap_coordinator(&kek(1))), Code::KeyWrong, "nobody seals to it");
}

#[test]
fn a_passphrase_names_its_derivation_and_operators_use_key_files() {
    let argon = Argon::cheapest(&Seeded::new(5));
    let phrase = Kek::from_passphrase(b"correct horse", &argon).unwrap();
    let object = KeyObject::wrap(&keys(), 1, &phrase, 1, None, &Seeded::new(2)).unwrap();
    let object = KeyObject::from_bytes(&object.to_bytes()).unwrap();
    let again = Kek::from_passphrase(b"correct horse", object.derivation().unwrap()).unwrap();
    object.unwrap_coordinator(&again).unwrap();
    let wrap = |operator| KeyObject::wrap(&keys(), 1, &kek(1), 1, operator, &Seeded::new(2));
    assert_eq!(code(wrap(Some(&phrase))), Code::UsageMalformed);
    assert_eq!(code(wrap(Some(&kek(1)))), Code::UsageMalformed, "one key is no custody");
}

#[test]
fn rotation_adds_a_version_and_old_capsules_still_open() {
    let mut keys = keys();
    let (_, old) = keys.public(1).unwrap().encapsulate(&Seeded::new(3)).unwrap();
    keys.rotate(2, &Seeded::new(4)).unwrap();
    assert_eq!((keys.newest(), keys.versions().collect::<Vec<_>>()), (2, vec![1, 2]));
    assert_ne!(keys.public(1).unwrap().key, keys.public(2).unwrap().key);
    let (_, new) = keys.public(2).unwrap().encapsulate(&Seeded::new(5)).unwrap();
    keys.open(&old).unwrap();
    keys.open(&new).unwrap();
    assert_eq!(code(keys.public(3)), Code::KeyWrong);

    let first = KeyObject::wrap(&keys, 1, &kek(1), 1, None, &Seeded::new(6)).unwrap();
    let second = KeyObject::wrap(&keys, 2, &kek(1), 1, None, &Seeded::new(7)).unwrap();
    let mut loaded = first.unwrap_coordinator(&kek(1)).unwrap();
    assert_eq!(code(loaded.open(&new)), Code::KeyWrong, "version 2 is not loaded yet");
    loaded.merge(second.unwrap_coordinator(&kek(1)).unwrap()).unwrap();
    loaded.open(&old).unwrap();
    loaded.open(&new).unwrap();
}

#[test]
fn key_objects_that_disagree_are_not_merged() {
    let other = VaultKeys::generate(VAULT, &Seeded::new(8));
    assert_eq!(code(keys().merge(other)), Code::KeyWrong);
    let stranger = VaultPrivateKey::generate(VAULT, 1, &Seeded::new(8));
    assert_eq!(code(keys().admit(stranger)), Code::KeyWrong);
    let early = VaultPrivateKey::generate(VAULT, 2, &Seeded::new(8));
    assert_eq!(code(keys().admit(early)), Code::KeyWrong);
}

#[test]
fn versions_that_no_object_name_can_hold_are_refused() {
    for version in [0, limits::KEY_VERSION_MAX + 1] {
        let wrapped = KeyObject::wrap(&keys(), 1, &kek(1), version, None, &Seeded::new(2));
        assert_eq!(code(wrapped), Code::LimitExceeded, "{version}");
    }
}

#[test]
fn no_key_of_a_vault_is_printed() {
    let shown = format!("{:?}", keys());
    let secret = format!("{:?}", keys().id().secret().expose());
    assert!(!shown.contains(secret.trim_matches(['[', ']'])), "{shown}");
    assert_eq!(shown.matches("Secret<32>(…)").count(), 5, "{shown}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_open_and_never_panic(bytes: Vec<u8>) {
        let opened = KeyObject::from_bytes(&bytes).and_then(|o| o.unwrap_coordinator(&kek(1)));
        prop_assert!(opened.is_err());
    }

    #[test]
    fn damaged_objects_never_panic(at in 0usize..480, with: u8) {
        let mut bytes = wrapped(Some(&kek(2))).to_bytes();
        let at = at % bytes.len();
        bytes[at] = with;
        if let Ok(object) = KeyObject::from_bytes(&bytes) {
            let _ = object.unwrap_coordinator(&kek(1));
            let _ = object.unwrap_operator(&kek(2));
        }
    }
}
