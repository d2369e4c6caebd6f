//! A server that speaks as Google Cloud Storage does. It checks no token and enforces no hold.

use crate::{
    server::{Directory, Server, free_address},
    tools::tool,
};
use std::{process::Command, sync::OnceLock};

#[derive(Debug)]
pub struct FakeGcs {
    pub endpoint: String,
    _server: Server,
}

impl FakeGcs {
    /// The one of this process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<FakeGcs> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn start() -> Self {
        let (address, directory) = (free_address(), Directory::new());
        let endpoint = format!("http://{address}");
        let mut command = Command::new(tool("gcs/bin/fake-gcs-server"));
        command
            .args(["-host", &address.ip().to_string(), "-port", &address.port().to_string()])
            .args(["-scheme", "http", "-backend", "filesystem", "-filesystem-root"])
            .arg(directory.path().join("objects"))
            .args(["-public-host", &address.to_string(), "-external-url", &endpoint]);
        let server = Server::start(&mut command, directory).answering(address);
        Self { endpoint, _server: server }
    }
}
