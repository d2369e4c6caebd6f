//! A version of the keys is destroyed while members come and go: whoever leads next clears what is
//! left, and one that was away, or came later, knows it as well.

use super::{
    losing::fill,
    scene::{Members, PATIENCE},
};
use crate::{
    harness::{noise, wait_until, write},
    operators::{as_whom, issued},
};
use serde_json::{Value, json};
use std::{fs, path::Path};

fn declare_far(members: &Members, far: &Path) {
    members.run(&["location", "add", "far", &format!("local:{}", far.display())]).ok();
    let file = members.scratch.join("vault.toml");
    let spec = "[spec]\nlocations = { required = [\"location\"], following = [\"far\"] }\n";
    write(&file, format!("kind = \"vault\"\nname = \"main\"\n{spec}"));
    members.run(&["apply", "-f", file.to_str().unwrap()]).ok();
    let has_keys = || (objects(far, 1) == 1 && objects(far, 2) == 1).then_some(());
    wait_until("`far` has the keys", PATIENCE, has_keys);
}

/// How many objects of a version of the keys lie there.
fn objects(location: &Path, version: u32) -> usize {
    fs::read_dir(location.join(format!("keys/{version:08}"))).map_or(0, Iterator::count)
}

/// What a member says is left of version 1.
fn destroyed_at(members: &Members, name: &str) -> Option<Value> {
    let told = members.run_at(name, &["keys", "list"]);
    let destroyed = (told.code == 0).then(|| told.object()["keys"][0]["destroyed"].clone())?;
    destroyed.as_array().unwrap().first().cloned()
}

/// It opens nothing of a point that needed version 1, and all of one that did not.
fn assert_destroyed_at(members: &Members, name: &str, (lost, kept): (&str, &str)) {
    wait_until("it knows", PATIENCE, || destroyed_at(members, name).map(drop));
    let to = members.scratch.join(&format!("back-{name}"));
    let to = to.to_str().unwrap();
    members.run_at(name, &["restore", lost, "--to", to]).fails(4, "point.key_destroyed");
    members.run_at(name, &["restore", kept, "--to", to]).ok();
}

#[test]
fn whoever_leads_next_goes_on_clearing_and_whoever_was_away_or_comes_knows_it_too() {
    let mut members = Members::three();
    let agent = members.agent("host");
    let source = members.scratch.join("source");
    fill(&source, 1, 2);
    let backup = || {
        let told = members.run(&["backup", "--path", source.to_str().unwrap()]).ok().object();
        told["point"].as_str().unwrap().to_owned()
    };
    let first = backup();
    members.run(&["keys", "rotate", "main"]).ok();
    members.run(&["keys", "close", "--vault", "main", "1", "--yes"]).ok();
    write(&source.join("new"), noise(9, 300_000));
    let second = backup();
    let far = members.scratch.join("far");
    declare_far(&members, &far);
    let people = ["alice", "bob"]
        .map(|name| issued(&members.scratch.join("c/operator.toml"), &members.scratch, name, &[]));

    // One is away, and so is a location.
    let leader = members.leader();
    let [away, third] = super::scene::others(&leader);
    members.kill(away);
    let hidden = members.scratch.join("vault-of-far");
    fs::rename(far.join("vault"), &hidden).unwrap();
    let destroy = ["keys", "destroy", "1", "--vault", "main", "--yes"];
    let asked = [&destroy[..], &["--lose-points", "1"]].concat();
    let asked = as_whom(&people[0], &asked).ok().object();
    let agree = [&destroy[..], &["--approve", asked["id"].as_str().unwrap()]].concat();
    as_whom(&people[1], &agree).ok();
    members.start(away);
    members.wait_for_voters(3);

    // Whoever leads is killed; another one goes on.
    let leader = members.leader();
    members.kill(&leader);
    fs::rename(&hidden, far.join("vault")).unwrap();
    let others = super::scene::others(&leader);
    wait_until("both locations are clear", PATIENCE, || {
        let places = destroyed_at(&members, others[0])?["locations"].as_array()?.clone();
        let all = places.len() == 2 && places.iter().all(|place| !place["gone"].is_null());
        all.then_some(())
    });
    let location = members.scratch.join("location");
    assert_eq!((objects(&location, 1), objects(&far, 1)), (0, 0));
    assert_eq!((objects(&location, 2), objects(&far, 2)), (1, 1));
    members.start(&leader);
    for name in [away, third, "one"] {
        assert_destroyed_at(&members, name, (&first, &second));
        fs::remove_dir_all(members.scratch.join(&format!("back-{name}"))).unwrap();
    }
    members.add("four", &[]);
    assert_destroyed_at(&members, "four", (&first, &second));
    let told = members.run(&["verify", "--all", "--level", "storage"]).ok().object();
    assert_eq!(told["damaged"], json!([]), "{told}");
    drop(agent);
}
