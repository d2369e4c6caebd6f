//! Restores as runs: by an agent on its own host, driven by the coordinator, and by the caller.
//! What is about to be overwritten is saved first, and undoing a restore brings it back.

use crate::{
    cluster::Cluster,
    harness::{Dev, Scratch, Service, Tree, binary, noise, wait_until, write},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster with a point that the agent `one` made, and an agent `two` to bring it to.
struct Hosts {
    cluster: Cluster,
    _one: Service,
    two: Service,
    source: PathBuf,
    point: String,
}

impl Hosts {
    fn start(files: u64, bytes: usize) -> Self {
        let cluster = Cluster::start();
        let (one, two) = (cluster.agent("one"), cluster.agent("two"));
        let source = cluster.scratch.join("source");
        for number in 0..files {
            write(&source.join(format!("deep/{number}")), noise(number, bytes));
        }
        let path = source.to_str().unwrap();
        let made = cluster.run(&["backup", "--path", path, "--agent", "one"]).ok().object();
        let point = made["point"].as_str().unwrap().to_owned();
        Self { cluster, _one: one, two, source, point }
    }

    /// Long enough to be stopped on the way.
    fn with_much() -> Self {
        Self::start(24, 4_000_000)
    }

    fn to(&self, name: &str) -> PathBuf {
        self.cluster.scratch.join(name)
    }

    /// Where the source comes to lie below a target.
    fn below(&self, target: &Path) -> PathBuf {
        target.join(self.source.strip_prefix("/").unwrap())
    }

    fn runs(&self) -> Vec<Value> {
        let told = self.cluster.run(&["runs"]).ok().object();
        told["runs"].as_array().unwrap().clone()
    }

    /// A restore that goes on by itself, once its first file is in place.
    fn begun(&self, target: &Path, more: &[&str]) -> Child {
        let context = self.cluster.scratch.join("c/operator.toml");
        let child = Command::new(binary())
            .args(["--context", context.to_str().unwrap(), "--output", "json", "restore"])
            .args([&self.point, "--to", target.to_str().unwrap()])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let deep = self.below(target).join("deep");
        let first = || (!placed(&deep).is_empty()).then_some(());
        wait_until("a first file is in place", PATIENCE, first);
        child
    }
}

/// Files that have their names.
fn placed(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.file_name().unwrap().to_str().unwrap().parse::<u64>().is_ok())
        .collect()
}

#[test]
fn an_agent_brings_back_what_another_backed_up() {
    let hosts = Hosts::start(5, 1_500_000);
    let to = hosts.to("back");
    let arguments = ["restore", &hosts.point, "--to", to.to_str().unwrap(), "--agent", "two"];
    let told = hosts.cluster.run(&[&arguments[..], &["--verify"]].concat()).ok().object();
    Tree::of(&hosts.source).assert_same(&Tree::of(&hosts.below(&to)), "by its agent");
    assert_eq!(told["bytes_written"], 7_500_000);
    assert_eq!((&told["agent"], &told["files_verified"]), (&"two".into(), &5.into()));
    assert_eq!(
        (&told["safety_point"], &told["point"]),
        (&Value::Null, &hosts.point.clone().into())
    );
    let newest = hosts.runs()[0].clone();
    assert_eq!(newest["id"], told["run"]);
    for (field, value) in [("kind", "restore"), ("state", "done"), ("agent", "two")] {
        assert_eq!(newest[field], value, "{newest}");
    }
    assert_eq!(newest["point"], told["point"], "the point that was restored");
    // A second time it is all there already, and in nobody's way; what differs is.
    let told = hosts.cluster.run(&arguments).ok().object();
    assert_eq!((&told["bytes_written"], &told["bytes_reused"]), (&0.into(), &7_500_000.into()));
    let differs = hosts.below(&to).join("deep/0");
    let right = fs::read(&differs).unwrap();
    write(&differs, b"mine");
    hosts.cluster.run(&arguments).fails(4, "file.target_exists");
    assert_eq!(hosts.runs()[0]["state"], "failed");
    assert_eq!(fs::read(&differs).unwrap(), b"mine");
    write(&differs, right);
    let forced = [&arguments[..], &["--force", "--no-safety-point"]].concat();
    let told = hosts.cluster.run(&forced).ok().object();
    assert_eq!((&told["bytes_written"], &told["bytes_reused"]), (&0.into(), &7_500_000.into()));
    assert_eq!(told["safety_point"], Value::Null, "it was refused");
}

