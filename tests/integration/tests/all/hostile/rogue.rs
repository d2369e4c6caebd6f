//! An enrolled agent that says what it is told to, and the sessions that it writes.

use super::{
    Scene,
    scene::{clock, told},
};
use bytes::Bytes;
use holdfast_agent::{
    join::{JoinOptions, join},
    options::AgentConfig,
};
use holdfast_common::{
    AgentId, ChunkId, ChunkKind, Clock, PackId, PointId, Result, RunId, Secret, SystemEntropy,
    VaultId,
};
use holdfast_keyring::{Capsule, DataKey, IdKey, IdentityKey, IndexPublicKey, VaultPublicKey};
use holdfast_repository::{
    IdKeyScope, Pack, PackBuilder, PointRecord, PointState,
    point::{ChunkProfileOne, FormatOne},
};
use holdfast_runtime::files;
use holdfast_seal::{PlainChunk, Sealer};
use holdfast_wire::{
    parse,
    v1::{
        self, agent_control_client::AgentControlClient, agent_report::Report,
        ingest_client::IngestClient, put_request::Part,
    },
};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Streaming, transport::Channel};

pub struct Rogue {
    pub config: AgentConfig,
    pub id: AgentId,
    pub key: IdentityKey,
    pub channel: Channel,
    pub orders: Streaming<v1::AgentOrder>,
    pub reports: mpsc::Sender<v1::AgentReport>,
}

impl Rogue {
    /// Enrols with a token, connects with what it got, and attaches.
    pub async fn join(scene: &Scene, name: &str) -> Self {
        let hello = v1::AgentHello { version: "rogue".to_owned(), ..Default::default() };
        Self::join_with(scene, name, scene.token(), hello).await
    }

    /// The same with any token, and anything to say.
    pub async fn join_with(
        scene: &Scene,
        name: &str,
        token: String,
        hello: v1::AgentHello,
    ) -> Self {
        let options = JoinOptions {
            coordinator: scene.context.endpoints[0].clone(),
            token,
            dir: scene.scratch.join(name),
            name: Some(name.parse().unwrap()),
        };
        let config = join(options).await.unwrap();
        let pem = files::read_text(&config.key).unwrap();
        let cert = files::read_text(&config.cert).unwrap();
        let channel = scene.channel_of(&cert, &pem).await.unwrap();
        let (orders, reports) = attach_as(&channel, hello).await.unwrap();
        let key = IdentityKey::from_pkcs8_pem(&pem).unwrap();
        Self { id: config.agent_id, config, key, channel, orders, reports }
    }

    /// The path that its runs are about.
    pub fn path(&self) -> String {
        format!("/hostile/{}", self.config.name)
    }

    pub fn key_pem(&self) -> String {
        files::read_text(&self.config.key).unwrap().to_string()
    }

    pub fn cert_pem(&self) -> String {
        files::read_text(&self.config.cert).unwrap().to_string()
    }

    pub fn ingest(&self) -> IngestClient<Channel> {
        IngestClient::new(self.channel.clone())
    }

    pub async fn begin(&self, run: RunId) -> Result<Writing> {
        let request = v1::BeginRequest { run_id: Bytes::copy_from_slice(run.as_bytes()) };
        let begun = told(self.ingest().begin(request).await)?;
        Ok(Writing::of(self, run, begun))
    }

    /// A run of its own, begun.
    pub async fn write(&self, scene: &Scene) -> Writing {
        self.begin(scene.order(self).await).await.unwrap()
    }

    pub async fn offer(
        &self,
        session: &Bytes,
        kind: ChunkKind,
        ids: &[ChunkId],
    ) -> Result<Vec<u32>> {
        let request = v1::OfferRequest {
            session_id: session.clone(),
            kind: kind as u32,
            ids: ids.iter().flat_map(|id| *id.as_bytes()).collect(),
        };
        told(self.ingest().offer(request).await).map(|answer| answer.wanted)
    }

    pub async fn put(&self, session: &Bytes, pack: &Pack) -> Result<()> {
        self.put_as(session, &pack.id, pack.bytes.len(), &pack.bytes).await
    }

    /// Sends bytes under any name and any announced length.
    pub async fn put_as(
        &self,
        session: &Bytes,
        id: &PackId,
        announced: usize,
        bytes: &Bytes,
    ) -> Result<()> {
        let mut parts = vec![header(session, id, announced)];
        for start in (0..bytes.len()).step_by(256 << 10) {
            parts.push(data(bytes.slice(start..bytes.len().min(start + (256 << 10)))));
        }
        self.put_parts(parts).await
    }

    pub async fn put_parts(&self, parts: Vec<v1::PutRequest>) -> Result<()> {
        told(self.ingest().put(tokio_stream::iter(parts)).await).map(drop)
    }

    pub async fn renew(&self, session: &Bytes) -> Result<bool> {
        let request = v1::RenewSessionRequest { session_id: session.clone() };
        told(self.ingest().renew(request).await).map(|answer| answer.cancelled)
    }

    /// Signs what the record says, and commits it.
    pub async fn finish(
        &self,
        session: &Bytes,
        record: &PointRecord,
        inline: &[&Pack],
    ) -> Result<PointId> {
        let bytes = record.to_bytes();
        let signature = self.key.sign_point(&bytes);
        self.finish_signed(session, bytes, signature, inline).await
    }

    pub async fn finish_signed(
        &self,
        session: &Bytes,
        record: Vec<u8>,
        signature: [u8; 64],
        inline: &[&Pack],
    ) -> Result<PointId> {
        let request = v1::FinishRequest {
            session_id: session.clone(),
            record: record.into(),
            signature: signature.to_vec().into(),
            inline_packs: inline.iter().map(|pack| pack.bytes.clone()).collect(),
            counts: None,
        };
        let answer = told(self.ingest().finish(request).await)?;
        parse::point_id(&answer.point_id)
    }
}

