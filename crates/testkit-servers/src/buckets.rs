//! Buckets on an S3 server, made and looked at through another client than ours.

use crate::{server::output, tools::tool};

/// A bucket, and what opens it.
#[derive(Clone, Debug)]
pub struct Bucket {
    pub endpoint: String,
    pub name: String,
    pub key: String,
    pub secret: String,
}

/// Boto3's own client; each line of the answer is one result.
const SCRIPT: &str = r#"
import sys, json, boto3
from botocore.config import Config
endpoint, key, secret, bucket, what, *rest = sys.argv[1:]
s3 = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=key,
                  aws_secret_access_key=secret,
                  config=Config(s3={"addressing_style": "path"},
                                request_checksum_calculation="when_required"))
if what == "make":
    s3.create_bucket(Bucket=bucket, **({"ObjectLockEnabledForBucket": True} if rest else {}))
elif what == "version":
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
elif what == "keys":
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    for page in pages:
        for found in page.get("Contents", []):
            print(found["Key"])
elif what == "versions":
    found = s3.list_object_versions(Bucket=bucket)
    for version in found.get("Versions", []) + found.get("DeleteMarkers", []):
        print(version["Key"], version["VersionId"])
elif what == "ravage":
    from botocore.exceptions import ClientError
    found = [page.get(kind, []) for page in
             s3.get_paginator("list_object_versions").paginate(Bucket=bucket)
             for kind in ("Versions", "DeleteMarkers")]
    for version in sum(found, []):
        try:
            s3.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"],
                             BypassGovernanceRetention=True)
        except ClientError as error:
            print(version["Key"], error.response["Error"]["Code"])
    for at, key in enumerate(sorted({version["Key"] for version in sum(found, [])})):
        if at % 2:
            s3.put_object(Bucket=bucket, Key=key, Body=b"pay or lose it")
        else:
            s3.delete_object(Bucket=bucket, Key=key)
elif what == "put":
    s3.put_object(Bucket=bucket, Key=rest[0], Body=rest[1].encode())
elif what == "unlocked":
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for found in page.get("Contents", []):
            head = s3.head_object(Bucket=bucket, Key=found["Key"])
            if not head.get("ObjectLockRetainUntilDate"):
                print(found["Key"])
elif what == "delete":
    s3.delete_object(Bucket=bucket, Key=rest[0])
elif what == "head":
    found = s3.head_object(Bucket=bucket, Key=rest[0])
    print(json.dumps({"class": found.get("StorageClass"), "sse": found.get("ServerSideEncryption"),
                      "kms": found.get("SSEKMSKeyId")}))
"#;

impl Bucket {
    pub(crate) fn at(endpoint: &str, name: &str, key: &str, secret: &str) -> Self {
        let [endpoint, name, key, secret] = [endpoint, name, key, secret].map(str::to_owned);
        Self { endpoint, name, key, secret }
    }

    /// Makes it on the server; `lock` makes one that can lock its objects.
    pub(crate) fn made(self, lock: bool) -> Self {
        self.ask(if lock { &["make", "lock"] } else { &["make"] });
        self
    }

    /// Keeps versions from now on.
    pub fn version(&self) {
        self.ask(&["version"]);
    }

    /// All keys, as another client sees them.
    pub fn keys(&self) -> Vec<String> {
        self.ask(&["keys"]).lines().map(str::to_owned).collect()
    }

    /// What whoever has the keys can do to it: every version is deleted, locks are got around where
    /// that may be, and what is left is hidden below other bytes and marks of deletions. Gives the
    /// keys of versions whose deletion was refused.
    pub fn ravage(&self) -> Vec<String> {
        let key_of = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
        self.ask(&["ravage"]).lines().map(key_of).collect()
    }

    /// All versions, and marks of deletions, up to a page of them.
    pub fn versions(&self) -> Vec<String> {
        self.ask(&["versions"]).lines().map(str::to_owned).collect()
    }

    /// Puts an object past Holdfast.
    pub fn put(&self, key: &str, text: &str) {
        self.ask(&["put", key, text]);
    }

    /// Keys of objects that are not locked.
    pub fn unlocked(&self) -> Vec<String> {
        self.ask(&["unlocked"]).lines().map(str::to_owned).collect()
    }

    /// Deletes an object past Holdfast; where versions are kept they stay.
    pub fn delete(&self, key: &str) {
        self.ask(&["delete", key]);
    }

    /// How an object is stored, as JSON: `class`, `sse`, `kms`.
    pub fn head(&self, key: &str) -> String {
        self.ask(&["head", key])
    }

    fn ask(&self, what: &[&str]) -> String {
        let own = [&self.endpoint, &self.key, &self.secret, &self.name].map(String::as_str);
        let arguments = [&["-c", SCRIPT], &own[..], what].concat();
        output(&tool("moto/bin/python"), &arguments)
    }
}
