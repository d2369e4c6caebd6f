//! Points that stay and points that go: shown with their reasons, forgotten as they were shown, and
//! never there again.

use crate::{
    cluster::Cluster,
    harness::{Dev, Objects, Outcome, Scratch, Tree, noise, write},
};
use holdfast_common::PointId;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

pub fn policy(agent: &str, source: &Path, retention: &str) -> String {
    format!(
        "kind = \"policy\"\nname = \"docs\"\n[spec]\nagent = \"{agent}\"\n\
         source = {{ type = \"files\", paths = [\"{}\"] }}\n{retention}\n",
        source.display()
    )
}

/// One coordinator and one agent in one process, and a source that its policy backs up.
struct Scene {
    scratch: Scratch,
    source: PathBuf,
    dev: Dev,
}

impl Scene {
    fn start(retention: &str) -> Self {
        let scratch = Scratch::new();
        let (source, dev) = (scratch.join("source"), Dev::start(&scratch.join("d")));
        write(&source.join("small"), "what is small lies in the first point's own object");
        let scene = Self { scratch, source, dev };
        scene.retain_by(retention);
        scene
    }

    fn retain_by(&self, retention: &str) {
        self.apply(&policy("local", &self.source, retention));
    }

    fn apply(&self, text: &str) {
        let file = self.scratch.join("applied.toml");
        write(&file, text);
        self.run(&["apply", "-f", file.to_str().unwrap()]).ok();
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        self.dev.json(arguments)
    }

    /// A point in which `large` differs from every other one.
    fn back_up(&self, seed: u64) -> String {
        write(&self.source.join("large"), noise(seed, 700_000));
        self.back_up_as_it_is()
    }

    fn back_up_as_it_is(&self) -> String {
        let made = self.run(&["backup", "docs"]).ok().object();
        made["point"].as_str().unwrap().to_owned()
    }

    fn restores(&self, point: &str) {
        let to = self.scratch.join(&format!("back-{point}"));
        self.run(&["restore", point, "--to", to.to_str().unwrap()]).ok();
        let back = to.join(self.source.strip_prefix("/").unwrap());
        Tree::of(&self.source).assert_same(&Tree::of(&back), point);
    }

    fn location(&self) -> PathBuf {
        self.scratch.join("d/location")
    }

    fn objects(&self) -> Vec<PathBuf> {
        let objects = Objects::of(&self.location());
        ["points", "reach", "packs"].iter().flat_map(|below| objects.below(below)).collect()
    }
}

fn ids(points: &Value) -> Vec<String> {
    let points = points["points"].as_array().unwrap();
    points.iter().map(|point| point["id"].as_str().unwrap().to_owned()).collect()
}

/// Each point of a plan: its id, what becomes of it, and why.
fn verdicts(plan: &Value) -> Vec<(String, String, Vec<String>)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let told = |point: &Value| {
        let reasons = point["reasons"].as_array().unwrap().iter().map(text).collect();
        (text(&point["id"]), text(&point["verdict"]), reasons)
    };
    plan["points"].as_array().unwrap().iter().map(told).collect()
}

fn reasons_of(plan: &Value, point: &str) -> Vec<String> {
    let found = verdicts(plan).into_iter().find(|(id, ..)| id == point);
    found.unwrap_or_else(|| panic!("{point} is in the plan: {plan:#}")).2
}

