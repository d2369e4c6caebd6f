//! A vault that shares: what one agent sent no other sends again, at the same time neither, and
//! each restores its own, with the cluster and without.

use crate::harness::{Dev, Outcome, Scratch, Service, Tree, holdfast, noise, write};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The vault `shared` in a location of its own, beside `main`, whose agents share nothing.
pub fn make_vault(dev: &Dev) {
    let (dir, file) = (dev.dir.join("shared"), dev.dir.join("shared.toml"));
    write(
        &file,
        format!(
            "[[resource]]\nkind=\"location\"\nname=\"shared\"\n[resource.spec]\n\
             url=\"local:{}\"\n[[resource]]\nkind=\"vault\"\nname=\"shared\"\n\
             [resource.spec]\nsharing=\"vault\"\nlocations={{required=[\"shared\"]}}\n",
            dir.display()
        ),
    );
    dev.json(&["apply", "-f", file.to_str().unwrap()]).ok();
}

/// Another agent beside the one of `dev`.
pub fn join(dev: &Dev, name: &str) -> Service {
    let (dir, token) = (dev.dir.join(name), dev.run(&["agent", "token"]).ok());
    let (dir, token) = (dir.to_str().unwrap(), token.text().trim_end());
    let join = ["agent", "join", "--coordinator", &dev.service.address, "--token", token];
    holdfast(None, &[&join[..], &["--dir", dir, "--name", name]].concat()).ok();
    let log = dev.dir.join(format!("{name}.log"));
    Service::start(&["agent", "--config", &format!("{dir}/agent.toml")], &log)
}

fn backup(dev: &Dev, source: &Path, agent: &str, vault: &str) -> Value {
    let path = source.to_str().unwrap();
    let into = ["--agent", agent, "--vault", vault];
    dev.json(&[&["backup", "--path", path], &into[..]].concat()).ok().object()
}

fn assert_restores(source: &Path, to: PathBuf, restore: impl Fn(&str) -> Outcome) {
    restore(to.to_str().unwrap()).ok();
    let back = to.join(source.strip_prefix("/").unwrap());
    Tree::of(source).assert_same(&Tree::of(&back), &to.display().to_string());
}

#[test]
fn what_one_agent_sent_no_other_of_the_vault_sends_again() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    for number in 0..6 {
        write(&source.join(number.to_string()), noise(number, 1_500_000));
    }
    let dev = Dev::start(&scratch.join("d"));
    make_vault(&dev);
    let other = join(&dev, "other");
    let first = backup(&dev, &source, "local", "shared");
    let sent = first["chunks_new"].as_u64().unwrap();
    assert!(sent >= 6, "{first}");
    write(&source.join("own"), noise(99, 1_500_000));
    let second = backup(&dev, &source, "other", "shared");
    assert_eq!(second["chunks_reused"], sent, "{second}");
    assert!(second["bytes_new"].as_u64().unwrap() < 1_600_000, "only its own: {second}");
    // Where agents share nothing, the same is sent by each.
    for agent in ["local", "other"] {
        let told = backup(&dev, &source, agent, "main");
        assert_eq!(told["chunks_reused"], 0, "{told}");
    }
    let point = second["point"].as_str().unwrap();
    assert_restores(&source, scratch.join("online"), |to| {
        dev.json(&["restore", point, "--to", to])
    });

    // Without the cluster: the second agent's point lies in packs of the first one.
    let url = format!("local:{}", dev.dir.join("shared").display());
    let kek = format!("file:{}", dev.dir.join("kek").display());
    let (bundle, secret) = (scratch.join("bundle.hfbd"), scratch.join("passphrase"));
    write(&secret, "correct horse battery");
    let with = ["--passphrase-file", secret.to_str().unwrap()];
    let bundle = bundle.to_str().unwrap();
    dev.json(&[&["keys", "export", "--to", bundle], &with[..]].concat()).ok();
    other.kill();
    dev.service.kill();
    for (name, by) in
        [("by-kek", vec!["--kek", &kek]), ("by-bundle", vec!["--bundle", bundle, with[0], with[1]])]
    {
        let from = [&["--from-location", &url], &by[..]].concat();
        assert_restores(&source, scratch.join(name), |to| {
            let restore = ["--output", "json", "restore", point, "--to", to];
            holdfast(None, &[&restore[..], &from].concat())
        });
    }
}

#[test]
fn agents_that_send_the_same_at_once_each_get_a_whole_point() {
    let scratch = Scratch::new();
    let dev = Dev::start(&scratch.join("d"));
    make_vault(&dev);
    let _other = join(&dev, "other");
    let mut met = false;
    for round in 0..4 {
        let source = scratch.join(&format!("source-{round}"));
        for number in 0..10 {
            write(&source.join(number.to_string()), noise(round * 100 + number, 1_500_000));
        }
        let made: Vec<Value> = std::thread::scope(|scope| {
            let start = |agent| {
                let (dev, source) = (&dev, &source);
                scope.spawn(move || backup(dev, source, agent, "shared"))
            };
            let running = ["local", "other"].map(start);
            running.map(|one| one.join().unwrap()).into()
        });
        let count = |field: &str| made.iter().map(|one| one[field].as_u64().unwrap()).sum::<u64>();
        let (new, reused) = (count("chunks_new"), count("chunks_reused"));
        // Each chunk was sent by one of them or by both.
        let all = (new + reused) / 2;
        assert!((all..=2 * all).contains(&new), "{new} new and {reused} reused of {all}");
        met |= new > all;
        for (agent, made) in ["local", "other"].iter().zip(&made) {
            let point = made["point"].as_str().unwrap();
            let to = scratch.join(&format!("{agent}-{round}"));
            assert_restores(&source, to, |to| dev.json(&["restore", point, "--to", to]));
        }
        // Whoever comes later finds all of it.
        for agent in ["local", "other"] {
            assert_eq!(backup(&dev, &source, agent, "shared")["chunks_new"], 0);
        }
    }
    assert!(met, "in no round did both send one chunk: they were not at it at once");
    let told = dev.json(&["verify", "--all", "--level", "full"]).ok().object();
    assert_eq!(told["damaged"], serde_json::json!([]));
}
