//! Two required locations: what one lost or damaged comes back from the other, and a healing that
//! does not succeed leaves what was there. Then both are as they were before the damage.

use crate::{
    cluster::Cluster,
    harness::{Damage, Objects, Scratch, SmallDisk, Tree, noise, write},
};
use serde_json::Value;
use std::{fs, path::PathBuf};

struct Scene {
    cluster: Cluster,
    source: PathBuf,
    point: String,
    _agent: crate::harness::Service,
}

impl Scene {
    fn new(scratch: Scratch) -> Self {
        let cluster = Cluster::start_in(scratch, &["east", "west"]);
        let agent = cluster.agent("files-1");
        let source = cluster.scratch.join("source");
        for number in 0..4 {
            write(&source.join(number.to_string()), noise(number, 1_500_000));
        }
        let told = cluster.run(&["backup", "--path", source.to_str().unwrap()]).ok().object();
        let point = told["point"].as_str().unwrap().to_owned();
        Self { cluster, source, point, _agent: agent }
    }

    fn verify(&self, level: &str, exit: i32) -> Vec<Value> {
        let told = self.cluster.run(&["verify", "--all", "--level", level]).ends(exit).object();
        told["damaged"].as_array().unwrap().clone()
    }

    fn objects(&self, location: &str) -> Objects {
        Objects::of(&self.cluster.scratch.join(location))
    }

    /// What verification is about: the log goes on by itself.
    fn trees(&self, location: &str) -> Vec<Tree> {
        let root = self.cluster.scratch.join(location);
        let contents = |kind: &str| Tree::of(&root.join(kind)).without_times();
        ["packs", "points", "reach", "index"].map(contents).into()
    }

    fn assert_restores(&self, name: &str) {
        let to = self.cluster.scratch.join(name);
        self.cluster.run(&["restore", &self.point, "--to", to.to_str().unwrap()]).ok();
        let back = to.join(self.source.strip_prefix("/").unwrap());
        Tree::of(&self.source).assert_same(&Tree::of(&back), name);
    }
}

fn assert_same(found: &[Tree], due: &[Tree], what: &str) {
    assert_eq!(found.len(), due.len());
    found.iter().zip(due).for_each(|(found, due)| due.assert_same(found, what));
}

#[test]
fn what_one_location_lost_is_healed_from_the_other() {
    let scene = Scene::new(Scratch::new());
    let before = ["east", "west"].map(|location| scene.trees(location));
    for (bad, good) in [("east", "west"), ("west", "east")] {
        let objects = scene.objects(bad);
        for kind in ["packs", "points", "reach", "index"] {
            let victim = objects.below(kind).remove(0);
            for how in Damage::ALL {
                let what = format!("{how:?} of {} in {bad}", objects.name(&victim));
                std::mem::forget(objects.damage(&victim, how));
                let rows = scene.verify("storage", 7);
                assert_eq!(rows.len(), 1, "{what}: {rows:?}");
                let (object, location) = (&rows[0]["object"], &rows[0]["location"]);
                assert_eq!((object, location), (&objects.name(&victim).into(), &bad.into()));
                assert_eq!(rows[0]["healed_from"], good, "{what}");
                assert_eq!(rows[0]["paths"], serde_json::json!([]), "{what}: none is lost");
                assert!(scene.verify("storage", 0).is_empty(), "{what}: whole again");
            }
        }
    }
    for (location, before) in ["east", "west"].iter().zip(&before) {
        assert_same(&scene.trees(location), before, location);
    }
    // Each location is enough by itself, and a missing pack is seen without reading.
    for location in ["east", "west"] {
        let victim = scene.objects(location).below("packs").remove(0);
        fs::remove_file(&victim).unwrap();
        let rows = scene.verify("structure", 7);
        assert_eq!((rows.len(), &rows[0]["problem"]), (1, &"missing".into()));
        assert!(rows[0]["healed_from"].is_string() && victim.exists());
    }
    scene.assert_restores("back");
}

#[test]
fn a_healing_that_has_no_room_takes_nothing_away() {
    let scratch = Scratch::new();
    let disk = SmallDisk::mount(&scratch.join("west"), 64);
    let scene = Scene::new(scratch);
    let west = scene.objects("west");
    let victim = west.below("packs").remove(0);
    std::mem::forget(west.damage(&victim, Damage::Truncate));
    let left = fs::read(&victim).unwrap();
    disk.fill();
    let rows = scene.verify("storage", 7);
    let row = rows.iter().find(|row| row["object"] == west.name(&victim).as_str()).unwrap();
    assert_eq!((&row["location"], &row["problem"]), (&"west".into(), &"truncated".into()));
    assert_eq!((&row["healed_from"], &row["paths"]), (&Value::Null, &serde_json::json!([])));
    assert!(fs::read(&victim).ok() == Some(left), "what was left is there still");
    scene.assert_restores("from-east");
    disk.make_room();
    let rows = scene.verify("storage", 7);
    assert_eq!((rows.len(), &rows[0]["healed_from"]), (1, &"east".into()));
    assert!(scene.verify("storage", 0).is_empty());
}
