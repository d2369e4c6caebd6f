//! Everything under a key: capsules, sealed footers, key objects, grants, the bundle; and the few
//! texts that name or hold a key.
//!
//! Nobody without a key makes another thing that opens. So whatever opens here must give the very
//! key that an example gives, however its bytes were spelt.

use crate::{
    Refused,
    examples::{CLUSTER, NOW, POINT, VAULT, data_key, dice, secret},
};
use holdfast_common::{AgentId, ChunkId, ChunkKind, Secret, limits, record};
use holdfast_keyring::{
    Argon, BundleContents, BundledVault, Capsule, ClusterKeyObject, ClusterRecoveryKey, Custody,
    DataKey, Derivation, Enrolled, GrantSender, IdentityKey, IndexPrivateKey, Kek, KekSource,
    KeyObject, OneTimeKey, Provider, SealedKek, VaultKeys, VaultPrivateKey, aead, bundle, grant,
};

const CHUNK: ChunkId = ChunkId::from_bytes([7; 32]);
const DIGEST: [u8; 32] = [0x22; 32];
const FOOTER: &[u8] = b"rows of a pack";
const GRANTED: &[u8] = b"granted";
const PASSPHRASE: &[u8] = b"correct horse battery staple";

pub fn capsule(bytes: &[u8]) -> Result<(), Refused> {
    let capsule = Capsule::from_bytes(bytes)?;
    assert!(bytes.len() <= limits::CAPSULE_BYTES_MAX && capsule.as_bytes() == bytes);
    assert_eq!(capsule.to_bytes(), bytes);
    let opened = vault_private().open(&capsule)?;
    assert!(shown(&opened) == shown(&sealed_capsule().0), "a forged capsule opened");
    Ok(())
}

/// A pack's sealed footer, under the index key.
pub fn sealed_footer(bytes: &[u8]) -> Result<(), Refused> {
    assert_eq!(index_private().open_footer(&DIGEST, bytes)?, FOOTER, "a forged footer opened");
    Ok(())
}

pub fn key_object(bytes: &[u8]) -> Result<(), Refused> {
    let object = KeyObject::from_bytes(bytes)?;
    assert!(KeyObject::from_bytes(&object.to_bytes())? == object);
    let right = keys();
    let opened = object.unwrap_coordinator(&kek(1));
    if let Ok(found) = &opened {
        assert_eq!(found.id().secret().expose(), right.id().secret().expose());
        assert_eq!(found.chunking().secret().expose(), right.chunking().secret().expose());
        assert_eq!(found.coordinator().secret().expose(), right.coordinator().secret().expose());
        assert_eq!(found.index_public(1)?, right.index_public(1)?);
    }
    if let Ok(found) = object.unwrap_operator(&kek(2)) {
        assert_eq!(found.public(), right.public(1)?, "a forged operator's part opened");
    }
    opened?;
    Ok(())
}

/// A bundle as it lies in its file. Its header says what opening costs, so it is bounded.
pub fn bundle_file(bytes: &[u8]) -> Result<(), Refused> {
    let header = bundle::header(bytes)?;
    header.derivation().check().expect("a header that is read has a bounded cost");
    if header.derivation() != argon() {
        return Err(Refused);
    }
    let opened = bundle::open(bytes, PASSPHRASE)?;
    assert_eq!(opened.recovery.secret().expose(), contents().recovery.secret().expose());
    Ok(())
}

/// What a bundle holds, sealed by somebody who has the passphrase and means harm.
pub fn bundle_contents(plaintext: &[u8]) -> Result<(), Refused> {
    let opened = bundle::open(&bundle_of(plaintext), PASSPHRASE)?;
    let again = bundle::seal(&opened, PASSPHRASE, &argon(), &dice())?;
    let again = bundle::open(&again, PASSPHRASE).expect("what was read can be written");
    assert_eq!(again.enrolment, opened.enrolment);
    assert_eq!(again.vaults.len(), opened.vaults.len());
    Ok(())
}