#[test]
fn what_goes_is_shown_first_forgotten_when_agreed_to_and_its_objects_stay() {
    let scene = Scene::start("retention = { last = 2, protect_for = \"0s\" }");
    // So little that it lies in the point's own object.
    let mut made = vec![scene.back_up_as_it_is()];
    made.extend((2..=4).map(|seed| scene.back_up(seed)));
    let by_path = scene.scratch.join("by-path");
    write(&by_path.join("a"), "a");
    let aside = scene.run(&["backup", "--path", by_path.to_str().unwrap()]).ok().object();
    let aside = aside["point"].as_str().unwrap();

    let plan = scene.run(&["retain", "docs", "--dry-run"]).ok().object();
    let told: Vec<_> = verdicts(&plan).into_iter().map(|(id, verdict, _)| (id, verdict)).collect();
    let expected = |at: usize, verdict: &str| (made[at].clone(), verdict.to_owned());
    let wanted =
        [expected(3, "keep"), expected(2, "keep"), expected(1, "forget"), expected(0, "forget")];
    assert_eq!(told, wanted);
    assert_eq!(reasons_of(&plan, &made[3]), ["last", "newest"]);
    assert_eq!(reasons_of(&plan, &made[2]), ["last"]);
    assert_eq!(plan["dry_run"], true);
    // Noise does not compress; of the first point's small object a part is needed still.
    let frees = plan["frees_bytes"].as_u64().unwrap();
    assert!((700_000..800_000).contains(&frees), "{plan:#}");
    let each = plan["points"].as_array().unwrap().iter().map(|point| point["bytes"].as_u64());
    assert_eq!(each.flatten().sum::<u64>(), frees, "{plan:#}");
    let all = scene.run(&["retain", "--dry-run"]).ok().object();
    assert_eq!(reasons_of(&all, aside), ["newest", "no-rules", "unscheduled"]);

    let (before, listed) = (scene.objects(), scene.run(&["points"]).ok().object());
    assert_eq!(ids(&listed).len(), 5, "nothing was forgotten yet");
    scene.run(&["retain", "docs"]).fails(4, "confirm.answer_missing");
    assert_eq!(ids(&scene.run(&["points"]).ok().object()).len(), 5);
    let done = scene.run(&["retain", "docs", "--yes"]).ok().object();
    let forgotten = done["forgotten"].as_array().unwrap();
    let forgotten: Vec<_> = forgotten.iter().map(|id| id.as_str().unwrap()).collect();
    assert!(forgotten.len() == 2 && made[..2].iter().all(|id| forgotten.contains(&&**id)));

    let listed = scene.run(&["points"]).ok().object();
    assert_eq!(ids(&listed), [aside, &made[3], &made[2]]);
    let to = scene.scratch.join("gone");
    let restore = ["restore", &made[0], "--to", to.to_str().unwrap()];
    for told in [scene.run(&restore), scene.run(&["ls", &made[1][..12]])] {
        let error = told.ends(3).error();
        assert_eq!(error["code"], "point.id_unknown");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("was forgotten at 20"), "{message}");
        assert!(message.contains("by operator:"), "{message}");
    }
    let never = scene.run(&["ls", &"f".repeat(32)]).ends(3).error();
    assert!(!never["message"].as_str().unwrap().contains("forgotten"), "{never}");
    let gone = scene.run(&["points", "--forgotten"]).ok().object();
    let mut gone_ids = ids(&gone);
    gone_ids.sort();
    let mut expected = made[..2].to_vec();
    expected.sort();
    assert_eq!(gone_ids, expected, "{gone:#}");
    assert!(gone["points"][0]["forgotten"]["why"].as_str().unwrap().contains("docs"), "{gone:#}");
    assert_eq!(scene.objects(), before, "no object was touched");
    // The newest one relies on what lies in the object of the first.
    scene.restores(&made[3]);
    scene.run(&["verify", "--all", "--level", "storage"]).ok();
    let again = scene.run(&["retain", "docs", "--yes"]).ok().object();
    assert_eq!(again["forgotten"], json!([]));
    let audit = scene.run(&["audit", "list"]).ok().object();
    let id = |text: &String| *text.parse::<PointId>().unwrap().as_bytes();
    let bytes: Vec<u8> = expected.iter().flat_map(id).collect();
    let subject = format!("2 of docs by revision 1: {}", blake3::hash(&bytes));
    let mut rows = audit["entries"].as_array().unwrap().iter();
    let row = rows.find(|row| row["action"] == "points.forget" && row["result"] == "ok");
    assert_eq!(row.unwrap()["subject"], subject);
}

