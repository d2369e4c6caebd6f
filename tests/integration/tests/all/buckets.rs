//! Vaults in buckets: the whole way of a byte over S3, on a server that checks signatures, behind a
//! line that goes wrong, and with damage that comes from past Holdfast.

use crate::harness::{Outcome, Scratch, Service, Tree, binary, noise, wait_until, write};
use holdfast_testkit_servers::{Bucket, Ceph, Fault, Ministack, Proxy, S3sFs, Weather};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

const PASSPHRASE: &str = "correct horse battery staple";

/// A cluster of one whose locations are what is named, with keys in its environment.
pub(crate) struct Cluster {
    pub(crate) scratch: Scratch,
    keys: Bucket,
    coordinator: Option<Service>,
    agent: Option<Service>,
}

/// The location in a bucket, below a prefix.
pub(crate) fn url(bucket: &Bucket) -> String {
    format!("s3:{}/clinic/vault?endpoint={}", bucket.name, bucket.endpoint)
}

impl Cluster {
    pub(crate) fn over(keys: &Bucket, locations: &[(&str, String)]) -> Self {
        let scratch = Scratch::new();
        let mut cluster = Self { scratch, keys: keys.clone(), coordinator: None, agent: None };
        let dir = cluster.scratch.join("c");
        let kek = format!("file:{}", cluster.scratch.join("kek").display());
        // One that stays when the coordinator is started again.
        let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let listen = listen.to_string();
        let mut init = cluster.command();
        init.args(["cluster", "init", "--name", "one", "--region", "eu", "--kek", &kek])
            .args(["--dir", dir.to_str().unwrap(), "--listen", &listen])
            .args(["--custody", "coordinator"]);
        for (name, url) in locations {
            init.args(["--location", &format!("{name}={url}")]);
        }
        Outcome::of(None, &mut init).ok();
        cluster.start();
        let context = cluster.context();
        let token = Outcome::of(Some(&context), cluster.command().args(["agent", "token"])).ok();
        let address = cluster.coordinator.as_ref().unwrap().address.clone();
        let host = cluster.scratch.join("host");
        let mut join = cluster.command();
        join.args(["agent", "join", "--coordinator", &address, "--name", "host"]).args([
            "--token",
            token.text().trim_end(),
            "--dir",
            host.to_str().unwrap(),
        ]);
        Outcome::of(None, &mut join).ok();
        let config = host.join("agent.toml");
        let arguments = ["agent", "--config", config.to_str().unwrap()];
        cluster.agent = Some(Service::start(&arguments, &cluster.scratch.join("host.log")));
        cluster
    }

    fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command
            .env("AWS_ACCESS_KEY_ID", &self.keys.key)
            .env("AWS_SECRET_ACCESS_KEY", &self.keys.secret)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("HOLDFAST_PASSPHRASE", PASSPHRASE);
        command
    }

    fn start(&mut self) {
        let config = self.scratch.join("c/coordinator.toml");
        let mut command = self.command();
        command.args(["coordinator", "--config", config.to_str().unwrap()]);
        let log = self.scratch.join("coordinator.log");
        self.coordinator = Some(Service::start_command(&mut command, &log));
    }

    fn context(&self) -> PathBuf {
        self.scratch.join("c/operator.toml")
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        let mut command = self.command();
        command.args(["--output", "json"]).args(arguments);
        Outcome::of(Some(&self.context()), &mut command)
    }

    /// The same without a cluster.
    pub(crate) fn alone(&self, arguments: &[&str]) -> Outcome {
        let mut command = self.command();
        command.args(["--output", "json"]).args(arguments);
        Outcome::of(None, &mut command)
    }

    pub(crate) fn source(&self, name: &str, seed: u64) -> PathBuf {
        let source = self.scratch.join(name);
        for number in 0..6 {
            write(&source.join(number.to_string()), noise(seed + number, 2_500_000));
        }
        source
    }

    pub(crate) fn backup(&self, source: &Path) -> String {
        let told = self.run(&["backup", "--path", source.to_str().unwrap()]).ok().object();
        assert_eq!(told["state"], "done", "{told}");
        told["point"].as_str().unwrap().to_owned()
    }

    fn assert_restores(&self, point: &str, source: &Path, name: &str) {
        let to = self.scratch.join(name);
        self.run(&["restore", point, "--to", to.to_str().unwrap()]).ok();
        assert_same(source, &to, name);
    }
}

