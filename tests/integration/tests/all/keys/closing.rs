//! A version of the keys that is closed: backups go on and send again what only it opens, what is
//! committed after needs it no more, and what would be lost with it is told.

use super::House;
use serde_json::{Value, json};

impl House {
    fn close(&self, version: &str) -> crate::harness::Outcome {
        self.cluster.run(&["keys", "close", "--vault", "main", version, "--yes"])
    }

    /// State, packs, and points of each version.
    fn states(&self) -> Vec<(String, u64, Option<u64>)> {
        let told = self.cluster.run(&["keys", "list"]).ok().object();
        let versions = told["keys"][0]["versions"].as_array().unwrap().clone();
        let state = |row: &Value| {
            let state = row["state"].as_str().unwrap().to_owned();
            (state, row["packs"].as_u64().unwrap(), row["points"].as_u64())
        };
        versions.iter().map(state).collect()
    }

    fn would_be_lost(&self, version: &str) -> Value {
        let plan = ["keys", "destroy", "--vault", "main", version, "--dry-run"];
        self.cluster.run(&plan).ok().object()
    }
}

fn ids(points: &Value) -> Vec<&str> {
    points.as_array().unwrap().iter().map(|point| point["id"].as_str().unwrap()).collect()
}

#[test]
fn what_only_a_closed_version_opens_is_sent_again_and_nothing_new_needs_it() {
    let house = House::start("coordinator");
    let _agent = house.cluster.agent("files-1");
    let first = house.backup();
    assert_eq!(house.close("1").code, 8, "it seals");
    assert_eq!(house.close("7").code, 3, "there is none");
    house.cluster.run(&["keys", "rotate", "main"]).ok();
    let second = house.back_up();
    assert_eq!(second["chunks_new"], json!(0), "what is there is found: {second}");
    let second = second["point"].as_str().unwrap().to_owned();

    assert_eq!(house.cluster.run(&["keys", "close", "--vault", "main", "1"]).code, 4, "unasked");
    let closed = house.close("1").ok().object();
    assert_eq!((&closed["version"], &closed["was_closed"]), (&json!(1), &json!(false)));
    let again = house.close("1").ok().object();
    assert_eq!((&again["was_closed"], &again["closed"]), (&json!(true), &closed["closed"]));

    let third = house.back_up();
    assert!(third["bytes_new"].as_u64().unwrap() > 4_000_000, "all is sent again: {third}");
    let third = third["point"].as_str().unwrap().to_owned();
    let fourth = house.back_up();
    assert_eq!(fourth["chunks_new"], json!(0), "and once only: {fourth}");
    for (number, point) in [&first, &second, &third].into_iter().enumerate() {
        house.assert_online(&format!("back-{number}"), point);
    }

    let states = house.states();
    assert_eq!((states[0].0.as_str(), states[1].0.as_str()), ("closed", "in_use"));
    assert_eq!((states[0].2, states[1].2), (Some(2), Some(2)), "{states:?}");
    let plan = house.would_be_lost("1");
    assert_eq!(ids(&plan["points"]), [&second, &first], "newest first: {plan}");
    assert_eq!((&plan["state"], &plan["packs_unknown"]), (&json!("closed"), &json!(0)), "{plan}");
    assert_eq!(plan["packs"].as_u64(), Some(states[0].1));
    assert_eq!(plan["copies"].as_array().unwrap().len(), 1, "{plan}");
    assert_eq!(plan["copies"][0]["object"], "keys/00000001/00000001");
    assert_eq!((&plan["catalog"], &plan["bundles"]), (&json!(["main"]), &json!([])));
    let source = format!("files:{}", house.source.display());
    assert_eq!(
        (&plan["points"][0]["source"], &plan["points"][0]["agent"]),
        (&json!(source), &json!("files-1"))
    );
    let other = house.would_be_lost("2");
    assert_eq!((&other["state"], ids(&other["points"]).len()), (&json!("in_use"), 2), "{other}");
    assert!(other["next"][0].as_str().unwrap().contains("keys rotate main"), "{other}");
    let missing = ["keys", "destroy", "--vault", "main", "9", "--dry-run"];
    assert_eq!(house.cluster.run(&missing).code, 3);
}
