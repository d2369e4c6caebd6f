//! The story that `holdfast demo` tells.
//!
//! ```text
//!   data ─▶ backup ─▶ change ─▶ backup ─▶ disaster ─▶ restore ─▶ compare ─▶ damage ─▶ verify
//!                                                                     ─▶ no cluster ─▶ restore
//! ```
//!
//! Each step runs a command in this process exactly as its arguments would from a shell (`stage`),
//! and each claim is compared with the bytes on disk (`data`), not with what a command said.

mod data;
mod stage;

use crate::{
    house::dev::Dev,
    output::{Output, figures},
};
use core::time::Duration;
use data::Data;
use holdfast_common::{Clock, Code, Error, Result, SystemClock};
use serde_json::{Value, json};
use stage::Stage;
use std::path::{Path, PathBuf};

const PASSPHRASE: &str = "a demo of the worst day";

pub async fn tell(output: &Output) -> Result<()> {
    let clock = SystemClock::start();
    let scratch = tempfile::Builder::new().prefix("holdfast-demo-").tempdir();
    let scratch = scratch.map_err(|error| Error::io("no temporary directory", &error))?;
    let dir = scratch.path().join("cluster");
    let dev = Dev::start(&dir, "127.0.0.1:0".to_owned()).await?;
    let stage = Stage::new(output, dev.context.clone());
    stage.say(&format!("a cluster of one, ready after {}", figures::span(clock.elapsed())));
    let data = Data::make(&scratch.path().join("data"))?;
    let told = with_cluster(&stage, &data, &dir, scratch.path()).await;
    dev.stop().await;
    restore_without_cluster(&stage, &data, &dir, scratch.path(), &told?).await?;

    drop(scratch);
    let took = clock.elapsed();
    stage.end(&format!("told in {}; nothing is left behind", figures::span(took)), took)
}

/// The part of the story that needs a cluster; gives the bundle that the rest needs.
async fn with_cluster(
    stage: &Stage<'_>,
    data: &Data,
    dir: &Path,
    scratch: &Path,
) -> Result<PathBuf> {
    let (first, second) = back_up_twice(stage, data).await?;
    lose_and_restore(stage, data, scratch, &first, &second).await?;
    damage_and_verify(stage, &dir.join("location"), &second).await?;
    export(stage, scratch).await
}

async fn back_up_twice(stage: &Stage<'_>, data: &Data) -> Result<(String, String)> {
    stage.say(&format!("{} files, {}, made up", data.files, figures::size(data.bytes)));
    let path = data.root.to_string_lossy().into_owned();
    let first = back_up(stage, "first backup", &path).await?;
    data.change()?;
    let second = back_up(stage, "second backup, a few files later", &path).await?;
    let changes = stage.run("what changed between them", &["diff", &first, &second]).await?;
    let count = changes["changes"].as_array().map_or(0, Vec::len);
    stage.say(&format!("{count} entries differ"));
    Ok((first, second))
}

async fn back_up(stage: &Stage<'_>, what: &str, path: &str) -> Result<String> {
    let told = stage.run(what, &["backup", "--path", path]).await?;
    let number = |field: &str| told[field].as_u64().unwrap_or(0);
    stage.say(&format!(
        "{} read, {} stored, {} chunks new, {} known, in {}",
        figures::size(number("bytes_read")),
        figures::size(number("bytes_stored")),
        number("chunks_new"),
        number("chunks_reused"),
        figures::span(Duration::from_millis(number("duration_ms"))),
    ));
    told["point"].as_str().map(ToOwned::to_owned).ok_or_else(|| broken("a backup made no point"))
}

