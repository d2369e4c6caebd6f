//! Another KEK where somebody else keeps it: to a provider, to a new version of its key, and away
//! from it; on one member and on three, through starts, restores and the worst day.

use super::{
    House, PATIENCE, Started, TOKEN_PIN, WAITS, all_coordinators_are_lost, in_environment, least,
    list, token, transit,
};
use crate::{
    harness::{Outcome, Scratch, Service, noise, wait_until, write},
    members::scene::Members,
};
use holdfast_testkit_servers::{Ministack, OpenBao, SoftHsm};
use serde_json::{Value, json};
use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
};

impl House {
    fn rewrap(&self, to: &str, more: &[&str]) -> Outcome {
        self.run(&[&["keys", "rewrap", "--yes", "--to", to], more].concat())
    }

    /// What seals the KEK in use, as `keys list` has it.
    fn sealed_by(&self) -> Value {
        current(&self.run(&["keys", "list"]).ok().object())["sealed_by"].clone()
    }

    /// A start, and a restore with the cluster and without it.
    fn starts_and_restores(&mut self, point: &str, name: &str) {
        self.stop();
        self.start();
        self.assert_restores(point, name, &[]);
        self.assert_restores_offline(point, &format!("{name}-offline"));
    }
}

fn current(listed: &Value) -> Value {
    let keks = listed["keks"].as_array().unwrap();
    let found = keks.iter().find(|kek| kek["state"] == "current");
    found.unwrap_or_else(|| panic!("{listed}")).clone()
}

fn transit_key(version: &str) -> Value {
    json!({ "provider": "transit", "key": "transit/kek", "version": version })
}

fn rotate(bao: &OpenBao) {
    bao.run(&["write", "-f", "transit/keys/kek/rotate"]);
}

/// What versions before this one sealed opens no more.
fn destroy_before(bao: &OpenBao, version: &str) {
    let least = format!("min_decryption_version={version}");
    bao.run(&["write", "transit/keys/kek/config", &least]);
}

#[test]
fn a_kek_goes_from_a_file_to_transit_to_new_versions_there_and_back_to_a_file() {
    let (bao, scratch, token, transit) = transit();
    let file = format!("file:{}", scratch.join("kek").display());
    let mut house = House::found(scratch, &file, &[]);
    house.join();
    let point = house.backup();
    assert_eq!(house.sealed_by(), Value::Null);

    list(&house.config(), &[&transit]);
    refused_before_anything_changes(&house, &bao, &transit);
    let told = house.rewrap(&transit, &[]).ok().object();
    assert_eq!(told["sealed_by"], transit_key("1"), "{told}");
    assert_eq!(told["objects"], json!(["keys/00000001/00000002"]));
    assert_eq!(house.sealed_by(), transit_key("1"));
    fs::remove_file(house.scratch.join("kek")).unwrap();
    house.kek = transit.clone();
    house.starts_and_restores(&point, "sealed");

    // The same version again would leave the old one in use.
    house.rewrap(&transit, &[]).fails(8, "resource.change_refused");
    house.rewrap(&transit, &["--new-version"]).fails(4, "kek.access_denied");
    assert_eq!(house.sealed_by(), transit_key("1"));
    rotate(&bao);
    house.rewrap(&transit, &[]).ok();
    assert_eq!(house.sealed_by(), transit_key("2"));
    may_rotate(&bao, &token);
    house.rewrap(&transit, &["--new-version"]).ok();
    let listed = house.run(&["keys", "list"]).ok().object();
    let versions: Vec<_> = listed["keks"].as_array().unwrap().iter().collect();
    let versions: Vec<_> = versions.iter().map(|kek| kek["sealed_by"]["version"].clone()).collect();
    assert_eq!(versions, [Value::Null, json!("1"), json!("2"), json!("3")], "{listed}");

    write(&house.source.join("new"), noise(9, 300_000));
    let point = house.backup();
    house.starts_and_restores(&point, "third");
    destroy_before(&bao, "3");
    house.starts_and_restores(&point, "alone");
    house.wait_for_alarm(None);

    back_to_a_file(house, bao, &point);
}

