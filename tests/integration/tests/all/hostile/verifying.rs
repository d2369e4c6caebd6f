//! A verifier is believed what it was given, and nothing else.

use super::{Rogue, Scene, refused, scene::told};
use crate::harness::{holdfast, noise, wait_until, write};
use bytes::Bytes;
use holdfast_common::{Code, PointId, Result, RunId, SystemEntropy};
use holdfast_keyring::OneTimeKey;
use holdfast_wire::v1::{self, restore_client::RestoreClient};
use std::time::Duration;
use tonic::transport::Channel;

const PATIENCE: Duration = Duration::from_secs(60);

/// Two points of the honest agent, and a rogue that joined as a verifier.
struct Verifying {
    scene: Scene,
    rogue: Rogue,
    point: PointId,
    other: PointId,
}

async fn start(verifies: bool) -> Verifying {
    let scene = Scene::start().await;
    let token = || {
        let told = holdfast(Some(&scene.dev.context()), &["agent", "token", "--verifier"]);
        (told.code == 0).then(|| told.text().trim_end().to_owned())
    };
    let token = wait_until("a token for a verifier", PATIENCE, token);
    let hello = v1::AgentHello { version: "rogue".to_owned(), verifies, ..Default::default() };
    let rogue = Rogue::join_with(&scene, "rogue", token, hello).await;
    let source = scene.scratch.join("source");
    let mut points = Vec::new();
    for round in 0..2 {
        write(&source.join("file"), noise(round, 400_000));
        let path = source.to_str().unwrap();
        let made = scene.dev.json(&["backup", "--path", path, "--agent", "local"]).ok().object();
        points.push(made["point"].as_str().unwrap().parse::<PointId>().unwrap());
    }
    Verifying { scene, rogue, point: points[0], other: points[1] }
}

impl Verifying {
    async fn order(&self, agent: &str) -> Result<RunId> {
        let run = RunId::random(&SystemEntropy);
        let request = v1::StartVerifyRequest {
            run_id: Bytes::copy_from_slice(run.as_bytes()),
            point_id: Bytes::copy_from_slice(self.point.as_bytes()),
            agent: agent.to_owned(),
        };
        told(self.scene.admin().start_verify(request).await).map(|_| run)
    }

    async fn open(&self, point: &PointId, run: &RunId) -> Result<Bytes> {
        let request = v1::OpenPointRequest {
            point_id: Bytes::copy_from_slice(point.as_bytes()),
            one_time_public: OneTimeKey::generate(&SystemEntropy).public().to_vec().into(),
            purpose: "verify".to_owned(),
            run_id: Some(Bytes::copy_from_slice(run.as_bytes())),
        };
        told(self.client().open(request).await).map(|opened| opened.read_session)
    }

    fn client(&self) -> RestoreClient<Channel> {
        RestoreClient::new(self.rogue.channel.clone())
            .max_decoding_message_size(holdfast_common::limits::MESSAGE_BYTES_MAX)
    }

    async fn conclude(&self, session: &Bytes, verified: v1::Verified) -> Result<()> {
        let verified = Some(verified);
        let request = v1::ConcludeRequest { read_session: session.clone(), verified };
        told(self.client().conclude(request).await).map(drop)
    }

    async fn unread(&self, session: &Bytes) -> Result<v1::UnreadResponse> {
        let (read_session, after) = (session.clone(), Bytes::new());
        told(self.client().unread(v1::UnreadRequest { read_session, after }).await)
    }

    /// Takes what it is given, and opens nothing.
    async fn take(&self, session: &Bytes, kind: u32, ids: Bytes) {
        let request = v1::FetchRequest { read_session: session.clone(), kind, ids, copy: 0 };
        let mut answers = told(self.client().fetch(request).await).unwrap();
        while answers.message().await.unwrap().is_some() {}
    }

    fn proof(&self) -> serde_json::Value {
        let told = self.scene.dev.json(&["points"]).ok().object();
        let points = told["points"].as_array().unwrap();
        let point = points.iter().find(|point| point["id"] == self.point.to_string());
        point.unwrap()["verified"].clone()
    }
}