pub(crate) fn assert_same(source: &Path, to: &Path, name: &str) {
    let back = to.join(source.strip_prefix("/").unwrap());
    Tree::of(source).assert_same(&Tree::of(&back), name);
}

#[test]
fn a_bucket_is_a_location_for_the_whole_way_of_a_byte_and_for_the_worst_day() {
    let bucket = Ceph::shared().bucket("whole-way");
    let mut cluster = Cluster::over(&bucket, &[("main", url(&bucket))]);
    let source = cluster.source("source", 1);
    let first = cluster.backup(&source);
    write(&source.join("later"), noise(99, 400_000));
    let point = cluster.backup(&source);
    let one = cluster.scratch.join("one-file");
    let file = source.join("0");
    let restore = ["restore", &first, "--to", one.to_str().unwrap(), file.to_str().unwrap()];
    cluster.run(&restore).ok();
    let back = std::fs::read(one.join(file.strip_prefix("/").unwrap())).unwrap();
    assert_eq!(back, std::fs::read(&file).unwrap());
    cluster.assert_restores(&point, &source, "whole");
    for level in ["structure", "storage"] {
        let told = cluster.run(&["verify", "--all", "--level", level]).ok().object();
        assert_eq!(told["damaged"], Value::Array(Vec::new()), "{told}");
    }
    // Killed and started again it goes on where it was.
    cluster.coordinator.take().unwrap().kill();
    cluster.start();
    cluster.assert_restores(&point, &source, "after-a-kill");
    let bundle = cluster.scratch.join("bundle.hfbd");
    let bundle = bundle.to_str().unwrap();
    cluster.run(&["keys", "export", "--to", bundle]).ok();

    // Now all of it is gone but the bucket and the bundle.
    cluster.coordinator.take().unwrap().kill();
    drop(cluster.agent.take());
    let to = cluster.scratch.join("offline");
    let from = ["--from-location", &url(&bucket), "--bundle", bundle];
    let restore = ["restore", &point, "--to", to.to_str().unwrap()];
    cluster.alone(&[&restore[..], &from].concat()).ok();
    assert_same(&source, &to, "offline");
    std::fs::remove_dir_all(cluster.scratch.join("c")).unwrap();
    let kek = format!("file:{}", cluster.scratch.join("kek").display());
    let dir = cluster.scratch.join("c");
    let recover = ["cluster", "recover", "--from", &url(&bucket), "--kek", &kek];
    let made = ["--dir", dir.to_str().unwrap(), "--name", "two", "--region", "eu"];
    let listen = ["--listen", "127.0.0.1:0"];
    let told = cluster.alone(&[&recover[..], &made, &listen].concat()).ok();
    assert_eq!(told.object()["points"], 2);
    cluster.start();
    cluster.assert_restores(&point, &source, "recovered");
}

#[test]
fn on_a_line_that_goes_wrong_backups_and_restores_are_whole() {
    let bucket = Ministack::shared().bucket("bad-line");
    let proxy = Proxy::before(&bucket.endpoint, 5);
    let bucket = Bucket { endpoint: proxy.endpoint.clone(), ..bucket };
    let cluster = Cluster::over(&bucket, &[("main", url(&bucket))]);
    proxy.set(Weather { permille: 80, faults: Fault::PASSING.to_vec() });
    for round in 0..3 {
        let source = cluster.source(&format!("source-{round}"), 10 * round);
        let point = cluster.backup(&source);
        cluster.assert_restores(&point, &source, &format!("back-{round}"));
    }
    assert!(proxy.faults() > 5, "only {} faults", proxy.faults());
    proxy.set(Weather::default());
    let told = cluster.run(&["verify", "--all", "--level", "storage"]).ok().object();
    assert_eq!(told["damaged"], Value::Array(Vec::new()), "{told}");
}

