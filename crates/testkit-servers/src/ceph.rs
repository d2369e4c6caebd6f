//! Ceph with its S3 gateway: the one real server here that enforces object lock.

use crate::{
    Bucket,
    server::{Directory, Server, free_address},
};
use std::{process::Command, sync::OnceLock};

const KEY: &str = "CEPHKEY";
const SECRET: &str = "CEPHSECRET";
/// The one key with which it encrypts what is to be encrypted with a key (`sse=kms`).
pub const CEPH_KMS_KEY: &str = "ours";

#[derive(Debug)]
pub struct Ceph {
    pub endpoint: String,
    server: Server,
}

impl Ceph {
    /// The one of this process; it takes some 15 seconds to start.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Ceph> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn start() -> Self {
        let (monitor, gateway, directory) = (free_address(), free_address(), Directory::new());
        let mut command = Command::new("sh");
        command.args(["-c", include_str!("ceph.sh"), "ceph.sh"]);
        command.args([monitor, gateway].map(|address| address.port().to_string()));
        command.args([KEY, SECRET, CEPH_KMS_KEY]);
        let server = Server::start(&mut command, directory).answering(gateway);
        Self { endpoint: format!("http://{gateway}"), server }
    }

    /// Those that it consists of, for whoever counts what they spend.
    pub fn processes(&self) -> Vec<u32> {
        self.server.processes()
    }

    pub fn bucket(&self, name: &str) -> Bucket {
        Bucket::at(&self.endpoint, name, KEY, SECRET).made(false)
    }

    /// One whose objects can be locked.
    pub fn locking_bucket(&self, name: &str) -> Bucket {
        Bucket::at(&self.endpoint, name, KEY, SECRET).made(true)
    }
}
