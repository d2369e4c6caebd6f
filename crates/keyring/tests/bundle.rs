//! Claims about the recovery bundle: it returns everything, to the passphrase and to nobody else.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail by panicking")]

#[path = "../src/seeded.rs"]
mod seeded;

use holdfast_common::{AgentId, ClusterId, Code, Result, Secret, Timestamp, VaultId, limits};
use holdfast_keyring::{
    Argon, BundleContents, BundledVault, ClusterRecoveryKey, Custody, Enrolled, IdentityKey, Kek,
    KeyObject, VaultKeys, bundle,
};
use proptest::prelude::*;
use seeded::Seeded;
use zeroize::Zeroizing;

const PASSPHRASE: &[u8] = b"correct horse battery staple";
const MAIN: VaultId = VaultId::from_bytes([1; 16]);
const SEALED: VaultId = VaultId::from_bytes([2; 16]);

fn kek(byte: u8) -> Kek {
    Kek::from_secret(Secret::take(&mut [byte; 32]))
}

/// A vault in operator custody, as its coordinators know it.
fn operators_vault() -> (VaultKeys, KeyObject) {
    let keys = VaultKeys::generate(SEALED, &Seeded::new(2));
    let object = KeyObject::wrap(&keys, 1, &kek(1), 1, Some(&kek(2)), &Seeded::new(3)).unwrap();
    (object.unwrap_coordinator(&kek(1)).unwrap(), object)
}

fn contents() -> BundleContents {
    let mut main = VaultKeys::generate(MAIN, &Seeded::new(1));
    main.rotate(2, &Seeded::new(4)).unwrap();
    let vault =
        |name: &str, custody, keys| BundledVault { name: name.parse().unwrap(), custody, keys };
    BundleContents {
        created: Timestamp::from_nanos(1_795_255_200_000_000_000),
        cluster: ClusterId::from_bytes([5; 16]),
        vaults: vec![
            vault("main", Custody::Coordinator, main),
            vault("sealed", Custody::Operator, operators_vault().0),
        ],
        ca_key: Zeroizing::new(b"PKCS#8 of the CA".to_vec()),
        ca_certificate: b"DER of the CA".to_vec(),
        enrolment: vec![Enrolled {
            agent: AgentId::from_bytes([6; 16]),
            name: "pacs-1".parse().unwrap(),
            identity: IdentityKey::generate(&Seeded::new(5)).public(),
        }],
        recovery: ClusterRecoveryKey::generate(&Seeded::new(6)),
    }
}

fn sealed() -> Vec<u8> {
    let argon = Argon::cheapest(&Seeded::new(7));
    bundle::seal(&contents(), PASSPHRASE, &argon, &Seeded::new(8)).unwrap()
}

fn code<T>(result: Result<T>) -> Code {
    result.err().expect("it was not refused").code
}

#[test]
fn a_bundle_gives_back_everything_it_was_made_of() {
    let (found, made) = (bundle::open(&sealed(), PASSPHRASE).unwrap(), contents());
    assert_eq!((found.created, found.cluster), (made.created, made.cluster));
    assert_eq!(*found.ca_key, *made.ca_key);
    assert_eq!(found.ca_certificate, made.ca_certificate);
    assert_eq!(found.enrolment, made.enrolment);
    assert_eq!(found.recovery.secret().expose(), made.recovery.secret().expose());
    assert_eq!(found.vaults.len(), 2);
    let (main, was) = (&found.vaults[0], &made.vaults[0]);
    assert_eq!((main.name.as_str(), main.custody), ("main", Custody::Coordinator));
    assert_eq!(main.keys.vault(), MAIN);
    assert_eq!(main.keys.id().secret().expose(), was.keys.id().secret().expose());
    assert_eq!(main.keys.chunking().secret().expose(), was.keys.chunking().secret().expose());
    let (found, made) = (main.keys.coordinator(), was.keys.coordinator());
    assert_eq!(found.secret().expose(), made.secret().expose());
    for version in [1, 2] {
        assert_eq!(main.keys.public(version).unwrap(), was.keys.public(version).unwrap());
        let (index, wanted) = (main.keys.index_public(version), was.keys.index_public(version));
        assert_eq!(index.unwrap(), wanted.unwrap());
        let public = was.keys.public(version).unwrap();
        let (_, capsule) = public.encapsulate(&Seeded::new(9)).unwrap();
        main.keys.open(&capsule).unwrap();
    }
}