/// The opening of a session of grants, a masked key, or one thing sealed: each opens as what it is.
pub fn granted(bytes: &[u8]) -> Result<(), Refused> {
    let key = one_time();
    if let Ok(single) = key.open(POINT.as_bytes(), bytes) {
        assert_eq!(single.as_slice(), GRANTED);
        return Ok(());
    }
    let (sender, opening) = sender();
    if key.receive(POINT.as_bytes(), bytes).is_ok() {
        assert!(bytes == opening, "a forged opening opened");
        return Ok(());
    }
    let receiver = key.receive(POINT.as_bytes(), &opening).expect("it is ours");
    let unmasked = receiver.unmask(&CHUNK, bytes)?;
    let right = data_key().chunk_key(ChunkKind::Data, &CHUNK);
    assert!(unmasked.expose() == right.expose(), "a forged key was unmasked");
    drop(sender);
    Ok(())
}

pub fn identity_pem(bytes: &[u8]) -> Result<(), Refused> {
    let key = IdentityKey::from_pkcs8_pem(core::str::from_utf8(bytes)?)?;
    let again = IdentityKey::from_pkcs8_pem(&key.to_pkcs8_pem()).expect("it was just written");
    assert_eq!(again.public(), key.public());
    Ok(())
}

pub fn kek_source(bytes: &[u8]) -> Result<(), Refused> {
    let text = core::str::from_utf8(bytes)?;
    let source: KekSource = text.parse()?;
    let again: KekSource = source.to_string().parse().expect("it was just written");
    assert_eq!(again, source);
    Ok(())
}

/// What stands beside what a KEK wraps, before anybody vouches for it.
pub fn kek_derivation(bytes: &[u8]) -> Result<(), Refused> {
    let derivation: Derivation = record::from_bytes("derivation", bytes)?;
    let again = record::to_bytes(&derivation);
    assert_eq!(record::from_bytes::<Derivation>("derivation", &again)?, derivation);
    if let Derivation::Sealed(sealed) = &derivation {
        sealed.check().expect("what is read has bounds");
        if let Ok(kek) = sealed.admit(secret(1).expose()) {
            assert_eq!(kek.id, sealed.kek, "a provider's key stands in for another");
        }
    }
    Ok(())
}

fn kek(byte: u8) -> Kek {
    Kek::from_secret(secret(byte))
}

fn keys() -> VaultKeys {
    VaultKeys::generate(VAULT, &dice())
}

fn vault_private() -> VaultPrivateKey {
    VaultPrivateKey::from_secret(VAULT, 3, secret(0x33))
}

fn index_private() -> IndexPrivateKey {
    IndexPrivateKey::from_secret(VAULT, 3, secret(0x44))
}

fn sealed_capsule() -> (DataKey, Capsule) {
    vault_private().public().encapsulate(&dice()).expect("an honest key")
}

fn shown(key: &DataKey) -> [u8; 32] {
    *key.chunk_key(ChunkKind::Data, &CHUNK).expose()
}

fn one_time() -> OneTimeKey {
    OneTimeKey::generate(&dice())
}

fn sender() -> (GrantSender, Vec<u8>) {
    GrantSender::open_to(&one_time().public(), POINT.as_bytes(), &dice()).expect("an honest key")
}

fn argon() -> Argon {
    Argon::cheapest(&dice())
}

fn contents() -> BundleContents {
    BundleContents {
        created: NOW,
        cluster: CLUSTER,
        vaults: vec![BundledVault {
            name: "main".parse().expect("a name"),
            custody: Custody::Coordinator,
            keys: keys(),
        }],
        ca_key: b"PKCS#8".to_vec().into(),
        ca_certificate: b"DER".to_vec(),
        enrolment: vec![Enrolled {
            agent: AgentId::from_bytes([6; 16]),
            name: "host-1".parse().expect("a name"),
            identity: IdentityKey::generate(&dice()).public(),
        }],
        recovery: ClusterRecoveryKey::from_secret(secret(9)),
    }
}

