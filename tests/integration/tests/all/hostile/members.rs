//! Whoever took the key of a witness, and whoever comes under the number of another member.

use super::{
    Scene, refused,
    scene::{clock, told},
};
use bytes::Bytes;
use holdfast_common::{Clock, Code, Result, SystemEntropy};
use holdfast_keyring::OneTimeKey;
use holdfast_runtime::{
    ChannelKind, ClientTls, connect,
    identity::Identity,
    pki::{IdentityKey, ProvenKey, Validity},
    tls::TlsIdentity,
};
use holdfast_wire::v1::{self, enroll_client::EnrollClient, raft_client::RaftClient};
use std::time::Duration;
use tonic::transport::Channel;

/// A member that was admitted, and speaks by hand.
struct Admitted {
    number: u64,
    raft: RaftClient<Channel>,
    cluster_id: Bytes,
}

/// A channel with a certificate of a member for any key, as the cluster's authority would make it.
async fn channel_of(scene: &Scene, number: u64, key: &IdentityKey, pkcs8: &[u8]) -> Channel {
    let (authority, now) = (scene.authority().await, clock().now());
    let identity = Identity::coordinator(scene.context.cluster, number);
    let validity = Validity::starting(now, Duration::from_secs(3600));
    let certificate = authority.issue(&ProvenKey::own(key), &identity, validity, 1 << 62).unwrap();
    let chain = vec![certificate, authority.certificate().clone()];
    let tls = TlsIdentity::from_der(chain, pkcs8);
    let tls = ClientTls::new(&tls, &scene.roots(), clock()).unwrap();
    connect(&scene.context.endpoints, tls, ChannelKind::Data).await.unwrap()
}

impl Admitted {
    async fn join(scene: &Scene, name: &str, witness: bool) -> Self {
        let (key, pkcs8) = IdentityKey::generate(&SystemEntropy).unwrap();
        let token = v1::CreateTokenRequest { for_member: true, witness, ..Default::default() };
        let request = v1::JoinMemberRequest {
            token: told(scene.admin().create_token(token).await).unwrap().token,
            name: name.to_owned(),
            region: "eu".to_owned(),
            address: "127.0.0.1:9".to_owned(),
            learner: true,
            csr_der: key.request().unwrap().into(),
            one_time_public: OneTimeKey::generate(&SystemEntropy).public().to_vec().into(),
            witness,
            level_max: holdfast_ledger::LEVEL,
        };
        let mut enroll = EnrollClient::new(scene.anonymous().await);
        let number = told(enroll.join_member(request).await).unwrap().node_id;
        Self::with_key(scene, number, &key, &pkcs8).await
    }

    async fn with_key(scene: &Scene, number: u64, key: &IdentityKey, pkcs8: &[u8]) -> Self {
        let raft = RaftClient::new(channel_of(scene, number, key, pkcs8).await);
        let cluster_id = Bytes::copy_from_slice(scene.context.cluster.as_bytes());
        Self { number, raft, cluster_id }
    }

    fn header(&self, epoch: Option<v1::EpochInForce>) -> Option<v1::PeerHeader> {
        Some(v1::PeerHeader {
            cluster_id: self.cluster_id.clone(),
            from: self.number,
            to: 1,
            epoch,
        })
    }

    async fn hello(
        &mut self,
        address: &str,
        epoch: Option<v1::EpochInForce>,
    ) -> Result<v1::HelloResponse> {
        let (header, address) = (self.header(epoch), address.to_owned());
        told(self.raft.hello(v1::HelloRequest { header, address }).await)
    }

    /// Has the leader agree to a command, in its stored form.
    async fn propose(&mut self, actor: &[u8], command: &[u8]) -> Result<v1::ProposeResponse> {
        let request = v1::ProposeRequest {
            header: self.header(None),
            key: Bytes::copy_from_slice(holdfast_common::RunId::random(&SystemEntropy).as_bytes()),
            actor: Bytes::copy_from_slice(actor),
            command: Bytes::copy_from_slice(command),
        };
        told(self.raft.propose(request).await)
    }
}

const SYSTEM: &[u8] = &[0x82, 0, 0x80];
const ADMIN: &[u8] = b"\x82\x01\x81\x65admin";

