//! Losing a certificate, coming back, and being shut out.

use super::{
    Rogue, Scene, refused,
    rogue::{attach, data, header},
    scene::{clock, told},
};
use bytes::Bytes;
use holdfast_common::{ChunkKind, Clock, Code, PackId, Result, SystemEntropy, Timestamp, limits};
use holdfast_keyring::IdentityKey;
use holdfast_runtime::{
    identity::Identity,
    pki::{self, CertificateAuthority, ProvenKey, Validity, certificates_pem},
};
use holdfast_wire::v1::{self, enroll_client::EnrollClient, ingest_client::IngestClient};
use std::time::{Duration, Instant};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Asks for a new certificate without showing one; `signer` signs the proof.
async fn come_back(
    scene: &Scene,
    rogue: &Rogue,
    csr_of: &str,
    signer: &IdentityKey,
    at: Timestamp,
) -> Result<v1::RenewResponse> {
    let csr = pki::IdentityKey::from_pem(csr_of).unwrap().request().unwrap();
    let (cluster, time) = (rogue.config.cluster_id, at.as_nanos().to_le_bytes());
    let message = [cluster.as_bytes().as_slice(), rogue.id.as_bytes(), &time, &csr].concat();
    let request = v1::ReturnRequest {
        agent_id: Bytes::copy_from_slice(rogue.id.as_bytes()),
        csr_der: csr.into(),
        time_ns: at.as_nanos(),
        proof: signer.sign("holdfast return v1", &message).to_vec().into(),
    };
    told(EnrollClient::new(scene.anonymous().await).r#return(request).await)
}

/// A certificate of the cluster's own authority for this agent, from then on for an hour.
async fn certificate_from(scene: &Scene, rogue: &Rogue, from: Timestamp) -> String {
    certificate_by(&scene.authority().await, rogue, from)
}

fn certificate_by(authority: &CertificateAuthority, rogue: &Rogue, from: Timestamp) -> String {
    let whole =
        |time: Timestamp| Timestamp::from_nanos(time.as_nanos() / 1_000_000_000 * 1_000_000_000);
    let validity = Validity {
        not_before: whole(from),
        not_after: whole(from.plus(Duration::from_secs(3600))),
    };
    let key = ProvenKey::checked_elsewhere(*rogue.key.public().as_bytes());
    let identity = Identity::agent(rogue.config.cluster_id, rogue.id);
    let certificate = authority.issue(&key, &identity, validity, 1 << 62 | 77).unwrap();
    certificates_pem([certificate.as_ref()])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_certificate_returns_by_proof_of_its_key_and_only_so() {
    let scene = Scene::start().await;
    let rogue = scene.rogue("sleeper").await;
    let now = clock().now();
    // The same way with dates that hold is let in: what follows fails for its dates alone.
    let held = certificate_from(&scene, &rogue, now.minus(Duration::from_secs(60))).await;
    attach(&scene.channel_of(&held, &rogue.key_pem()).await.unwrap()).await.unwrap();
    for from in [now.minus(DAY), now.plus(DAY)] {
        let expired = certificate_from(&scene, &rogue, from).await;
        let called = async {
            let channel = scene.channel_of(&expired, &rogue.key_pem()).await?;
            attach(&channel).await.map(drop)
        };
        assert!(refused(called.await) == Code::ClusterUnreachable, "at the handshake");
    }
    let (pem, own) = (rogue.key_pem(), &rogue.key);
    let stranger = IdentityKey::generate(&SystemEntropy);
    let strange_pem = stranger.to_pkcs8_pem();
    let wrong_proof = come_back(&scene, &rogue, &pem, &stranger, now).await;
    assert_eq!(refused(wrong_proof), Code::AuthDenied, "a proof by another key");
    let wrong_request = come_back(&scene, &rogue, &strange_pem, own, now).await;
    assert_eq!(refused(wrong_request), Code::AuthDenied, "a request for another key");
    let both = come_back(&scene, &rogue, &strange_pem, &stranger, now).await;
    assert_eq!(refused(both), Code::AuthDenied, "a stranger altogether");
    for at in [now.minus(2 * DAY), now.plus(2 * DAY)] {
        let stale = come_back(&scene, &rogue, &pem, own, at).await;
        assert_eq!(refused(stale), Code::AuthDenied, "a proof of another day");
    }
    let back = come_back(&scene, &rogue, &pem, own, now).await.unwrap();
    let fresh = certificates_pem([&back.certificate_der[..]]);
    attach(&scene.channel_of(&fresh, &pem).await.unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_connection_is_worth_no_more_than_its_certificate() {
    let scene = Scene::start().await;
    let rogue = scene.rogue("lingering").await;
    let authority = scene.authority().await;
    let left = Duration::from_secs(5);
    let certificate =
        certificate_by(&authority, &rogue, clock().now().minus(Duration::from_secs(3600) - left));
    let channel = scene.channel_of(&certificate, &rogue.key_pem()).await.unwrap();
    let call = async || {
        let request = v1::RenewSessionRequest { session_id: vec![0; 16].into() };
        refused(told(IngestClient::new(channel.clone()).renew(request).await))
    };
    assert_eq!(call().await, Code::SessionMissing, "until then it is the agent's");
    let start = Instant::now();
    let mut told = call().await;
    while told == Code::SessionMissing && start.elapsed() < left + Duration::from_secs(10) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        told = call().await;
    }
    assert_eq!(told, Code::AuthMissing);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_agent_does_not_return() {
    let scene = Scene::start().await;
    let rogue = scene.rogue("lost").await;
    scene.dev.run(&["agent", "revoke", "lost", "--yes"]).ok();
    let now = clock().now();
    let back = come_back(&scene, &rogue, &rogue.key_pem(), &rogue.key, now).await;
    assert_eq!(refused(back), Code::AgentRevoked);
    // Nor does a certificate help that it got somewhere else.
    let held = certificate_from(&scene, &rogue, now.minus(Duration::from_secs(60))).await;
    let channel = scene.channel_of(&held, &rogue.key_pem()).await.unwrap();
    assert_eq!(refused(attach(&channel).await.map(drop)), Code::AgentRevoked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_renewed_for_its_own_key_only() {
    let scene = Scene::start().await;
    let rogue = scene.rogue("rogue").await;
    let mut client = EnrollClient::new(rogue.channel.clone());
    let (other, _) = pki::IdentityKey::generate(&SystemEntropy).unwrap();
    let request = v1::RenewRequest { csr_der: other.request().unwrap().into() };
    assert_eq!(refused(told(client.renew(request).await)), Code::AuthDenied);
    let own = pki::IdentityKey::from_pem(&rogue.key_pem()).unwrap();
    let request = v1::RenewRequest { csr_der: own.request().unwrap().into() };
    let renewed = told(client.renew(request).await).unwrap();
    let fresh = certificates_pem([&renewed.certificate_der[..]]);
    attach(&scene.channel_of(&fresh, &rogue.key_pem()).await.unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoking_closes_what_is_open_and_refuses_what_comes() {
    let scene = Scene::start().await;
    let mut rogue = scene.rogue("lost").await;
    let writing = rogue.write(&scene).await;
    let (id, pack) = writing.pack(ChunkKind::Data, b"content");
    // A pack that is half sent when the revocation comes.
    let (parts, sent) = tokio::sync::mpsc::channel(8);
    let name = PackId::from_bytes([1; 32]);
    parts.send(header(&writing.session, &name, limits::PACK_BYTES_MAX)).await.unwrap();
    parts.send(data(pack.bytes.clone())).await.unwrap();
    let mut ingest = rogue.ingest();
    let half = tokio::spawn(async move { told(ingest.put(ReceiverStream::new(sent)).await) });
    scene.dev.run(&["agent", "revoke", "lost", "--yes"]).ok();
    let patience = Duration::from_secs(10);
    let closed = async { while let Some(Ok(_)) = rogue.orders.next().await {} };
    tokio::time::timeout(patience, closed).await.expect("the line is closed");
    let half = tokio::time::timeout(patience, half).await.expect("the stream is closed");
    assert!(half.unwrap().is_err());
    // The channel dials again by itself; whatever it asks for then is refused.
    let start = Instant::now();
    loop {
        let code = refused(rogue.offer(&writing.session, ChunkKind::Data, &[id]).await);
        if code == Code::AgentRevoked {
            break;
        }
        assert_eq!(code, Code::ClusterUnreachable);
        assert!(start.elapsed() < patience, "no refusal within {patience:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(refused(rogue.put(&writing.session, &pack).await), Code::AgentRevoked);
    assert_eq!(refused(rogue.begin(writing.run).await.map(drop)), Code::AgentRevoked);
    assert!(!scene.holds_pack(&pack.id));
}