#[test]
fn a_part_is_restored_without_a_word_of_it_in_the_clear() {
    let hosts = Hosts::start(2, 1000);
    let canary = "canary-7d1f0c-patient";
    write(&hosts.source.join(canary), noise(9, 100_000));
    write(&hosts.source.join("other"), b"other");
    let path = hosts.source.to_str().unwrap();
    let made = hosts.cluster.run(&["backup", "--path", path, "--agent", "one"]).ok().object();
    let (point, to) = (made["point"].as_str().unwrap(), hosts.to("back"));
    let wanted = hosts.source.join(canary);
    let to_text = to.to_str().unwrap();
    let restore = ["restore", point, "--to", to_text, "--agent", "two", wanted.to_str().unwrap()];
    hosts.cluster.run(&restore).ok();
    assert_eq!(fs::read(hosts.below(&to).join(canary)).unwrap(), noise(9, 100_000));
    assert!(!hosts.below(&to).join("other").exists());
    // It is in the way now: the report names it to whoever asked, sealed to everybody else.
    write(&hosts.below(&to).join(canary), b"mine");
    let told = hosts.cluster.run(&restore).ends(4);
    assert!(told.error()["message"].as_str().unwrap().contains(canary));
    let missing = hosts.source.join("nowhere");
    let of_nothing =
        ["restore", point, "--to", to_text, "--agent", "two", missing.to_str().unwrap()];
    hosts.cluster.run(&of_nothing).fails(3, "file.path_missing");
    for place in ["c", "location", "coordinator.log", "two.log", "two"] {
        let place = hosts.cluster.scratch.join(place);
        let found = Command::new("grep").args(["-rla", canary]).arg(&place).output().unwrap();
        let found = String::from_utf8_lossy(&found.stdout).into_owned();
        assert_eq!(found, "", "the name is in the clear");
    }
}

#[test]
fn what_a_restore_in_place_overwrites_and_removes_is_saved_first() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    write(&source.join("changed"), b"as it was");
    write(&source.join("gone"), noise(3, 300_000));
    let dev = Dev::start(&scratch.join("d"));
    let point = dev.backup(&source);
    let right = Tree::of(&source);
    write(&source.join("changed"), b"as it is now");
    write(&source.join("extra/new"), noise(4, 300_000));
    fs::remove_file(source.join("gone")).unwrap();
    let wrong = Tree::of(&source);

    let back = ["--in-place", "--force", "--delete", "--yes", "--agent", "local"];
    let path = source.to_str().unwrap();
    let restore = |point: &str| {
        let arguments = [&["restore", point], &back[..], &[path]].concat();
        dev.json(&arguments).ok().object()
    };
    let told = restore(&point);
    right.assert_same(&Tree::of(&source), "the point");
    let safety = told["safety_point"].as_str().unwrap().to_owned();
    // It is listed as what it is, and is never the latest of anything.
    let listed = dev.json(&["points"]).ok().object();
    let rows = listed["points"].as_array().unwrap().clone();
    let row = |id: &str| rows.iter().find(|row| row["id"] == id).unwrap().clone();
    assert_eq!((&row(&safety)["safety"], &row(&point)["safety"]), (&true.into(), &false.into()));
    assert_eq!(row(&safety)["state"], "complete");
    let latest = dev.json(&["points", "--latest"]).ok().object();
    assert_eq!(latest["points"][0]["id"], point.as_str());
    let to = scratch.join("latest");
    let told = dev.json(&["restore", "latest", "--to", to.to_str().unwrap()]).ok().object();
    assert_eq!(told["point"], point.as_str());
    dev.run(&["verify", &safety, "--level", "full"]).ok();

    // Undone: what was overwritten and removed is back. What the restore brought stays.
    let told = restore(&safety);
    let undone = Tree::of(&source);
    assert_ne!(told["safety_point"], safety.as_str(), "undoing can be undone as well");
    assert_eq!(fs::read(source.join("changed")).unwrap(), b"as it is now");
    assert_eq!(fs::read(source.join("extra/new")).unwrap(), noise(4, 300_000));
    assert!(wrong.0.keys().all(|path| undone.0.contains_key(path)));
    assert!(source.join("gone").exists(), "a safety point removes nothing");
}

