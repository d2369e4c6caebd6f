//! People who act for a cluster: let in with a key of their own, shut out at once and everywhere,
//! and somebody is always left who can let others in.

use crate::{
    cluster::Cluster,
    harness::{Outcome, Scratch, Service, binary, holdfast, noise, wait_until, write},
    members::scene::{Members, PATIENCE},
};
use holdfast_runtime::Context;
use serde_json::Value;
use std::{
    cell::RefCell,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What somebody types with a context of theirs.
pub(crate) fn as_whom(context: &Path, arguments: &[&str]) -> Outcome {
    holdfast(Some(context), &[&["--output", "json"], arguments].concat())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A directory of somebody's own, with a request and the key that it is for.
fn requested(scratch: &Scratch, name: &str) -> PathBuf {
    let home = scratch.join(&format!("home-{name}"));
    fs::create_dir(&home).unwrap();
    let out = home.to_str().unwrap();
    holdfast(None, &["operator", "request", name, "--out", out]).ok();
    home
}

/// A context for `name`, made by whoever has `context`; its path.
pub(crate) fn issued(context: &Path, scratch: &Scratch, name: &str, more: &[&str]) -> PathBuf {
    let home = scratch.join(&format!("home-{name}"));
    let issue = ["operator", "issue", name, "--to", home.to_str().unwrap()];
    as_whom(context, &[&issue, more].concat()).ok();
    home.join("operator.toml")
}

pub(crate) fn admin(cluster: &Cluster) -> PathBuf {
    cluster.scratch.join("c/operator.toml")
}

fn row(context: &Path, name: &str) -> Value {
    let told = as_whom(context, &["operator", "list"]).ok().object();
    let rows = told["operators"].as_array().unwrap().clone();
    rows.into_iter().find(|row| row["name"] == name).unwrap_or_default()
}

#[test]
fn a_key_that_never_left_its_host_becomes_an_operator() {
    let cluster = Cluster::start();
    let home = requested(&cluster.scratch, "ben");
    assert_eq!(names(&home), ["ben.key", "ben.request"]);
    assert_eq!((mode(&home.join("ben.key")), mode(&home.join("ben.request"))), (0o600, 0o600));
    let key = fs::read(home.join("ben.key")).unwrap();
    let (request, to) = (home.join("ben.request"), home.join("ben.toml"));
    let (request, to) = (request.to_str().unwrap(), to.to_str().unwrap());
    let issue = |more: &[&str]| {
        let issue = ["operator", "issue", "ben", "--request", request];
        cluster.run(&[&issue, more].concat())
    };
    // What lies there stays, whatever is typed.
    issue(&["--to", home.join("ben.key").to_str().unwrap()]).fails(4, "file.target_exists");
    assert_eq!(fs::read(home.join("ben.key")).unwrap(), key);
    issue(&["--to", "/no/such/place/ben.toml"]).fails(3, "file.path_missing");
    assert_eq!(row(&admin(&cluster), "ben"), Value::Null, "nothing was agreed");
    for days in ["0", "366", "-1"] {
        issue(&["--to", to, "--days", days]).ends(2);
    }
    issue(&["--to", to, "--role", "viewer"]).ends(2);
    let other = ["operator", "issue", "eve", "--request", request, "--to", to];
    cluster.run(&other).fails(2, "usage.argument_malformed");

    let told = issue(&["--to", to, "--days", "30"]).ok().object();
    assert_eq!(told["operator"]["name"], "ben", "{told}");
    assert_eq!(
        (told["operator"]["issued_by"].as_str(), mode(Path::new(to))),
        (Some("admin"), 0o600)
    );
    assert!(!fs::read_to_string(to).unwrap().contains("PRIVATE"));
    assert_eq!(names(&home), ["ben.key", "ben.request", "ben.toml"]);
    let listed = row(Path::new(to), "ben");
    assert_eq!((&listed["state"], &listed["role"]), (&"active".into(), &"admin".into()));
    assert!(listed["since"].is_string() && listed["renewed"].is_null(), "{listed}");
    let founder = row(Path::new(to), "admin");
    assert!(founder["since"].is_null() && founder["issued_by"].is_null(), "{founder}");
    // He acts in his own name.
    as_whom(Path::new(to), &["agent", "token"]).ok();
    let audit = as_whom(Path::new(to), &["audit", "list"]).ok().object();
    let rows = audit["entries"].as_array().unwrap();
    let made = rows.iter().rfind(|row| row["action"] == "token.create").unwrap();
    assert_eq!(made["actor"], "operator:ben", "{audit}");
    assert!(rows.iter().any(|row| row["action"] == "operator.issue"), "{audit}");

    // Said again it is answered again; another key under this name is not.
    let again = home.join("again.toml");
    issue(&["--to", again.to_str().unwrap()]).ok();
    let taken = cluster.scratch.join("taken");
    cluster
        .run(&["operator", "issue", "ben", "--to", taken.to_str().unwrap()])
        .fails(8, "resource.change_refused");
    assert!(!taken.exists(), "a key for nothing is not left behind");
}

#[test]
fn a_key_that_is_not_the_certificates_is_named_as_such() {
    let cluster = Cluster::start();
    let [ben, eve] =
        ["ben", "eve"].map(|name| issued(&admin(&cluster), &cluster.scratch, name, &[]));
    let key = |context: &Path| context.with_file_name("operator.key");
    fs::copy(key(&eve), key(&ben)).unwrap();
    let refused = as_whom(&ben, &["status"]);
    assert!(refused.stderr.contains("is not the key of the certificate"), "{}", refused.stderr);
    refused.fails(2, "config.file_malformed");
}

#[test]
fn who_is_shut_out_is_out_at_every_member_and_what_he_had_open_ends() {
    let members = Members::three();
    let admin = members.scratch.join("c/operator.toml");
    let ben = issued(&admin, &members.scratch, "ben", &[]);
    let agent = members.agent("host");
    let source = members.scratch.join("source");
    write(&source.join("large"), noise(7, 1_000_000));
    as_whom(&ben, &["status"]).ends(1);

    // A run that lasts, and somebody who follows it.
    agent.signal(rustix::process::Signal::STOP);
    let path = source.to_str().unwrap();
    let run = as_whom(&ben, &["backup", "--path", path, "--agent", "host", "--detach"]).ok();
    let run = run.object()["run"].as_str().unwrap().to_owned();
    let mut follows = Command::new(binary());
    follows.arg("--context").arg(&ben).args(["--output", "json", "runs", "follow", &run]);
    let follows = follows.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let token = as_whom(&ben, &["cluster", "token"]).ok().object();
    let token = token["token"].as_str().unwrap().to_owned();

    let told = as_whom(&admin, &["operator", "revoke", "ben"]);
    told.fails(4, "confirm.answer_missing");
    let told = as_whom(&admin, &["operator", "revoke", "ben", "--yes"]).ok().object();
    assert_eq!(told["operator"]["state"], "revoked", "{told}");
    assert_eq!(told["operator"]["revoked_by"], "admin", "{told}");
    let again = as_whom(&admin, &["operator", "revoke", "ben", "--yes"]).ok().object();
    assert_eq!(again["operator"], told["operator"], "done once");
    let follows = RefCell::new(follows);
    let ended = || follows.borrow_mut().try_wait().unwrap();
    let status = wait_until("he follows nothing any more", PATIENCE, ended);
    assert!(!status.success(), "{status}");

    for name in ["one", "two", "three"] {
        let there = at(&ben, &members.running[name]);
        for asked in [
            &["status"][..],
            &["operator", "list"],
            &["agent", "token"],
            &["cluster", "transfer"],
            &["operator", "renew"],
        ] {
            as_whom(&there, asked).fails(4, "operator.identity_revoked");
        }
        let promote = as_whom(&there, &["region", "promote", "eu", "--yes"]);
        assert!(promote.code != 0 && promote.stderr.contains("operator.identity_revoked"));
    }
    // A token that he made lets nobody in.
    members.join("four", &token, &[]).fails(4, "token.unknown");
    agent.signal(rustix::process::Signal::CONT);
}

/// The same context for one member only.
pub(crate) fn at(context: &Path, member: &Service) -> PathBuf {
    let known = Context::load(context).unwrap();
    let only = context.with_file_name(format!("only-{}.toml", member.id()));
    Context { endpoints: vec![member.address.clone()], ..known }.save(&only).unwrap();
    only
}

#[test]
fn a_member_that_comes_back_by_a_snapshot_knows_who_was_shut_out() {
    let mut members = Members::three();
    let admin = members.scratch.join("c/operator.toml");
    let ben = issued(&admin, &members.scratch, "ben", &[]);
    members.kill("three");
    as_whom(&admin, &["operator", "revoke", "ben", "--yes"]).ok();
    let anew = members.scratch.join("anew");
    as_whom(&admin, &["operator", "issue", "ben", "--to", anew.to_str().unwrap()]).ok();
    members.start("three");
    let there = at(&ben, &members.running["three"]);
    let refused = || {
        let said = as_whom(&there, &["operator", "list"]);
        // Until it has heard who leads it may know him still; then never again.
        (said.code == 4).then(|| said.error()["code"].clone())
    };
    assert_eq!(wait_until("it knows", PATIENCE, refused), "auth.permission_denied");
    let new = at(&anew.join("operator.toml"), &members.running["three"]);
    as_whom(&new, &["operator", "list"]).ok();
    // And after it was started anew.
    assert_eq!(members.stop("three"), Some(0));
    members.start("three");
    let there = at(&ben, &members.running["three"]);
    as_whom(&there, &["operator", "list"]).fails(4, "auth.permission_denied");
}

#[test]
fn the_last_operator_stays_and_who_shuts_himself_out_hears_that_it_was_done() {
    let cluster = Cluster::start();
    let revoke =
        |context: &Path, name: &str| as_whom(context, &["operator", "revoke", name, "--yes"]);
    revoke(&admin(&cluster), "admin").fails(4, "operator.last_one");
    revoke(&admin(&cluster), "nobody").fails(3, "operator.name_unknown");
    cluster.run(&["operator", "list"]).ok();
    let ben = issued(&admin(&cluster), &cluster.scratch, "ben", &[]);
    let told = revoke(&admin(&cluster), "admin").ok().object();
    assert_eq!(told["operator"]["revoked_by"], "admin", "{told}");
    cluster.run(&["operator", "list"]).fails(4, "operator.identity_revoked");
    revoke(&ben, "ben").fails(4, "operator.last_one");
    // The name is free, for somebody else.
    let home = cluster.scratch.join("new-admin");
    as_whom(&ben, &["operator", "issue", "admin", "--to", home.to_str().unwrap()]).ok();
    as_whom(&home.join("operator.toml"), &["status"]).ends(1);
    cluster.run(&["operator", "list"]).fails(4, "auth.permission_denied");
}

#[test]
fn a_renewal_replaces_the_certificate_in_its_place_or_nothing() {
    let cluster = Cluster::start();
    let ben = issued(&admin(&cluster), &cluster.scratch, "ben", &["--days", "7"]);
    let said = holdfast(Some(&ben), &["operator", "list"]);
    assert!(said.stderr.contains("operator renew"), "the end is near: {}", said.stderr);
    let status = cluster.run(&["status"]).object();
    let notes = status["notes"].as_array().unwrap();
    assert!(
        notes.iter().any(|note| note["code"] == "operator.certificate_ending"
            && note["subject"].as_str().unwrap().starts_with("ben")),
        "{status}"
    );
    let old = fs::read(&ben).unwrap();
    let serial = |path: &Path| Context::load(path).unwrap().own().unwrap().serial;
    let before = serial(&ben);
    let told = as_whom(&ben, &["operator", "renew"]).ok().object();
    assert!(told["operator"]["renewed"].is_string(), "{told}");
    let after = serial(&ben);
    assert_ne!(before, after);
    assert_eq!((mode(&ben), names(ben.parent().unwrap()).len()), (0o600, 2));
    // Whoever did not hear the answer gets the same one.
    fs::write(&ben, &old).unwrap();
    as_whom(&ben, &["operator", "renew"]).ok();
    assert_eq!(serial(&ben), after, "it was not made twice");
    as_whom(&ben, &["operator", "renew"]).ok();
    assert_ne!(serial(&ben), after);
    // The one before the last is replaced for good.
    fs::write(&ben, &old).unwrap();
    as_whom(&ben, &["operator", "list"]).fails(4, "auth.permission_denied");
}
