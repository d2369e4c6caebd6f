//! Locations are read back by whoever leads: the next one goes on where the one before was, and
//! knows what it found.

use super::{
    losing::fill,
    scene::{Members, PATIENCE},
};
use crate::harness::{Damage, Objects, wait_until, write};
use serde_json::Value;
use std::fs;

fn declare(members: &Members, bytes_per_second: u64, every_hours: u32) {
    let file = members.scratch.join("vault.toml");
    let verify = format!(
        "verify = {{ storage_bytes_per_day = {}, storage_every_hours = {every_hours} }}",
        bytes_per_second * 86_400
    );
    let spec = format!("[spec]\nlocations = {{ required = [\"location\"] }}\n{verify}\n");
    write(&file, format!("kind = \"vault\"\nname = \"main\"\n{spec}"));
    members.run(&["apply", "-f", file.to_str().unwrap()]).ok();
}

/// What the leader, or the ledger, says of reading the location back.
fn check(members: &Members) -> Value {
    let told = members.run(&["location", "list"]).ok().object();
    told["locations"][0]["checks"][0].clone()
}

fn damage(members: &Members) -> usize {
    let told = members.run(&["status"]).object();
    let alarms = told["alarms"].as_array().unwrap().iter();
    alarms.filter(|row| row["code"].as_str().unwrap().starts_with("object.")).count()
}

#[test]
fn a_pass_goes_on_under_the_next_leader_where_it_was() {
    let mut members = Members::three();
    let agent = members.agent("host");
    declare(&members, 0, 0);
    let source = members.scratch.join("source");
    fill(&source, 1, 30);
    members.run(&["backup", "--path", source.to_str().unwrap()]).ok();
    let objects = Objects::of(&members.scratch.join("location"));
    let mut packs = objects.below("packs");
    packs.sort();
    let all: u64 = packs.iter().map(|pack| fs::metadata(pack).unwrap().len()).sum();
    assert!(packs.len() >= 3 && all > 24_000_000, "{all} bytes in {packs:?}");
    // What the first leader finds at once and nobody can mend.
    let first = packs.remove(0);
    let undo = objects.damage(&first, Damage::FlipMiddle);
    declare(&members, 200_000, 0);
    wait_until("the damage is told", PATIENCE, || (damage(&members) == 1).then_some(()));
    let told = check(&members);
    let (began, objects_read) = (told["pass"]["began"].clone(), told["pass"]["objects"].as_u64());
    assert!(began.is_string(), "{told}");
    let leader = members.leader();
    members.kill(&leader);
    wait_until("another one leads", PATIENCE, || (members.leader() != leader).then_some(()));
    assert_eq!(damage(&members), 1, "the next one knows of it");
    // No further pass begins.
    declare(&members, 1_000_000_000, 24);
    let ended = wait_until("the pass comes to its end", PATIENCE, || {
        Some(check(&members)).filter(|told| told["last"]["began"] == began)
    });
    let last = &ended["last"];
    assert!(last["objects"].as_u64() > objects_read, "{ended}");
    assert!(last["objects"].as_u64().unwrap() >= packs.len() as u64, "{ended}");
    // What had been read before the leader changed was not read again: the damage counts once.
    assert_eq!((&last["damaged"], &last["healed"]), (&1.into(), &0.into()), "{ended}");
    drop(undo);
    declare(&members, 1_000_000_000, 0);
    wait_until("it is whole again", PATIENCE, || (damage(&members) == 0).then_some(()));
    drop(agent);
}
