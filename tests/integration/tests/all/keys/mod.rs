//! Where keys come from and what brings a cluster back without them: each kind of KEK, bundles of
//! both custodies, and a coordinator whose KEK is lost.

mod changing;
mod closing;
mod destroying;
mod losing;
mod rotating;
mod traces;

use crate::cluster::Cluster;
use crate::harness::{Outcome, Scratch, Service, Tree, binary, holdfast, noise, wait_until, write};
use holdfast_common::SystemEntropy;
use holdfast_keyring::{Argon, Kek, KekSource, KeyObject, bundle};
use serde_json::Value;
use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::Duration,
};

const PASSPHRASE: &str = "correct horse battery staple";
const VARIABLE: &str = "HOLDFAST_TEST_KEK";

/// A cluster of one with one agent, one backup, and the key sources that it was told.
struct House {
    cluster: Cluster,
    source: PathBuf,
    point: String,
    kek: String,
}

impl House {
    fn start(custody: &str) -> Self {
        let scratch = Scratch::new();
        let kek = format!("file:{}", scratch.join("kek").display());
        Self::start_with(scratch, custody, &kek)
    }

    fn start_with(scratch: Scratch, custody: &str, kek: &str) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let location = format!("main=local:{}", scratch.join("location").display());
        let dir = scratch.join("c");
        let mut init = Command::new(binary());
        init.args(["cluster", "init", "--name", "one", "--region", "eu", "--listen", &free])
            .args(["--dir", dir.to_str().unwrap(), "--custody", custody])
            .args(["--kek", kek, "--location", &location])
            .env(VARIABLE, "5a".repeat(32));
        Outcome::of(None, &mut init).ok();
        let coordinator = coordinator(&scratch);
        let cluster = Cluster { scratch, coordinator };
        let source = cluster.scratch.join("source");
        for number in 0..3 {
            write(&source.join(number.to_string()), noise(number, 1_500_000));
        }
        Self { cluster, source, point: String::new(), kek: kek.to_owned() }
    }

    fn backup(&self) -> String {
        self.back_up()["point"].as_str().unwrap().to_owned()
    }

    /// What a backup said of itself.
    fn back_up(&self) -> Value {
        self.cluster.run(&["backup", "--path", self.source.to_str().unwrap()]).ok().object()
    }

    fn path(&self, name: &str) -> String {
        self.cluster.scratch.join(name).to_str().unwrap().to_owned()
    }

    fn url(&self) -> String {
        format!("local:{}", self.path("location"))
    }

    /// With the passphrase of bundles in the environment; no cluster is named.
    fn alone(&self, arguments: &[&str]) -> Outcome {
        self.keyed(None, arguments)
    }

    /// The same with the operator's context.
    fn asked(&self, arguments: &[&str]) -> Outcome {
        self.keyed(Some(&self.cluster.scratch.join("c/operator.toml")), arguments)
    }

    fn keyed(&self, context: Option<&Path>, arguments: &[&str]) -> Outcome {
        let mut command = Command::new(binary());
        command.args(["--output", "json"]).args(arguments);
        command.env("HOLDFAST_PASSPHRASE", PASSPHRASE).env(VARIABLE, "5a".repeat(32));
        Outcome::of(context, &mut command)
    }

    #[track_caller]
    fn assert_offline(&self, name: &str, keys: &[&str]) {
        self.offline(&self.point, name, keys).ok();
        self.assert_back(&self.path(name));
    }

    fn offline(&self, point: &str, name: &str, keys: &[&str]) -> Outcome {
        let (to, url) = (self.path(name), self.url());
        let restore = ["restore", point, "--to", &to, "--from-location", &url];
        self.alone(&[&restore[..], keys].concat())
    }

    #[track_caller]
    fn assert_online(&self, name: &str, point: &str) {
        let to = self.path(name);
        self.cluster.run(&["restore", point, "--to", &to]).ok();
        self.assert_back(&to);
    }

    #[track_caller]
    fn assert_back(&self, to: &str) {
        let back = Path::new(to).join(self.source.strip_prefix("/").unwrap());
        Tree::of(&self.source).assert_same(&Tree::of(&back), to);
    }

    #[track_caller]
    fn assert_alarm(&self, code: Option<&str>) {
        let told = self.cluster.run(&["status"]);
        let status = told.object();
        let first = status["alarms"].as_array().unwrap().first();
        assert_eq!(first.and_then(|alarm| alarm["code"].as_str()), code, "{status}");
        assert_eq!(told.code, i32::from(code.is_some()));
    }

    /// Ends the coordinator; with `forget` its KEK is gone for good.
    fn stop(self, forget: bool) -> Stopped {
        let Self { cluster: Cluster { scratch, coordinator }, source, point, kek } = self;
        assert_eq!(coordinator.stop().code(), Some(0));
        if forget {
            std::fs::remove_file(scratch.join("kek")).unwrap();
        }
        Stopped { scratch, source, point, kek }
    }
}

