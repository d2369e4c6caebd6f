//! Claims about what is left of a version that was destroyed: it opens nothing, nothing brings it
//! back, and the versions beside it stay linked.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

#[path = "../src/seeded.rs"]
mod seeded;

use holdfast_common::{Code, Secret, VaultId, limits};
use holdfast_keyring::{Capsule, Kek, KeyObject, KeyRemains, VaultKeys};
use seeded::Seeded;

const VAULT: VaultId = VaultId::from_bytes([1; 16]);

fn kek() -> Kek {
    Kek::from_secret(Secret::take(&mut [5; 32]))
}

fn object(keys: &VaultKeys, version: u32) -> KeyObject {
    KeyObject::wrap(keys, version, &kek(), 1, None, &Seeded::new(9)).unwrap()
}

/// Versions 1, 2 and 3, of which 2 was destroyed.
fn buried() -> (VaultKeys, Capsule, KeyObject) {
    let entropy = Seeded::new(1);
    let mut keys = VaultKeys::generate(VAULT, &entropy);
    keys.rotate(2, &entropy).unwrap();
    keys.rotate(3, &entropy).unwrap();
    let (_, capsule) = keys.public(2).unwrap().encapsulate(&entropy).unwrap();
    let object = object(&keys, 2);
    keys.bury(KeyRemains::of(&object)).unwrap();
    (keys, capsule, object)
}

#[test]
fn a_destroyed_version_opens_nothing_and_says_that_it_is_gone() {
    let (keys, capsule, _) = buried();
    assert_eq!(keys.versions().collect::<Vec<_>>(), [1, 3]);
    assert!(keys.is_destroyed(2) && !keys.is_destroyed(1));
    let refused = [
        keys.open(&capsule).map(drop).unwrap_err(),
        keys.private(2).map(drop).unwrap_err(),
        keys.index_private(2).map(drop).unwrap_err(),
        keys.public(2).map(drop).unwrap_err(),
    ];
    for error in refused {
        assert_eq!(error.code, Code::KeyDestroyed, "{error}");
    }
    assert_eq!(keys.private(4).map(drop).unwrap_err().code, Code::KeyWrong);
}

#[test]
fn nothing_brings_it_back() {
    let (mut keys, capsule, object) = buried();
    // Another copy of the key object, whole keys that still have it, the operator's own half.
    keys.merge(object.unwrap_coordinator(&kek()).unwrap()).unwrap();
    assert_eq!(keys.open(&capsule).map(drop).unwrap_err().code, Code::KeyDestroyed);
    let mut others = object.unwrap_coordinator(&kek()).unwrap();
    let half = others.private(2).unwrap().duplicate();
    assert_eq!(keys.admit(half).unwrap_err().code, Code::KeyDestroyed);
    // And where it is merged, it goes as well.
    others.merge(keys).unwrap();
    assert_eq!(others.open(&capsule).map(drop).unwrap_err().code, Code::KeyDestroyed);
}

#[test]
fn keys_without_what_was_destroyed_are_the_same_otherwise() {
    let (mut keys, second, _) = buried();
    keys.rotate(4, &Seeded::new(2)).unwrap();
    let capsule = |version: u32| {
        let sealed = keys.public(version).unwrap().encapsulate(&Seeded::new(7)).unwrap();
        (sealed.1, version)
    };
    let capsules = [1, 3, 4].map(capsule);
    let left = keys.without([KeyRemains::of(&object(&keys, 3))]).unwrap();
    assert_eq!(left.versions().collect::<Vec<_>>(), [1, 4]);
    assert!(left.is_destroyed(2) && left.is_destroyed(3));
    assert_eq!(left.open(&second).map(drop).unwrap_err().code, Code::KeyDestroyed);
    for (capsule, version) in &capsules {
        let opened = left.open(capsule).map(drop).map_err(|error| error.code);
        let expected = if *version == 3 { Err(Code::KeyDestroyed) } else { Ok(()) };
        assert_eq!(opened, expected, "version {version}");
        keys.open(capsule).unwrap();
    }
    assert_eq!(left.chain(), keys.chain());
    let for_ever = |keys: &VaultKeys| {
        let (id, chunking) = (keys.id().secret().duplicate(), keys.chunking().secret().duplicate());
        [id, chunking, keys.coordinator().secret().duplicate()].map(|secret| *secret.expose())
    };
    assert_eq!(for_ever(&left), for_ever(&keys));
    // It rotates and follows as before, and what belongs to another vault is none of these keys.
    let mut left = left;
    left.rotate(5, &Seeded::new(8)).unwrap();
    let foreign = VaultKeys::generate(VaultId::from_bytes([2; 16]), &Seeded::new(3));
    let refused = keys.without([KeyRemains::of(&object(&foreign, 1))]).map(drop).unwrap_err();
    assert_eq!(refused.code, Code::VaultForeign);
}

#[test]
fn what_was_not_held_before_is_not_held_without_what_was_destroyed() {
    let (keys, _, _) = buried();
    let operator = Kek::from_secret(Secret::take(&mut [6; 32]));
    let of = |version| {
        let entropy = Seeded::new(9);
        KeyObject::wrap(&keys, version, &kek(), 1, Some(&operator), &entropy).unwrap()
    };
    let mut held = of(1).unwrap_coordinator(&kek()).unwrap();
    held.merge(of(3).unwrap_coordinator(&kek()).unwrap()).unwrap();
    let left = held.without([KeyRemains::of(&of(1))]).unwrap();
    assert_eq!(left.versions().collect::<Vec<_>>(), [3]);
    assert_eq!(left.private(3).map(drop).unwrap_err().code, Code::KeyCustodyRefused);
    assert_eq!(left.public(3).unwrap(), keys.public(3).unwrap());
    left.index_private(3).unwrap();
}

#[test]
fn whoever_knows_an_older_version_still_follows_to_the_newest() {
    let (keys, _, object) = buried();
    let first = keys.public(1).unwrap();
    let chain = keys.chain();
    let versions: Vec<_> =
        chain.iter().map(|(made, public)| (made.before, public.version)).collect();
    assert_eq!(versions, [(1, 2), (2, 3)]);
    let newest = chain
        .iter()
        .try_fold(first, |known, (made, next)| made.verify(&known, next).map(|()| *next));
    assert_eq!(newest.unwrap(), keys.public(3).unwrap());
    assert_eq!(chain[0].1, object.public());
}

#[test]
fn what_is_left_has_one_form_and_holds_no_secret() {
    let (_, _, object) = buried();
    let remains = KeyRemains::of(&object);
    let bytes = remains.to_bytes();
    assert_eq!(KeyRemains::from_bytes(&bytes).unwrap(), remains);
    // Vault, version, one public key, one signature: nothing else fits in.
    assert!(bytes.len() < 150, "{}", bytes.len());
    assert!(bytes.len() < limits::KEY_REMAINS_BYTES_MAX);
    for bad in [&bytes[..bytes.len() - 1], &[], &[0xf6]] {
        assert!(KeyRemains::from_bytes(bad).is_err());
    }
    let long = vec![0; limits::KEY_REMAINS_BYTES_MAX + 1];
    assert_eq!(KeyRemains::from_bytes(&long).unwrap_err().code, Code::LimitExceeded);
    let foreign = VaultKeys::generate(VaultId::from_bytes([2; 16]), &Seeded::new(3));
    let mut keys = VaultKeys::generate(VAULT, &Seeded::new(4));
    let refused = keys.bury(KeyRemains::of(&self::object(&foreign, 1))).unwrap_err();
    assert_eq!(refused.code, Code::VaultForeign);
}
