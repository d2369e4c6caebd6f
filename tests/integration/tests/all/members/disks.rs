//! One member's disk is full, fails or was damaged: the others go on, the member says what is the
//! matter, and nothing is lost. What an operator is told to type is what brings it back.

use super::scene::{Members, PATIENCE, others};
use crate::harness::{FailingDisk, Outcome, SmallDisk, binary, wait_until};
use std::{fs, os::unix::fs::FileExt, path::Path, process::Command};

/// More than fill what is left of a full disk.
const COMMANDS: u64 = 100;

/// Moves what a member that does not run keeps onto another disk, which `mount` mounts.
fn on_disk<D>(members: &Members, name: &str, mount: impl FnOnce(&Path) -> D) -> D {
    let (data, aside) = (members.dir(name).join("data"), members.scratch.join("aside"));
    fs::rename(&data, &aside).unwrap();
    let disk = mount(&data);
    copy(&aside, &data);
    // Else a disk that fails takes along what nobody promised.
    assert!(Command::new("sync").arg("-f").arg(&data).status().unwrap().success());
    fs::remove_dir_all(aside).unwrap();
    disk
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Three voters, one of them on a disk of its own.
fn with_disk<D>(name: &str, mount: impl FnOnce(&Path) -> D) -> (Members, D) {
    let mut members = Members::three();
    assert_eq!(members.stop(name), Some(0));
    let disk = on_disk(&members, name, mount);
    members.start(name);
    members.wait_for_voters(3);
    (members, disk)
}

/// How a member ends that shall start, and cannot.
fn refused(members: &Members, name: &str) -> Outcome {
    not_started(&members.command(name))
}

/// The same of a command that must not go on for ever.
fn not_started(command: &Command) -> Outcome {
    let mut bounded = Command::new("timeout");
    bounded.arg("60").arg(command.get_program()).args(command.get_args());
    Outcome::of(None, bounded.args(["--output", "json"]))
}

fn has_ended(members: &Members, name: &str) -> Option<i32> {
    members.running[name].ended().map(|status| status.code().unwrap())
}

fn has_everything(members: &Members, name: &str) {
    let level = || {
        let row = members.row(name)?;
        (row["lag"] == 0 && row["state"] != "silent").then_some(())
    };
    wait_until("it has everything", PATIENCE, level);
    members.wait_for_one_chain();
}

#[test]
fn a_follower_whose_disk_is_full_holds_nobody_up() {
    let (mut members, disk) = with_disk("two", |path| SmallDisk::mount(path, 160));
    if members.leader() == "two" {
        members.run(&["cluster", "transfer", "one"]).ok();
    }
    disk.fill();
    // It goes on out of its reserve.
    let reserve = members.dir("two").join("data/reserve");
    wait_until("the reserve is given up", PATIENCE, || (!reserve.exists()).then_some(()));
    // Through the full one as well: the others have room.
    members.run_at("two", &["agent", "token"]).ok();
    let alarmed = members.run_at("three", &["status"]).ends(1).object();
    let of_disk = |alarm: &&serde_json::Value| alarm["code"] == "disk.space_exhausted";
    let alarm = alarmed["alarms"].as_array().unwrap().iter().find(of_disk).cloned();
    assert_eq!(alarm.expect("any member tells of it")["subject"], "two", "{alarmed}");
    disk.fill();
    let [one, three] = others("two");
    for _ in 0..COMMANDS {
        members.run_at(one, &["agent", "token"]).ok();
        if has_ended(&members, "two").is_some() {
            break;
        }
    }
    if let Some(code) = has_ended(&members, "two") {
        assert_eq!(code, 9, "it says that there is no space");
        members.kill("two");
    }
    members.run_at(three, &["agent", "token"]).ok();
    disk.make_room();
    if !members.running.contains_key("two") {
        members.start("two");
    }
    has_everything(&members, "two");
    members.wait_for_voters(3);
}

#[test]
fn a_leader_whose_disk_is_full_hands_over_and_nobody_is_refused_for_long() {
    let (members, disk) = with_disk("two", |path| SmallDisk::mount(path, 160));
    if members.leader() != "two" {
        members.run(&["cluster", "transfer", "two"]).ok();
    }
    let [one, three] = others("two");
    disk.fill();
    let agreed = || (members.run_at(one, &["agent", "token"]).code == 0).then_some(());
    wait_until("somebody with room leads", PATIENCE, agreed);
    // An election may bring the full one back, for as long as it takes to hand over again.
    let elsewhere = || (members.leader() != "two").then_some(());
    wait_until("somebody else leads", PATIENCE, elsewhere);
    let agreed = || (members.run_at(three, &["agent", "token"]).code == 0).then_some(());
    wait_until("somebody with room leads", PATIENCE, agreed);
    // It may be chosen by hand all the same, and gives it up again.
    disk.make_room();
    has_everything(&members, "two");
    members.run(&["cluster", "transfer", "two"]).ok();
    assert_eq!(members.leader(), "two");
}

#[test]
fn a_member_whose_disk_fails_ends_and_is_whole_again_on_a_mended_one() {
    for leads in [false, true] {
        let image = tempfile::NamedTempFile::new().unwrap();
        let mount = |path: &Path| FailingDisk::mount(path, image.path(), 256);
        let (mut members, disk) = with_disk("two", mount);
        let leader = if leads { "two" } else { "one" };
        if members.leader() != leader {
            members.run(&["cluster", "transfer", leader]).ok();
        }
        members.run(&["agent", "token"]).ok();
        disk.fail();
        assert!(!disk.is_writable());
        let [one, _] = others("two");
        let agreed = || (members.run_at(one, &["agent", "token"]).code == 0).then_some(());
        wait_until("the others go on", PATIENCE, agreed);
        let code = wait_until("it ends", PATIENCE, || has_ended(&members, "two"));
        assert_ne!(code, 0);
        assert!(members.running["two"].log().contains("the ledger has stopped"));
        members.kill("two");
        let error = refused(&members, "two").error();
        assert!(!error["next"].as_str().unwrap().is_empty(), "{error}");
        disk.mend();
        members.start("two");
        has_everything(&members, "two");
        members.wait_for_voters(3);
    }
}

#[test]
fn a_member_with_a_damaged_log_refuses_to_start_and_is_replaced_by_a_new_one() {
    let mut members = Members::three();
    // All that so few commands come to is in the first file.
    let log = members.dir("two").join("data/ledger/log/volume-00000000000000000001");
    let (earlier, intact) = (members.scratch.join("earlier"), members.scratch.join("intact"));
    members.kill("two");
    fs::copy(&log, &earlier).unwrap();
    members.start("two");
    for _ in 0..20 {
        members.run(&["agent", "token"]).ok();
    }
    members.kill("two");
    copy(&members.dir("two").join("data"), &intact);
    for damage in [Damage::CutShort, Damage::Flipped, Damage::Gone, Damage::TakenBack] {
        damage.make(&log, &earlier);
        let error = refused(&members, "two").ends(7).error();
        assert_eq!(error["code"], "log.record_damaged", "{damage:?}: {error}");
        let next = error["next"].as_str().unwrap();
        assert!(next.contains("holdfast cluster remove"), "{damage:?}: {error}");
        fs::remove_dir_all(members.dir("two").join("data")).unwrap();
        copy(&intact, &members.dir("two").join("data"));
    }
    members.run(&["agent", "token"]).ok();
    Damage::CutShort.make(&log, &earlier);
    refused(&members, "two").ends(7);
    let lost = members.row("two").unwrap()["id"].clone();
    members.run(&["cluster", "remove", "two", "--yes"]).ok();
    fs::rename(members.dir("two"), members.scratch.join("damaged")).unwrap();
    members.add("two", &[]);
    members.wait_for_voters(3);
    has_everything(&members, "two");
    assert_ne!(members.row("two").unwrap()["id"], lost);
    // What was intact after all does not come back as the member that was removed.
    let again = members.scratch.join("damaged");
    fs::remove_dir_all(again.join("data")).unwrap();
    copy(&intact, &again.join("data"));
    let mut command = Command::new(binary());
    command.args(["coordinator", "--config"]).arg(again.join("coordinator.toml"));
    let outcome = not_started(&command).ends(4);
    assert!(outcome.stderr.contains("member.identity_removed"), "{}", outcome.stderr);
}

#[derive(Clone, Copy, Debug)]
enum Damage {
    CutShort,
    Flipped,
    Gone,
    /// By whoever keeps copies of it.
    TakenBack,
}

impl Damage {
    fn make(self, log: &Path, earlier: &Path) {
        let written = fs::read(log).unwrap();
        let bytes = written.iter().rposition(|byte| *byte != 0).unwrap() as u64;
        let file = fs::File::options().read(true).write(true).open(log).unwrap();
        match self {
            Self::CutShort => file.set_len(bytes / 2).unwrap(),
            Self::Flipped => {
                for at in (0..bytes).step_by(512) {
                    let mut byte = [0];
                    file.read_exact_at(&mut byte, at).unwrap();
                    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
                }
            }
            Self::Gone => fs::remove_file(log).unwrap(),
            Self::TakenBack => drop(fs::copy(earlier, log).unwrap()),
        }
    }
}