fn whole() -> v1::Verified {
    v1::Verified { entries: 2, bytes: 400_000, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verifier_that_read_nothing_proves_nothing() {
    let verifying = start(true).await;
    let run = verifying.order("rogue").await.unwrap();
    let session = verifying.open(&verifying.point, &run).await.unwrap();
    let refusal = refused(verifying.conclude(&session, whole()).await);
    assert_eq!(refusal, Code::PointUnread);
    let unread = verifying.unread(&session).await.unwrap().packs;
    assert!(unread.len() >= 2, "data and pages");
    // All but one chunk is not enough.
    let mut last = None;
    for pack in &unread {
        let ids: Vec<_> = pack.ids.chunks(32).collect();
        let (one, others) = ids.split_first().unwrap();
        if !others.is_empty() {
            verifying.take(&session, pack.kind, others.concat().into()).await;
        }
        if let Some((kind, id)) = last.replace((pack.kind, Bytes::copy_from_slice(one))) {
            verifying.take(&session, kind, id).await;
        }
    }
    assert_eq!(refused(verifying.conclude(&session, whole()).await), Code::PointUnread);
    assert_eq!(verifying.proof(), serde_json::Value::Null);
    let (kind, id) = last.unwrap();
    verifying.take(&session, kind, id).await;
    assert!(verifying.unread(&session).await.unwrap().packs.is_empty());
    verifying.conclude(&session, whole()).await.unwrap();
    assert!(verifying.proof().is_string());
    let again = refused(verifying.conclude(&session, whole()).await);
    assert_eq!(again, Code::SessionMissing, "an end is an end");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_verifier_claims_beyond_its_point_is_refused() {
    let verifying = start(true).await;
    let run = verifying.order("rogue").await.unwrap();
    assert_eq!(refused(verifying.open(&verifying.other, &run).await), Code::AuthDenied);
    let session = verifying.open(&verifying.point, &run).await.unwrap();
    let claim = |damaged, code: &str, report: usize| v1::Verified {
        damaged,
        code: code.to_owned(),
        sealed_report: vec![7; report].into(),
        ..whole()
    };
    for code in ["location.io_failed", "cluster.endpoint_unreachable", "x.y", ""] {
        let refusal = refused(verifying.conclude(&session, claim(5000, code, 0)).await);
        assert_eq!(refusal, Code::UsageMalformed, "{code}");
    }
    let long = claim(5000, "chunk.content_missing", 60 << 10);
    assert_eq!(refused(verifying.conclude(&session, long).await), Code::LimitExceeded);
    // It writes nothing, under no name.
    let begun = verifying.rogue.begin(run).await.map(drop);
    assert_eq!(refused(begun), Code::AuthDenied);
    // Nothing is missing as long as a location is away that may have it.
    let vault = verifying.scene.dev.dir.join("location/vault");
    let aside = verifying.scene.scratch.join("aside");
    std::fs::rename(&vault, &aside).unwrap();
    let missing = claim(5000, "chunk.content_missing", 10);
    let refusal = refused(verifying.conclude(&session, missing.clone()).await);
    assert_eq!(refusal, Code::LocationEmpty);
    std::fs::rename(&aside, &vault).unwrap();
    // What it may say is that its own point is damaged; which objects are the coordinators see.
    verifying.conclude(&session, missing).await.unwrap();
    let told = verifying.scene.dev.json(&["verify", "--all", "--level", "storage"]).ok().object();
    assert_eq!(told["damaged"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verifier_that_is_too_old_is_told_and_an_able_one_is_taken_before_it() {
    let verifying = start(false).await;
    for agent in ["", "rogue"] {
        assert_eq!(refused(verifying.order(agent).await), Code::AgentOutdated, "`{agent}`");
    }
    let told = holdfast(Some(&verifying.scene.dev.context()), &["agent", "token", "--verifier"]);
    let hello =
        v1::AgentHello { version: "rogue".to_owned(), verifies: true, ..Default::default() };
    let token = told.ok().text().trim_end().to_owned();
    let _able = Rogue::join_with(&verifying.scene, "zoe", token, hello).await;
    let run = verifying.order("").await.unwrap();
    let runs = verifying.scene.dev.json(&["runs", "show", &run.to_string()]).ok().object();
    assert_eq!(runs["runs"][0]["agent"], "zoe");
}
