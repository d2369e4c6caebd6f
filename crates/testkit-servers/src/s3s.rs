//! s3s-fs: a directory that is spoken to as S3, inside of this process.
//!
//! It checks signatures and SHA-256, and takes no notice of the condition of a put: every writer of
//! a name wins. To whatever it does not know, locks and versions among it, it answers 501.

use crate::Bucket;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use s3s::{
    auth::SimpleAuth,
    service::{S3ServiceBuilder, SharedS3Service},
};
use s3s_fs::FileSystem;
use std::net::{Ipv4Addr, SocketAddr};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    task::JoinSet,
};

const KEY: &str = "AKIAS3SFS";
const SECRET: &str = "the-secret-of-s3s-fs";

#[derive(Debug)]
pub struct S3sFs {
    pub endpoint: String,
    /// None when it ends.
    runtime: Option<Runtime>,
    _directory: TempDir,
}

impl S3sFs {
    /// One of its own: it ends, and its directory goes, with what is given back.
    pub fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("holdfast-server-").tempdir();
        let directory = directory.unwrap_or_else(|error| panic!("no directory: {error}"));
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap_or_else(|error| panic!("no runtime: {error}"));
        let files = FileSystem::new(directory.path());
        let files = files.unwrap_or_else(|error| panic!("no file system: {error:?}"));
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let service = service.build().into_shared();
        // Whoever starts it may be within a runtime of its own.
        let (listener, address) = {
            let _within = runtime.enter();
            listen().unwrap_or_else(|error| panic!("nothing can listen: {error}"))
        };
        let _ends_with_the_runtime = runtime.spawn(serve(listener, service));
        let endpoint = format!("http://{address}");
        Self { endpoint, runtime: Some(runtime), _directory: directory }
    }

    pub fn bucket(&self, name: &str) -> Bucket {
        Bucket::at(&self.endpoint, name, KEY, SECRET).made(false)
    }
}

impl Drop for S3sFs {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn listen() -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((TcpListener::from_std(listener)?, address))
}

async fn serve(listener: TcpListener, service: SharedS3Service) {
    let mut lines = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let service = service.clone();
        lines.spawn(async move {
            let line = auto::Builder::new(TokioExecutor::new());
            let _whoever_asked_is_told = line.serve_connection(TokioIo::new(stream), service).await;
        });
        while lines.try_join_next().is_some() {}
    }
}