#[test]
fn without_its_safety_point_a_restore_touches_nothing() {
    assert!(rustix::process::geteuid().is_root(), "`make test` runs this as root");
    let scratch = Scratch::new();
    let (source, dir, to) = (scratch.join("source"), scratch.join("d"), scratch.join("to"));
    write(&source.join("file"), b"of the point");
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for directory in [&dir, &to] {
        fs::create_dir_all(directory).unwrap();
        chown(directory, Some(65_534), Some(65_534)).unwrap();
    }
    let dev = Dev::start_as(65_534, &dir);
    let point = dev.backup(&source);
    let there = to.join(source.strip_prefix("/").unwrap()).join("file");
    write(&there, b"precious");
    for path in there.ancestors().skip(1).take_while(|path| path.starts_with(&to)) {
        chown(path, Some(65_534), Some(65_534)).unwrap();
    }
    // The agent may replace the file, and may not read it.
    fs::set_permissions(&there, fs::Permissions::from_mode(0o000)).unwrap();
    let restore = ["restore", &point, "--to", to.to_str().unwrap(), "--agent", "local", "--force"];
    let told = dev.json(&restore).ends(4);
    assert_eq!(told.error()["code"], "safety.point_missing");
    assert!(told.error()["next"].as_str().unwrap().contains("--no-safety-point"));
    assert_eq!(fs::read(&there).unwrap(), b"precious");
    dev.json(&[&restore[..], &["--no-safety-point"]].concat()).ok();
    assert_eq!(fs::read(&there).unwrap(), b"of the point");
}

#[test]
fn what_an_agent_may_not_write_is_skipped_and_told_to_whoever_asked() {
    assert!(rustix::process::geteuid().is_root(), "`make test` runs this as root");
    let scratch = Scratch::new();
    let (source, dir, to) = (scratch.join("source"), scratch.join("d"), scratch.join("to"));
    write(&source.join("free"), b"free");
    write(&source.join("locked/file"), b"locked");
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(&dir).unwrap();
    chown(&dir, Some(65_534), Some(65_534)).unwrap();
    let dev = Dev::start_as(65_534, &dir);
    let point = dev.backup(&source);
    let below = to.join(source.strip_prefix("/").unwrap());
    fs::create_dir_all(below.join("locked")).unwrap();
    for path in below.ancestors().take_while(|path| path.starts_with(&to)) {
        chown(path, Some(65_534), Some(65_534)).unwrap();
    }
    let restore = ["restore", &point, "--to", to.to_str().unwrap(), "--agent", "local"];
    let told = dev.json(&restore).ends(6).object();
    let skipped = source.join("locked/file");
    assert_eq!(told["skipped"][0]["path"], skipped.to_str().unwrap(), "{told}");
    assert_eq!(told["skipped_count"], 1);
    assert_eq!(fs::read(below.join("free")).unwrap(), b"free");
    let runs = dev.json(&["runs"]).ok().object();
    assert_eq!(runs["runs"][0]["state"], "partial");
}