fn refused_before_anything_changes(house: &House, bao: &OpenBao, transit: &str) {
    let relative = transit.replace("token=file:/", "token=file:");
    house.rewrap(&relative, &[]).fails(2, "usage.argument_malformed");
    house.rewrap("file:/kek-2", &["--new-version"]).fails(2, "usage.argument_malformed");
    assert!(!Path::new("/kek-2").exists());
    bao.seal();
    house.rewrap(transit, &[]).fails(5, "kek.provider_unreachable");
    bao.unseal();
    let config = fs::read_to_string(house.config()).unwrap();
    assert!(config.contains("kek = \"file:"), "{config}");
}

/// Whoever may change the KEK could else send any file to anybody, and have any library loaded.
#[test]
fn a_provider_that_no_configuration_names_is_not_asked() {
    let scratch = Scratch::new();
    let file = format!("file:{}", scratch.join("kek").display());
    let (secret, module) = (scratch.join("secret"), scratch.join("module.so"));
    let house = House::found(scratch, &file, &[]);
    let (secret, module) = (secret.display(), module.display());
    let (server, conversations) = overheard();
    let transit = format!("transit:http://{server}/transit/kek?token=file:{secret}");
    let others = [
        transit.clone(),
        format!("pkcs11:token=a;object=b?module-path={module}&pin-source=file:{secret}"),
        format!("aws-kms:alias/x?region=eu-central-1&endpoint=http://{server}"),
    ];
    // The server is listed, and the file that would be sent to it is another.
    list(&house.config(), &[&transit.replace("secret", "token")]);
    for other in &others {
        let refused = house.rewrap(other, &[]);
        assert_eq!(refused.code, 4, "{other}");
        let (error, line) =
            (refused.error().to_string(), format!("kek_allowed = [\\\"{other}\\\"]"));
        assert!(error.contains("kek.provider_unlisted"), "{error}");
        assert!(error.contains(&line), "{line} in {error}");
    }
    assert!(conversations.try_iter().next().is_none(), "the server was asked");
    assert_eq!(house.sealed_by(), Value::Null);
    // Named, it is asked, without a new start.
    write(&house.scratch.join("secret"), "a-token-of-a-test");
    list(&house.config(), &[&transit, &others[1]]);
    house.rewrap(&transit, &[]).fails(5, "kek.provider_unreachable");
    conversations.recv_timeout(PATIENCE).expect("the server was asked");
    house.rewrap(&others[1], &[]).fails(1, "kek.provider_unavailable");
}

/// A server that takes note of whoever comes, and says nothing.
fn overheard() -> (SocketAddr, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, (tell, told)) = (listener.local_addr().unwrap(), mpsc::channel());
    thread::spawn(move || while listener.accept().is_ok_and(|_| tell.send(()).is_ok()) {});
    (address, told)
}

fn may_rotate(bao: &OpenBao, token: &Path) {
    let least = include_str!("../../../../../crates/kek/tests/transit-policy.hcl");
    let more = "path \"transit/keys/kek/rotate\" { capabilities = [\"update\"] }";
    fs::write(token, bao.token("more", &format!("{least}\n{more}\n"))).unwrap();
}

/// After that the provider is nobody's business any more.
fn back_to_a_file(mut house: House, bao: OpenBao, point: &str) {
    let file = format!("file:{}", house.scratch.join("kek-4").display());
    house.rewrap(&file, &[]).ok();
    assert_eq!(house.sealed_by(), Value::Null);
    bao.seal();
    house.kek = file;
    house.starts_and_restores(point, "back");
    house.wait_for_alarm(None);
    house.run(&["audit", "verify"]).ok();
}

#[test]
fn a_kek_moves_to_another_server_whose_key_has_the_same_names() {
    let (bao, scratch, _token, kek) = transit();
    let mut house = House::found(scratch, &kek, &[]);
    house.join();
    let point = house.backup();
    let (other, tokens) = (OpenBao::start(), ["one", "two"].map(|name| house.scratch.join(name)));
    other.make_key("kek");
    let [moved, again] = tokens.map(|token| {
        fs::write(&token, least(&other)).unwrap();
        other.kek("kek", &token)
    });
    list(&house.config(), &[&moved, &again]);
    house.rewrap(&moved, &[]).ok();
    assert_eq!(house.sealed_by(), transit_key("1"));
    drop(bao);
    house.kek = moved;
    house.starts_and_restores(&point, "moved");
    // With another token it is the same version of the same key.
    house.rewrap(&again, &[]).fails(8, "resource.change_refused");
}