#[test]
fn a_bucket_that_goes_away_during_a_backup_is_waited_for_or_ends_it_clearly() {
    let bucket = Ministack::shared().bucket("goes-away");
    let proxy = Proxy::before(&bucket.endpoint, 6);
    let bucket = Bucket { endpoint: proxy.endpoint.clone(), ..bucket };
    let cluster = Cluster::over(&bucket, &[("main", url(&bucket))]);
    let (kept, source) = (cluster.source("kept", 1), cluster.source("source", 50));
    let point = cluster.backup(&kept);
    let before = bucket.keys().len();
    let told = std::thread::scope(|scope| {
        let running = scope.spawn(|| cluster.run(&["backup", "--path", source.to_str().unwrap()]));
        let arrived = || (bucket.keys().len() > before).then_some(());
        wait_until("something arrives", Duration::from_secs(60), arrived);
        proxy.be_gone(true);
        std::thread::sleep(Duration::from_secs(2));
        proxy.be_gone(false);
        running.join().unwrap()
    });
    if told.code != 0 {
        told.fails(5, "location.io_failed");
    }
    let newer = cluster.backup(&source);
    cluster.assert_restores(&newer, &source, "newer");
    cluster.assert_restores(&point, &kept, "kept-back");
}

#[test]
fn a_bucket_that_follows_on_a_bad_line_is_brought_everything_and_is_enough_by_itself() {
    let bucket = Ministack::shared().bucket("follows");
    let proxy = Proxy::before(&bucket.endpoint, 7);
    let bucket = Bucket { endpoint: proxy.endpoint.clone(), ..bucket };
    let disk = Scratch::new();
    let main = format!("local:{}", disk.join("main").display());
    let cluster = Cluster::over(&bucket, &[("main", main)]);
    cluster.run(&["location", "add", "cloud", &url(&bucket)]).ok();
    let vault = cluster.scratch.join("vault.toml");
    let spec = "locations = { required = [\"main\"], following = [\"cloud\"] }";
    write(&vault, format!("kind = \"vault\"\nname = \"main\"\n[spec]\n{spec}\n"));
    cluster.run(&["apply", "-f", vault.to_str().unwrap()]).ok();
    let (first, second) = (cluster.source("first", 1), cluster.source("second", 20));
    proxy.set(Weather { permille: 80, faults: Fault::PASSING.to_vec() });
    let before = cluster.backup(&first);
    proxy.be_gone(true);
    let point = cluster.backup(&second);
    proxy.be_gone(false);
    for point in [&before, &point] {
        wait_until("it lies in the bucket", Duration::from_secs(150), || {
            let told = cluster.run(&["points"]).ok().object();
            let points = told["points"].as_array().unwrap();
            let found = points.iter().find(|row| row["id"] == point.as_str()).unwrap();
            (found["locations"].as_array().unwrap().len() == 2).then_some(())
        });
    }
    assert!(proxy.faults() > 0, "the line was good");
    proxy.set(Weather::default());
    let told = cluster.run(&["verify", "--all", "--level", "storage"]).ok().object();
    assert_eq!(told["damaged"], Value::Array(Vec::new()), "{told}");
    std::fs::remove_dir_all(disk.join("main")).unwrap();
    let kek = format!("file:{}", cluster.scratch.join("kek").display());
    for (point, source) in [(&before, &first), (&point, &second)] {
        let to = cluster.scratch.join(point);
        let from = ["--from-location", &url(&bucket), "--kek", &kek];
        let restore = ["restore", point, "--to", to.to_str().unwrap()];
        cluster.alone(&[&restore[..], &from].concat()).ok();
        assert_same(source, &to, "from the bucket alone");
    }
}

#[test]
fn damage_in_a_bucket_is_found_and_healed_from_another_location() {
    let bucket = Ministack::shared().bucket("healed");
    let scratch = Scratch::new();
    let disk = format!("local:{}", scratch.join("disk").display());
    let cluster = Cluster::over(&bucket, &[("cloud", url(&bucket)), ("disk", disk)]);
    let source = cluster.source("source", 1);
    let point = cluster.backup(&source);
    let packs: Vec<_> = bucket.keys().into_iter().filter(|key| key.contains("/packs/")).collect();
    bucket.put(&packs[0], "other bytes");
    let told = cluster.run(&["verify", "--all", "--level", "storage"]).ends(7).object();
    let damaged = told["damaged"].as_array().unwrap();
    assert_eq!(damaged.len(), 1, "{told}");
    assert_eq!(
        (&damaged[0]["location"], &damaged[0]["healed_from"]),
        (&"cloud".into(), &"disk".into())
    );
    let told = cluster.run(&["verify", "--all", "--level", "storage"]).ok().object();
    assert_eq!(told["damaged"], Value::Array(Vec::new()), "{told}");
    std::fs::remove_dir_all(scratch.join("disk/packs")).unwrap();
    cluster.assert_restores(&point, &source, "from-the-bucket");
}