#[test]
fn the_owner_of_a_host_says_where_restores_may_go() {
    let Hosts { cluster, two, point, source, .. } = &mut Hosts::start(2, 1000);
    two.kill_in_place();
    let allowed = cluster.scratch.join("allowed");
    fs::create_dir(&allowed).unwrap();
    let config = cluster.scratch.join("two/agent.toml");
    let text = fs::read_to_string(&config).unwrap();
    let missing = cluster.scratch.join("missing");
    let list = format!("[{:?}, {:?}]", allowed.display(), missing.display());
    fs::write(&config, format!("{text}restore_targets = {list}\n")).unwrap();
    *two = cluster.joined_agent("two");
    let restore = |to: &Path, more: &[&str]| {
        let arguments = ["restore", point, "--to", to.to_str().unwrap(), "--agent", "two"];
        cluster.run(&[&arguments[..], more].concat())
    };
    let outside = cluster.scratch.join("outside");
    restore(&outside, &[]).fails(4, "target.path_refused");
    assert!(!outside.exists());
    std::os::unix::fs::symlink(&outside, allowed.join("link")).unwrap();
    restore(&allowed.join("link"), &[]).fails(4, "target.path_refused");
    let in_place = ["restore", point, "--in-place", "--agent", "two"];
    cluster.run(&in_place).fails(4, "target.path_refused");
    let inside = allowed.join("new");
    restore(&inside, &[]).ok();
    let back = inside.join(source.strip_prefix("/").unwrap());
    Tree::of(source).assert_same(&Tree::of(&back), "where it is allowed");
    let below = source.strip_prefix("/").unwrap();
    restore(&missing.join("new"), &[]).ok();
    Tree::of(source).assert_same(&Tree::of(&missing.join("new").join(below)), "made where it may");
    // What was saved first has the paths of the host, so its agent may not put it back: a caller
    // does, on the host, or it is brought to a place that is allowed.
    write(&back.join("deep/0"), b"precious");
    let told = restore(&inside, &["--force"]).ok().object();
    let safety = told["safety_point"].as_str().unwrap();
    let undo = ["restore", safety, "--in-place"];
    cluster.run(&[&undo[..], &["--agent", "two"]].concat()).fails(4, "target.path_refused");
    let aside = allowed.join("undo");
    cluster.run(&["restore", safety, "--to", aside.to_str().unwrap(), "--agent", "two"]).ok();
    let brought = aside.join(back.strip_prefix("/").unwrap()).join("deep/0");
    assert_eq!(fs::read(brought).unwrap(), b"precious");
    assert_ne!(fs::read(back.join("deep/0")).unwrap(), b"precious");
    cluster.run(&[&undo[..], &["--force", "--yes"]].concat()).ok();
    assert_eq!(fs::read(back.join("deep/0")).unwrap(), b"precious", "it went back");
    cluster.run(&["restore", point, "--to", "relative", "--agent", "two"]).ends(2);
}

#[test]
fn an_agent_that_is_killed_leaves_a_restore_that_the_next_one_completes() {
    let mut hosts = Hosts::with_much();
    let to = hosts.to("back");
    let mut asked = hosts.begun(&to, &["--agent", "two"]);
    hosts.two.kill_in_place();
    let left = placed(&hosts.below(&to).join("deep")).len();
    assert!(left < 24, "it was done before it was killed");
    hosts.two = hosts.cluster.joined_agent("two");
    assert_eq!(asked.wait().unwrap().code(), Some(1));
    let run = hosts.runs()[0].clone();
    assert_eq!((&run["kind"], &run["state"]), (&"restore".into(), &"interrupted".into()));
    assert_eq!(run["error"]["code"], "run.agent_interrupted");
    let to_text = to.to_str().unwrap();
    let again = ["restore", &hosts.point, "--to", to_text, "--agent", "two", "--force"];
    // What the killed one had begun to write lies there under names of its own.
    let more = ["--delete", "--no-safety-point"];
    let told = hosts.cluster.run(&[&again[..], &more].concat()).ok().object();
    assert!(told["bytes_reused"].as_u64().unwrap() >= 4_000_000 * left as u64, "{told}");
    Tree::of(&hosts.source).assert_same(&Tree::of(&hosts.below(&to)), "after the second");
}

