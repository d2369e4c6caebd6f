//! Frozen bytes: what is stored today is read for ever. A difference here is a change of format.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

#[path = "../src/seeded.rs"]
mod seeded;

use holdfast_common::{AgentId, ChunkId, ChunkKind, ClusterId, Secret, Timestamp, VaultId};
use holdfast_keyring::{
    Argon, BundleContents, BundledVault, Capsule, ClusterRecoveryKey, Custody, Enrolled,
    IdentityKey, IndexPrivateKey, Kek, KeyObject, VaultKeys, VaultPrivateKey, bundle,
};
use seeded::Seeded;
use zeroize::Zeroizing;

const VAULT: VaultId = VaultId::from_bytes([0x11; 16]);
const DIGEST: [u8; 32] = [0x22; 32];
const PASSPHRASE: &[u8] = b"correct horse battery staple";

fn kek(byte: u8) -> Kek {
    Kek::from_secret(Secret::take(&mut [byte; 32]))
}

fn private() -> VaultPrivateKey {
    VaultPrivateKey::from_secret(VAULT, 3, Secret::take(&mut [0x33; 32]))
}

fn index() -> IndexPrivateKey {
    IndexPrivateKey::from_secret(VAULT, 3, Secret::take(&mut [0x44; 32]))
}

fn keys() -> VaultKeys {
    VaultKeys::generate(VAULT, &Seeded::new(1))
}

/// The frozen bytes, once what is written today was compared with them.
fn frozen(name: &str, golden: &str, written: &[u8]) -> Vec<u8> {
    let golden: String = golden.split_whitespace().collect();
    let lines: Vec<String> = written.chunks(32).map(hex::encode).collect();
    assert_eq!(golden, hex::encode(written), "{name} is written anew as\n{}", lines.join("\n"));
    hex::decode(golden).unwrap()
}

#[test]
fn capsule() {
    let (data_key, capsule) = private().public().encapsulate(&Seeded::new(2)).unwrap();
    let golden = include_str!("golden/capsule.hex");
    let bytes = frozen("capsule", golden, &capsule.to_bytes());
    let opened = private().open(&Capsule::from_bytes(&bytes).unwrap()).unwrap();
    let id = ChunkId::from_bytes([7; 32]);
    let key = |data: &holdfast_keyring::DataKey| *data.chunk_key(ChunkKind::Data, &id).expose();
    assert_eq!(key(&opened), key(&data_key));
}

#[test]
fn footer() {
    let sealed = index().public().seal_footer(&DIGEST, b"rows of a pack", &Seeded::new(2)).unwrap();
    let bytes = frozen("footer", include_str!("golden/footer.hex"), &sealed);
    assert_eq!(index().open_footer(&DIGEST, &bytes).unwrap(), b"rows of a pack");
}

#[test]
fn key_object_in_coordinator_custody() {
    let object = KeyObject::wrap(&keys(), 1, &kek(1), 7, None, &Seeded::new(2)).unwrap();
    let golden = include_str!("golden/key-object-coordinator.hex");
    let bytes = frozen("key object", golden, &object.to_bytes());
    let found = KeyObject::from_bytes(&bytes).unwrap().unwrap_coordinator(&kek(1)).unwrap();
    assert_eq!(
        found.private(1).unwrap().secret().expose(),
        keys().private(1).unwrap().secret().expose()
    );
}

#[test]
fn key_object_in_operator_custody_under_a_passphrase() {
    let argon = Argon::cheapest(&Seeded::new(3));
    let phrase = Kek::from_passphrase(PASSPHRASE, &argon).unwrap();
    let operator = kek(2);
    let object = KeyObject::wrap(&keys(), 1, &phrase, 1, Some(&operator), &Seeded::new(2)).unwrap();
    let golden = include_str!("golden/key-object-operator.hex");
    let object = KeyObject::from_bytes(&frozen("key object", golden, &object.to_bytes())).unwrap();
    assert_eq!(object.derivation(), Some(&argon));
    object.unwrap_coordinator(&phrase).unwrap();
    let found = object.unwrap_operator(&operator).unwrap();
    assert_eq!(found.secret().expose(), keys().private(1).unwrap().secret().expose());
}

#[test]
fn recovery_bundle() {
    let contents = BundleContents {
        created: Timestamp::from_nanos(1_795_255_200_000_000_000),
        cluster: ClusterId::from_bytes([0x55; 16]),
        vaults: vec![BundledVault {
            name: "main".parse().unwrap(),
            custody: Custody::Coordinator,
            keys: keys(),
        }],
        ca_key: Zeroizing::new(b"PKCS#8".to_vec()),
        ca_certificate: b"DER".to_vec(),
        enrolment: vec![Enrolled {
            agent: AgentId::from_bytes([0x66; 16]),
            name: "pacs-1".parse().unwrap(),
            identity: IdentityKey::generate(&Seeded::new(5)).public(),
        }],
        recovery: ClusterRecoveryKey::generate(&Seeded::new(6)),
    };
    let argon = Argon::cheapest(&Seeded::new(3));
    let sealed = bundle::seal(&contents, PASSPHRASE, &argon, &Seeded::new(2)).unwrap();
    let bytes = frozen("bundle", include_str!("golden/bundle.hex"), &sealed);
    let opened = bundle::open(&bytes, PASSPHRASE).unwrap();
    assert_eq!(opened.recovery.secret().expose(), contents.recovery.secret().expose());
    assert_eq!(opened.enrolment, contents.enrolment);
}

#[test]
fn signed_point() {
    let key = IdentityKey::generate(&Seeded::new(5));
    let signature = key.sign_point(b"a record");
    let written = [key.public().as_bytes().as_slice(), &signature].concat();
    let bytes = frozen("signature", include_str!("golden/signed-point.hex"), &written);
    key.public().verify_point(b"a record", bytes[32..].try_into().unwrap()).unwrap();
}

#[test]
fn key_object_of_a_rotated_version() {
    let mut keys = keys();
    keys.rotate(2, &Seeded::new(4)).unwrap();
    let object = KeyObject::wrap(&keys, 2, &kek(1), 7, None, &Seeded::new(2)).unwrap();
    let golden = include_str!("golden/key-object-rotated.hex");
    let object = KeyObject::from_bytes(&frozen("key object", golden, &object.to_bytes())).unwrap();
    let (before, next) = (keys.public(1).unwrap(), object.public());
    object.succession().unwrap().verify(&before, &next).unwrap();
}
