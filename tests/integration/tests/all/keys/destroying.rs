//! A version of the keys is destroyed: by two people, with what needs it and nothing else, and
//! nothing brings it back.

use super::House;
use crate::harness::{Outcome, noise, wait_until, write};
use serde_json::{Value, json};
use std::{fs, path::PathBuf};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

impl House {
    /// A further person, with a context of that name.
    fn person(&self, name: &str) -> PathBuf {
        let file = self.cluster.scratch.join(format!("{name}.toml"));
        let to = file.to_str().unwrap();
        self.asked(&["operator", "issue", name, "--to", to]).ok();
        file
    }

    fn as_person(&self, context: &PathBuf, arguments: &[&str]) -> Outcome {
        self.keyed(Some(context), arguments)
    }

    fn keys(&self) -> Value {
        self.asked(&["keys", "list"]).ok().object()
    }

    fn objects_of(&self, version: u32) -> usize {
        let at = self.cluster.scratch.join(format!("location/keys/{version:08}"));
        fs::read_dir(at).map_or(0, Iterator::count)
    }

    fn wait_until_shredded(&self) {
        wait_until("the objects of version 1 are gone", PATIENCE, || {
            let destroyed = self.keys()["keys"][0]["destroyed"][0].clone();
            destroyed["locations"].as_array().is_some_and(|places| {
                !places.is_empty() && places.iter().all(|place| !place["gone"].is_null())
            })
        });
        assert_eq!(self.objects_of(1), 0);
    }
}
