//! Ministack: S3 and KMS with conditional puts, versions, object lock and checksums. It checks no
//! signature: any key opens it.

use crate::{
    Bucket, Kms,
    server::{Directory, Server, free_address},
    tools::tool,
};
use std::{process::Command, sync::OnceLock};

#[derive(Debug)]
pub struct Ministack {
    pub endpoint: String,
    _server: Server,
}

impl Ministack {
    /// The one of this process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Ministack> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn start() -> Self {
        let (address, directory) = (free_address(), Directory::new());
        let mut command = Command::new(tool("ministack/bin/ministack"));
        command
            .env("GATEWAY_PORT", address.port().to_string())
            .env("BIND_HOST", address.ip().to_string())
            .env("IOT_MTLS_ENABLED", "0")
            .env("PERSIST_STATE", "1")
            .env("S3_PERSIST", "1")
            .env("S3_DATA_DIR", directory.path().join("s3"))
            .env("STATE_DIR", directory.path().join("state"));
        let server = Server::start(&mut command, directory).answering(address);
        Self { endpoint: format!("http://{address}"), _server: server }
    }

    pub fn kms(&self) -> Kms {
        Kms { endpoint: self.endpoint.clone(), key: "test".to_owned(), secret: "test".to_owned() }
    }

    pub fn bucket(&self, name: &str) -> Bucket {
        Bucket::at(&self.endpoint, name, "test", "test").made(false)
    }

    /// One whose objects can be locked.
    pub fn locking_bucket(&self, name: &str) -> Bucket {
        Bucket::at(&self.endpoint, name, "test", "test").made(true)
    }
}
