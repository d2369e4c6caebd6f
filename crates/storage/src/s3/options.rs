//! What the URL of an S3 location says: `s3:BUCKET/PREFIX?option=value…`.
//!
//! Credentials are never in it: they come from where the process runs (environment, profile,
//! container, instance). `profile` only says which.

use crate::place::{Place, is_endpoint};
use aws_credential_types::Credentials;
use aws_sdk_s3::types::{ServerSideEncryption, StorageClass};
use holdfast_common::Timestamp;

/// Where an endpoint of one's own says nothing of a region, it takes this one.
const REGION_USUAL: &str = "us-east-1";
const KNOWN: &[&str] =
    &["at", "endpoint", "kms_key", "path_style", "profile", "region", "sse", "storage_class"];

#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) place: Place,
    /// None is AWS's own.
    pub(super) endpoint: Option<String>,
    pub(super) region: Option<String>,
    pub(super) path_style: bool,
    pub(super) profile: Option<String>,
    pub(super) storage_class: Option<StorageClass>,
    pub(super) encryption: Option<ServerSideEncryption>,
    pub(super) kms_key: Option<String>,
    /// It is read as it was at this moment.
    pub(super) at: Option<Timestamp>,
    /// Instead of what is found where the process runs.
    pub(super) keys: Option<Credentials>,
}

impl Options {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let place = Place::parse(text, 1, KNOWN)?;
        if !is_bucket(&place.container) {
            return Err(format!("`{}` is no name of a bucket", place.container));
        }
        let option = |name: &str| place.option(name).map(str::to_owned);
        let endpoint = option("endpoint");
        if endpoint.as_deref().is_some_and(|endpoint| !is_endpoint(endpoint)) {
            return Err("an endpoint is http://HOST[:PORT] or https://HOST[:PORT]".to_owned());
        }
        let path_style = match place.option("path_style") {
            None => endpoint.is_some(),
            Some("true") => true,
            Some("false") => false,
            Some(_) => return Err("path_style is true or false".to_owned()),
        };
        let encryption = match place.option("sse") {
            None => None,
            Some("aes256") => Some(ServerSideEncryption::Aes256),
            Some("kms") => Some(ServerSideEncryption::AwsKms),
            Some(_) => return Err("sse is aes256 or kms".to_owned()),
        };
        let kms_key = option("kms_key");
        if kms_key.is_some() && encryption != Some(ServerSideEncryption::AwsKms) {
            return Err("a kms_key goes with sse=kms".to_owned());
        }
        let storage_class = place.option("storage_class").map(storage_class).transpose()?;
        let region = option("region").or_else(|| endpoint.as_ref().map(|_| REGION_USUAL.into()));
        let profile = option("profile");
        let at = place.option("at").map(str::parse).transpose();
        let at = at.map_err(|_| "at is a moment: 2026-11-20T08:00:00Z".to_owned())?;
        Ok(Self {
            place,
            endpoint,
            region,
            path_style,
            profile,
            storage_class,
            encryption,
            kms_key,
            at,
            keys: None,
        })
    }
}

/// One that gives an object when it is asked for: what lies in an archive cannot be restored.
fn storage_class(text: &str) -> Result<StorageClass, String> {
    let class = StorageClass::from(text.to_ascii_uppercase().as_str());
    match class {
        StorageClass::Standard
        | StorageClass::StandardIa
        | StorageClass::OnezoneIa
        | StorageClass::IntelligentTiering
        | StorageClass::GlacierIr
        | StorageClass::ReducedRedundancy => Ok(class),
        StorageClass::Glacier | StorageClass::DeepArchive => Err(format!(
            "objects of the storage class `{text}` are given hours after they were asked for"
        )),
        _ => Err("it is no storage class that is known here".to_owned()),
    }
}

fn is_bucket(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends_plain = |byte: Option<u8>| byte.is_some_and(is_plain);
    // Of the kind that ends so, listings have no order.
    let has_order = !name.ends_with("--x-s3");
    (3..=63).contains(&name.len())
        && has_order
        && name.bytes().all(|byte| is_plain(byte) || b".-".contains(&byte))
        && ends_plain(name.bytes().next())
        && ends_plain(name.bytes().last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_has_a_usual_value() {
        let aws = Options::parse("clinic-backup/vault?region=eu-central-1").unwrap();
        assert_eq!((aws.endpoint, aws.path_style), (None, false));
        assert_eq!(aws.region.as_deref(), Some("eu-central-1"));
        let own = Options::parse("clinic-backup?endpoint=https://s3.example:9000").unwrap();
        assert_eq!((own.region.as_deref(), own.path_style), (Some("us-east-1"), true));
        let text = "abc?sse=kms&kms_key=arn:aws:kms:eu-central-1:1:key/a&storage_class=standard_ia";
        let sealed = Options::parse(text).unwrap();
        assert_eq!(sealed.encryption, Some(ServerSideEncryption::AwsKms));
        assert_eq!(sealed.kms_key.as_deref(), Some("arn:aws:kms:eu-central-1:1:key/a"));
        assert_eq!(sealed.storage_class, Some(StorageClass::StandardIa));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, why) in [
            ("ab", "no name of a bucket"),
            ("Bucket", "no name of a bucket"),
            ("-ab", "no name of a bucket"),
            ("fast--euc1-az1--x-s3", "no name of a bucket"),
            ("abc?endpoint=ftp://host", "an endpoint is"),
            ("abc?endpoint=https://user:secret@host", "an endpoint is"),
            ("abc?endpoint=https://host/path", "an endpoint is"),
            ("abc?path_style=yes", "path_style is"),
            ("abc?sse=rot13", "sse is"),
            ("abc?kms_key=a", "goes with sse=kms"),
            ("abc?sse=aes256&kms_key=a", "goes with sse=kms"),
            ("abc?storage_class=deep_archive", "hours after"),
            ("abc?storage_class=marble", "no storage class"),
            ("abc?secret=a", "is no option here"),
        ] {
            let found = Options::parse(text).unwrap_err();
            assert!(found.contains(why), "{text}: {found}");
        }
    }
}
