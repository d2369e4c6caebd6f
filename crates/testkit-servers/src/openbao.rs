//! OpenBao with its transit engine: TLS under an authority of its own, everything in memory.

use crate::{
    server::{Directory, Server, free_address},
    tools::tool,
};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

const ROOT: &str = "root-of-a-test";
const LOOK: Duration = Duration::from_millis(50);
const LOOKS_MAX: usize = 1200;

#[derive(Debug)]
pub struct OpenBao {
    /// `https://…`, under the authority in `ca`.
    pub address: String,
    pub ca: PathBuf,
    unseal_key: String,
    _server: Server,
}

impl OpenBao {
    /// One with a transit engine at `transit/` and no key.
    pub fn start() -> Self {
        let (address, directory) = (free_address(), Directory::new());
        let certificates = directory.path().to_owned();
        let mut command = Command::new(tool("openbao/bin/bao"));
        command.args(["server", "-dev", "-dev-no-store-token", "-dev-tls"]);
        command.arg(format!("-dev-tls-cert-dir={}", certificates.display()));
        command.arg(format!("-dev-root-token-id={ROOT}"));
        command.arg(format!("-dev-listen-address={address}"));
        let server = Server::start(&mut command, directory).answering(address);
        let unseal_key = said(&server, "Unseal Key: ");
        let ca = certificates.join("vault-ca.pem");
        let bao = Self { address: format!("https://{address}"), ca, unseal_key, _server: server };
        bao.run(&["secrets", "enable", "transit"]);
        bao
    }

    /// The KEK as configuration names it, with its token in a file.
    pub fn kek(&self, key: &str, token: &Path) -> String {
        let (token, ca) = (token.display(), self.ca.display());
        format!("transit:{}/transit/{key}?token=file:{token}&ca={ca}", self.address)
    }

    pub fn make_key(&self, key: &str) {
        self.run(&["write", "-f", &format!("transit/keys/{key}")]);
    }

    /// A token that may do no more than a policy says.
    pub fn token(&self, name: &str, policy: &str) -> String {
        let file = self.ca.with_file_name(format!("{name}.hcl"));
        std::fs::write(&file, policy).unwrap_or_else(|error| panic!("{error}"));
        self.run(&["policy", "write", name, &file.display().to_string()]);
        self.run(&["token", "create", "-field=token", "-no-default-policy", "-policy", name])
    }

    pub fn root(&self) -> &'static str {
        ROOT
    }

    pub fn seal(&self) {
        self.run(&["operator", "seal"]);
    }

    pub fn unseal(&self) {
        self.run(&["operator", "unseal", &self.unseal_key]);
    }

    /// What the operator's command says; its error fails the test.
    pub fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("timeout");
        command.arg("60").arg(tool("openbao/bin/bao")).args(arguments).stdin(Stdio::null());
        command.env("BAO_ADDR", &self.address).env("BAO_CACERT", &self.ca).env("BAO_TOKEN", ROOT);
        let output = command.output().unwrap_or_else(|error| panic!("bao: {error}"));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "bao {arguments:?}: {error}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

/// The rest of a line that it says when it is ready.
fn said(server: &Server, before: &str) -> String {
    for _ in 0..LOOKS_MAX {
        let said = server.said();
        let line = said.lines().find_map(|line| line.strip_prefix(before));
        match line {
            Some(line) if said.contains("Root Token: ") => return line.trim().to_owned(),
            _ => thread::sleep(LOOK),
        }
    }
    panic!("OpenBao never said `{before}`:\n{}", server.said())
}