#[test]
fn what_is_young_and_what_is_held_stays_whatever_the_rules_say() {
    let scene = Scene::start("retention = { last = 1 }");
    let made: Vec<String> = (1..=3).map(|seed| scene.back_up(seed)).collect();
    let plan = scene.run(&["retain", "docs", "--yes"]).ok().object();
    assert_eq!(plan["forgotten"], json!([]), "14 days are not over");
    assert_eq!(reasons_of(&plan, &made[0]), ["protected"]);

    scene.retain_by("retention = { last = 1, protect_for = \"0s\" }");
    let held = ["hold", "add", &made[0][..12], "--reason", "claim 4711", "--for", "30d"];
    let held = scene.run(&held).ok().object();
    assert_eq!((&held["point"], &held["policy"]), (&made[0].as_str().into(), &Value::Null));
    let listed = scene.run(&["hold", "list"]).ok().object()["holds"].clone();
    assert_eq!(listed, json!([held_fields(&held)]));
    let plan = scene.run(&["retain", "docs", "--yes"]).ok().object();
    assert_eq!(plan["forgotten"], json!([made[1]]));
    assert_eq!(reasons_of(&plan, &made[0]), ["held"]);

    let id = held["id"].as_str().unwrap();
    scene.run(&["hold", "release", id]).fails(4, "confirm.answer_missing");
    scene.run(&["hold", "release", &id[..8], "--reason", "settled", "--yes"]).ok();
    let again = scene.run(&["hold", "release", id, "--yes"]).ends(3).error();
    assert_eq!(again["code"], "hold.id_unknown");
    assert!(again["message"].as_str().unwrap().contains("ended at 20"), "{again}");
    let listed = scene.run(&["hold", "list"]).ok().object()["holds"].clone();
    assert!(listed[0]["ended"].is_string(), "it is seen for a day: {listed:#}");
    let audit = scene.run(&["audit", "list"]).ok().object();
    let mut rows = audit["entries"].as_array().unwrap().iter();
    let row = rows.find(|row| row["action"] == "hold.release" && row["result"] == "ok");
    let said = format!("{id} on point {}: settled", made[0]);
    assert_eq!(row.unwrap()["subject"], said);
    scene.run(&["hold", "add", "--policy", "docs", "--reason", "audit"]).ok();
    let plan = scene.run(&["retain", "docs", "--yes"]).ok().object();
    assert_eq!(plan["forgotten"], json!([]));
    assert_eq!(ids(&scene.run(&["points"]).ok().object()).len(), 2);
}

/// What was answered, but for what every answer has.
fn held_fields(held: &Value) -> Value {
    let mut fields = held.as_object().unwrap().clone();
    fields.remove("schema");
    Value::Object(fields)
}

const LAST: &str = "retention = { last = 1, protect_for = \"0s\" }";

#[test]
fn a_newest_point_that_is_lost_lets_no_good_one_go_until_it_is_back() {
    let scene = Scene::start(LAST);
    let made: Vec<String> = (1..=2).map(|seed| scene.back_up(seed)).collect();
    let record = scene.location().join("points").join(&made[1]);
    let bytes = fs::read(&record).unwrap();
    fs::remove_file(&record).unwrap();
    scene.run(&["verify", "--all", "--level", "structure"]).ends(7);
    let plan = scene.run(&["retain", "docs", "--yes"]).ok().object();
    assert_eq!(plan["forgotten"], json!([]), "{plan:#}");
    assert_eq!(reasons_of(&plan, &made[0]), ["last", "newest"]);
    let to = scene.scratch.join("good");
    scene.run(&["restore", &made[0], "--to", to.to_str().unwrap()]).ok();
    fs::write(&record, bytes).unwrap();
    scene.run(&["verify", "--all", "--level", "structure"]).ok();
    let plan = scene.run(&["retain", "docs", "--yes"]).ok().object();
    assert_eq!(plan["forgotten"], json!([made[0]]), "{plan:#}");
}

#[test]
fn what_lay_in_a_lost_points_object_is_sent_again_and_holds_the_rules_up_until_then() {
    let scene = Scene::start(LAST);
    // What is small lies in the first one's object, and the second one needs it.
    let made = [scene.back_up_as_it_is(), scene.back_up(2)];
    fs::remove_file(scene.location().join("points").join(&made[0])).unwrap();
    scene.run(&["verify", "--all", "--level", "storage"]).ends(7);
    let plan = scene.run(&["retain", "docs", "--dry-run"]).ok().object();
    assert_eq!(reasons_of(&plan, &made[0]), ["damaged"], "{plan:#}");
    scene.run(&["retain", "docs", "--yes"]).ok();
    assert_eq!(ids(&scene.run(&["points"]).ok().object()).len(), 2);
    let whole = scene.back_up(3);
    scene.restores(&whole);
    let plan = scene.run(&["retain", "docs", "--yes"]).ok().object();
    let forgotten = plan["forgotten"].as_array().unwrap();
    assert_eq!(forgotten.len(), 2, "a pack is lost, and what stays does not need it: {plan:#}");
}

#[test]
fn a_pack_that_only_old_points_need_holds_nothing_up_when_it_is_lost() {
    let scene = Scene::start(LAST);
    // In the pack of the second one is nothing that the third one has.
    let old = [scene.back_up_as_it_is(), scene.back_up(1)];
    let pack = Objects::of(&scene.location()).below("packs").remove(0);
    let newest = scene.back_up(2);
    fs::remove_file(pack).unwrap();
    scene.run(&["verify", "--all", "--level", "structure"]).ends(7);
    let plan = scene.run(&["retain", "docs", "--yes"]).ok().object();
    assert_eq!(plan["forgotten"].as_array().unwrap().len(), old.len(), "{plan:#}");
    scene.restores(&newest);
}

