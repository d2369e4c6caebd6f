//! A cluster of one with its operator, seen from the side of the protocol.

use super::Rogue;
use crate::harness::{Dev, Objects, Scratch, holdfast};
use bytes::Bytes;
use holdfast_common::{
    ChunkId, ChunkKind, Code, Error, PackId, PointId, Result, RunId, SystemClock, SystemEntropy,
};
use holdfast_keyring::{BundleContents, OneTimeKey, bundle};
use holdfast_runtime::{
    ChannelKind, ClientTls, Context, connect,
    pki::CertificateAuthority,
    tls::{Roots, TlsIdentity},
};
use holdfast_wire::{
    status::from_status,
    v1::{
        self, admin_client::AdminClient, restore_client::RestoreClient, source_spec::Source,
        start_backup_request::What,
    },
};
use std::{fmt::Debug, sync::Arc};
use tonic::{Response, Status, transport::Channel};

pub struct Scene {
    pub dev: Dev,
    pub scratch: Scratch,
    pub context: Context,
    operator: Channel,
}

pub fn clock() -> Arc<SystemClock> {
    Arc::new(SystemClock::start())
}

/// The answer, or the refusal as it was told.
pub fn told<T>(answer: Result<Response<T>, Status>) -> Result<T> {
    answer.map(Response::into_inner).map_err(|status| from_status(&status))
}

/// The code of a refusal; an answer fails the test.
#[track_caller]
pub fn refused<T: Debug>(answer: Result<T, Error>) -> Code {
    answer.expect_err("this must be refused").code
}

impl Scene {
    pub async fn start() -> Self {
        let scratch = Scratch::new();
        let dev = Dev::start(&scratch.join("d"));
        let context = Context::load(&dev.context()).unwrap();
        let tls = context.tls(clock()).unwrap();
        let operator = connect(&context.endpoints, tls, ChannelKind::Data).await.unwrap();
        Self { dev, scratch, context, operator }
    }

    pub fn admin(&self) -> AdminClient<Channel> {
        AdminClient::new(self.operator.clone())
    }

    pub fn operator(&self) -> Channel {
        self.operator.clone()
    }

    pub fn token(&self) -> String {
        let told = holdfast(Some(&self.dev.context()), &["agent", "token"]).ok();
        told.text().trim_end().to_owned()
    }

    pub async fn rogue(&self, name: &str) -> Rogue {
        Rogue::join(self, name).await
    }

    /// Asks an attached agent for a backup that it will make by hand.
    pub async fn order(&self, rogue: &Rogue) -> RunId {
        self.order_into(rogue, "main").await
    }

    pub async fn order_into(&self, rogue: &Rogue, vault: &str) -> RunId {
        let run = RunId::random(&SystemEntropy);
        let files =
            v1::FilesSource { paths: vec![rogue.path().into_bytes().into()], ..Default::default() };
        let path = v1::PathBackup {
            source: Some(v1::SourceSpec { source: Some(Source::Files(files)) }),
            agent: rogue.config.name.to_string(),
            vault: vault.to_owned(),
        };
        let request = v1::StartBackupRequest {
            what: Some(What::Path(path)),
            run_id: Bytes::copy_from_slice(run.as_bytes()),
            ..Default::default()
        };
        told(self.admin().start_backup(request).await).unwrap();
        run
    }

    pub async fn bundle(&self) -> BundleContents {
        let passphrase = "correct horse battery".to_owned();
        let request = v1::ExportBundleRequest { passphrase: passphrase.clone() };
        let sealed = told(self.admin().export_bundle(request).await).unwrap().bundle;
        bundle::open(&sealed, passphrase.as_bytes()).unwrap()
    }

    /// The cluster's own authority, as a test must have it to make a certificate that has expired.
    pub async fn authority(&self) -> CertificateAuthority {
        let bundle = self.bundle().await;
        CertificateAuthority::from_parts(&bundle.ca_certificate, &bundle.ca_key).unwrap()
    }

    pub fn roots(&self) -> Roots {
        Roots::from_pem(&self.context.ca.read().unwrap()).unwrap()
    }

    pub async fn anonymous(&self) -> Channel {
        let tls = ClientTls::anonymous(&self.roots(), clock()).unwrap();
        connect(&self.context.endpoints, tls, ChannelKind::Control).await.unwrap()
    }

    /// A channel of whoever holds this certificate and key.
    pub async fn channel_of(&self, certificate_pem: &str, key_pem: &str) -> Result<Channel> {
        let identity = TlsIdentity::from_pem(certificate_pem, key_pem)?;
        let tls = ClientTls::new(&identity, &self.roots(), clock())?;
        connect(&self.context.endpoints, tls, ChannelKind::Data).await
    }

    pub fn holds_pack(&self, id: &PackId) -> bool {
        let name = id.to_string();
        let location = Objects::of(&self.dev.dir.join("location"));
        location.below("packs").iter().any(|path| path.to_string_lossy().ends_with(&name))
    }

    pub fn holds_point(&self, id: &PointId) -> bool {
        let name = id.to_string();
        let location = Objects::of(&self.dev.dir.join("location"));
        location.below("points").iter().any(|path| path.to_string_lossy().ends_with(&name))
    }

    /// Asks, as the operator, for one chunk of a point.
    pub async fn fetch(&self, point: &PointId, kind: ChunkKind, id: &ChunkId) -> Result<Bytes> {
        let mut restore = RestoreClient::new(self.operator.clone())
            .max_decoding_message_size(holdfast_common::limits::MESSAGE_BYTES_MAX);
        let request = v1::OpenPointRequest {
            point_id: Bytes::copy_from_slice(point.as_bytes()),
            one_time_public: OneTimeKey::generate(&SystemEntropy).public().to_vec().into(),
            purpose: "restore".to_owned(),
            run_id: None,
        };
        let opened = told(restore.open(request).await)?;
        let request = v1::FetchRequest {
            read_session: opened.read_session,
            kind: kind as u32,
            ids: Bytes::copy_from_slice(id.as_bytes()),
            copy: 0,
        };
        let mut answers = told(restore.fetch(request).await)?;
        let mut chunks = Vec::new();
        while let Some(answer) = answers.message().await.map_err(|status| from_status(&status))? {
            chunks.extend(answer.chunks);
        }
        assert_eq!(chunks.len(), 1, "one chunk is asked for, one answer comes");
        let chunk = chunks.remove(0);
        chunk.error.map_or(Ok(chunk.frame), |error| Err(error.into()))
    }
}