async fn lose_and_restore(
    stage: &Stage<'_>,
    data: &Data,
    scratch: &Path,
    first: &str,
    second: &str,
) -> Result<()> {
    let right = data.digest()?;
    data.ruin()?;
    stage.say("disaster: files deleted, others overwritten");
    for (name, point) in [("older", first), ("newest", second)] {
        let to = scratch.join(name);
        let target = to.to_string_lossy().into_owned();
        let arguments = ["restore", point, "--to", &target, "--verify"];
        let told = stage.run(&format!("the {name} point"), &arguments).await?;
        say_restored(stage, &told);
        if name == "newest" && Data::digest_of(&below(&to, &data.root))? != right {
            return Err(broken("the restored data differ from what was backed up"));
        }
    }
    stage.say("every byte and every attribute compared: the same");
    Ok(())
}

fn say_restored(stage: &Stage<'_>, told: &Value) {
    let number = |field: &str| told[field].as_u64().unwrap_or(0);
    stage.say(&format!(
        "{} entries, {} written in {}",
        number("entries"),
        figures::size(number("bytes_written")),
        figures::span(Duration::from_millis(number("duration_ms"))),
    ));
}

async fn damage_and_verify(stage: &Stage<'_>, location: &Path, point: &str) -> Result<()> {
    let victim = data::largest_below(&location.join("packs"))?;
    let before = data::flip_a_bit(&victim)?;
    stage.say("one bit of one pack is flipped in the vault");
    let arguments = ["verify", point, "--level", "storage"];
    let told = stage.run("find it, with no key", &arguments).await?;
    let damaged = told["damaged"].as_array().cloned().unwrap_or_default();
    let paths: usize = damaged.iter().map(|d| d["paths"].as_array().map_or(0, Vec::len)).sum();
    if damaged.is_empty() {
        return Err(broken("the flipped bit was not found"));
    }
    stage.say(&format!("{} object found damaged, {paths} paths named", damaged.len()));
    data::put_back(&victim, &before)?;
    let told = stage.run("the bit is put back", &arguments).await?;
    if told["damaged"].as_array().is_some_and(|damaged| !damaged.is_empty()) {
        return Err(broken("the vault is whole and was not found so"));
    }
    stage.say(&format!("whole again: {} objects", told["objects"]));
    Ok(())
}

async fn export(stage: &Stage<'_>, scratch: &Path) -> Result<PathBuf> {
    let (bundle, passphrase) = (scratch.join("bundle.hfbd"), scratch.join("passphrase"));
    data::put_back(&passphrase, PASSPHRASE.as_bytes())?;
    let (to, from) = (bundle.to_string_lossy(), passphrase.to_string_lossy());
    let arguments = ["keys", "export", "--to", &to, "--passphrase-file", &from];
    stage.run("a recovery bundle for the worst day", &arguments).await?;
    Ok(bundle)
}

async fn restore_without_cluster(
    stage: &Stage<'_>,
    data: &Data,
    dir: &Path,
    scratch: &Path,
    bundle: &Path,
) -> Result<()> {
    stage.say("the worst day: the cluster is gone; a location and the bundle are left");
    let location = format!("local:{}", dir.join("location").display());
    let (to, bundle) = (scratch.join("offline"), bundle.to_string_lossy());
    let (target, passphrase) = (to.to_string_lossy(), scratch.join("passphrase"));
    let passphrase = passphrase.to_string_lossy();
    let arguments = [
        "restore",
        "latest",
        "--to",
        &target,
        "--from-location",
        &location,
        "--bundle",
        &bundle,
        "--passphrase-file",
        &passphrase,
    ];
    let told = stage.run("restore with no cluster", &arguments).await?;
    say_restored(stage, &told);
    let newest = Data::digest_of(&below(&scratch.join("newest"), &data.root))?;
    if Data::digest_of(&below(&to, &data.root))? != newest {
        return Err(broken("the data restored offline differ"));
    }
    stage.say("the same again");
    Ok(())
}

fn below(to: &Path, path: &Path) -> PathBuf {
    to.join(path.strip_prefix("/").unwrap_or(path))
}

fn broken(what: &str) -> Error {
    Error::new(Code::InternalBug, what)
}

/// What the story leaves for programs.
fn summary(steps: &[Value], took: Duration) -> Value {
    json!({ "steps": steps, "duration_ms": took.as_millis() as u64 })
}