#[test]
fn a_source_that_seems_empty_lets_the_last_good_point_go_only_when_a_person_says_so() {
    let scene = Scene::start(LAST);
    let good = scene.back_up_as_it_is();
    fs::remove_dir_all(&scene.source).unwrap();
    fs::create_dir(&scene.source).unwrap();
    let junk: Vec<String> = (1..=2).map(|_| scene.back_up_as_it_is()).collect();
    let plan = scene.run(&["retain", "docs", "--yes"]).ok().object();
    assert_eq!(plan["forgotten"], json!([junk[0]]), "{plan:#}");
    assert_eq!(reasons_of(&plan, &good), ["anomaly"]);
    assert_eq!(plan["points"][2]["bytes"], 0, "asked for");
    let despite = ["retain", "docs", "--despite-anomalies", "--yes"];
    let plan = scene.run(&despite).ok().object();
    assert_eq!(plan["forgotten"], json!([good]), "{plan:#}");
    let gone = scene.run(&["points", "--forgotten"]).ok().object();
    assert!(gone.to_string().contains("despite anomalies"), "{gone:#}");
    let elsewhere = ["points", "--forgotten", "--from-location", "local:/nowhere"];
    scene.run(&elsewhere).ends(2);
}

#[test]
fn a_class_is_one_place_for_the_rules_of_its_policies() {
    let scene = Scene::start("");
    let made: Vec<String> = (1..=2).map(|seed| scene.back_up(seed)).collect();
    let plan = scene.run(&["retain", "docs", "--dry-run"]).ok().object();
    assert_eq!(reasons_of(&plan, &made[0]), ["no-rules"]);
    let class = "kind = \"class\"\nname = \"gold\"\n[spec]\n\
                 retention = { versions = 2, protect_for = \"0s\" }\n";
    scene.apply(class);
    scene.retain_by("class = \"gold\"");
    let plan = scene.run(&["retain", "docs", "--dry-run"]).ok().object();
    assert_eq!(reasons_of(&plan, &made[0]), ["versions"]);
    // What did not change since is the same version, whatever happens beside the source.
    write(&scene.scratch.join("beside"), "a neighbour");
    let same = scene.back_up_as_it_is();
    let plan = scene.run(&["retain", "docs", "--dry-run"]).ok().object();
    assert_eq!(reasons_of(&plan, &same), ["newest", "versions"]);
    assert_eq!(reasons_of(&plan, &made[1]), [""; 0]);
    assert_eq!(reasons_of(&plan, &made[0]), ["versions"]);
    let exported = scene.dev.run(&["export"]).ok();
    let file = scene.scratch.join("exported.toml");
    write(&file, exported.text());
    let told = scene.run(&["apply", "-f", file.to_str().unwrap(), "--dry-run"]).ok().object();
    let resources = told["resources"].as_array().unwrap();
    assert!(resources.iter().all(|resource| resource["result"] == "unchanged"), "{told:#}");
    assert!(resources.iter().any(|resource| resource["kind"] == "class"), "{told:#}");
    scene.run(&["delete", "class", "gold", "--yes"]).fails(8, "resource.change_refused");
}

#[test]
fn everything_that_a_revoked_agent_made_is_held() {
    let cluster = Cluster::start();
    let agent = cluster.agent("host");
    let made = two_points(&cluster);
    cluster.run(&["agent", "revoke", "host", "--yes"]).ok();
    let holds = cluster.run(&["hold", "list"]).ok().object();
    assert_eq!(holds["holds"][0]["agent"], "host", "{holds:#}");
    let plan = cluster.run(&["retain", "docs", "--yes"]).ok().object();
    assert_eq!(plan["forgotten"], json!([]));
    assert_eq!(reasons_of(&plan, &made[0]), ["held"]);
    drop(agent);
}

/// Two points of a policy that keeps one.
pub fn two_points(cluster: &Cluster) -> Vec<String> {
    let source = cluster.scratch.join("source");
    let file = cluster.scratch.join("docs.toml");
    write(&file, policy("host", &source, "retention = { last = 1, protect_for = \"0s\" }"));
    let back_up = |seed: u64| {
        write(&source.join("large"), noise(seed, 700_000));
        if seed == 1 {
            cluster.run(&["apply", "-f", file.to_str().unwrap()]).ok();
        }
        let made = cluster.run(&["backup", "docs"]).ok().object();
        made["point"].as_str().unwrap().to_owned()
    };
    vec![back_up(1), back_up(2)]
}