#[test]
fn no_vault_is_made_over_a_place_that_is_no_fence() {
    // Ceph lets every writer of a name win where it keeps versions.
    let (bucket, no_fence) = (Ceph::shared().bucket("fence"), Ceph::shared().bucket("no-fence"));
    no_fence.version();
    let same_keys = Bucket { name: no_fence.name.clone(), ..bucket.clone() };
    let cluster = Cluster::over(&bucket, &[("main", url(&bucket))]);
    cluster.run(&["location", "add", "loose", &url(&same_keys)]).fails(4, "location.fence_absent");
    cluster.run(&["location", "add", "loose", &url(&same_keys), "--untested"]).ok();
    let file = cluster.scratch.join("vault.toml");
    let vault = "kind=\"vault\"\nname=\"loose\"\n[spec]\nsharing=\"agent\"\n\
                 custody=\"coordinator\"\nlocations={required=[\"loose\"]}\n";
    write(&file, vault);
    let apply = cluster.run(&["apply", "-f", file.to_str().unwrap()]);
    apply.fails(4, "location.fence_absent");
    assert_eq!(no_fence.keys(), [""; 0], "nothing was written there");
}

#[test]
fn a_bucket_in_which_every_writer_wins_holds_a_copy_and_is_never_required() {
    let server = S3sFs::start();
    let (bucket, disk) = (server.bucket("everybody-wins"), Scratch::new());
    let main = format!("local:{}", disk.join("main").display());
    let cluster = Cluster::over(&bucket, &[("main", main)]);
    let add = ["location", "add", "loose", &url(&bucket)];
    cluster.run(&add).fails(4, "location.fence_absent");
    cluster.run(&[&add[..], &["--untested"]].concat()).ok();
    let trial = cluster.run(&["location", "test", "loose"]).ends(4).object();
    for (field, value) in [
        ("usable", false.into()),
        ("create_only", false.into()),
        ("object_lock", "off".into()),
        ("permissions_missing", Value::Array(Vec::new())),
    ] {
        assert_eq!(trial[field], value, "{field}: {trial:#}");
    }
    let file = cluster.scratch.join("vault.toml");
    let vault = |name: &str, locations: &str| {
        format!("kind = \"vault\"\nname = \"{name}\"\n[spec]\nlocations = {{ {locations} }}\n")
    };
    write(&file, vault("loose", "required = [\"loose\"]"));
    let apply = ["apply", "-f", file.to_str().unwrap()];
    cluster.run(&apply).fails(4, "location.fence_absent");
    assert_eq!(bucket.keys(), [""; 0], "nothing was written there");

    write(&file, vault("main", "required = [\"main\"], following = [\"loose\"]"));
    cluster.run(&apply).ok();
    let source = cluster.source("source", 1);
    let point = cluster.backup(&source);
    wait_until("it lies in the bucket", Duration::from_secs(150), || {
        let told = cluster.run(&["points"]).ok().object();
        (told["points"][0]["locations"].as_array().unwrap().len() == 2).then_some(())
    });
    // At once, since the log goes on being put there.
    std::fs::rename(disk.join("main"), disk.join("gone")).unwrap();
    let to = cluster.scratch.join("back");
    let kek = format!("file:{}", cluster.scratch.join("kek").display());
    let from = ["--from-location", &url(&bucket), "--kek", &kek];
    let restore = ["restore", &point, "--to", to.to_str().unwrap()];
    cluster.alone(&[&restore[..], &from].concat()).ok();
    assert_same(&source, &to, "from the bucket alone");
}

#[test]
fn a_bucket_that_refuses_says_why_at_a_backup() {
    let bucket = Ceph::shared().bucket("refuses");
    let mut cluster = Cluster::over(&bucket, &[("main", url(&bucket))]);
    let source = cluster.source("source", 1);
    cluster.backup(&source);
    cluster.coordinator.take().unwrap().kill();
    cluster.keys.secret = "another secret that is wrong".to_owned();
    cluster.start();
    let backup = ["backup", "--path", source.to_str().unwrap()];
    let refused = cluster.run(&backup);
    let said = refused.stderr.clone();
    refused.fails(4, "location.credentials_refused");
    let log = std::fs::read_to_string(cluster.scratch.join("coordinator.log")).unwrap();
    for secret in [&bucket.secret, &cluster.keys.secret] {
        assert!(!said.contains(secret) && !log.contains(secret), "a secret was told");
    }
}
