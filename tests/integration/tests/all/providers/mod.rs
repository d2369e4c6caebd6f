//! A KEK that somebody else keeps, through the whole life of a cluster: an OpenBao, a PKCS#11 token
//! and a KMS, each a real server. Away at the start, away while it runs, refusing, its key gone.

mod changing;

use crate::harness::{Outcome, Scratch, Service, Tree, binary, noise, wait_until, write};
use holdfast_testkit_servers::{Kms, Ministack, OpenBao, SoftHsm, TOKEN_PIN};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Mutex,
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(60);
const PASSPHRASE: &str = "correct horse battery staple";

/// A cluster of one with an agent; every process has one environment.
struct House {
    scratch: Scratch,
    kek: String,
    environment: Vec<(String, String)>,
    source: PathBuf,
    coordinator: Option<Service>,
    agent: Option<Service>,
}

impl House {
    fn found(scratch: Scratch, kek: &str, environment: &[(&str, &str)]) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let source = scratch.join("source");
        for number in 0..3 {
            write(&source.join(number.to_string()), noise(number, 700_000));
        }
        let mut house = Self {
            kek: kek.to_owned(),
            environment: environment.iter().map(own).collect(),
            source,
            coordinator: None,
            agent: None,
            scratch,
        };
        house.init().ok();
        house.start();
        house
    }

    fn init(&self) -> Outcome {
        let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let location = format!("main={}", self.url());
        let dir = self.scratch.join("c");
        self.run(&[
            "cluster",
            "init",
            "--name",
            "one",
            "--region",
            "eu",
            "--custody",
            "coordinator",
            "--listen",
            &listen,
            "--dir",
            dir.to_str().unwrap(),
            "--kek",
            &self.kek,
            "--location",
            &location,
        ])
    }

    fn url(&self) -> String {
        format!("local:{}", self.scratch.join("location").display())
    }

    fn config(&self) -> PathBuf {
        self.scratch.join("c/coordinator.toml")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command.env("AWS_EC2_METADATA_DISABLED", "true").env("HOLDFAST_PASSPHRASE", PASSPHRASE);
        command.envs(self.environment.iter().cloned());
        command
    }

    fn coordinator_command(&self, dir: &str) -> Command {
        let mut command = self.command();
        command
            .args(["coordinator", "--config"])
            .arg(self.scratch.join(dir).join("coordinator.toml"));
        command
    }

    fn start(&mut self) {
        let log = self.scratch.join("coordinator.log");
        self.coordinator = Some(Service::start_command(&mut self.coordinator_command("c"), &log));
    }

    fn stop(&mut self) {
        assert_eq!(self.coordinator.take().unwrap().stop().code(), Some(0));
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        let context = self.scratch.join("c/operator.toml");
        let context = context.exists().then_some(context);
        let mut command = self.command();
        command.args(["--output", "json"]).args(arguments);
        Outcome::of(context.as_deref(), &mut command)
    }

    fn join(&mut self) {
        let told = self.run(&["agent", "token", "--output", "table"]).ok();
        let dir = self.scratch.join("host");
        let address = self.coordinator.as_ref().unwrap().address.clone();
        let (token, dir) = (told.text().trim_end(), dir.to_str().unwrap());
        let to = ["--coordinator", &address, "--token", token, "--dir", dir, "--name", "host"];
        self.run(&[&["agent", "join"][..], &to].concat()).ok();
        let mut command = self.command();
        command.args(["agent", "--config"]).arg(self.scratch.join("host/agent.toml"));
        self.agent = Some(Service::start_command(&mut command, &self.scratch.join("host.log")));
    }

    /// As soon as the agent is there.
    fn backup(&self) -> String {
        wait_until("the agent is there", PATIENCE, || {
            let told = self.run(&["backup", "--path", self.source.to_str().unwrap()]);
            (told.code == 0).then(|| told.object()["point"].as_str().unwrap().to_owned())
        })
    }

    #[track_caller]
    fn assert_restores(&self, point: &str, name: &str, more: &[&str]) {
        let to = self.scratch.join(name);
        let restore = ["restore", point, "--to", to.to_str().unwrap()];
        self.run(&[&restore[..], more].concat()).ok();
        let back = to.join(self.source.strip_prefix("/").unwrap());
        Tree::of(&self.source).assert_same(&Tree::of(&back), name);
    }

    #[track_caller]
    fn assert_restores_offline(&self, point: &str, name: &str) {
        self.assert_restores(point, name, &["--from-location", &self.url(), "--kek", &self.kek]);
    }

    /// From the location and the KEK alone.
    fn recover(&self, dir: &str) -> Outcome {
        let (url, dir) = (self.url(), self.scratch.join(dir));
        let what = ["--from", &url, "--kek", &self.kek, "--dir", dir.to_str().unwrap(), "--yes"];
        let who = ["--name", "three", "--region", "eu", "--listen", "127.0.0.1:0"];
        self.run(&[&["cluster", "recover"][..], &what, &who].concat())
    }

    fn alarms(&self) -> Vec<Value> {
        self.run(&["status"]).object()["alarms"].as_array().unwrap().clone()
    }

    /// Waits until `status` tells of the KEK, or no more.
    fn wait_for_alarm(&self, code: Option<&str>) -> Option<Value> {
        wait_until(&format!("an alarm: {code:?}"), PATIENCE, || {
            let alarms = self.alarms().into_iter();
            let mut kek = alarms.filter(|one| one["code"].as_str().unwrap().starts_with("kek."));
            let found = kek.next();
            let told = found.as_ref().and_then(|one| one["code"].as_str());
            (told == code).then_some(found)
        })
    }

    /// A coordinator that is not to start: it ends by itself, and says why.
    #[track_caller]
    fn assert_refused(&self, exit: i32, words: &[&str]) {
        let started = Started::new(self, "refused.log");
        assert_eq!(started.end().code(), Some(exit), "{}", started.log());
        for word in words {
            assert!(started.log().contains(word), "`{word}` in {}", started.log());
        }
    }

    /// Nothing that any process wrote holds a secret.
    #[track_caller]
    fn assert_nowhere(&self, secret: &str, but: &Path) {
        let mut left = vec![self.scratch.path().to_owned()];
        while let Some(path) = left.pop() {
            if path.is_dir() {
                left.extend(path.read_dir().unwrap().map(|entry| entry.unwrap().path()));
            } else if path.is_file() && path != but && !path.starts_with(&self.source) {
                let bytes = std::fs::read(&path).unwrap();
                let found = bytes.windows(secret.len()).any(|bytes| bytes == secret.as_bytes());
                assert!(!found, "a secret stands in {}", path.display());
            }
        }
    }

    /// Founded, backed up, stopped, started, restored; and restored with no cluster at all.
    fn goes_all_the_way(&mut self) -> String {
        self.join();
        let point = self.backup();
        self.assert_restores(&point, "before", &[]);
        self.stop();
        self.start();
        self.assert_restores(&point, "after", &[]);
        write(&self.source.join("new"), noise(9, 300_000));
        let next = self.backup();
        self.assert_restores(&next, "next", &[]);
        self.stop();
        self.assert_restores_offline(&next, "offline");
        self.start();
        next
    }
}

