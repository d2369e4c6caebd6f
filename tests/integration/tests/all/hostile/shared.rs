//! A member of a vault that shares turns bad: what the others wrote themselves stays theirs, and
//! where they relied on its junk, they are told so and get no wrong byte.

use super::{Rogue, Scene, Writing};
use crate::{
    harness::{Outcome, Tree, noise, write},
    sharing,
};
use holdfast_common::{ChunkId, ChunkKind};
use std::path::PathBuf;

const FILES: u64 = 6;

struct Shared {
    scene: Scene,
    rogue: Rogue,
    source: PathBuf,
}

impl Shared {
    async fn start() -> Self {
        let scene = Scene::start().await;
        sharing::make_vault(&scene.dev);
        let source = scene.scratch.join("source");
        for number in 0..FILES {
            write(&source.join(number.to_string()), content(number));
        }
        let rogue = scene.rogue("rogue").await;
        Self { scene, rogue, source }
    }

    async fn writing(&self) -> Writing {
        self.rogue.begin(self.scene.order_into(&self.rogue, "shared").await).await.unwrap()
    }

    /// Puts junk under the id of each of the contents, which any member can compute.
    async fn put_junk(
        &self,
        writing: &Writing,
        contents: impl Iterator<Item = Vec<u8>>,
        what: &str,
    ) {
        let ids: Vec<ChunkId> = contents.map(|content| writing.ids.data_id(&content)).collect();
        let junk: Vec<_> = ids.iter().map(|id| (*id, what.as_bytes())).collect();
        let pack = writing.pack_of(ChunkKind::Data, &junk);
        self.rogue.put(&writing.session, &pack).await.unwrap();
    }

    fn backup(&self) -> serde_json::Value {
        let path = self.source.to_str().unwrap();
        let into = ["--agent", "local", "--vault", "shared"];
        self.scene.dev.json(&[&["backup", "--path", path], &into[..]].concat()).ok().object()
    }

    fn restore(&self, point: &str, name: &str) -> (Outcome, PathBuf) {
        let to = self.scene.scratch.join(name);
        let told = self.scene.dev.json(&["restore", point, "--to", to.to_str().unwrap()]);
        (told, to.join(self.source.strip_prefix("/").unwrap()))
    }

    fn assert_restores(&self, point: &serde_json::Value, name: &str) {
        let (told, back) = self.restore(point.as_str().unwrap(), name);
        told.ok();
        Tree::of(&self.source).assert_same(&Tree::of(&back), name);
    }
}

fn content(number: u64) -> Vec<u8> {
    noise(number, 50_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn junk_of_a_member_changes_nothing_that_another_wrote_before() {
    let shared = Shared::start().await;
    let first = shared.backup();
    assert_eq!(first["chunks_reused"], 0, "{first}");
    let writing = shared.writing().await;
    // Pack ids are as good as random: of several some come before the honest ones.
    for round in 0..12 {
        shared.put_junk(&writing, (0..FILES).map(content), &format!("junk {round}")).await;
    }
    shared.assert_restores(&first["point"], "before");
    // Reads and offers all of it again, and relies on what it wrote itself.
    let path = shared.source.to_str().unwrap();
    let into = ["--agent", "local", "--vault", "shared", "--full"];
    let command = [&["backup", "--path", path], &into[..]].concat();
    let second = shared.scene.dev.json(&command).ok().object();
    assert_eq!(second["chunks_new"], 0, "{second}");
    shared.assert_restores(&second["point"], "after");
    let told = shared.scene.dev.json(&["verify", "--all", "--level", "full"]).ok().object();
    assert_eq!(told["damaged"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_finds_the_whole_copy_among_the_junk_of_others() {
    let shared = Shared::start().await;
    let first = shared.backup();
    let writing = shared.writing().await;
    for round in 0..12 {
        shared.put_junk(&writing, (0..FILES).map(content), &format!("junk {round}")).await;
    }
    let _other = sharing::join(&shared.scene.dev, "newcomer");
    let path = shared.source.to_str().unwrap();
    let into = ["--agent", "newcomer", "--vault", "shared"];
    let command = [&["backup", "--path", path], &into[..]].concat();
    let told = shared.scene.dev.json(&command).ok().object();
    assert_eq!((&told["chunks_new"], &first["chunks_reused"]), (&0.into(), &0.into()), "{told}");
    shared.assert_restores(&told["point"], "newcomer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_relies_on_junk_is_told_which_paths_and_gets_no_wrong_byte() {
    let shared = Shared::start().await;
    let writing = shared.writing().await;
    shared.put_junk(&writing, (0..2).map(content), "junk").await;
    let made = shared.backup();
    let count = (&made["chunks_reused"], &made["chunks_new"]);
    assert_eq!(count, (&2.into(), &(FILES - 2).into()), "its members trust each other");
    let point = made["point"].as_str().unwrap();
    let (told, back) = shared.restore(point, "back");
    assert_eq!(told.code, 7, "{}", told.stderr);
    Tree::of(&back).assert_no_wrong_bytes(&Tree::of(&shared.source), "beside junk");
    assert!(!back.join("0").exists() && !back.join("1").exists());
    let verify = ["verify", point, "--level", "full"];
    let found = shared.scene.dev.json(&verify).ends(7).object();
    let named = ["0", "1"].map(|name| shared.source.join(name).to_str().unwrap().to_owned());
    assert_eq!(found["damaged"][0]["paths"], serde_json::json!(named), "{found}");
}
