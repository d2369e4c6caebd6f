//! A server that speaks as Google Cloud Storage does. It checks no token and enforces no hold.

use crate::{
    server::{Directory, Server, free_address, output},
    tools::tool,
};
use std::{path::Path, process::Command, sync::OnceLock};

#[derive(Debug)]
pub struct FakeGcs {
    pub endpoint: String,
    _server: Server,
}

/// A bucket, made and looked at through another client than ours.
#[derive(Clone, Debug)]
pub struct GcsBucket {
    pub endpoint: String,
    pub name: String,
}

/// Google's other interface, which is JSON.
const SCRIPT: &str = r#"
import json, sys, urllib.parse, urllib.request
endpoint, bucket, what, *rest = sys.argv[1:]

def ask(path, body=None, kind="application/json"):
    asked = urllib.request.Request(endpoint + path, data=body, headers={"Content-Type": kind})
    return json.load(urllib.request.urlopen(asked))

if what == "make":
    ask("/storage/v1/b?project=tests", json.dumps({"name": bucket}).encode())
elif what == "put":
    query = urllib.parse.urlencode({"uploadType": "media", "name": rest[0]})
    ask(f"/upload/storage/v1/b/{bucket}/o?{query}", rest[1].encode(), "text/plain")
elif what == "keys":
    for found in ask(f"/storage/v1/b/{bucket}/o").get("items", []):
        print(found["name"])
"#;

impl FakeGcs {
    /// The one of this process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<FakeGcs> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn start() -> Self {
        let (address, inner, directory) = (free_address(), free_address(), Directory::new());
        let endpoint = format!("http://{address}");
        let mut command = Command::new("python3");
        command.args(["-c", include_str!("gcs.py")]).arg(tool("gcs/bin/fake-gcs-server"));
        let ports = [address, inner].map(|address| address.port().to_string());
        command.arg(address.ip().to_string()).args(ports);
        let server = Server::start(&mut command, directory).answering(address);
        Self { endpoint, _server: server }
    }

    pub fn bucket(&self, name: &str) -> GcsBucket {
        let made = GcsBucket { endpoint: self.endpoint.clone(), name: name.to_owned() };
        made.ask(&["make"]);
        made
    }
}

impl GcsBucket {
    /// All keys, up to a page of them.
    pub fn keys(&self) -> Vec<String> {
        self.ask(&["keys"]).lines().map(str::to_owned).collect()
    }

    /// Puts an object past Holdfast.
    pub fn put(&self, key: &str, text: &str) {
        self.ask(&["put", key, text]);
    }

    fn ask(&self, what: &[&str]) -> String {
        let own = ["-c", SCRIPT, &self.endpoint, &self.name];
        output(Path::new("python3"), &[&own, what].concat())
    }
}