#[test]
fn a_signal_to_the_command_cancels_the_restore() {
    let hosts = Hosts::with_much();
    for (name, more) in [("by-agent", &["--agent", "two"][..]), ("here", &[])] {
        let to = hosts.to(name);
        let asked = hosts.begun(&to, more);
        kill_process(Pid::from_child(&asked), Signal::INT).unwrap();
        let ended = asked.wait_with_output().unwrap();
        assert_eq!((ended.status.code(), &ended.stdout[..]), (Some(130), &[][..]), "{name}");
        let stderr = String::from_utf8(ended.stderr).unwrap();
        let last = stderr.lines().last().unwrap_or_default();
        let left: Value =
            serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {stderr}"));
        assert_eq!(left["run"], hosts.runs()[0]["id"], "{name}: {stderr}");
        assert!(left["fate"].as_str().unwrap().contains("stop"), "{name}: {stderr}");
        let over = || {
            let run = hosts.runs()[0].clone();
            let state = run["state"].as_str().unwrap().to_owned();
            (!["queued", "running"].contains(&&*state)).then_some(run)
        };
        let run = wait_until("the run has ended", PATIENCE, over);
        assert_eq!(run["state"], "cancelled", "{name}: {run}");
        let files = placed(&hosts.below(&to).join("deep"));
        assert!(files.len() < 24, "{name}: it was done before it was stopped");
        for file in files {
            let name = file.file_name().unwrap();
            assert_eq!(
                fs::read(&file).unwrap(),
                fs::read(hosts.source.join("deep").join(name)).unwrap()
            );
        }
    }
}

#[test]
fn a_restore_that_nobody_waits_for_is_told_as_a_run_and_goes_on() {
    let hosts = Hosts::start(2, 1000);
    let to = hosts.to("back");
    let to_text = to.to_str().unwrap();
    let here = ["restore", &hosts.point, "--to", to_text, "--detach"];
    hosts.cluster.run(&here).ends(2);
    let told = hosts.cluster.run(&[&here[..], &["--agent", "two"]].concat()).ok().object();
    let fields = [("kind", "restore"), ("agent", "two"), ("point", &hosts.point)];
    for (field, value) in [&fields[..], &[("target", to_text)]].concat() {
        assert_eq!(told[field], value, "{told}");
    }
    assert_eq!((&told["run"], &told["skipped"]), (&told["id"], &Value::Array(vec![])));
    for field in ["entries", "bytes_written", "safety_point", "duration_ms", "ended", "error"] {
        assert_eq!(told.get(field), Some(&Value::Null), "{field}: {told}");
    }
    let done = || (hosts.runs()[0]["state"] == "done").then_some(());
    wait_until("it is restored", PATIENCE, done);
    assert_eq!(hosts.runs()[0]["id"], told["run"]);
    Tree::of(&hosts.source).assert_same(&Tree::of(&hosts.below(&to)), "by itself");
}

/// More than a minute, told by the clock that the coordinator looks at: its asker stands still, and
/// goes on.
#[test]
fn a_restore_of_more_than_a_minute_is_not_told_as_interrupted() {
    const ORPHAN_AFTER: Duration = Duration::from_secs(60);
    let hosts = Hosts::with_much();
    let to = hosts.to("slow");
    let asked = hosts.begun(&to, &[]);
    let process = Pid::from_child(&asked);
    kill_process(process, Signal::STOP).unwrap();
    assert!(placed(&hosts.below(&to).join("deep")).len() < 24, "it was done before it was stopped");
    let stood = Instant::now();
    let long = || (stood.elapsed() > ORPHAN_AFTER + PATIENCE / 20).then_some(());
    wait_until("more than a minute has gone by", 3 * PATIENCE, long);
    assert_eq!(hosts.runs()[0]["state"], "running", "its session has a lease");
    kill_process(process, Signal::CONT).unwrap();
    let ended = asked.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(hosts.runs()[0]["state"], "done");
}

