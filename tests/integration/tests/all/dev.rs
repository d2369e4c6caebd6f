//! `holdfast dev`: ready soon, gone when asked, and the same afterwards.

use crate::harness::{Dev, Scratch, Tree, noise, write};
use rustix::process::Signal;
use std::time::{Duration, Instant};

#[test]
fn dev_is_ready_soon_and_ends_with_zero_on_sigterm() {
    let scratch = Scratch::new();
    let start = Instant::now();
    let dev = Dev::start(&scratch.join("d"));
    // Two seconds are promised; a loaded machine that builds beside us gets more.
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(dev.context().exists());
    assert!(dev.dir.join("location/vault").exists());
    assert!(dev.dir.join("kek").exists());
    assert_eq!(dev.service.stop().code(), Some(0));
}

#[test]
fn dev_ends_with_zero_on_sigint_too() {
    let scratch = Scratch::new();
    let dev = Dev::start(&scratch.join("d"));
    dev.service.signal(Signal::INT);
    assert_eq!(dev.service.stop().code(), Some(0));
}

#[test]
fn dev_continues_in_the_same_directory_on_another_port() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    write(&source.join("a"), noise(1, 3_000_000));
    let dev = Dev::start(&scratch.join("d"));
    let before = dev.service.address.clone();
    let point = dev.backup(&source);
    dev.service.kill();
    let dev = Dev::start(&scratch.join("d"));
    let context = std::fs::read_to_string(dev.context()).unwrap();
    assert!(context.contains(&dev.service.address), "{context} names {}", dev.service.address);
    assert!(before == dev.service.address || !context.contains(&before));
    let to = scratch.join("back");
    dev.run(&["restore", &point, "--to", to.to_str().unwrap()]).ok();
    let back = to.join(source.strip_prefix("/").unwrap());
    Tree::of(&source).assert_same(&Tree::of(&back), "after a kill");
}

#[test]
fn dev_listens_where_it_is_told_to() {
    let scratch = Scratch::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (dir, log) = (scratch.join("d"), scratch.join("log"));
    let arguments = ["dev", "--dir", dir.to_str().unwrap(), "--listen", &free.to_string()];
    let service = crate::harness::Service::start(&arguments, &log);
    assert_eq!(service.address, free.to_string());
    assert_eq!(service.stop().code(), Some(0));
}

#[test]
fn a_second_dev_in_the_same_directory_is_refused_and_does_no_harm() {
    let scratch = Scratch::new();
    let dev = Dev::start(&scratch.join("d"));
    let second = crate::harness::holdfast(None, &["dev", "--dir", dev.dir.to_str().unwrap()]);
    assert_ne!(second.code, 0, "{}", second.stderr);
    dev.run(&["points"]).ok();
}

#[test]
fn the_demo_tells_its_story_to_the_end_and_leaves_nothing_behind() {
    use std::process::Command;
    let scratch = Scratch::new();
    let start = Instant::now();
    let mut demo = Command::new(crate::harness::binary());
    demo.arg("demo").env("TMPDIR", scratch.path());
    let told = crate::harness::Outcome::of(None, &mut demo).ok();
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    for figure in ["stored", "found damaged", "compared: the same", "no cluster"] {
        assert!(told.text().contains(figure), "`{figure}` in {}", told.text());
    }
    let left: Vec<_> = std::fs::read_dir(scratch.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn dev_is_a_trial_and_only_notes_that_it_has_no_bundle() {
    let scratch = Scratch::new();
    let dev = Dev::start(&scratch.join("d"));
    let status = dev.json(&["status"]).ok().object();
    assert_eq!(status["protected"], true, "{status}");
    assert_eq!(status["notes"][0]["code"], "bundle.export_absent", "{status}");
}
