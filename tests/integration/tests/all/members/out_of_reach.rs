//! What lies only where nobody reaches it, while a location that follows stands in: nobody says
//! that it is lost, and no backup rests on what is damaged or gone in the one that stands in.

use super::{losing::fill, regions::Regions, scene::PATIENCE};
use crate::harness::{Damage, Objects, Tree, wait_until, write};
use std::{fs, process::Command};

impl Regions {
    /// One more location, empty.
    pub(super) fn declare(&self, name: &str, region: &str) {
        fs::create_dir(self.at(name)).unwrap();
        let url = format!("local:{}", self.at(name).display());
        let spec = format!("[spec]\nurl = \"{url}\"\nregion = \"{region}\"\n");
        self.apply(format!("kind = \"location\"\nname = \"{name}\"\n{spec}"));
    }

    /// Beside `far`, this one follows too.
    fn follow_too(&self, name: &str) {
        let locations = format!(r#"required = ["location"], following = ["far", "{name}"]"#);
        let spec = format!("[spec]\nlocations = {{ {locations} }}\n");
        self.apply(format!("kind = \"vault\"\nname = \"main\"\n{spec}"));
    }

    pub(super) fn apply(&self, text: String) {
        let file = self.at("declared.toml");
        write(&file, text);
        self.members.run(&["apply", "-f", file.to_str().unwrap()]).ok();
    }

    fn wait_until_lost_packs_are_told(&self) {
        wait_until("it is told", PATIENCE, || {
            self.alarms().contains(&"pack.missing".to_owned()).then_some(())
        });
    }
}

#[test]
fn another_that_follows_does_not_say_that_what_is_out_of_reach_is_lost() {
    let mut regions = Regions::that_follow();
    regions.declare("third", "dr");
    regions.follow_too("third");
    let first = regions.backup();
    for name in ["far", "third"] {
        regions.wait_until_in(name, &first);
    }
    for name in ["far", "third"] {
        regions.block_in(name, "packs", true);
    }
    fill(&regions.source, 2, 2);
    let (second, tree) = (regions.backup(), Tree::of(&regions.source));
    let knows = || regions.points_at("four").contains(&second).then_some(());
    wait_until("`dr` knows of it", PATIENCE, knows);
    regions.lose_eu_with_its_location();
    for name in ["far", "third"] {
        regions.block_in(name, "packs", false);
    }
    let told = regions.promote();
    let taken = told["taken"][0]["location"].as_str().unwrap().to_owned();
    let other = if taken == "far" { "third" } else { "far" };
    fill(&regions.source, 3, 1);
    let third = regions.backup();
    // It has looked through all that there is.
    regions.wait_until_in(other, &third);
    wait_until("it lacks nothing that can be had", PATIENCE, || {
        (regions.copies_in(other)["state"] == "current").then_some(())
    });
    let alarms = regions.alarms();
    assert!(alarms.iter().all(|code| code != "source.point_lost"), "{alarms:?}");
    regions.restore(&second, "second").fails(5, "point.location_lost");
    fs::rename(regions.at("burnt"), regions.at("location")).unwrap();
    regions.start_eu();
    regions.fail_back(&["--yes"]).ok();
    regions.is_whole(&second, &tree, "back");
    for name in ["far", "third"] {
        regions.wait_until_in(name, &second);
    }
}

#[test]
fn no_backup_rests_on_what_is_damaged_in_the_one_that_stands_in() {
    let mut regions = Regions::that_follow();
    let first = regions.backup();
    regions.wait_until_in_far(&first);
    regions.lose_eu_with_its_location();
    regions.promote();
    let before = Objects::of(&regions.at("far")).below("packs");
    fill(&regions.source, 2, 2);
    let second = regions.backup();
    let far = Objects::of(&regions.at("far"));
    let packs: Vec<_> = far.below("packs").into_iter().filter(|p| !before.contains(p)).collect();
    let _undo: Vec<_> = packs.iter().map(|path| far.damage(path, Damage::FlipMiddle)).collect();
    regions.members.run(&["verify", "--all", "--level", "storage"]).ends(7);
    regions.wait_until_lost_packs_are_told();
    let alarms = regions.alarms();
    assert!(alarms.iter().all(|code| code != "source.point_lost"), "{alarms:?}");
    // Files that changed are read anew; what they are made of is what was damaged.
    touch_all(&regions);
    let third = regions.backup();
    assert_ne!(second, third);
    regions.is_whole_in("far", &third, &Tree::of(&regions.source));
}

#[test]
fn one_that_stands_in_and_comes_back_older_is_looked_through_again() {
    let mut regions = Regions::that_follow();
    let first = regions.backup();
    regions.wait_until_in_far(&first);
    // Something is out of reach: the row of its copies stays for the whole outage.
    regions.block("packs", true);
    fill(&regions.source, 2, 1);
    let second = regions.backup();
    let knows = || regions.points_at("four").contains(&second).then_some(());
    wait_until("`dr` knows of it", PATIENCE, knows);
    regions.lose_eu_with_its_location();
    regions.block("packs", false);
    regions.promote();
    regions.wait_for_copies("away");
    copy(&regions, "far", "older");
    fill(&regions.source, 3, 2);
    regions.backup();
    for entry in fs::read_dir(regions.at("far")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }
    copy(&regions, "older/.", "far");
    regions.members.run(&["agent", "token"]).ok();
    let is_doubted = || {
        let told = regions.members.run(&["audit", "list"]).ok();
        told.text().contains("location.doubt").then_some(())
    };
    wait_until("it is doubted", PATIENCE, is_doubted);
    touch_all(&regions);
    let tree = Tree::of(&regions.source);
    let third = regions.backup();
    regions.is_whole_in("far", &third, &tree);
}

#[test]
fn one_that_follows_in_the_lost_region_holds_nothing_up() {
    let mut regions = Regions::that_follow();
    regions.declare("near", "eu");
    regions.follow_too("near");
    let first = regions.backup();
    regions.wait_until_in_far(&first);
    regions.wait_for_copies("current");
    fs::rename(regions.at("near"), regions.at("burnt-too")).unwrap();
    regions.lose_eu_with_its_location();
    regions.promote();
    let has_all = || regions.copies_in("far").is_null().then_some(());
    wait_until("it lacks nothing", PATIENCE, has_all);
    let before = Objects::of(&regions.at("far")).below("packs").len();
    regions.backup();
    let after = Objects::of(&regions.at("far")).below("packs").len();
    assert_eq!(before, after, "nothing had to be sent again");
}

fn touch_all(regions: &Regions) {
    for entry in fs::read_dir(&regions.source).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        write(&path, bytes);
    }
}

fn copy(regions: &Regions, from: &str, to: &str) {
    let done = Command::new("cp").arg("-a").args([regions.at(from), regions.at(to)]).status();
    assert!(done.unwrap().success());
}
