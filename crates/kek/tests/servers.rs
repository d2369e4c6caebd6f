//! Each provider on a real server: what any keeper of a key owes, and how it refuses.
//!
//! A token and KMS are found through the process's environment. So the tests that need one run in a
//! process of their own: the outer test starts the server and this binary again, with the inner
//! test's name.
#![expect(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use holdfast_common::{ClusterId, Code, SystemEntropy};
use holdfast_kek::{Destruction, destroy, load, make, renew, version_in_use};
use holdfast_keyring::{Derivation, Kek, KekSource, RemoteKek, SealedKek, SecretPlace};
use holdfast_testkit_servers::{Kms, Ministack, Moto, OpenBao, SoftHsm, TOKEN_PIN};
use std::{path::Path, process::Command};

const CLUSTER: ClusterId = ClusterId::from_bytes([7; 16]);
const SOURCE: &str = "HOLDFAST_TEST_KEK_SOURCE";

#[expect(clippy::disallowed_methods, reason = "what the outer test says")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Runs an inner test with an environment of its own.
fn within(inner: &str, environment: &[(&str, &str)]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([inner, "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env("AWS_EC2_METADATA_DISABLED", "true").envs(environment.iter().copied());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn source(text: &str) -> KekSource {
    text.parse().unwrap()
}

fn told() -> KekSource {
    source(&environment(SOURCE).unwrap())
}

fn remote(source: &KekSource) -> &RemoteKek {
    let KekSource::Remote(remote) = source else { panic!("{source}") };
    remote
}

async fn made(source: &KekSource) -> (Kek, SealedKek) {
    let kek = make(source, environment, CLUSTER, &SystemEntropy).await.unwrap();
    let Some(Derivation::Sealed(sealed)) = kek.derivation.clone() else { panic!("{kek:?}") };
    (kek, sealed)
}

async fn not_made(text: &str) -> Code {
    make(&source(text), environment, CLUSTER, &SystemEntropy).await.unwrap_err().code
}

async fn opened(source: &KekSource, sealed: &SealedKek) -> Result<Kek, Code> {
    let derivation = Derivation::Sealed(sealed.clone());
    let loaded = load(source, environment, Some(&derivation)).await;
    loaded.map_err(|error| error.code)
}

async fn refused(source: &KekSource, sealed: &SealedKek) -> Code {
    opened(source, sealed).await.unwrap_err()
}

/// What every keeper owes, on a key that nobody has used.
async fn conforms(source: &KekSource) {
    let (kek, sealed) = made(source).await;
    assert_eq!((sealed.kek, sealed.cluster), (kek.id, CLUSTER));
    assert_eq!(sealed.version, version_in_use(remote(source), environment).await.unwrap());
    assert_eq!(opened(source, &sealed).await.unwrap().id, kek.id);
    let (another, of_another) = made(source).await;
    assert_ne!(another.id, kek.id);
    refuses_what_was_changed(source, &sealed, &of_another).await;
    versions_come_and_go(source, &sealed).await;
}

async fn refuses_what_was_changed(source: &KekSource, sealed: &SealedKek, other: &SealedKek) {
    let flip = |place: usize| {
        let mut bytes = sealed.sealed.clone();
        // A letter for a letter: transit's form is a text.
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        bytes
    };
    let length = sealed.sealed.len();
    for changed in [
        SealedKek { sealed: flip(length / 2), ..sealed.clone() },
        SealedKek { sealed: flip(length - 5), ..sealed.clone() },
        SealedKek { sealed: sealed.sealed[..length - 4].to_vec(), ..sealed.clone() },
        SealedKek { sealed: b"x".to_vec(), ..sealed.clone() },
        SealedKek { sealed: other.sealed.clone(), ..sealed.clone() },
        SealedKek { cluster: ClusterId::from_bytes([8; 16]), ..sealed.clone() },
        SealedKek { kek: other.kek, ..sealed.clone() },
    ] {
        assert_eq!(refused(source, &changed).await, Code::KeyWrong, "{changed:?}");
    }
    let answer = load(source, environment, None).await;
    assert_eq!(answer.unwrap_err().code, Code::KeyWrong, "it was never sealed");
    let file = KekSource::File("/nowhere".into());
    assert_eq!(refused(&file, sealed).await, Code::KeyWrong, "a file did not seal it");
}

async fn versions_come_and_go(source: &KekSource, old: &SealedKek) {
    let remote = remote(source);
    let in_use = destroy(remote, environment, old, old).await.unwrap_err();
    assert_eq!(in_use.code, Code::KekDenied, "the one in use");
    let version = renew(remote, environment).await.unwrap();
    assert_ne!(version, old.version);
    assert_eq!(version, version_in_use(remote, environment).await.unwrap());
    let (_, new) = made(source).await;
    assert_eq!(new.version, version);
    opened(source, old).await.unwrap();
    let destruction = destroy(remote, environment, old, &new).await.unwrap();
    match old.provider.name() {
        "aws-kms" => assert!(matches!(destruction, Destruction::After(_))),
        _ => assert_eq!(destruction, Destruction::Done),
    }
    assert_eq!(refused(source, old).await, Code::KekGone);
    opened(source, &new).await.unwrap();
}

#[tokio::test]
async fn transit_keeps_a_key_and_says_how_it_refuses() {
    let (bao, dir) = (OpenBao::start(), tempfile::tempdir().unwrap());
    let token = dir.path().join("token");
    std::fs::write(&token, bao.root()).unwrap();
    bao.make_key("kek");
    let kek = source(&bao.kek("kek", &token));
    conforms(&kek).await;
    assert_eq!(not_made(&bao.kek("none", &token)).await, Code::KekGone);
    bao.run(&["write", "-f", "transit/keys/rsa", "type=rsa-2048"]);
    assert_eq!(not_made(&bao.kek("rsa", &token)).await, Code::KekDenied, "it binds nothing");
    bao.run(&["write", "-f", "transit/keys/derived", "derived=true"]);
    conforms(&source(&bao.kek("derived", &token))).await;
    tokens_are_read_anew(&bao, &kek, &token).await;

    let (_, sealed) = made(&kek).await;
    bao.seal();
    assert_eq!(refused(&kek, &sealed).await, Code::KekUnreachable);
    bao.unseal();
    opened(&kek, &sealed).await.unwrap();
    let text = bao.kek("kek", &token);
    let (unknown, _) = text.split_once("&ca=").unwrap();
    assert_eq!(refused(&source(unknown), &sealed).await, Code::KekUnreachable, "whose is it?");
    drop(bao);
    assert!(matches!(refused(&kek, &sealed).await, Code::KekUnreachable | Code::KekUnavailable));
}

async fn tokens_are_read_anew(bao: &OpenBao, kek: &KekSource, token: &Path) {
    let (_, sealed) = made(kek).await;
    let policy = "path \"transit/encrypt/kek\" { capabilities = [\"update\"] }";
    std::fs::write(token, bao.token("half", policy)).unwrap();
    assert_eq!(refused(kek, &sealed).await, Code::KekDenied);
    std::fs::write(token, "").unwrap();
    assert_eq!(refused(kek, &sealed).await, Code::KekUnavailable);
    std::fs::write(token, bao.token("least", include_str!("transit-policy.hcl")) + "\n").unwrap();
    opened(kek, &sealed).await.unwrap();
    made(kek).await;
}

#[test]
fn a_token_keeps_a_key_and_says_how_it_refuses() {
    let (hsm, dir) = (SoftHsm::new(), tempfile::tempdir().unwrap());
    let pin = dir.path().join("pin");
    std::fs::write(&pin, TOKEN_PIN).unwrap();
    let (kek, conf) = (hsm.kek("kek%20one", &pin), hsm.configuration());
    let environment = [(SOURCE, kek.as_str()), ("SOFTHSM2_CONF", conf.to_str().unwrap())];
    within("inside_a_token", &environment);
}

#[tokio::test]
#[ignore = "its outer test makes the token"]
async fn inside_a_token() {
    let kek = told();
    let RemoteKek::Pkcs11(key) = remote(&kek) else { panic!("{kek}") };
    let SecretPlace::File(pin) = key.pin.clone() else { panic!("{kek}") };
    conforms(&kek).await;
    let (_, sealed) = made(&kek).await;
    for (from, to, code) in [
        ("kek%20one", "two", Code::KekGone),
        ("token=backup", "token=gone", Code::KekUnreachable),
        ("libsofthsm2", "nothing", Code::KekUnavailable),
    ] {
        let other = source(&kek.to_string().replace(from, to));
        assert_eq!(refused(&other, &sealed).await, code, "{other}");
    }
    a_wrong_pin_is_tried_once(&kek, &sealed, &pin).await;
}

async fn a_wrong_pin_is_tried_once(kek: &KekSource, sealed: &SealedKek, pin: &Path) {
    let derivation = Derivation::Sealed(sealed.clone());
    let refused = async || load(kek, environment, Some(&derivation)).await.unwrap_err();
    std::fs::write(pin, "246802").unwrap();
    let (first, second) = (refused().await, refused().await);
    assert_eq!((first.code, second.code), (Code::KekDenied, Code::KekDenied));
    let words = |error: &holdfast_common::Error| format!("{error:?}");
    assert!(words(&first).contains("CKR_PIN_INCORRECT"), "{first:?}");
    assert!(words(&second).contains("not tried again"), "{second:?}");
    assert!(!words(&first).contains("246802") && !words(&second).contains("246802"));
    // Whoever writes it anew says that the token takes it now.
    std::fs::write(pin, "246802").unwrap();
    let (third, fourth) = (refused().await, refused().await);
    assert!(words(&third).contains("CKR_PIN_INCORRECT"), "{third:?}");
    assert!(words(&fourth).contains("not tried again"), "{fourth:?}");
    std::fs::write(pin, TOKEN_PIN).unwrap();
    opened(kek, sealed).await.unwrap();
}

#[test]
fn kms_keeps_a_key_and_says_how_it_refuses() {
    let kms = Ministack::shared().kms();
    kms.make_key("alias/kek");
    let kek = kms.kek("alias/kek");
    let keys = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")];
    within("inside_kms", &[&[(SOURCE, kek.as_str())][..], &keys].concat());
    // Nobody says who is asking.
    within("kms_is_denied", &[(SOURCE, &kek), ("AWS_CONFIG_FILE", "/nowhere")]);
    // Whoever would say it is away.
    let teller = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:9/credentials");
    within("kms_is_away", &[(SOURCE, &kek), ("AWS_CONFIG_FILE", "/nowhere"), teller]);
}

#[tokio::test]
#[ignore = "its outer test makes the key"]
async fn inside_kms() {
    let kek = told();
    conforms(&kek).await;
    let (_, sealed) = made(&kek).await;
    let kms = Kms {
        endpoint: kek.to_string().split_once("endpoint=").unwrap().1.to_owned(),
        key: "test".to_owned(),
        secret: "test".to_owned(),
    };
    let this = format!("{{\"KeyId\": \"{}\"}}", sealed.version);
    kms.call("disable_key", &this);
    assert_eq!(refused(&kek, &sealed).await, Code::KekGone);
    kms.call("enable_key", &this);
    opened(&kek, &sealed).await.unwrap();
    let by_id = source(&kms.kek(&sealed.version));
    assert_eq!(renew(remote(&by_id), environment).await.unwrap_err().code, Code::KekDenied);
    assert_eq!(not_made(&kms.kek("alias/none")).await, Code::KekGone);
    let nobody = source("aws-kms:alias/kek?region=us-east-1&endpoint=http://127.0.0.1:9");
    assert_eq!(refused(&nobody, &sealed).await, Code::KekUnreachable);
}

#[tokio::test]
#[ignore = "its outer test says who is asking"]
async fn kms_is_denied() {
    let denied = make(&told(), environment, CLUSTER, &SystemEntropy).await.unwrap_err();
    assert_eq!(denied.code, Code::KekDenied, "{denied:?}");
}

#[tokio::test]
#[ignore = "its outer test says who would give credentials"]
async fn kms_is_away() {
    let away = make(&told(), environment, CLUSTER, &SystemEntropy).await.unwrap_err();
    assert_eq!(away.code, Code::KekUnreachable, "{away:?}");
    assert!(format!("{away:?}").contains("credentials"), "{away:?}");
}

#[test]
fn kms_refuses_whom_its_policies_do_not_let_in() {
    let moto = Moto::shared();
    let kms = moto.kms();
    kms.make_key("alias/strict");
    let kek = kms.kek("alias/strict");
    let half = moto.narrowed_kms("half", &["kms:Encrypt"]);
    let least = moto.narrowed_kms("least", &["kms:Encrypt", "kms:Decrypt"]);
    for (inner, key, secret) in [
        ("kms_is_denied", &half.key, &half.secret),
        ("kms_is_denied", &least.key, &"not that".to_owned()),
        ("kms_lets_in", &least.key, &least.secret),
    ] {
        let who = [("AWS_ACCESS_KEY_ID", key), ("AWS_SECRET_ACCESS_KEY", secret), (SOURCE, &kek)];
        within(inner, &who.map(|(name, value)| (name, value.as_str())));
    }
}

#[tokio::test]
#[ignore = "its outer test says who is asking"]
async fn kms_lets_in() {
    let (_, sealed) = made(&told()).await;
    opened(&told(), &sealed).await.unwrap();
}
