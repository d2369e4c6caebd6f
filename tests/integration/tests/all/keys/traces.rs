//! No key lies anywhere in the clear: every secret that a bundle holds, and the KEK, is looked for
//! in the ledger, the logs, the locations, the agent's directory, the errors, and where a crash
//! leaves its picture of the memory.

use super::{House, PASSPHRASE, Stopped, binary};
use crate::cluster::Cluster;
use crate::harness::{Service, noise, wait_until, write};
use holdfast_keyring::{Kek, KekSource, VaultKeys, bundle};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// Each secret with the name that a failure gives it.
type Secrets = Vec<(String, Vec<u8>)>;

fn of_vault(keys: &VaultKeys, secrets: &mut Secrets) {
    let mut add = |name: String, secret: &[u8; 32]| secrets.push((name, secret.to_vec()));
    add("id-key".to_owned(), keys.id().secret().expose());
    add("chunking key".to_owned(), keys.chunking().secret().expose());
    add("coordinator key".to_owned(), keys.coordinator().secret().expose());
    for version in keys.versions() {
        let private = keys.private(version).unwrap().secret();
        add(format!("vault private key {version}"), private.expose());
        let index = keys.index_private(version).unwrap().secret();
        add(format!("index private key {version}"), index.expose());
    }
}

/// Everything that must be nowhere.
fn secrets(house: &House, bundle_file: &str) -> Secrets {
    let sealed = fs::read(bundle_file).unwrap();
    let contents = bundle::open(&sealed, PASSPHRASE.as_bytes()).unwrap();
    let mut secrets = Secrets::new();
    contents.vaults.iter().for_each(|held| of_vault(&held.keys, &mut secrets));
    secrets.push(("recovery key".to_owned(), contents.recovery.secret().expose().to_vec()));
    // PKCS#8 ends with the key itself, or with its public half behind it: any 32 bytes tell.
    let ca_key = contents.ca_key.to_vec();
    secrets.push(("authority's key".to_owned(), ca_key[ca_key.len() / 2..].to_vec()));
    for name in ["kek", "kek-2"] {
        let text = fs::read_to_string(house.path(name)).unwrap();
        secrets.push((name.to_owned(), unhex(text.trim())));
        let source: KekSource = format!("file:{}", house.path(name)).parse().unwrap();
        let _opens: Kek = source.load(&|_| None, None).unwrap();
    }
    secrets.push(("passphrase".to_owned(), PASSPHRASE.as_bytes().to_vec()));
    assert!(secrets.len() >= 12, "{} secrets", secrets.len());
    secrets
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

/// As bytes, in hex of both cases, and as a list of numbers, as `Debug` would write them.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let numbers = format!("{secret:?}");
    let numbers = numbers.trim_matches(['[', ']']).to_owned();
    vec![secret.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes(), numbers.into_bytes()]
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, found),
            false => found.push(path),
        }
    }
}

/// Where any of these begins, by its first two bytes: what is looked through is large.
struct Wanted {
    forms: Vec<(String, Vec<u8>)>,
    begins: Vec<bool>,
}

impl Wanted {
    fn of(secrets: &Secrets) -> Self {
        let named = |(name, secret): &(String, Vec<u8>)| {
            forms(secret).into_iter().map(|form| (name.clone(), form)).collect::<Vec<_>>()
        };
        let forms: Vec<_> = secrets.iter().flat_map(named).collect();
        let mut begins = vec![false; 1 << 16];
        forms.iter().for_each(|(_, form)| begins[first_two(form)] = true);
        Self { forms, begins }
    }

    #[track_caller]
    fn assert_nowhere(&self, what: &str, bytes: &[u8]) {
        for at in 0..bytes.len().saturating_sub(1) {
            let rest = &bytes[at..];
            if !self.begins[first_two(rest)] {
                continue;
            }
            let found = self.forms.iter().find(|(_, form)| rest.starts_with(form));
            assert!(found.is_none(), "the {} lies in {what}", found.unwrap().0);
        }
    }
}

fn first_two(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

#[test]
fn no_key_lies_in_the_clear_in_the_ledger_logs_locations_or_errors() {
    let Stopped { scratch, source, point, kek } = House::start("coordinator").stop(false);
    let config = scratch.join("c/coordinator.toml");
    let talkative = ["coordinator", "--config", config.to_str().unwrap(), "--log-level", "trace"];
    let coordinator = Service::start(&talkative, &scratch.join("talkative.log"));
    let house = House { cluster: Cluster { scratch, coordinator }, source, point, kek };
    let agent = house.cluster.agent("files-1");
    house.backup();
    house.cluster.run(&["keys", "rotate", "main"]).ok();
    let new = format!("file:{}", house.path("kek-2"));
    house.asked(&["keys", "rewrap", "--to", &new, "--yes"]).ok();
    write(&house.source.join("new"), noise(9, 900_000));
    let point = house.backup();
    house.assert_online("back", &point);
    let bundle = house.path("bundle.hfbd");
    house.asked(&["keys", "export", "--to", &bundle]).ok();
    let wanted = Wanted::of(&secrets(&house, &bundle));
    let kek_text = fs::read_to_string(house.path("kek")).unwrap();
    // What goes wrong speaks of keys without showing them; so does whoever takes a key for a name.
    for wrong in [
        vec!["keys", "rewrap", "--yes", "--to", kek_text.trim()],
        vec!["keys", "rotate", "main", "--kek", kek_text.trim()],
        vec!["keys", "import", &bundle, "--kek", kek_text.trim(), "--config", "/nowhere"],
        vec![
            "restore",
            &point,
            "--to",
            "/nowhere",
            "--from-location",
            "local:/nowhere",
            "--kek",
            kek_text.trim(),
        ],
    ] {
        let told = house.asked(&wrong);
        assert_ne!(told.code, 0);
        wanted.assert_nowhere("an error", told.stderr.as_bytes());
    }
    drop(agent);
    let stopped = house.stop(false);
    let mut looked = Vec::new();
    files(stopped.scratch.path(), &mut looked);
    looked.retain(|path| !["kek", "kek-2"].iter().any(|own| path.ends_with(own)));
    assert!(looked.len() > 20, "{looked:?}");
    for path in looked {
        wanted.assert_nowhere(path.to_str().unwrap(), &fs::read(&path).unwrap());
    }
}

/// A coordinator that may write as large a dump as it likes, and its status when it is made to.
#[test]
fn a_crash_leaves_no_picture_of_the_memory() {
    let stopped = House::start("coordinator").stop(false);
    let dir = stopped.scratch.join("crash");
    fs::create_dir(&dir).unwrap();
    let config = stopped.scratch.join("c/coordinator.toml");
    let line = "ulimit -c unlimited 2>/dev/null; exec \"$0\" coordinator --config \"$1\"";
    let mut command = Command::new("sh");
    command.args(["-c", line]).arg(binary()).arg(config).current_dir(&dir).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut first = String::new();
    let stdout = child.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut first).unwrap();
    assert!(first.starts_with("ready "), "{first}");
    let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().filter(|word| *word == "0").count(), 2, "{core}");
    kill_process(Pid::from_child(&child), Signal::ABORT).unwrap();
    let child = std::sync::Mutex::new(child);
    let status = wait_until("it is gone", Duration::from_secs(30), || {
        child.lock().unwrap().try_wait().unwrap()
    });
    assert!(!status.core_dumped(), "{status}");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0, "something was left");
}