/// A coordinator that may never be ready.
struct Started {
    child: Mutex<Child>,
    log: PathBuf,
}

impl Started {
    fn new(house: &House, log: &str) -> Self {
        Self::of(house.coordinator_command("c"), house.scratch.join(log))
    }

    fn of(mut command: Command, log: PathBuf) -> Self {
        let stderr = std::fs::File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        Self { child: Mutex::new(command.spawn().unwrap()), log }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn wait_until_it_says(&self, words: &str) {
        wait_until(words, PATIENCE, || self.log().contains(words).then_some(()));
    }

    fn end(&self) -> ExitStatus {
        wait_until("it ends", PATIENCE, || self.child.lock().unwrap().try_wait().unwrap())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        let _may_be_gone = child.kill();
        let _reaped = child.wait();
    }
}

/// Allows these KEKs of providers, and no others, in a coordinator's configuration.
fn list(config: &Path, keks: &[&str]) {
    let told = std::fs::read_to_string(config).unwrap();
    let rest = told.lines().filter(|line| !line.starts_with("kek_allowed"));
    let allowed = format!("kek_allowed = {keks:?}");
    let lines: Vec<&str> = [&*allowed].into_iter().chain(rest).collect();
    std::fs::write(config, lines.join("\n")).unwrap();
}

const WAITS: &str = "the start waits for the KEK's provider";

fn transit() -> (OpenBao, Scratch, PathBuf, String) {
    let (bao, scratch) = (OpenBao::start(), Scratch::new());
    bao.make_key("kek");
    let token = scratch.join("token");
    std::fs::write(&token, least(&bao)).unwrap();
    let kek = bao.kek("kek", &token);
    (bao, scratch, token, kek)
}

fn least(bao: &OpenBao) -> String {
    bao.token("least", include_str!("../../../../../crates/kek/tests/transit-policy.hcl"))
}

fn token(hsm: &SoftHsm) -> (Scratch, PathBuf, String, [(&'static str, String); 1]) {
    let scratch = Scratch::new();
    let pin = scratch.join("pin");
    std::fs::write(&pin, format!("{TOKEN_PIN}\n")).unwrap();
    let kek = hsm.kek("kek", &pin);
    (scratch, pin, kek, [("SOFTHSM2_CONF", hsm.configuration().display().to_string())])
}

fn in_environment<'p>(pairs: &'p [(&'p str, String)]) -> Vec<(&'p str, &'p str)> {
    pairs.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[test]
fn a_cluster_whose_kek_transit_sealed_goes_all_the_way() {
    let (_bao, scratch, token, kek) = transit();
    let mut house = House::found(scratch, &kek, &[]);
    let point = house.goes_all_the_way();
    house.wait_for_alarm(None);
    let secret = std::fs::read_to_string(&token).unwrap();
    house.assert_nowhere(&secret, &token);
    another_member_joins(&house);
    house.stop();
    all_coordinators_are_lost(&house, &point);
}

/// It is told where the KEK is, and asks for itself.
fn another_member_joins(house: &House) {
    let told = house.run(&["cluster", "token", "--output", "table"]).ok();
    let (address, dir) = (&house.coordinator.as_ref().unwrap().address, house.scratch.join("c2"));
    let token = told.text().trim_end().to_owned();
    house
        .run(&[
            "cluster",
            "join",
            "--name",
            "two",
            "--region",
            "eu",
            "--listen",
            "127.0.0.1:0",
            "--learner",
            "--coordinator",
            address,
            "--token",
            &token,
            "--dir",
            dir.to_str().unwrap(),
        ])
        .ok();
    let config = std::fs::read_to_string(dir.join("coordinator.toml")).unwrap();
    assert!(config.contains("transit:https://"), "{config}");
    let log = house.scratch.join("two.log");
    let two = Service::start_command(&mut house.coordinator_command("c2"), &log);
    assert_eq!(two.stop().code(), Some(0));
}

/// A cluster of one rises from the location.
fn all_coordinators_are_lost(house: &House, point: &str) {
    house.recover("r").ok();
    let log = house.scratch.join("three.log");
    let three = Service::start_command(&mut house.coordinator_command("r"), &log);
    let to = house.scratch.join("recovered");
    let mut restore = house.command();
    restore.args(["restore", point, "--to"]).arg(&to);
    Outcome::of(Some(&house.scratch.join("r/operator.toml")), &mut restore).ok();
    let back = to.join(house.source.strip_prefix("/").unwrap());
    Tree::of(&house.source).assert_same(&Tree::of(&back), "recovered");
    drop(three);
}

#[test]
fn a_cluster_whose_kek_a_token_sealed_goes_all_the_way() {
    let hsm = SoftHsm::new();
    let (scratch, pin, kek, environment) = token(&hsm);
    let mut house = House::found(scratch, &kek, &in_environment(&environment));
    house.goes_all_the_way();
    house.assert_nowhere(TOKEN_PIN, &pin);
    // The token is taken out: what runs goes on.
    hsm.unplug(true);
    house.wait_for_alarm(Some("kek.provider_unreachable"));
    house.backup();
    house.stop();
    let started = Started::new(&house, "waiting.log");
    started.wait_until_it_says(WAITS);
    hsm.unplug(false);
    drop(started);
    house.start();
    house.wait_for_alarm(None);
    house.stop();
    std::fs::write(&pin, "864209").unwrap();
    house.assert_refused(4, &["kek.access_denied", "refuses the PIN"]);
    house.assert_nowhere("864209", &pin);
}

#[test]
fn a_cluster_whose_kek_kms_sealed_goes_all_the_way() {
    let kms = Ministack::shared().kms();
    let (scratch, alias) = (Scratch::new(), "alias/all-the-way");
    kms.make_key(alias);
    let keys = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")];
    let mut house = House::found(scratch, &kms.kek(alias), &keys);
    let point = house.goes_all_the_way();
    the_key_is_disabled(&mut house, &kms, alias, &point);
}

fn the_key_is_disabled(house: &mut House, kms: &Kms, alias: &str, point: &str) {
    let described: Value =
        serde_json::from_str(&kms.call("describe_key", &format!("{{\"KeyId\": \"{alias}\"}}")))
            .unwrap();
    let key = described["KeyMetadata"]["Arn"].as_str().unwrap();
    let this = format!("{{\"KeyId\": \"{key}\"}}");
    kms.call("disable_key", &this);
    let alarm = house.wait_for_alarm(Some("kek.key_gone")).unwrap();
    assert!(alarm["subject"].as_str().unwrap().contains(key), "{alarm}");
    house.backup();
    house.stop();
    house.assert_refused(4, &["kek.key_gone", key, "is disabled"]);
    let url = house.url();
    let to = house.scratch.join("no").display().to_string();
    let restore = ["restore", point, "--to", &to, "--from-location", &url, "--kek", &house.kek];
    house.run(&restore).fails(4, "kek.key_gone");
    kms.call("enable_key", &this);
    house.start();
    house.wait_for_alarm(None);
}

#[test]
fn a_provider_that_is_away_delays_a_start_and_nothing_that_runs() {
    let (bao, scratch, _, kek) = transit();
    let mut house = House::found(scratch, &kek, &[]);
    house.join();
    house.backup();
    bao.seal();
    let alarm = house.wait_for_alarm(Some("kek.provider_unreachable")).unwrap();
    assert!(alarm["next"].as_str().unwrap().contains("before one is started again"), "{alarm}");
    write(&house.source.join("more"), noise(7, 300_000));
    let point = house.backup();
    house.assert_restores(&point, "sealed", &[]);
    bao.unseal();
    house.wait_for_alarm(None);
    bao.seal();
    house.stop();
    // Told to stop while it waits, it stops.
    let started = Started::new(&house, "waiting.log");
    started.wait_until_it_says(WAITS);
    let pid = Pid::from_child(&started.child.lock().unwrap());
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(started.end().code(), Some(0), "{}", started.log());
    // It starts by itself when its provider is back.
    let log = house.scratch.join("again.log");
    let mut command = house.coordinator_command("c");
    house.coordinator = Some(std::thread::scope(|scope| {
        let again = scope.spawn(|| Service::start_command(&mut command, &log));
        wait_until("it waits", PATIENCE, || {
            std::fs::read_to_string(&log).is_ok_and(|said| said.contains(WAITS)).then_some(())
        });
        bao.unseal();
        again.join().unwrap()
    }));
    house.assert_restores(&point, "again", &[]);
}

#[test]
fn who_may_not_use_the_key_is_told_and_does_not_start() {
    let (bao, scratch, token, kek) = transit();
    let mut house = House::found(scratch, &kek, &[]);
    let powerless = bao.token("powerless", "path \"nothing\" { capabilities = [\"read\"] }");
    std::fs::write(&token, &powerless).unwrap();
    house.wait_for_alarm(Some("kek.access_denied"));
    house.stop();
    house.assert_refused(4, &["kek.access_denied", "transit/kek", "permission denied"]);
    house.assert_nowhere(&powerless, &token);
    std::fs::remove_file(&token).unwrap();
    house.assert_refused(1, &["kek.provider_unavailable", "No such file"]);
    // A file in its place is another KEK.
    let config = house.scratch.join("c/coordinator.toml");
    let told = std::fs::read_to_string(&config).unwrap();
    write(&house.scratch.join("file"), "5a".repeat(32));
    let file = format!("file:{}", house.scratch.join("file").display());
    std::fs::write(&config, told.replace(&house.kek, &file)).unwrap();
    house.assert_refused(4, &["key.unwrap_refused", "sealed by transit"]);
    std::fs::write(&config, told).unwrap();
    std::fs::write(&token, least(&bao)).unwrap();
    bao.run(&["write", "transit/keys/kek/config", "deletion_allowed=true"]);
    bao.run(&["delete", "transit/keys/kek"]);
    house.assert_refused(4, &["kek.key_gone", "transit/kek"]);
}

#[test]
fn a_founding_whose_provider_refuses_leaves_nothing_behind_and_can_be_repeated() {
    let (bao, scratch, token, _) = transit();
    let mut house = House::found(scratch, &bao.kek("kek", &token), &[]);
    house.stop();
    for dir in ["c", "location"] {
        std::fs::remove_dir_all(house.scratch.join(dir)).unwrap();
    }
    let right = std::mem::replace(&mut house.kek, bao.kek("absent", &token));
    house.init().fails(4, "kek.access_denied");
    bao.seal();
    house.kek = right;
    house.init().fails(5, "kek.provider_unreachable");
    bao.unseal();
    house.init().ok();
    house.start();
}

#[test]
fn a_cluster_moves_from_a_key_file_to_a_provider_with_its_bundle() {
    let (_bao, scratch, _, transit) = transit();
    let file = format!("file:{}", scratch.join("kek").display());
    let mut house = House::found(scratch, &file, &[]);
    house.join();
    let point = house.backup();
    let bundle = house.scratch.join("bundle.hfbd").display().to_string();
    house.run(&["keys", "export", "--to", &bundle]).ok();
    house.stop();
    let config = house.scratch.join("c/coordinator.toml").display().to_string();
    let import = ["keys", "import", &bundle, "--config", &config, "--kek", &transit, "--yes"];
    house.run(&import).ok();
    std::fs::remove_file(house.scratch.join("kek")).unwrap();
    house.kek = transit;
    house.start();
    house.assert_restores(&point, "moved", &[]);
    house.stop();
    house.assert_restores_offline(&point, "offline");
    what_was_changed_in_the_location_does_not_open(&house, &point);
}

fn what_was_changed_in_the_location_does_not_open(house: &House, point: &str) {
    let object = house.scratch.join("location/keys/00000001/00000002");
    let whole = std::fs::read(&object).unwrap();
    let sealed = whole.windows(9).position(|bytes| bytes == b"vault:v1:").unwrap();
    let mut changed = whole.clone();
    changed[sealed + 20] = if whole[sealed + 20] == b'A' { b'B' } else { b'A' };
    std::fs::write(&object, changed).unwrap();
    let (url, to) = (house.url(), house.scratch.join("changed").display().to_string());
    let restore = ["restore", point, "--to", &to, "--from-location", &url, "--kek", &house.kek];
    house.run(&restore).fails(4, "key.unwrap_refused");
    assert!(!Path::new(&to).exists(), "something was restored");
    std::fs::write(&object, whole).unwrap();
}
