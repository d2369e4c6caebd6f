//! What is backed up is sealed on its host: a canary in names, contents and attributes, in what was
//! skipped too, is found nowhere outside: not in the ledger, the logs, the locations, nor in what
//! the agent keeps. Only what a policy says (its paths) is no secret.

use crate::harness::{Dev, Scratch, Service, Tree, holdfast, set_xattr, write};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
};

/// In every secret of the source, and in nothing else.
const CANARY: &str = "C4n4ry-Zq";
/// Any user that is not root and owns nothing else.
const NOBODY: u32 = 65_534;

fn furnish(source: &Path) {
    let named = |what: &str| source.join(format!("{CANARY}-{what}"));
    write(&named("directory").join(format!("{CANARY}-deeper")), format!("a {CANARY} in a file"));
    write(&named("lines"), format!("{CANARY} on every line\n").repeat(200_000));
    write(&named("attributes"), "plain");
    set_xattr(&named("attributes"), &format!("user.{CANARY}"), CANARY.as_bytes());
    symlink(format!("/{CANARY}/target"), named("link")).unwrap();
    fs::hard_link(named("attributes"), named("hard link")).unwrap();
    write(&named("skipped"), "nobody reads this");
    fs::set_permissions(named("skipped"), fs::Permissions::from_mode(0o000)).unwrap();
}

/// A `dev` that cannot read everything, and that logs all it has to say.
fn start(scratch: &Scratch) -> Dev {
    let dir = scratch.join("d");
    fs::create_dir(&dir).unwrap();
    let arguments = ["dev", "--dir", dir.to_str().unwrap(), "--log-level", "trace"];
    let log = scratch.join("d.log");
    let service = if rustix::process::geteuid().is_root() {
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
        chown(&dir, Some(NOBODY), Some(NOBODY)).unwrap();
        Service::start_as(NOBODY, &arguments, &log)
    } else {
        Service::start(&arguments, &log)
    };
    Dev { dir, service }
}

/// The files below `dir` that hold the text, by name or content, plain or in hex.
fn holding(dir: &Path, text: &str) -> Vec<PathBuf> {
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let tells = |bytes: &[u8]| {
        [text.as_bytes(), hex.as_bytes()]
            .iter()
            .any(|wanted| bytes.windows(wanted.len()).any(|window| window == *wanted))
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, text));
        } else if tells(path.to_str().unwrap().as_bytes()) || tells(&fs::read(&path).unwrap()) {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_canary_in_what_is_backed_up_is_found_nowhere_outside() {
    let scratch = Scratch::new();
    let (source, to) = (scratch.join("source-of-the-policy"), scratch.join("back"));
    furnish(&source);
    let dev = start(&scratch);
    for _ in 0..2 {
        dev.json(&["backup", "--path", source.to_str().unwrap()]).ends(6);
    }
    dev.run(&["verify", "--all"]).ok();
    dev.run(&["restore", "latest", "--to", to.to_str().unwrap()]).ok();
    let back = to.join(source.strip_prefix("/").unwrap());
    assert_eq!(Tree::of(&back).0.len(), Tree::of(&source).0.len() - 1, "all but the skipped");
    let log = scratch.join("log");
    fs::create_dir(&log).unwrap();
    fs::rename(scratch.join("d.log"), log.join("d.log")).unwrap();
    let Dev { dir, service } = dev;
    assert!(service.stop().success());
    // The search finds what is no secret.
    assert!(!holding(&dir, "source-of-the-policy").is_empty());
    assert!(!holding(&log, "backup committed").is_empty());
    for place in [dir, log] {
        assert_eq!(holding(&place, CANARY), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_join_token_is_in_no_log_and_in_no_ledger() {
    let scratch = Scratch::new();
    let dev = start(&scratch);
    let token = dev.run(&["agent", "token"]).ok().text().trim_end().to_owned();
    let (agent, address) = (scratch.join("agent"), dev.service.address.clone());
    let (agent, trace) = (agent.to_str().unwrap(), ["--log-level", "trace"]);
    let join = ["agent", "join", "--coordinator", &address, "--token", &token, "--name", "second"];
    let joined = holdfast(None, &[&trace, &join[..], &["--dir", agent]].concat()).ok();
    write(&scratch.join("said/by the agent"), &joined.stderr);
    fs::rename(scratch.join("d.log"), scratch.join("said/by the coordinator")).unwrap();
    let Dev { dir, service } = dev;
    assert!(service.stop().success());
    let secret = token.split('-').nth(1).unwrap();
    assert!(secret.len() > 20, "a token is `hf1-SECRET-PIN`");
    assert!(!holding(&scratch.join("said"), "enrolled").is_empty());
    for place in [dir, scratch.join("said"), scratch.join("agent")] {
        assert_eq!(holding(&place, secret), Vec::<PathBuf>::new());
    }
}
