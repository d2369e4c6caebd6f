//! Separate processes: a coordinator, agents that join it with tokens, agents that may not.

use crate::harness::{
    Chance, Damage, Objects, Outcome, Scratch, Service, Tree, binary, holdfast, kills, noise,
    wait_until, write,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

pub struct Cluster {
    pub scratch: Scratch,
    pub coordinator: Service,
}

impl Cluster {
    pub fn start() -> Self {
        Self::start_in_custody("coordinator")
    }

    /// Coordinators hold nothing that opens data.
    pub fn in_operator_custody() -> Self {
        Self::start_in_custody("operator")
    }

    fn start_in_custody(custody: &str) -> Self {
        Self::start_with(custody, &["location"])
    }

    /// Every location is a directory of its name, and required.
    fn start_with(custody: &str, locations: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", custody, locations)
    }

    /// The same where something is already.
    pub fn start_in(scratch: Scratch, locations: &[&str]) -> Self {
        Self::found(scratch, "127.0.0.1:0", "coordinator", locations)
    }

    /// The same at an address that stays when the coordinator starts anew.
    pub fn start_at(listen: &str, custody: &str, locations: &[&str]) -> Self {
        Self::found(Scratch::new(), listen, custody, locations)
    }

    fn found(scratch: Scratch, listen: &str, custody: &str, locations: &[&str]) -> Self {
        let (dir, kek) = (scratch.join("c"), format!("file:{}", scratch.join("kek").display()));
        let mut arguments: Vec<String> =
            ["cluster", "init", "--name", "one", "--region", "eu"].map(str::to_owned).into();
        for (option, value) in [
            ("--dir", dir.to_str().unwrap()),
            ("--listen", listen),
            ("--kek", &kek),
            ("--custody", custody),
        ] {
            arguments.extend([option.to_owned(), value.to_owned()]);
        }
        for name in locations {
            let url = format!("{name}=local:{}", scratch.join(name).display());
            arguments.extend(["--location".to_owned(), url]);
        }
        holdfast(None, &arguments.iter().map(String::as_str).collect::<Vec<_>>()).ok();
        let coordinator = Self::coordinator(&scratch);
        Self { scratch, coordinator }
    }

    /// Port 0: the coordinator writes where it really is into the context beside its file.
    pub fn coordinator(scratch: &Scratch) -> Service {
        let config = scratch.join("c/coordinator.toml");
        let arguments = ["coordinator", "--config", config.to_str().unwrap()];
        Service::start(&arguments, &scratch.join("coordinator.log"))
    }

    pub fn run(&self, arguments: &[&str]) -> Outcome {
        let context = self.scratch.join("c/operator.toml");
        holdfast(Some(&context), &[&["--output", "json"], arguments].concat())
    }

    fn token(&self, more: &[&str]) -> String {
        let context = self.scratch.join("c/operator.toml");
        let told = holdfast(Some(&context), &[&["agent", "token"], more].concat()).ok();
        let token = told.text().trim_end();
        assert_eq!(token.lines().count(), 1, "the token alone");
        token.to_owned()
    }

    pub fn join(&self, name: &str, token: &str) -> Outcome {
        let dir = self.scratch.join(name);
        holdfast(
            None,
            &[
                "--output",
                "json",
                "agent",
                "join",
                "--coordinator",
                &self.coordinator.address,
                "--token",
                token,
                "--dir",
                dir.to_str().unwrap(),
                "--name",
                name,
            ],
        )
    }

    pub fn agent(&self, name: &str) -> Service {
        self.join(name, &self.token(&[])).ok();
        self.joined_agent(name)
    }

    /// One that has joined before.
    pub fn joined_agent(&self, name: &str) -> Service {
        let config = self.scratch.join(name).join("agent.toml");
        let log = self.scratch.join(&format!("{name}.log"));
        Service::start(&["agent", "--config", config.to_str().unwrap()], &log)
    }

    pub fn state_of(&self, name: &str) -> String {
        let told = self.run(&["agent", "list"]).ok().object();
        let rows = told["agents"].as_array().unwrap().clone();
        let row = rows.iter().find(|row| row["name"] == name);
        row.map(|row| row["state"].as_str().unwrap().to_owned()).unwrap_or_default()
    }
}

fn source(cluster: &Cluster, name: &str, seed: u64) -> PathBuf {
    let source = cluster.scratch.join(&format!("source-{name}"));
    for number in 0..5 {
        write(&source.join(number.to_string()), noise(seed + number, 1_500_000));
    }
    source
}

fn assert_restores(cluster: &Cluster, point: &Value, source: &Path, name: &str) {
    let to = cluster.scratch.join(&format!("back-{name}"));
    let point = point.as_str().unwrap();
    cluster.run(&["restore", point, "--to", to.to_str().unwrap()]).ok();
    let back = to.join(source.strip_prefix("/").unwrap());
    Tree::of(source).assert_same(&Tree::of(&back), name);
}

#[test]
fn an_agent_of_its_own_process_joins_and_backs_up() {
    let cluster = Cluster::start();
    let agent = cluster.agent("files-1");
    let source = source(&cluster, "a", 1);
    let path = source.to_str().unwrap();
    let made = cluster.run(&["backup", "--path", path]).ok().object();
    assert_restores(&cluster, &made["point"], &source, "files-1");
    assert_eq!(agent.stop().code(), Some(0));
    let away = || (cluster.state_of("files-1") == "away").then_some(());
    wait_until("the agent is away", Duration::from_secs(30), away);
    cluster.run(&["backup", "--path", path]).fails(5, "agent.connection_absent");
    assert_eq!(cluster.coordinator.stop().code(), Some(0));
}

#[test]
fn an_agent_is_ready_with_the_coordinator_that_answered() {
    let cluster = Cluster::start();
    let address = cluster.coordinator.address.clone();
    assert_eq!(cluster.agent("one").stop().code(), Some(0));
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (dir, gone) = (cluster.scratch.join("one"), gone.to_string());
    let repoint = ["agent", "repoint", "--dir", dir.to_str().unwrap()];
    let both = ["--coordinator", &gone, "--coordinator", &address];
    holdfast(None, &[&repoint[..], &both].concat()).ok();
    assert_eq!(cluster.joined_agent("one").address, address);
}

#[test]
fn a_backup_whose_command_is_stopped_goes_on_and_its_run_is_named() {
    let cluster = Cluster::start();
    let agent = cluster.agent("one");
    let source = source(&cluster, "a", 3);
    agent.signal(Signal::STOP);
    let context = cluster.scratch.join("c/operator.toml");
    let newest = || cluster.run(&["runs"]).ok().object()["runs"][0].clone();
    // Two runs of the same work are refused.
    for (format, path) in [("json", source.clone()), ("table", source.join("0"))] {
        let before = newest();
        let asked = Command::new(binary())
            .args(["--context", context.to_str().unwrap(), "--output", format])
            .args(["backup", "--path", path.to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let begun = || Some(newest()).filter(|run| *run != before);
        let run = wait_until("the run is there", Duration::from_secs(30), begun);
        let id = run["id"].as_str().unwrap();
        kill_process(Pid::from_child(&asked), Signal::INT).unwrap();
        let ended = asked.wait_with_output().unwrap();
        let stderr = String::from_utf8(ended.stderr).unwrap();
        assert_eq!((ended.status.code(), &ended.stdout[..]), (Some(130), &[][..]), "{stderr}");
        assert!(stderr.contains(&format!("holdfast runs show {id}")), "{stderr}");
        assert!(stderr.contains("goes on"), "{stderr}");
    }
    let run = newest()["id"].clone();
    agent.signal(Signal::CONT);
    let done = || Some(newest()).filter(|row| row["state"] == "done" && row["id"] == run);
    wait_until("it went on", Duration::from_secs(60), done);
}

#[test]
fn a_backup_that_nobody_waits_for_is_told_as_a_run() {
    let cluster = Cluster::start();
    let _agent = cluster.agent("one");
    let source = source(&cluster, "a", 4);
    let backup = ["backup", "--path", source.to_str().unwrap(), "--detach"];
    let told = cluster.run(&backup).ok().object();
    assert_eq!((&told["kind"], &told["agent"]), (&"backup".into(), &"one".into()), "{told}");
    assert_eq!((&told["run"], &told["skipped"]), (&told["id"], &Value::Array(vec![])));
    assert!(told["state"].is_string(), "{told}");
    let figures = ["entries", "bytes_read", "bytes_new", "bytes_stored", "chunks_new"];
    for field in [&figures[..], &["chunks_reused", "duration_ms", "policy"]].concat() {
        assert_eq!(told.get(field), Some(&Value::Null), "{field}: {told}");
    }
}

#[test]
fn two_agents_back_up_at_once() {
    let cluster = Cluster::start();
    let (_one, _two) = (cluster.agent("one"), cluster.agent("two"));
    let sources = [source(&cluster, "one", 10), source(&cluster, "two", 12)];
    let made: Vec<Value> = std::thread::scope(|scope| {
        let cluster = &cluster;
        let backup = |(name, path): (&'static str, &PathBuf)| {
            let path = path.to_str().unwrap().to_owned();
            scope.spawn(move || {
                cluster.run(&["backup", "--path", &path, "--agent", name]).ok().object()
            })
        };
        let running: Vec<_> = ["one", "two"].into_iter().zip(&sources).map(backup).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (name, (told, source)) in ["one", "two"].iter().zip(made.iter().zip(&sources)) {
        assert_restores(&cluster, &told["point"], source, name);
    }
    let path = sources[0].to_str().unwrap();
    cluster.run(&["backup", "--path", path]).fails(2, "agent.name_ambiguous");
}

#[test]
fn a_token_is_good_for_one_host_and_for_its_time_only() {
    let cluster = Cluster::start();
    let token = cluster.token(&["--label", "role=files", "--ttl", "1h"]);
    cluster.join("first", &token).ok();
    cluster.join("second", &token).fails(4, "token.used");
    // Whoever did not hear the answer asks again, and is the same agent.
    let agents = || cluster.run(&["agent", "list"]).ok().object()["agents"].clone();
    let first = agents();
    std::fs::remove_file(cluster.scratch.join("first").join("agent.toml")).unwrap();
    cluster.join("first", &token).ok();
    let rows = agents().as_array().unwrap().len();
    assert_eq!((rows, &agents()[0]["id"]), (1, &first[0]["id"]));
    // Gone before the command that made it has ended.
    let brief = cluster.token(&["--ttl", "1ms"]);
    cluster.join("third", &brief).fails(4, "token.expired");
    let mut forged = token.clone().into_bytes();
    let last = forged.len() - 1;
    forged[last] = if forged[last] == b'0' { b'1' } else { b'0' };
    let told = cluster.join("fourth", std::str::from_utf8(&forged).unwrap());
    assert_eq!(told.code, 4, "{}", told.stderr);
    let told = cluster.run(&["agent", "list"]).ok().object();
    assert_eq!(told["agents"].as_array().unwrap().len(), 1, "only the first: {told}");
}

#[test]
fn a_revoked_agent_is_shut_out_at_once() {
    let cluster = Cluster::start();
    let _agent = cluster.agent("lost");
    let source = source(&cluster, "lost", 30);
    let path = source.to_str().unwrap();
    let made = cluster.run(&["backup", "--path", path]).ok().object();
    cluster.run(&["agent", "revoke", "lost", "--yes"]).ok();
    assert_eq!(cluster.state_of("lost"), "revoked");
    let told = cluster.run(&["backup", "--path", path, "--agent", "lost"]);
    assert_eq!(told.code, 4, "{}", told.stderr);
    assert_restores(&cluster, &made["point"], &source, "what it made before stays");
}

#[test]
fn what_a_revoked_agent_was_to_do_ends_and_says_why() {
    let cluster = Cluster::start();
    let agent = cluster.agent("lost");
    let source = source(&cluster, "lost", 31);
    agent.signal(Signal::STOP);
    let backup = ["backup", "--path", source.to_str().unwrap(), "--detach"];
    let told = cluster.run(&backup).ok().object();
    let run = told["run"].as_str().unwrap();
    let shown = || cluster.run(&["runs", "show", run]).ok().object()["runs"][0].clone();
    assert_eq!(shown()["state"], "queued");
    cluster.run(&["agent", "revoke", "lost", "--yes"]).ok();
    let over = || Some(shown()).filter(|run| run["state"] != "queued");
    let run = wait_until("the run has ended", Duration::from_secs(30), over);
    assert_eq!(run["state"], "failed", "{run}");
    assert_eq!(run["error"]["code"], "agent.identity_revoked", "{run}");
}

#[test]
fn in_operator_custody_only_the_operator_key_brings_data_back() {
    let cluster = Cluster::start_in_custody("operator");
    let _agent = cluster.agent("files-1");
    let source = source(&cluster, "a", 40);
    let made = cluster.run(&["backup", "--path", source.to_str().unwrap()]).ok().object();
    let point = made["point"].as_str().unwrap();
    let to = cluster.scratch.join("refused");
    let online = ["restore", point, "--to", to.to_str().unwrap()];
    cluster.run(&online).fails(4, "key.custody_refused");
    assert!(!to.exists() || std::fs::read_dir(&to).unwrap().next().is_none());

    let url = format!("local:{}", cluster.scratch.join("location").display());
    let kek = format!("file:{}", cluster.scratch.join("kek").display());
    let operator = format!("file:{}", cluster.scratch.join("c/operator.kek").display());
    let to = cluster.scratch.join("back");
    let offline = ["--output", "json", "restore", point, "--to", to.to_str().unwrap()];
    let from = ["--from-location", &url, "--kek", &kek];
    holdfast(None, &[&offline[..], &from].concat()).fails(4, "key.custody_refused");
    let both = ["--kek", &operator];
    holdfast(None, &[&offline[..], &from, &both].concat()).ok();
    let back = to.join(source.strip_prefix("/").unwrap());
    Tree::of(&source).assert_same(&Tree::of(&back), "with the operator's key");
}

/// One that may not read everything.
fn agent_of_nobody(cluster: &Cluster, name: &str) -> Service {
    cluster.join(name, &cluster.token(&[])).ok();
    let dir = cluster.scratch.join(name);
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(cluster.scratch.path(), open).unwrap();
    let whole = Command::new("chown").args(["-R", "65534"]).arg(&dir).status();
    assert!(whole.unwrap().success());
    let config = dir.join("agent.toml");
    let log = cluster.scratch.join(&format!("{name}.log"));
    Service::start_as(65_534, &["agent", "--config", config.to_str().unwrap()], &log)
}

#[test]
fn in_operator_custody_what_was_skipped_is_counted_and_the_operators_key_tells_the_rest() {
    assert!(rustix::process::geteuid().is_root(), "`make test` runs this as root");
    let cluster = Cluster::start_in_custody("operator");
    let _agent = agent_of_nobody(&cluster, "files-1");
    let source = source(&cluster, "a", 41);
    let secret = source.join("secret");
    write(&secret, "secret");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o000)).unwrap();
    let backup = cluster.run(&["backup", "--path", source.to_str().unwrap()]).ends(6);
    assert!(backup.stderr.contains("--skipped"), "{}", backup.stderr);
    let made = backup.object();
    let told = [&made["skipped"], &made["skipped_count"], &made["skipped_complete"]];
    assert_eq!(told, [&serde_json::json!([]), &1.into(), &false.into()], "{made}");
    let point = made["point"].as_str().unwrap();
    cluster.run(&["find", "*"]).fails(4, "key.custody_refused");

    let url = format!("local:{}", cluster.scratch.join("location").display());
    let [kek, operator] = ["kek", "c/operator.kek"]
        .map(|name| format!("file:{}", cluster.scratch.join(name).display()));
    let keys = ["--from-location", &url, "--kek", &kek, "--kek", &operator];
    let alone = |arguments: &[&str]| {
        holdfast(None, &[&["--output", "json"], arguments, &keys[..]].concat()).ok().object()
    };
    let row = serde_json::json!({ "path": secret, "code": "file.permission_denied" });
    assert_eq!(alone(&["ls", point, "--skipped"])["skipped"], serde_json::json!([row]));
    assert!(!alone(&["find", "*"])["entries"].as_array().unwrap().is_empty());
    assert_eq!(alone(&["diff", point, point])["changes"], serde_json::json!([]));
    let verified = alone(&["verify", point, "--level", "full"]);
    assert_eq!((&verified["points"], &verified["objects"]), (&1.into(), &Value::Null));
}

#[test]
fn an_outage_of_one_required_location_ends_with_it() {
    let cluster = Cluster::start_with("coordinator", &["east", "west"]);
    let _agent = cluster.agent("files-1");
    let source = source(&cluster, "a", 1);
    let path = source.to_str().unwrap();
    cluster.run(&["backup", "--path", path]).ok();
    // The log of `west` cannot be written: a file lies where its directory was.
    let (log, aside) = (cluster.scratch.join("west/cluster/log"), cluster.scratch.join("aside"));
    std::fs::rename(&log, &aside).unwrap();
    std::fs::write(&log, b"in the way").unwrap();
    write(&source.join("new"), noise(99, 1_000_000));
    let detached = cluster.run(&["backup", "--path", path, "--detach"]).ok().object();
    let half_shipped = || {
        let text = cluster.coordinator.log();
        text.contains("the log could not be shipped").then_some(())
    };
    wait_until("shipping fails", Duration::from_secs(60), half_shipped);
    std::fs::remove_file(&log).unwrap();
    std::fs::rename(&aside, &log).unwrap();
    let run = detached["run"].as_str().unwrap();
    cluster.run(&["runs", "follow", run]).ok();
    let shown = cluster.run(&["runs", "show", run]).ok().object();
    assert_eq!(shown["runs"][0]["state"], "done", "{shown}");
    write(&source.join("newer"), noise(100, 1_000_000));
    let made = cluster.run(&["backup", "--path", path]).ok().object();
    assert_restores(&cluster, &made["point"], &source, "after the outage");
    let (east, west) = (cluster.scratch.join("east"), cluster.scratch.join("west"));
    let (east, west) = (Tree::of(&east), Tree::of(&west));
    east.assert_no_wrong_bytes(&west, "what lies in east lies in west");
    west.assert_no_wrong_bytes(&east, "what lies in west lies in east");
}

#[test]
fn an_agent_restores_while_a_required_location_takes_nothing() {
    let cluster = Cluster::start_with("coordinator", &["east", "west"]);
    let _agent = cluster.agent("files-1");
    let source = source(&cluster, "a", 1);
    let made = cluster.run(&["backup", "--path", source.to_str().unwrap()]).ok().object();
    let west = cluster.scratch.join("west/cluster/log");
    std::fs::rename(&west, cluster.scratch.join("aside")).unwrap();
    std::fs::write(&west, b"in the way").unwrap();
    let (point, to) = (made["point"].as_str().unwrap(), cluster.scratch.join("back"));
    let restore = ["restore", point, "--to", to.to_str().unwrap(), "--agent", "files-1"];
    let told = cluster.run(&restore).ok().object();
    let shown = cluster.run(&["runs", "show", told["run"].as_str().unwrap()]).ok().object();
    assert_eq!(shown["runs"][0]["state"], "done", "{shown}");
    let back = to.join(source.strip_prefix("/").unwrap());
    Tree::of(&source).assert_same(&Tree::of(&back), "from the other location");
}

#[test]
fn a_restore_takes_the_other_copy_where_one_is_damaged() {
    let cluster = Cluster::start_with("coordinator", &["east", "west"]);
    let _agent = cluster.agent("files-1");
    let source = source(&cluster, "a", 1);
    let made = cluster.run(&["backup", "--path", source.to_str().unwrap()]).ok().object();
    let damage = |location: &str, how: Damage| -> Vec<_> {
        let packs = Objects::of(&cluster.scratch.join(location));
        packs.below("packs").iter().map(|pack| packs.damage(pack, how)).collect()
    };
    for how in [Damage::FlipMiddle, Damage::FlipHeader] {
        // Every pack of the location that is read first has a flipped bit.
        let _east = damage("east", how);
        assert_restores(&cluster, &made["point"], &source, &format!("{how:?}, from the other"));
        // And in both: nothing wrong is written, and the command says so.
        let _west = damage("west", how);
        let to = cluster.scratch.join(&format!("back-{how:?}"));
        let point = made["point"].as_str().unwrap();
        cluster.run(&["restore", point, "--to", to.to_str().unwrap()]).ends(7);
    }
}

#[test]
fn status_is_red_until_a_bundle_was_exported_and_proved_to_open() {
    let cluster = Cluster::start();
    let code = || {
        let told = cluster.run(&["status"]);
        let status = told.object();
        let alarms = status["alarms"].as_array().unwrap();
        assert_eq!(told.code, i32::from(!alarms.is_empty()), "{status}");
        assert_eq!(status["protected"], alarms.is_empty(), "{status}");
        alarms.first().map(|alarm| alarm["code"].as_str().unwrap().to_owned())
    };
    let passphrase = cluster.scratch.join("passphrase");
    write(&passphrase, "correct horse battery");
    let with = ["--passphrase-file", passphrase.to_str().unwrap()];
    let bundle = |name: &str| cluster.scratch.join(name).to_str().unwrap().to_owned();
    let (first, second) = (bundle("first.hfbd"), bundle("second.hfbd"));
    assert_eq!(code().as_deref(), Some("bundle.export_absent"));
    cluster.run(&[&["keys", "export", "--to", &first], &with[..]].concat()).ok();
    assert_eq!(code().as_deref(), Some("bundle.verification_absent"));
    // Opened where nobody can tell the cluster: it does not count.
    let verify = |context: Option<&Path>, file: &str| {
        let command = ["--output", "json", "keys", "verify", file];
        holdfast(context, &[&command[..], &with].concat()).ok().object()
    };
    let alone = verify(None, &first);
    assert_eq!(alone["recorded"], false);
    assert_eq!(code().as_deref(), Some("bundle.verification_absent"));
    // One that another cluster handed out opens as well, and does not count here.
    let other = Cluster::start();
    other.run(&[&["keys", "export", "--to", &second], &with[..]].concat()).ok();
    let context = cluster.scratch.join("c/operator.toml");
    let foreign = verify(Some(&context), &second);
    assert_eq!(foreign["recorded"], false);
    assert_eq!(code().as_deref(), Some("bundle.verification_absent"));
    let own = verify(Some(&context), &first);
    assert_eq!(own["recorded"], true);
    assert_eq!(code(), None);
}

#[test]
fn a_founding_that_was_stopped_half_way_is_begun_again_with_the_same_words() {
    let scratch = Scratch::new();
    let (dir, kek) = (scratch.join("c"), format!("file:{}", scratch.join("kek").display()));
    let init = |location: &str| {
        let mut init = Command::new(binary());
        init.args(["cluster", "init", "--name", "one", "--region", "eu", "--kek", &kek])
            .args(["--dir", dir.to_str().unwrap(), "--listen", "127.0.0.1:0"])
            .args(["--custody", "operator", "--location", &format!("first=local:{location}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        init
    };
    assert!(!init("/proc/nowhere").status().unwrap().success());
    assert!(dir.join("data/ledger").exists() && !dir.join("coordinator.toml").exists());
    let mut chance = Chance::of("a_founding_that_was_stopped", 0xF0, 4);
    for number in 0..kills(4) {
        // Where keys were stored before, others are not: each try has a location of its own.
        let location = scratch.join(&format!("location-{number}"));
        let before = dir.join("data/unfinished").metadata().unwrap().modified().unwrap();
        let mut founding = init(location.to_str().unwrap()).spawn().unwrap();
        let file = ["data/unfinished", "data/ledger/tables", "data/ledger/log", "data/cluster"]
            [chance.below(4) as usize];
        wait_until("it has begun", Duration::from_secs(60), || {
            let modified = dir.join(file).metadata().and_then(|file| file.modified());
            let is_done = dir.join("coordinator.toml").exists();
            (is_done || modified.is_ok_and(|at| at > before)).then_some(())
        });
        let _may_be_done = founding.kill();
        founding.wait().unwrap();
        if dir.join("coordinator.toml").exists() {
            std::fs::remove_dir_all(&dir).unwrap();
            assert!(!init("/proc/nowhere").status().unwrap().success());
        }
    }
    let location = scratch.join("location");
    assert!(init(location.to_str().unwrap()).status().unwrap().success());
    // A ledger whose configuration is gone is not thrown away.
    let kept = std::fs::read(dir.join("coordinator.toml")).unwrap();
    std::fs::remove_file(dir.join("coordinator.toml")).unwrap();
    assert_eq!(init(location.to_str().unwrap()).status().unwrap().code(), Some(8));
    std::fs::write(dir.join("coordinator.toml"), kept).unwrap();
    let coordinator = Cluster::coordinator(&scratch);
    let cluster = Cluster { scratch, coordinator };
    cluster.run(&["cluster", "status"]).ok();
}
