//! Azurite: Azure's blobs. It knows no immutability.

use crate::{
    server::{Directory, Server, free_address},
    tools::tool,
};
use std::{net::SocketAddr, process::Command, sync::OnceLock};

/// The account and key that every Azurite has; they are in its manual.
pub const ACCOUNT: &str = "devstoreaccount1";
pub const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

#[derive(Debug)]
pub struct Azurite {
    pub address: SocketAddr,
    _server: Server,
}

impl Azurite {
    /// The one of this process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Azurite> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn start() -> Self {
        let (address, directory) = (free_address(), Directory::new());
        let mut command = Command::new(tool("azurite/node_modules/.bin/azurite-blob"));
        command
            .args(["--silent", "--skipApiVersionCheck", "--disableTelemetry", "--location"])
            .arg(directory.path())
            .args(["--blobHost", &address.ip().to_string()])
            .args(["--blobPort", &address.port().to_string()]);
        let server = Server::start(&mut command, directory).answering(address);
        Self { address, _server: server }
    }
}