/// The same with no coordinator running.
struct Stopped {
    scratch: Scratch,
    source: PathBuf,
    point: String,
    kek: String,
}

impl Stopped {
    fn start(self) -> House {
        let Self { scratch, source, point, kek } = self;
        let coordinator = coordinator(&scratch);
        House { cluster: Cluster { scratch, coordinator }, source, point, kek }
    }

    fn import(&self, bundle: &str, more: &[&str]) -> Outcome {
        let config = self.scratch.join("c/coordinator.toml");
        import(bundle, &[&["--config", config.to_str().unwrap()], more].concat())
    }
}

fn import(bundle: &str, more: &[&str]) -> Outcome {
    let mut command = Command::new(binary());
    command.args(["--output", "json", "keys", "import", bundle]).args(more);
    Outcome::of(None, command.env("HOLDFAST_PASSPHRASE", PASSPHRASE))
}

fn coordinator(scratch: &Scratch) -> Service {
    let config = scratch.join("c/coordinator.toml");
    let mut command = Command::new(binary());
    command.args(["coordinator", "--config", config.to_str().unwrap()]);
    command.env(VARIABLE, "5a".repeat(32));
    Service::start_command(&mut command, &scratch.join("coordinator.log"))
}

/// The coordinator ends by itself, with this code.
#[track_caller]
fn assert_does_not_start(scratch: &Scratch, code: i32) {
    let mut command = Command::new(binary());
    command.args(["coordinator", "--config"]).arg(scratch.join("c/coordinator.toml"));
    command.env_remove(VARIABLE).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = Mutex::new(Killed(command.spawn().unwrap()));
    let status = wait_until("the coordinator gives up", Duration::from_secs(30), || {
        child.lock().unwrap().0.try_wait().unwrap()
    });
    assert_eq!(status.code(), Some(code));
}

/// A child that does not outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _may_be_gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn opens_data(told: &Value) -> &Value {
    &told["vaults"][0]["opens_data"]
}

#[test]
fn every_kind_of_kek_carries_a_cluster_through_a_restart() {
    let (variable, files) = (format!("env:{VARIABLE}"), Scratch::new());
    let unwritten = format!("passphrase-env:{VARIABLE}");
    write(&files.join("phrase"), "a long sentence that nobody guesses\n");
    let phrase = format!("passphrase-file:{}", files.join("phrase").display());
    for kek in [variable, phrase, unwritten] {
        let mut house = House::start_with(Scratch::new(), "coordinator", &kek);
        let agent = house.cluster.agent("files-1");
        house.point = house.backup();
        house.assert_online("before", &house.point);
        let stopped = house.stop(false);
        if kek.contains("env:") {
            assert_does_not_start(&stopped.scratch, 1);
        }
        let house = stopped.start();
        house.assert_online("after", &house.point);
        write(&house.source.join("new"), noise(9, 900_000));
        let next = wait_until("the agent is back", Duration::from_secs(60), || {
            let backup = ["backup", "--path", house.source.to_str().unwrap()];
            let told = house.cluster.run(&backup);
            (told.code == 0).then(|| told.object()["point"].as_str().unwrap().to_owned())
        });
        house.assert_online("next", &next);
        drop(agent);
        let house = House { point: next, ..house }.stop(false);
        let mut back = Command::new(binary());
        let to = house.scratch.join("offline");
        let url = format!("local:{}", house.scratch.join("location").display());
        back.args(["restore", &house.point, "--to"]).arg(&to);
        back.args(["--from-location", &url, "--kek", &house.kek]).env(VARIABLE, "5a".repeat(32));
        Outcome::of(None, &mut back).ok();
        let back = to.join(house.source.strip_prefix("/").unwrap());
        Tree::of(&house.source).assert_same(&Tree::of(&back), &kek);
    }
}