type Line = (Streaming<v1::AgentOrder>, mpsc::Sender<v1::AgentReport>);

/// Opens the line; the first order is the welcome.
pub async fn attach(channel: &Channel) -> Result<Line> {
    let hello = v1::AgentHello { version: "rogue".to_owned(), ..Default::default() };
    attach_as(channel, hello).await
}

async fn attach_as(channel: &Channel, hello: v1::AgentHello) -> Result<Line> {
    let (reports, sent) = mpsc::channel(8);
    reports.send(v1::AgentReport { report: Some(Report::Hello(hello)) }).await.unwrap();
    let mut client = AgentControlClient::new(channel.clone());
    let mut orders = told(client.attach(ReceiverStream::new(sent)).await)?;
    assert!(orders.next().await.is_some_and(|order| order.is_ok()), "a welcome");
    Ok((orders, reports))
}

pub fn header(session: &Bytes, id: &PackId, length: usize) -> v1::PutRequest {
    v1::PutRequest {
        part: Some(Part::Header(v1::PutHeader {
            session_id: session.clone(),
            pack_id: Bytes::copy_from_slice(id.as_bytes()),
            length: u32::try_from(length).unwrap(),
        })),
    }
}

pub fn data(bytes: Bytes) -> v1::PutRequest {
    v1::PutRequest { part: Some(Part::Data(bytes)) }
}

/// A session that was begun, with what is needed to seal for it.
pub struct Writing {
    pub begun: v1::BeginResponse,
    pub session: Bytes,
    pub run: RunId,
    pub vault: VaultId,
    pub ids: IdKey,
    pub index: IndexPublicKey,
    agent: AgentId,
    source: String,
    data_key: Arc<DataKey>,
    capsule: Capsule,
}

impl Writing {
    fn of(rogue: &Rogue, run: RunId, begun: v1::BeginResponse) -> Self {
        let vault = parse::vault_id(&begun.vault_id).unwrap();
        let key = parse::array("key", &begun.vault_public).unwrap();
        let public = VaultPublicKey { vault, version: begun.vault_key_version, key };
        let key = parse::array("key", &begun.index_public).unwrap();
        let index = IndexPublicKey { vault, version: begun.index_key_version, key };
        let (data_key, capsule) = public.encapsulate(&SystemEntropy).unwrap();
        let ids = IdKey::from_secret(Secret::from_slice(&begun.id_key).unwrap());
        Self {
            session: begun.session_id.clone(),
            run,
            vault,
            ids,
            index,
            agent: rogue.id,
            source: format!("files:{}", rogue.path()),
            data_key: Arc::new(data_key),
            capsule,
            begun,
        }
    }

    pub fn point(&self) -> PointId {
        parse::point_id(&self.begun.point_id).unwrap()
    }

    /// A frame of `content` under any id.
    pub fn frame(&self, kind: ChunkKind, id: ChunkId, content: &[u8]) -> Vec<u8> {
        let chunk = PlainChunk { kind, id, bytes: Bytes::copy_from_slice(content) };
        let mut sealer = Sealer::new(self.vault, Arc::clone(&self.data_key), 3).unwrap();
        sealer.seal(&chunk, &SystemEntropy).unwrap().frame
    }

    pub fn builder(&self, vault: VaultId, kind: ChunkKind) -> PackBuilder {
        let mut builder = PackBuilder::new(vault, kind);
        builder.add_capsule(self.capsule.as_bytes()).unwrap();
        builder
    }

    /// Seals a footer honestly, after `forge` had its way with the plaintext.
    pub fn forged(&self, builder: PackBuilder, forge: impl Fn(&mut Vec<u8>)) -> Pack {
        let sealer = |digest: &[u8; 32], plaintext: &[u8]| {
            let mut plaintext = plaintext.to_vec();
            forge(&mut plaintext);
            let sealed = self.index.seal_footer(digest, &plaintext, &SystemEntropy)?;
            Ok((self.index.version, sealed))
        };
        builder.finish(&sealer).unwrap()
    }

    /// A pack of chunks under the ids that are given.
    pub fn pack_of(&self, kind: ChunkKind, chunks: &[(ChunkId, &[u8])]) -> Pack {
        let mut builder = self.builder(self.vault, kind);
        for (id, content) in chunks {
            builder.push(*id, 0, &self.frame(kind, *id, content)).unwrap();
        }
        self.forged(builder, |_| {})
    }

    /// An honest pack of one chunk, and the chunk's id.
    pub fn pack(&self, kind: ChunkKind, content: &[u8]) -> (ChunkId, Pack) {
        let id = self.ids.id(kind, content);
        (id, self.pack_of(kind, &[(id, content)]))
    }

    /// The record of the session's point, as an honest agent would write it.
    pub fn record(&self, root: ChunkId, inline: &[&Pack]) -> PointRecord {
        let now = clock().now();
        PointRecord {
            format: FormatOne::One,
            point: self.point(),
            vault: self.vault,
            agent: self.agent,
            run: self.run,
            policy: None,
            source: self.source.clone(),
            started: now,
            ended: now,
            root,
            height: 1,
            entries: 0,
            bytes: 0,
            previous: self.begun.previous_point.as_deref().map(|id| parse::point_id(id).unwrap()),
            state: PointState::Complete,
            chunk_profile: ChunkProfileOne::One,
            id_key_scope: match self.begun.id_scope {
                2 => IdKeyScope::Vault,
                _ => IdKeyScope::Agent,
            },
            skipped: 0,
            inline_packs: inline.iter().map(|pack| pack.id).collect(),
            skipped_page: None,
        }
    }
}