/// `RemoveMember`.
fn remove(member: u8) -> Vec<u8> {
    vec![0x82, 0x18, 30, 0x81, 0xa1, 0, member]
}

/// `MoveMember`.
fn move_member(member: u8) -> Vec<u8> {
    [&[0x82, 0x18, 29, 0x81, 0xa2, 0, member, 1, 0x63][..], b"a:1"].concat()
}

fn names(scene: &Scene) -> Vec<String> {
    let status = scene.dev.run(&["--output", "json", "cluster", "status"]).ok().object();
    let rows = status["members"].as_array().unwrap();
    rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_witness_says_where_it_is_and_nothing_in_the_name_of_others() {
    let scene = Scene::start().await;
    let mut two = Admitted::join(&scene, "two", false).await;
    let mut three = Admitted::join(&scene, "three", false).await;
    let mut witness = Admitted::join(&scene, "w", true).await;
    let (own, other) = (witness.number as u8, two.number as u8);
    for actor in [ADMIN, SYSTEM] {
        assert_eq!(refused(witness.propose(actor, &remove(other)).await), Code::AuthDenied);
        assert_eq!(refused(witness.propose(actor, &move_member(other)).await), Code::AuthDenied);
    }
    assert_eq!(refused(witness.propose(ADMIN, &move_member(own)).await), Code::AuthDenied);
    witness.propose(SYSTEM, &move_member(own)).await.unwrap();
    assert!(names(&scene).contains(&"two".to_owned()));
    // What a member with data forwards for whoever it let in is agreed.
    three.propose(ADMIN, &remove(other)).await.unwrap();
    assert!(!names(&scene).contains(&"two".to_owned()));
    assert_eq!(refused(two.hello("", None).await), Code::MemberRemoved);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_that_nobody_vouches_for_fences_nobody() {
    let scene = Scene::start().await;
    let mut witness = Admitted::join(&scene, "w", true).await;
    let epoch = |number, region: &str, voucher: &'static [u8]| {
        let (regions, voucher) = (vec![region.to_owned()], Bytes::from_static(voucher));
        Some(v1::EpochInForce { number, regions, member: 2, applied: 9, voucher })
    };
    let near = |voucher| epoch(2, "x", voucher);
    for told_of in [near(&[]), near(&[7; 32]), near(&[7; 3]), epoch(u64::MAX, "x", &[])] {
        let answer = witness.hello("", told_of.clone()).await.unwrap();
        assert!(!answer.superseded && answer.epoch.is_none(), "{told_of:?}: {answer:?}");
        let header = witness.header(told_of);
        let asked = witness.raft.read_index(v1::ReadIndexRequest { header }).await;
        let code = refused(told(asked));
        assert!([Code::EpochUnproven, Code::UsageMalformed].contains(&code), "{code:?}");
    }
    // Nor is it adopted, where it is said to be of the member's own region.
    witness.hello("", epoch(2, "local", &[])).await.unwrap();
    scene.dev.run(&["agent", "token"]).ok();
    let header = witness.header(None);
    told(witness.raft.read_index(v1::ReadIndexRequest { header }).await).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_is_of_the_key_that_joined_under_it() {
    let scene = Scene::start().await;
    for (name, is_witness) in [("two", false), ("w", true)] {
        let mut member = Admitted::join(&scene, name, is_witness).await;
        let (other, pkcs8) = IdentityKey::generate(&SystemEntropy).unwrap();
        let mut double = Admitted::with_key(&scene, member.number, &other, &pkcs8).await;
        assert_eq!(refused(double.hello("127.0.0.1:10", None).await), Code::MemberForeign);
        let header = double.header(None);
        let asked = double.raft.read_index(v1::ReadIndexRequest { header }).await;
        assert_eq!(refused(told(asked)), Code::MemberForeign);
        let moved = double.propose(SYSTEM, &move_member(member.number as u8)).await;
        assert_eq!(refused(moved), Code::MemberForeign);
        assert_eq!(member.hello("", None).await.unwrap().leader, 1, "`{name}` itself is heard");
        let status = scene.dev.run(&["--output", "json", "cluster", "status"]).ok().object();
        let rows = status["members"].as_array().unwrap();
        let row = rows.iter().find(|row| row["name"] == name).unwrap();
        assert_eq!(row["address"], "127.0.0.1:9", "nobody moved it: {row}");
    }
}