#[test]
fn in_operator_custody_a_bundle_is_made_with_the_operators_key_and_is_enough_by_itself() {
    let mut house = House::start("operator");
    let _agent = house.cluster.agent("files-1");
    house.point = house.backup();
    let (bundle, operator) = (house.path("bundle.hfbd"), house.path("operator.kek"));
    std::fs::rename(house.path("c/operator.kek"), &operator).unwrap();
    let export = ["keys", "export", "--to", &bundle];
    house.asked(&export).fails(4, "key.custody_refused");
    // The coordinators' own key is not the operator's.
    let wrong = [&export[..], &["--kek", &house.kek]].concat();
    house.asked(&wrong).fails(4, "key.unwrap_refused");
    assert!(!Path::new(&bundle).exists(), "a bundle that opens nothing is worse than none");
    house.assert_alarm(Some("bundle.export_absent"));
    let named = format!("file:{operator}");
    let told = house.asked(&[&export[..], &["--kek", &named]].concat()).ok().object();
    assert_eq!(opens_data(&told), true, "{told}");
    house.assert_alarm(Some("bundle.verification_absent"));
    let told = house.asked(&["keys", "verify", &bundle]).ok().object();
    assert_eq!((opens_data(&told), &told["recorded"]), (&Value::Bool(true), &Value::Bool(true)));
    house.assert_alarm(None);
    // Beside the context the key needs no name.
    std::fs::rename(&operator, house.path("c/operator.kek")).unwrap();
    let second = house.path("second.hfbd");
    house.asked(&["keys", "export", "--to", &second]).ok();
    // Every key but those in the bundle is gone.
    std::fs::remove_file(house.path("c/operator.kek")).unwrap();
    std::fs::remove_file(house.path("kek")).unwrap();
    house.assert_offline("back", &["--bundle", &bundle]);
    house.assert_offline("again", &["--bundle", &second]);
}

#[test]
fn a_bundle_without_the_operators_key_counts_for_nothing_and_opens_beside_it() {
    let mut house = House::start("operator");
    let _agent = house.cluster.agent("files-1");
    house.point = house.backup();
    let bundle = house.path("whole.hfbd");
    house.asked(&["keys", "export", "--to", &bundle]).ok();
    let half = halve(&house, &bundle);
    house.alone(&["keys", "verify", &half]).fails(4, "key.custody_refused");
    house.asked(&["keys", "verify", &half]).fails(4, "key.custody_refused");
    house.assert_alarm(Some("bundle.verification_absent"));
    let to = house.path("refused");
    let (url, operator) = (house.url(), format!("file:{}", house.path("c/operator.kek")));
    let restore = ["restore", &house.point, "--to", &to, "--from-location", &url, "--bundle"];
    house.alone(&[&restore[..], &[&half]].concat()).fails(4, "key.custody_refused");
    let wrong = [&restore[..], &[&half, "--kek", &house.kek]].concat();
    house.alone(&wrong).fails(4, "key.unwrap_refused");
    assert!(!Path::new(&to).exists(), "something was restored");
    std::fs::remove_file(house.path("kek")).unwrap();
    house.assert_offline("back", &["--bundle", &half, "--kek", &operator]);
}

/// The bundle as coordinators alone can make it.
fn halve(house: &House, whole: &str) -> String {
    let object = std::fs::read(house.path("location/keys/00000001/00000001")).unwrap();
    let source: KekSource = house.kek.parse().unwrap();
    let kek: Kek = source.load(&|_| None, None).unwrap();
    let sealed = std::fs::read(whole).unwrap();
    let mut contents = bundle::open(&sealed, PASSPHRASE.as_bytes()).unwrap();
    contents.vaults[0].keys =
        KeyObject::from_bytes(&object).unwrap().unwrap_coordinator(&kek).unwrap();
    let argon = Argon::cheapest(&SystemEntropy);
    let half = house.path("half.hfbd");
    let bytes = bundle::seal(&contents, PASSPHRASE.as_bytes(), &argon, &SystemEntropy).unwrap();
    std::fs::write(&half, bytes).unwrap();
    half
}

#[test]
fn a_coordinator_whose_kek_is_lost_starts_again_after_an_import() {
    let mut house = House::start("coordinator");
    let agent = house.cluster.agent("files-1");
    house.point = house.backup();
    let bundle = house.path("bundle.hfbd");
    house.asked(&["keys", "export", "--to", &bundle]).ok();
    let kek = format!("file:{}", house.path("new-kek"));
    let config = house.path("c/coordinator.toml");
    let running = import(&bundle, &["--config", &config, "--kek", &kek, "--yes"]);
    running.fails(8, "resource.change_refused");
    let stopped = house.stop(true);
    assert_does_not_start(&stopped.scratch, 1);
    stopped.import(&bundle, &["--kek", &kek]).fails(4, "confirm.answer_missing");
    assert!(!stopped.scratch.join("new-kek").exists(), "nothing was agreed to");
    let told = stopped.import(&bundle, &["--kek", &kek, "--yes"]).ok().object();
    assert_eq!(told["objects"], serde_json::json!(["keys/00000001/00000002"]), "{told}");
    let house = stopped.start();
    house.assert_online("old", &house.point);
    write(&house.source.join("new"), noise(9, 900_000));
    let next = wait_until("the agent is back", Duration::from_secs(60), || {
        let backup = ["backup", "--path", house.source.to_str().unwrap()];
        let told = house.cluster.run(&backup);
        (told.code == 0).then(|| told.object()["point"].as_str().unwrap().to_owned())
    });
    house.assert_online("next", &next);
    house.cluster.run(&["audit", "verify"]).ok();
    // What is exported now opens as well, and so does the location with the new KEK.
    let second = house.path("second.hfbd");
    house.asked(&["keys", "export", "--to", &second]).ok();
    drop(agent);
    let house = House { point: next, ..house };
    house.assert_offline("bundle", &["--bundle", &second]);
    house.assert_offline("kek", &["--kek", &kek]);
}