#[test]
fn an_operators_vault_lacks_its_private_key_until_the_operator_adds_it() {
    let mut found = bundle::open(&sealed(), PASSPHRASE).unwrap();
    let vault = &mut found.vaults[1];
    assert_eq!(vault.custody, Custody::Operator);
    assert_eq!(code(vault.keys.private(1)), Code::KeyCustodyRefused);
    assert_eq!(code(vault.keys.public(1)), Code::KeyCustodyRefused);
    let (coordinators, object) = operators_vault();
    vault.keys.admit(object.unwrap_operator(&kek(2)).unwrap()).unwrap();
    let argon = Argon::cheapest(&Seeded::new(7));
    let whole = bundle::seal(&found, PASSPHRASE, &argon, &Seeded::new(8)).unwrap();
    let (_, capsule) = coordinators.public(1).unwrap().encapsulate(&Seeded::new(9)).unwrap();
    bundle::open(&whole, PASSPHRASE).unwrap().vaults[1].keys.open(&capsule).unwrap();
}

#[test]
fn a_wrong_or_empty_passphrase_is_refused() {
    for wrong in [&b"correct horse battery stapl"[..], b"correct horse battery staple\n"] {
        assert_eq!(code(bundle::open(&sealed(), wrong)), Code::KeyWrong);
    }
    assert_eq!(code(bundle::open(&sealed(), b"")), Code::KekUnavailable);
    let argon = Argon::cheapest(&Seeded::new(7));
    for short in [&b""[..], b"seven b"] {
        let unsealed = bundle::seal(&contents(), short, &argon, &Seeded::new(8));
        assert_eq!(code(unsealed), Code::UsageMalformed, "{short:?}");
    }
    bundle::seal(&contents(), b"eight by", &argon, &Seeded::new(8)).unwrap();
}

#[test]
fn the_header_is_readable_without_the_passphrase_and_holds_no_key() {
    let header = bundle::header(&sealed()).unwrap();
    assert_eq!(header.derivation(), Argon::cheapest(&Seeded::new(7)));
    assert_eq!((header.created, header.cluster), (contents().created, contents().cluster));
    let clear = String::from_utf8_lossy(&sealed()).into_owned();
    for secret in ["main", "sealed", "pacs-1", "PKCS#8", "DER of"] {
        assert!(!clear.contains(secret), "{secret}");
    }
}

#[test]
fn every_flipped_byte_and_every_truncation_is_refused() {
    let bytes = sealed();
    for at in 0..bytes.len() {
        // The costs are left alone here: a flip there may ask for a gigabyte before it is refused.
        let bits: &[u8] = if (9..64).contains(&at) { &[0x01] } else { &[0x01, 0x80] };
        for bit in bits {
            let mut bad = bytes.clone();
            bad[at] ^= bit;
            assert!(bundle::open(&bad, PASSPHRASE).is_err(), "byte {at}, bit {bit:#x}");
        }
    }
    for length in 0..bytes.len() {
        let refused = code(bundle::open(&bytes[..length], PASSPHRASE));
        assert!(matches!(refused, Code::BundleMalformed | Code::KeyWrong), "length {length}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(code(bundle::open(&longer, PASSPHRASE)), Code::KeyWrong);
}

#[test]
fn what_is_no_bundle_or_a_later_one_is_named_as_such() {
    let mut bytes = sealed();
    bytes[4] = 2;
    assert_eq!(code(bundle::header(&bytes)), Code::VersionUnknown);
    bytes[0] = b'h';
    assert_eq!(code(bundle::header(&bytes)), Code::BundleMalformed);
    let mut bytes = sealed();
    bytes[5..9].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(code(bundle::header(&bytes)), Code::BundleMalformed);
    let large = vec![0; limits::BUNDLE_BYTES_MAX + 1];
    assert_eq!(code(bundle::header(&large)), Code::LimitExceeded);
}

#[test]
fn a_header_that_asks_for_absurd_costs_is_refused_before_they_are_paid() {
    let argon =
        Argon { memory_kib: limits::ARGON_MEMORY_KIB_MAX + 1, ..Argon::cheapest(&Seeded::new(7)) };
    let refused = bundle::seal(&contents(), PASSPHRASE, &argon, &Seeded::new(8));
    assert_eq!(code(refused), Code::LimitExceeded);
    let mut bytes = sealed();
    // `1: 8` KiB, `2: 1` pass, `3: 1` lane: sixteen more lanes than there are.
    let at = bytes.windows(6).position(|w| w == [1, 8, 2, 1, 3, 1]).unwrap();
    bytes[at + 5] = 17;
    assert_eq!(code(bundle::open(&bytes, PASSPHRASE)), Code::LimitExceeded);
}

#[test]
fn no_key_of_a_bundle_is_printed() {
    let shown = format!("{:?}", contents().vaults);
    assert!(shown.contains("Secret<32>(…)"), "{shown}");
    let shown = format!("{:?}", contents());
    assert!(!shown.contains("80, 75, 67, 83, 35, 56"), "the CA key: {shown}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn arbitrary_bytes_are_no_bundle(bytes: Vec<u8>) {
        prop_assert!(bundle::header(&bytes).is_err());
        let dressed = [b"HFBD\x01".as_slice(), &bytes].concat();
        prop_assert!(bundle::header(&dressed).is_err() || bundle::open(&dressed, b"x").is_err());
    }
}
