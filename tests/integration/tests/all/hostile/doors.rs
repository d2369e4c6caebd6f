//! Who may call what: every call of the protocol, from every side that must not make it.

use super::{
    Scene, refused,
    scene::{clock, told},
};
use holdfast_common::{ClusterId, Code, Result, SystemEntropy};
use holdfast_keyring::OneTimeKey;
use holdfast_runtime::{
    ChannelKind, ClientTls, connect,
    identity::{Identity, PeerCertificate},
    pki::{CertificateAuthority, IdentityKey, ProvenKey, Validity},
    tls::TlsIdentity,
};
use holdfast_wire::{
    status::from_status,
    v1::{self, enroll_client::EnrollClient, raft_client::RaftClient},
};
use prost::Message;
use std::{collections::BTreeSet, time::Duration};
use tonic::{Request, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

type Codec = tonic_prost::ProstCodec<v1::StatusRequest, v1::RevokeAgentResponse>;

/// The paths of all calls of our services.
fn calls() -> Vec<String> {
    let set = prost_types::FileDescriptorSet::decode(holdfast_wire::DESCRIPTORS).unwrap();
    let mut calls = Vec::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                let path = (file.package(), service.name(), method.name());
                calls.push(format!("/{}.{}/{}", path.0, path.1, path.2));
            }
        }
    }
    assert!(calls.len() > 20, "{calls:?}");
    calls
}

/// Makes any call with an empty message; the gate must not need to look into it.
async fn call(channel: &Channel, path: &str) -> Result<()> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path: PathAndQuery = path.parse().unwrap();
    let request = Request::new(v1::StatusRequest {});
    let mut answers = told(grpc.server_streaming(request, path, Codec::default()).await)?;
    while let Some(_answer) = answers.message().await.map_err(|status| from_status(&status))? {}
    Ok(())
}

