//! Azurite: Azure's blobs. It knows no immutability.

use crate::{
    server::{Directory, Server, free_address, output},
    tools::tool,
};
use std::{path::Path, process::Command, sync::OnceLock};

/// The account and key that every Azurite has; they are in its manual.
pub const ACCOUNT: &str = "devstoreaccount1";
pub const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

#[derive(Debug)]
pub struct Azurite {
    pub endpoint: String,
    _server: Server,
}

/// A container of blobs, made and looked at through another client than ours.
#[derive(Clone, Debug)]
pub struct BlobContainer {
    pub endpoint: String,
    pub name: String,
}

/// Requests signed with the account's key, by Azure's book and nobody's library.
const SCRIPT: &str = r#"
import base64, hashlib, hmac, re, sys, urllib.parse, urllib.request
from email.utils import formatdate
endpoint, account, key, container, what, *rest = sys.argv[1:]

def ask(verb, path, query={}, headers={}, body=b""):
    path = f"/{account}/{container}{urllib.parse.quote(path)}"
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-10-04", **headers}
    names = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    resource = f"/{account}{path}" + "".join(f"\n{name}:{query[name]}" for name in sorted(query))
    kind = "text/plain" if body else ""
    words = [verb, "", "", str(len(body) or ""), "", kind, "", "", "", "", "", "", names + resource]
    signed = hmac.new(base64.b64decode(key), "\n".join(words).encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey {account}:{base64.b64encode(signed).decode()}"
    if body:
        headers["Content-Type"] = kind
    headers["Content-Length"] = str(len(body))
    url = endpoint + path + ("?" + urllib.parse.urlencode(query) if query else "")
    asked = urllib.request.Request(url, data=body or None, method=verb, headers=headers)
    return urllib.request.urlopen(asked).read().decode()

if what == "make":
    ask("PUT", "", {"restype": "container"})
elif what == "put":
    ask("PUT", "/" + rest[0], headers={"x-ms-blob-type": "BlockBlob"}, body=rest[1].encode())
elif what == "keys":
    page = ask("GET", "", {"restype": "container", "comp": "list"})
    print("\n".join(re.findall("<Name>(.*?)</Name>", page)))
"#;

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
        Self { endpoint: format!("http://{address}"), _server: server }
    }

    pub fn container(&self, name: &str) -> BlobContainer {
        let made = BlobContainer { endpoint: self.endpoint.clone(), name: name.to_owned() };
        made.ask(&["make"]);
        made
    }
}

impl BlobContainer {
    /// All keys, up to a page of them.
    pub fn keys(&self) -> Vec<String> {
        self.ask(&["keys"]).lines().filter(|key| !key.is_empty()).map(str::to_owned).collect()
    }

    /// Puts a blob past Holdfast.
    pub fn put(&self, key: &str, text: &str) {
        self.ask(&["put", key, text]);
    }

    fn ask(&self, what: &[&str]) -> String {
        let own = ["-c", SCRIPT, &self.endpoint, ACCOUNT, KEY, &self.name];
        output(Path::new("python3"), &[&own, what].concat())
    }
}