#[test]
fn a_restore_by_the_caller_is_a_run_that_ends_as_it_ended() {
    let hosts = Hosts::start(2, 1000);
    let to = hosts.to("back");
    let restore = ["restore", &hosts.point, "--to", to.to_str().unwrap()];
    let told = hosts.cluster.run(&restore).ok().object();
    assert_eq!((&told["agent"], &told["safety_point"]), (&Value::Null, &Value::Null));
    let run = hosts.runs()[0].clone();
    assert_eq!(run["id"], told["run"]);
    assert_eq!((&run["state"], &run["kind"]), (&"done".into(), &"restore".into()));
    assert_eq!((&run["agent"], &run["point"]), (&Value::Null, &hosts.point.clone().into()));
    assert_eq!(run["restored"]["entries"], told["entries"]);
    write(&hosts.below(&to).join("deep/0"), b"mine");
    hosts.cluster.run(&restore).fails(4, "file.target_exists");
    let run = hosts.runs()[0].clone();
    assert_eq!(run["state"], "failed");
    assert_eq!(run["error"]["code"], "file.target_exists");
    // A person is told that nothing can be undone.
    let context = hosts.cluster.scratch.join("c/operator.toml");
    let forced = crate::harness::holdfast(Some(&context), &[&restore[..], &["--force"]].concat());
    assert!(forced.ok().text().contains("no safety point was made"));
}

#[test]
fn in_operator_custody_no_agent_restores() {
    let cluster = Cluster::start_at("127.0.0.1:0", "operator", &["location"]);
    let _agent = cluster.agent("one");
    let source = cluster.scratch.join("source");
    write(&source.join("file"), b"content");
    let made = cluster.run(&["backup", "--path", source.to_str().unwrap()]).ok().object();
    let (point, to) = (made["point"].as_str().unwrap(), cluster.scratch.join("back"));
    let restore = ["restore", point, "--to", to.to_str().unwrap(), "--agent", "one"];
    cluster.run(&restore).fails(4, "key.custody_refused");
    assert!(!to.exists());
}

#[test]
fn an_agents_restore_in_place_protects_what_differs_and_saves_it_only_when_forced() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    write(&source.join("changed"), b"as it was");
    write(&source.join("lost"), noise(3, 300_000));
    let dev = Dev::start(&scratch.join("d"));
    let point = dev.backup(&source);
    let right = Tree::of(&source);
    fs::remove_file(source.join("lost")).unwrap();
    write(&source.join("changed"), b"precious");
    write(&source.join("extra"), b"precious");
    let path = source.to_str().unwrap();
    let restore = |more: &[&str]| {
        let arguments = ["restore", &point, "--in-place", "--agent", "local", path];
        dev.json(&[&arguments[..], more].concat())
    };
    let dry = restore(&["--dry-run"]).ends(4);
    assert_eq!(dry.error()["code"], "file.target_exists");
    assert!(!source.join("lost").exists());
    let told = restore(&["--delete", "--yes"]).ends(4);
    assert!(told.stderr.contains(r#"{"skipped":{"code":"file.target_exists","path":""#));
    assert!(told.error()["message"].as_str().unwrap().contains("changed"));
    assert_eq!(fs::read(source.join("changed")).unwrap(), b"precious");
    assert_eq!(fs::read(source.join("extra")).unwrap(), b"precious", "nothing was removed");
    assert_eq!(fs::read(source.join("lost")).unwrap(), noise(3, 300_000), "it was in no way");

    let forced = ["--force", "--delete", "--yes"];
    let dry = restore(&[&forced[..], &["--dry-run"]].concat()).ok().object();
    assert_eq!(dry["safety_point"], Value::Null);
    let told = restore(&forced).ok().object();
    for field in ["entries", "bytes_written", "bytes_reused", "removed", "skipped_count"] {
        assert_eq!(dry[field], told[field], "{field}: {dry} {told}");
    }
    assert!(told["safety_point"].is_string(), "{told}");
    right.assert_same(&Tree::of(&source), "by force");
    restore(&["--to-be-refused"]).ends(2);
    let climbing = ["restore", &point, "--to", "/tmp/../tmp", "--agent", "local"];
    dev.json(&climbing).fails(2, "usage.argument_malformed");
}