/// The services that reflection tells of.
async fn reflected(channel: Channel) -> Result<BTreeSet<String>> {
    let question = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let mut client = ServerReflectionClient::new(channel);
    let asked = client.server_reflection_info(tokio_stream::once(question)).await;
    let answer = told(asked)?.message().await.map_err(|status| from_status(&status))?;
    match answer.and_then(|answer| answer.message_response) {
        Some(MessageResponse::ListServicesResponse(list)) => {
            Ok(list.service.into_iter().map(|service| service.name).collect())
        }
        other => panic!("no list of services: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_calls_nothing_of_operators() {
    let scene = Scene::start().await;
    let rogue = scene.rogue("rogue").await;
    let operators: Vec<_> = calls()
        .into_iter()
        .filter(|path| path.contains(".Admin/") || path.ends_with(".Restore/End"))
        .collect();
    assert!(operators.len() >= 19, "{operators:?}");
    for path in operators {
        assert_eq!(refused(call(&rogue.channel, &path).await), Code::AuthDenied, "{path}");
    }
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    assert_eq!(refused(call(&rogue.channel, reflection).await), Code::AuthDenied);
    let unknown = "/holdfast.v1.Admin/Nothing";
    assert_eq!(refused(call(&rogue.channel, unknown).await), Code::AuthDenied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_without_a_certificate_calls_more_than_enroll_and_health() {
    let scene = Scene::start().await;
    let anonymous = scene.anonymous().await;
    let mut open = Vec::new();
    for path in calls() {
        let code = refused(call(&anonymous, &path).await);
        if code != Code::AuthMissing {
            open.push(path);
        }
    }
    // Open, and refused all the same: it brings no token and no proof.
    let enroll = ["Join", "JoinMember", "Return", "RenewMember"];
    let enroll = enroll.map(|call| format!("/holdfast.v1.Enroll/{call}"));
    assert_eq!(open, enroll);
    call(&anonymous, "/grpc.health.v1.Health/Check").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflection_tells_an_operator_of_every_service_and_nobody_else_of_any() {
    let scene = Scene::start().await;
    let services = reflected(scene.operator()).await.unwrap();
    for path in calls() {
        let service = path.split('/').nth(1).unwrap();
        assert!(services.contains(service), "{service} is not in {services:?}");
    }
    let rogue = scene.rogue("rogue").await;
    assert_eq!(refused(reflected(rogue.channel.clone()).await), Code::AuthDenied);
    assert_eq!(refused(reflected(scene.anonymous().await).await), Code::AuthMissing);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_is_no_agent() {
    let scene = Scene::start().await;
    let agents = calls().into_iter().filter(|path| {
        path.contains(".Ingest/")
            || path.contains(".AgentControl/")
            || path.contains(".Raft/")
            || path.ends_with("/Renew")
    });
    for path in agents {
        assert_eq!(refused(call(&scene.operator(), &path).await), Code::AuthDenied, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_but_a_witness_is_given_the_certificate_of_a_member() {
    let scene = Scene::start().await;
    let mut enroll = EnrollClient::new(scene.anonymous().await);
    let (key, _) = IdentityKey::generate(&SystemEntropy).unwrap();
    let csr = key.request().unwrap();
    let mut ask = async |member, csr: Vec<u8>| {
        let request = v1::RenewMemberRequest { member, csr_der: csr.into() };
        refused(told(enroll.renew_member(request).await))
    };
    assert_eq!(ask(1, csr.clone()).await, Code::AuthDenied, "the founder makes its own");
    assert_eq!(ask(2, csr.clone()).await, Code::MemberMissing);
    assert_ne!(ask(1, csr[..20].to_vec()).await, Code::AuthDenied, "that is no request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_is_given_its_own_certificate_and_no_key() {
    let scene = Scene::start().await;
    let mut enroll = EnrollClient::new(scene.anonymous().await);
    let (key, _) = IdentityKey::generate(&SystemEntropy).unwrap();
    let csr = key.request().unwrap();
    let one_time = OneTimeKey::generate(&SystemEntropy);
    // Whoever asks decides what he asks for; the token decides what he is given.
    let mut join = async |token_for_witness, name: &str, witness| {
        let request = v1::CreateTokenRequest {
            for_member: true,
            witness: token_for_witness,
            ..Default::default()
        };
        let token = told(scene.admin().create_token(request).await).unwrap().token;
        let request = v1::JoinMemberRequest {
            token,
            name: name.to_owned(),
            region: "eu".to_owned(),
            address: "127.0.0.1:0".to_owned(),
            learner: false,
            csr_der: csr.clone().into(),
            one_time_public: one_time.public().to_vec().into(),
            witness,
            level_max: holdfast_ledger::LEVEL,
        };
        told(enroll.join_member(request).await)
    };
    assert_eq!(refused(join(true, "w", false).await), Code::TokenRefused);
    assert_eq!(refused(join(false, "w", true).await), Code::TokenRefused);
    let witness = join(true, "w", true).await.unwrap();
    assert!(witness.sealed_kek.is_empty() && witness.kek_source.is_empty());
    let told_of = PeerCertificate::parse(&witness.certificate_der).unwrap();
    assert_eq!(told_of.identity, Identity::coordinator(scene.context.cluster, witness.node_id));
    assert_eq!(told_of.public_key, key.public());
    // A member with data is given what a witness is not, and the other way round.
    let member = join(false, "two", false).await.unwrap();
    assert!(!member.sealed_kek.is_empty() && member.certificate_der.is_empty());
    let (other, _) = IdentityKey::generate(&SystemEntropy).unwrap();
    let mut renew = async |member, csr: Vec<u8>| {
        let request = v1::RenewMemberRequest { member, csr_der: csr.into() };
        told(enroll.renew_member(request).await)
    };
    let own = renew(witness.node_id, csr.clone()).await.unwrap();
    let renewed = PeerCertificate::parse(&own.certificate_der).unwrap();
    assert_eq!((renewed.identity, renewed.public_key), (told_of.identity, key.public()));
    let with_another_key = renew(witness.node_id, other.request().unwrap()).await;
    assert_eq!(refused(with_another_key), Code::AuthDenied);
    assert_eq!(refused(renew(member.node_id, csr.clone()).await), Code::AuthDenied);
    scene.dev.run(&["cluster", "remove", "w", "--yes"]).ok();
    assert_eq!(refused(renew(witness.node_id, csr.clone()).await), Code::MemberRemoved);
}

/// A channel with the certificate of a member, as whoever has the authority's key could make it.
async fn as_member(scene: &Scene, member: u64) -> Channel {
    let (authority, now) = (scene.authority().await, holdfast_common::Clock::now(&*clock()));
    let (key, pkcs8) = IdentityKey::generate(&SystemEntropy).unwrap();
    let identity = Identity::coordinator(scene.context.cluster, member);
    let validity = Validity::starting(now, Duration::from_secs(3600));
    let certificate = authority.issue(&ProvenKey::own(&key), &identity, validity, 1 << 62).unwrap();
    let chain = vec![certificate, authority.certificate().clone()];
    let identity = TlsIdentity::from_der(chain, &pkcs8);
    let tls = ClientTls::new(&identity, &scene.roots(), clock()).unwrap();
    connect(&scene.context.endpoints, tls, ChannelKind::Data).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_is_heard_as_itself_in_its_own_cluster_and_by_whom_it_means() {
    let scene = Scene::start().await;
    let mut raft = RaftClient::new(as_member(&scene, 7).await);
    let own = scene.context.cluster;
    let mut hello = async |cluster: ClusterId, from, to| {
        let cluster_id = cluster.as_bytes().to_vec().into();
        let header = Some(v1::PeerHeader { cluster_id, from, to, epoch: None });
        told(raft.hello(v1::HelloRequest { header, address: String::new() }).await)
    };
    assert_eq!(hello(own, 7, 1).await.unwrap().leader, 1);
    assert_eq!(refused(hello(own, 1, 1).await), Code::AuthDenied, "it says it is another");
    let other = ClusterId::from_bytes([7; 16]);
    assert_eq!(refused(hello(other, 7, 1).await), Code::AuthDenied);
    assert_eq!(refused(hello(own, 7, 2).await), Code::ClusterUnreachable, "it means another");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_another_cluster_opens_nothing() {
    let scene = Scene::start().await;
    let rogue = scene.rogue("rogue").await;
    let now = holdfast_common::Clock::now(&*clock());
    // It even claims the cluster's own id and the name of an agent that is enrolled.
    for cluster in [scene.context.cluster, ClusterId::from_bytes([7; 16])] {
        let foreign = CertificateAuthority::generate(cluster, &SystemEntropy, now).unwrap();
        let (key, pkcs8) = IdentityKey::generate(&SystemEntropy).unwrap();
        let identity = Identity::agent(cluster, rogue.id);
        let validity = Validity::starting(now, Duration::from_secs(3600));
        let certificate =
            foreign.issue(&ProvenKey::own(&key), &identity, validity, 1 << 62).unwrap();
        let chain = vec![certificate, foreign.certificate().clone()];
        let identity = TlsIdentity::from_der(chain, &pkcs8);
        let tls = ClientTls::new(&identity, &scene.roots(), clock()).unwrap();
        let called = async {
            let channel = connect(&scene.context.endpoints, tls, ChannelKind::Data).await?;
            call(&channel, "/grpc.health.v1.Health/Check").await
        };
        // The handshake ends it: there is no channel on which a code could be told.
        assert_eq!(refused(called.await), Code::ClusterUnreachable);
    }
    let log = scene.dev.service.log();
    assert!(log.contains("connection refused"), "the coordinator says so: {log}");
}