/// What others log at that level is all that they send.
#[test]
fn at_trace_the_kek_that_a_kms_seals_is_in_no_log() {
    let (kms, alias) = (Ministack::shared().kms(), "alias/traced");
    kms.make_key(alias);
    let keys = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")];
    let traced = [&keys[..], &[("HOLDFAST_LOG", "trace")]].concat();
    let house = House::found(Scratch::new(), &kms.kek(alias), &traced);
    let kek = house.kek.clone();
    house.rewrap(&kek, &["--new-version"]).ok();
    let log = fs::read_to_string(house.scratch.join("coordinator.log")).unwrap();
    assert!(log.contains("aws_smithy_runtime"), "nothing of KMS was logged");
    let told: Vec<_> = log.lines().filter(|line| line.contains("Plaintext")).collect();
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn a_recovery_finds_the_kek_in_use_among_those_that_one_source_gives() {
    let (bao, scratch, _token, kek) = transit();
    let mut house = House::found(scratch, &kek, &[]);
    house.join();
    let before = house.backup();
    rotate(&bao);
    house.rewrap(&kek, &[]).ok();
    let listed = house.run(&["keys", "list"]).ok().object();
    write(&house.source.join("new"), noise(9, 300_000));
    let point = house.backup();
    assert_ne!(before, point);
    house.stop();
    // What the old KEK opens leads to the ledger too, and no further.
    let object = format!("location/cluster/key/{}", current(&listed)["id"].as_str().unwrap());
    fs::remove_file(house.scratch.join(&object)).unwrap();
    all_coordinators_are_lost(&house, &point);
}

#[test]
fn a_token_and_a_kms_make_the_new_version_themselves_and_need_the_old_one_no_more() {
    let hsm = SoftHsm::new();
    let (scratch, pin, kek, environment) = token(&hsm);
    let mut house = House::found(scratch, &kek, &in_environment(&environment));
    house.join();
    let point = house.backup();
    let before = house.sealed_by();
    house.rewrap(&kek, &["--new-version"]).ok();
    let after = house.sealed_by();
    assert_eq!((&before["provider"], &after["provider"]), (&json!("pkcs11"), &json!("pkcs11")));
    assert_ne!(before["version"], after["version"], "{after}");
    house.starts_and_restores(&point, "token");
    house.assert_nowhere(TOKEN_PIN, &pin);

    let kms = Ministack::shared().kms();
    let alias = "alias/changing";
    kms.make_key(alias);
    let keys = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")];
    let mut house = House::found(Scratch::new(), &kms.kek(alias), &keys);
    house.join();
    let point = house.backup();
    let before = house.sealed_by();
    // Under another name it is the same key.
    let by_arn = kms.kek(before["version"].as_str().unwrap());
    list(&house.config(), &[&by_arn]);
    house.rewrap(&by_arn, &[]).fails(8, "resource.change_refused");
    let kek = house.kek.clone();
    house.rewrap(&kek, &["--new-version"]).ok();
    assert_ne!(before["version"], house.sealed_by()["version"]);
    kms.call("disable_key", &json!({ "KeyId": before["version"] }).to_string());
    house.starts_and_restores(&point, "kms");
    house.wait_for_alarm(None);
}

const VARIABLE: &str = "HOLDFAST_TEST_TOKEN";

/// The KEK whose token is in the environment of those who have it.
fn by_variable(kek: &str, token: &Path) -> String {
    kek.replace(&format!("token=file:{}", token.display()), &format!("token=env:{VARIABLE}"))
}

#[test]
fn every_member_is_let_open_the_new_kek_before_it_counts_and_follows_by_itself() {
    let (bao, _token_is_there, token, kek) = transit();
    let mut members = Members::three();
    let kek = by_variable(&kek, &token);
    let rewrap = ["keys", "rewrap", "--yes", "--to", &kek];
    for name in ["one", "two"] {
        list(&config_of(&members, name), &[&kek]);
        has_token(&mut members, name, &least(&bao));
    }
    wait_for_answer(&members, &rewrap).fails(4, "kek.provider_unlisted");
    list(&config_of(&members, "three"), &[&kek]);
    let refused = wait_for_answer(&members, &rewrap);
    refused.fails(1, "kek.provider_unavailable");
    has_token(&mut members, "three", &least(&bao));
    wait_until("all have the new KEK", PATIENCE, || (members.run(&rewrap).code == 0).then_some(()));
    for name in ["one", "two", "three"] {
        wait_for_kek(&members, name, &kek);
        let _may_have_none = fs::remove_file(members.dir(name).join("kek"));
    }
    fs::remove_file(members.scratch.join("kek")).unwrap();
    one_that_was_down_finds_it_when_its_provider_is_back(&mut members, &bao, &kek);

    rotate(&bao);
    wait_until("another version", PATIENCE, || (members.run(&rewrap).code == 0).then_some(()));
    for name in ["one", "two", "three"] {
        wait_until("the member has taken it", PATIENCE, || {
            let listed = members.run_at(name, &["keys", "list"]);
            let seen = (listed.code == 0).then(|| current(&listed.object())["sealed_by"].clone());
            (seen == Some(transit_key("2")) && behind(&members, name).is_none()).then_some(())
        });
    }
    destroy_before(&bao, "2");
    for name in ["one", "two", "three"] {
        assert_eq!(members.stop(name), Some(0));
        members.start(name);
    }
    wait_until("somebody leads", PATIENCE, || {
        (members.run(&["keys", "rotate", "main"]).code == 0).then_some(())
    });
}

fn has_token(members: &mut Members, name: &str, token: &str) {
    members.set_environment(name, &[(VARIABLE, token.to_owned())]);
    assert_eq!(members.stop(name), Some(0));
    members.start(name);
}

/// Of whoever leads by now.
fn wait_for_answer(members: &Members, arguments: &[&str]) -> Outcome {
    wait_until("a member that lacks its token is told", PATIENCE, || {
        let told = members.run(arguments);
        assert_ne!(told.code, 0, "one has no token");
        told.error().to_string().contains("`three`").then_some(told)
    })
}

fn config_of(members: &Members, name: &str) -> PathBuf {
    members.dir(name).join("coordinator.toml")
}

fn wait_for_kek(members: &Members, name: &str, kek: &str) {
    let line = format!("kek = {kek:?}");
    wait_until("the member has written down where the KEK is", PATIENCE, || {
        let told = fs::read_to_string(config_of(members, name)).unwrap();
        told.lines().any(|found| found == line).then_some(())
    });
}

fn behind(members: &Members, name: &str) -> Option<Value> {
    let alarms = members.run_at(name, &["status"]).object()["alarms"].as_array().unwrap().clone();
    alarms.into_iter().find(|alarm| alarm["code"] == "kek.member_behind")
}

/// Its own file names the KEK of before, which is gone; the ledger knows better.
fn one_that_was_down_finds_it_when_its_provider_is_back(
    members: &mut Members,
    bao: &OpenBao,
    kek: &str,
) {
    assert_eq!(members.stop("three"), Some(0));
    let config = config_of(members, "three");
    let old = format!("file:{}", members.dir("three").join("kek").display());
    let told = fs::read_to_string(&config).unwrap();
    let told = told.replace(&format!("kek = {kek:?}"), &format!("kek = {old:?}"));
    fs::write(&config, told).unwrap();
    // The ledger alone does not decide whom it asks.
    list(&config, &[]);
    let refused = Started::of(members.command("three"), members.scratch.join("three.refused.log"));
    assert_eq!(refused.end().code(), Some(4), "{}", refused.log());
    assert!(refused.log().contains("kek.provider_unlisted"), "{}", refused.log());
    list(&config, &[kek]);
    bao.seal();
    let (log, mut command) = (members.scratch.join("three.waiting.log"), members.command("three"));
    let three = thread::scope(|scope| {
        let three = scope.spawn(|| Service::start_command(&mut command, &log));
        wait_until("it waits", PATIENCE, || {
            fs::read_to_string(&log).is_ok_and(|said| said.contains(WAITS)).then_some(())
        });
        bao.unseal();
        three.join().unwrap()
    });
    members.running.insert("three".to_owned(), three);
    wait_for_kek(members, "three", kek);
}
