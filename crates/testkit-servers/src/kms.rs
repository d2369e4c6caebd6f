//! Keys in the KMS of Ministack and Moto, made and unmade as their owner does.

use crate::{server::output, tools::tool};

/// One call of the owner's, whose answer is printed as JSON.
const CALL: &str = r#"
import sys, json, boto3
endpoint, key, secret, name, arguments = sys.argv[1:]
kms = boto3.client("kms", endpoint_url=endpoint, region_name="us-east-1",
                   aws_access_key_id=key, aws_secret_access_key=secret)
print(json.dumps(getattr(kms, name)(**json.loads(arguments)), default=str))
"#;
const MAKE: &str = r#"
import sys, boto3
endpoint, key, secret, alias = sys.argv[1:]
kms = boto3.client("kms", endpoint_url=endpoint, region_name="us-east-1",
                   aws_access_key_id=key, aws_secret_access_key=secret)
made = kms.create_key()["KeyMetadata"]["Arn"]
kms.create_alias(AliasName=alias, TargetKeyId=made)
print(made)
"#;

/// A KMS at an endpoint, with the keys of somebody who may do everything.
#[derive(Clone, Debug)]
pub struct Kms {
    pub endpoint: String,
    pub key: String,
    pub secret: String,
}

impl Kms {
    /// The KEK as configuration names it.
    pub fn kek(&self, key: &str) -> String {
        format!("aws-kms:{key}?region=us-east-1&endpoint={}", self.endpoint)
    }

    /// A key, and the alias that names it.
    pub fn make_key(&self, alias: &str) -> String {
        self.python(MAKE, &[alias])
    }

    /// A call of the KMS by its name in Python, with its arguments in JSON.
    pub fn call(&self, name: &str, arguments: &str) -> String {
        self.python(CALL, &[name, arguments])
    }

    fn python(&self, program: &str, arguments: &[&str]) -> String {
        let whole = [&["-c", program, &self.endpoint, &self.key, &self.secret], arguments].concat();
        output(&tool("moto/bin/python"), &whole).trim().to_owned()
    }
}