#[test]
fn an_import_is_refused_with_the_bundle_of_another_cluster_and_changes_nothing() {
    let (house, other) = (House::start("coordinator"), House::start("coordinator"));
    let bundle = other.path("bundle.hfbd");
    other.asked(&["keys", "export", "--to", &bundle]).ok();
    let stopped = house.stop(false);
    let config = stopped.scratch.join("c/coordinator.toml");
    let before = std::fs::read(&config).unwrap();
    let kek = format!("file:{}", stopped.scratch.join("new-kek").display());
    stopped.import(&bundle, &["--kek", &kek, "--yes"]).fails(4, "vault.id_foreign");
    assert_eq!(std::fs::read(&config).unwrap(), before);
    assert!(!stopped.scratch.join("new-kek").exists());
    assert_eq!(stopped.start().cluster.run(&["get", "vault"]).code, 0);
}

#[test]
fn an_operators_vault_comes_under_a_passphrase_when_the_coordinators_kek_is_lost() {
    let mut house = House::start("operator");
    let _agent = house.cluster.agent("files-1");
    house.point = house.backup();
    let (bundle, phrase) = (house.path("bundle.hfbd"), house.path("phrase"));
    house.asked(&["keys", "export", "--to", &bundle]).ok();
    let half = halve(&house, &bundle);
    write(Path::new(&phrase), "a long sentence that nobody guesses\n");
    let (kek, operator) =
        (format!("passphrase-file:{phrase}"), format!("file:{}", house.path("c/operator.kek")));
    let stopped = house.stop(true);
    stopped.import(&half, &["--kek", &kek, "--yes"]).fails(4, "key.custody_refused");
    let with = ["--kek", &kek, "--operator-kek", &operator, "--yes"];
    stopped.import(&half, &with).ok();
    let mut house = stopped.start();
    house.point = wait_until("the agent is back", Duration::from_secs(60), || {
        let backup = ["backup", "--path", house.source.to_str().unwrap()];
        let told = house.cluster.run(&backup);
        (told.code == 0).then(|| told.object()["point"].as_str().unwrap().to_owned())
    });
    house
        .cluster
        .run(&["restore", &house.point, "--to", &house.path("x")])
        .fails(4, "key.custody_refused");
    house.assert_offline("back", &["--kek", &kek, "--kek", &operator]);
}

#[test]
fn what_an_import_into_a_location_says_to_type_next_brings_the_data_back() {
    for custody in ["coordinator", "operator"] {
        let mut house = House::start(custody);
        let _agent = house.cluster.agent("files-1");
        house.point = house.backup();
        let (bundle, to) = (house.path("bundle.hfbd"), house.path("back"));
        house.asked(&["keys", "export", "--to", &bundle]).ok();
        let kek = format!("file:{}", house.path("new-kek"));
        let url = house.url();
        let mut import = vec!["keys", "import", &bundle, "--location", &url, "--kek", &kek];
        let operator = format!("file:{}", house.path("new-operator-kek"));
        if custody == "operator" {
            import.extend(["--operator-kek", &operator]);
        }
        let mut command = Command::new(binary());
        command.args(import).arg("--yes").env("HOLDFAST_PASSPHRASE", PASSPHRASE);
        let told = Outcome::of(None, &mut command).ok();
        let line = told.text().lines().find_map(|line| line.strip_prefix("holdfast ")).unwrap();
        let words: Vec<_> = line.split(' ').map(|w| if w == "DIR" { &*to } else { w }).collect();
        holdfast(None, &words).ok();
        house.assert_back(&to);
        assert!(!told.text().contains("coordinator.toml"), "no coordinator starts from this");
    }
}
