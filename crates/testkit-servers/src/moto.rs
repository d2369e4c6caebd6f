//! Moto in its strict mode: it checks signatures and policies of users, and no checksum at all.

use crate::{
    Bucket, Kms,
    server::{Directory, Server, free_address, output},
    tools::tool,
};
use std::{process::Command, sync::OnceLock};

#[derive(Debug)]
pub struct Moto {
    pub endpoint: String,
    /// Of somebody who may do everything.
    root: (String, String),
    _server: Server,
}

/// Makes a user that may do what is named; once one was made, keys are checked.
const USER: &str = r#"
import sys, json, boto3, urllib.request
endpoint, key, secret, name, strict, *actions = sys.argv[1:]
iam = boto3.client("iam", endpoint_url=endpoint, region_name="us-east-1",
                   aws_access_key_id=key, aws_secret_access_key=secret)
iam.create_user(UserName=name)
allowed = [{"Effect": "Allow", "Action": actions, "Resource": "*"}]
policy = json.dumps({"Version": "2012-10-17", "Statement": allowed})
iam.put_user_policy(UserName=name, PolicyName="allowed", PolicyDocument=policy)
made = iam.create_access_key(UserName=name)["AccessKey"]
if strict == "strict":
    asked = urllib.request.Request(endpoint + "/moto-api/reset-auth", data=b"0", method="POST",
                                   headers={"Content-Type": "text/plain"})
    urllib.request.urlopen(asked).read()
print(made["AccessKeyId"], made["SecretAccessKey"])
"#;

impl Moto {
    /// The one of this process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Moto> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn start() -> Self {
        let address = free_address();
        let mut command = Command::new(tool("moto/bin/moto_server"));
        command.args(["-H", &address.ip().to_string(), "-p", &address.port().to_string()]);
        let server = Server::start(&mut command, Directory::new()).answering(address);
        let endpoint = format!("http://{address}");
        let root = user(&endpoint, ("any", "any"), "root", true, &["*"]);
        Self { endpoint, root, _server: server }
    }

    /// A bucket that its user may use freely.
    pub fn bucket(&self, name: &str) -> Bucket {
        Bucket::at(&self.endpoint, name, &self.root.0, &self.root.1).made(false)
    }

    pub fn kms(&self) -> Kms {
        let (key, secret) = self.root.clone();
        Kms { endpoint: self.endpoint.clone(), key, secret }
    }

    /// The same KMS, for a user who may do no more than `actions`.
    pub fn narrowed_kms(&self, name: &str, actions: &[&str]) -> Kms {
        let root = (self.root.0.as_str(), self.root.1.as_str());
        let (key, secret) = user(&self.endpoint, root, name, false, actions);
        Kms { key, secret, ..self.kms() }
    }

    /// The same bucket, for a user who may do no more than `actions`.
    pub fn narrowed(&self, bucket: &Bucket, actions: &[&str]) -> Bucket {
        let name = format!("user-of-{}", bucket.name);
        let root = (self.root.0.as_str(), self.root.1.as_str());
        let (key, secret) = user(&self.endpoint, root, &name, false, actions);
        Bucket { key, secret, ..bucket.clone() }
    }
}

fn user(
    endpoint: &str,
    (key, secret): (&str, &str),
    name: &str,
    strict: bool,
    actions: &[&str],
) -> (String, String) {
    let strict = if strict { "strict" } else { "as it is" };
    let arguments = [&["-c", USER, endpoint, key, secret, name, strict], actions].concat();
    let made = output(&tool("moto/bin/python"), &arguments);
    let (key, secret) = made.trim().split_once(' ').unwrap_or_else(|| panic!("no key: {made}"));
    (key.to_owned(), secret.to_owned())
}
