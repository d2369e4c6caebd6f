//! The exit code says what happened, and the error says the same in words for programs.

use crate::harness::{Dev, Scratch, holdfast, noise, write};

fn json<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["--output", "json"], arguments].concat()
}

#[test]
fn wrong_usage_ends_with_two() {
    for arguments in [
        &["--output", "json", "nonsense"][..],
        &["--output", "json", "points", "--nonsense"],
        &["--output=json", "restore", "latest"],
        &["--output=json", "backup"],
    ] {
        let told = holdfast(None, arguments).ends(2);
        assert_eq!(told.error()["code"], "usage.argument_malformed", "{arguments:?}");
    }
    let told = holdfast(None, &["--output=json", "restore", "latest"]).error();
    assert!(told["message"].as_str().unwrap().contains("--to"), "what is missing: {told}");
    holdfast(None, &json(&["points"])).fails(2, "context.file_missing");
    let absent = ["--context", "/nowhere/operator.toml", "points"];
    holdfast(None, &json(&absent)).fails(2, "context.file_missing");
    holdfast(None, &["--help"]).ok();
    holdfast(None, &["backup", "--help"]).ok();
}

#[test]
fn a_named_context_wins_over_the_environment() {
    let scratch = Scratch::new();
    let dev = Dev::start(&scratch.join("d"));
    let nowhere = scratch.join("nowhere.toml");
    let context = dev.context();
    holdfast(Some(&nowhere), &["--context", context.to_str().unwrap(), "points"]).ok();
}

#[test]
fn what_is_not_there_ends_with_three() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    write(&source.join("a"), "a");
    let dev = Dev::start(&scratch.join("d"));
    dev.json(&["restore", "latest", "--to", "/tmp"]).fails(3, "point.id_unknown");
    let point = dev.backup(&source);
    dev.json(&["ls", "00000000"]).fails(3, "point.id_unknown");
    dev.json(&["ls", &point, "/nowhere"]).fails(3, "file.path_missing");
    dev.json(&["cat", &point, "/nowhere"]).fails(3, "file.path_missing");
    dev.json(&["backup", "nowhere"]).fails(3, "policy.name_unknown");
    dev.json(&["backup", "--path", "/nowhere/at/all"]).fails(3, "source.paths_missing");
    dev.json(&["backup", "--path", "/tmp", "--agent", "nobody"]).fails(3, "agent.name_unknown");
    dev.json(&["runs", "show", "00000000"]).fails(3, "run.id_unknown");
    dev.json(&["agent", "show", "nobody"]).fails(3, "agent.name_unknown");
    dev.json(&["delete", "policy", "nowhere", "--yes"]).ends(3);
    dev.json(&["get", "policy", "nowhere"]).ends(3);
}

#[test]
fn malformed_ids_names_and_times_end_with_two() {
    let scratch = Scratch::new();
    let dev = Dev::start(&scratch.join("d"));
    dev.json(&["ls", "abc"]).fails(2, "usage.id_malformed");
    let file = scratch.join("file");
    write(&file, "a file");
    let onto = ["restore", "latest", "--to", file.to_str().unwrap()];
    dev.json(&onto).fails(2, "usage.argument_malformed");
    dev.json(&["ls", "nonsense"]).fails(2, "usage.id_malformed");
    dev.json(&["points", "--before", "yesterday"]).ends(2);
    dev.json(&["backup", "Not A Name"]).ends(2);
}

#[test]
fn latest_of_several_sources_needs_a_policy() {
    let scratch = Scratch::new();
    let (one, two) = (scratch.join("one"), scratch.join("two"));
    write(&one.join("a"), "a");
    write(&two.join("a"), "a");
    let dev = Dev::start(&scratch.join("d"));
    dev.backup(&one);
    dev.json(&["ls", "latest"]).ok();
    dev.backup(&two);
    dev.json(&["ls", "latest"]).fails(2, "point.id_ambiguous");
}

#[test]
fn what_is_refused_ends_with_four() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    write(&source.join("a"), "right");
    let dev = Dev::start(&scratch.join("d"));
    let point = dev.backup(&source);
    dev.json(&["delete", "vault", "main"]).fails(4, "confirm.answer_missing");
    dev.json(&["agent", "revoke", "local"]).fails(4, "confirm.answer_missing");
    let to = scratch.join("back");
    let in_the_way = to.join(source.strip_prefix("/").unwrap()).join("a");
    write(&in_the_way, "in the way");
    let restore = ["restore", &point, "--to", to.to_str().unwrap()];
    dev.json(&restore).fails(4, "file.target_exists");
    assert_eq!(std::fs::read(&in_the_way).unwrap(), b"in the way");
    dev.json(&[&restore[..], &["--force"]].concat()).ok();
    assert_eq!(std::fs::read(&in_the_way).unwrap(), b"right");
}

#[test]
fn a_cluster_that_does_not_answer_ends_with_five() {
    let scratch = Scratch::new();
    let dev = Dev::start(&scratch.join("d"));
    let context = dev.context();
    dev.service.kill();
    let told = holdfast(Some(&context), &json(&["points"]));
    assert_eq!(told.error()["retry"], true);
    told.fails(5, "cluster.endpoint_unreachable");
}

#[test]
fn people_are_told_what_why_and_what_next() {
    let told = holdfast(None, &["points"]).ends(2);
    assert!(told.stderr.contains("error: context.file_missing: "), "{}", told.stderr);
    assert!(told.stderr.contains("\n  next: "), "{}", told.stderr);
    assert!(told.stdout.is_empty());
}

#[test]
fn a_command_that_is_stopped_says_so() {
    use std::process::{Command, Stdio};
    let scratch = Scratch::new();
    let source = scratch.join("source");
    for number in 0..24 {
        write(&source.join(number.to_string()), noise(number, 4_000_000));
    }
    let dev = Dev::start(&scratch.join("d"));
    for (signal, code) in
        [(rustix::process::Signal::TERM, 143), (rustix::process::Signal::INT, 130)]
    {
        let mut backup = Command::new(crate::harness::binary())
            .args(["--context", dev.context().to_str().unwrap()])
            .args(["backup", "--full", "--path", source.to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let runs = |wanted: bool| {
            let running = dev.json(&["runs"]).ok().text().contains("\"running\"");
            (running == wanted).then_some(())
        };
        let generous = std::time::Duration::from_secs(60);
        crate::harness::wait_until("a run", generous, || runs(true));
        let pid = rustix::process::Pid::from_child(&backup);
        let _may_have_ended = rustix::process::kill_process(pid, signal);
        let ended = backup.wait().unwrap().code();
        assert!(ended == Some(code) || ended == Some(0), "{signal:?} gave {ended:?}");
        crate::harness::wait_until("the end of the run", generous, || runs(false));
    }
}