fn sealed_bundle() -> Vec<u8> {
    bundle::seal(&contents(), PASSPHRASE, &argon(), &dice()).expect("honest contents")
}

/// The additional data of a bundle, and its field.
fn split(bundle: &[u8]) -> (&[u8], &[u8]) {
    let header = u32::from_le_bytes(bundle[5..9].try_into().expect("four bytes")) as usize;
    bundle.split_at(9 + header)
}

fn bundle_key() -> Secret<32> {
    argon().derive(PASSPHRASE).expect("the cheapest derivation")
}

fn bundle_of(plaintext: &[u8]) -> Vec<u8> {
    let bundle = sealed_bundle();
    let (head, _) = split(&bundle);
    [head, &aead::seal(bundle_key().expose(), head, plaintext, &dice())].concat()
}

pub fn capsules() -> Vec<Vec<u8>> {
    vec![sealed_capsule().1.to_bytes()]
}

pub fn sealed_footers() -> Vec<Vec<u8>> {
    vec![index_private().public().seal_footer(&DIGEST, FOOTER, &dice()).unwrap()]
}

pub fn cluster_key(bytes: &[u8]) -> Result<(), Refused> {
    let object = ClusterKeyObject::from_bytes(bytes)?;
    assert!(ClusterKeyObject::from_bytes(&object.to_bytes())? == object);
    if let Ok(key) = object.open(&kek(1)) {
        assert_eq!(key.secret().expose(), &[3; 32], "a forged recovery key opened");
    }
    Ok(())
}

pub fn cluster_keys() -> Vec<Vec<u8>> {
    let wrapped = kek(1).seal("cluster recovery key", &[3; 32], &dice());
    let object = |derivation| ClusterKeyObject::new(CLUSTER, kek(1).id, &wrapped, derivation);
    vec![object(None).to_bytes(), object(Some(&[1, 2])).to_bytes()]
}

pub fn key_objects() -> Vec<Vec<u8>> {
    let wrap = |operator| KeyObject::wrap(&keys(), 1, &kek(1), 7, operator, &dice()).unwrap();
    vec![wrap(None).to_bytes(), wrap(Some(&kek(2))).to_bytes()]
}

pub fn bundles() -> Vec<Vec<u8>> {
    vec![sealed_bundle()]
}

pub fn bundles_opened() -> Vec<Vec<u8>> {
    let bundle = sealed_bundle();
    let (head, field) = split(&bundle);
    vec![aead::open(bundle_key().expose(), head, field).unwrap()]
}

pub fn grants() -> Vec<Vec<u8>> {
    let (sender, opening) = sender();
    let single = grant::seal_to(&one_time().public(), POINT.as_bytes(), GRANTED, &dice()).unwrap();
    let key = data_key().chunk_key(ChunkKind::Data, &CHUNK);
    vec![opening, single, sender.mask(&CHUNK, &key, &dice())]
}

pub fn identity_pems() -> Vec<Vec<u8>> {
    vec![IdentityKey::generate(&dice()).to_pkcs8_pem().as_bytes().to_vec()]
}

pub fn kek_sources() -> Vec<Vec<u8>> {
    [
        "file:/etc/holdfast/kek",
        "env:HOLDFAST_KEK",
        "passphrase-env:P",
        "passphrase-file:p",
        "pkcs11:token=a%20b;object=k?module-path=/m.so&pin-source=file:/p",
        "aws-kms:alias/k?region=eu-central-1&endpoint=https://h:1",
        "transit:https://h:8200/a/b/k?token=env:T&ca=/c.pem&namespace=n/m",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

pub fn kek_derivations() -> Vec<Vec<u8>> {
    let sealed = SealedKek {
        provider: Provider::Transit,
        key: "transit/k".to_owned(),
        version: "1".to_owned(),
        cluster: CLUSTER,
        kek: kek(1).id,
        sealed: b"vault:v1:AAAA".to_vec(),
    };
    let both = [Derivation::Passphrase(argon()), Derivation::Sealed(sealed)];
    both.iter().map(record::to_bytes).collect()
}
