//! Google Cloud Storage: `gcs:BUCKET/PREFIX?service_account=FILE&endpoint=URL`.
//!
//! Credentials are a service account's file, or what is found where the process runs: the file that
//! `GOOGLE_APPLICATION_CREDENTIALS` or `GOOGLE_SERVICE_ACCOUNT` names, the one of `gcloud`, or the
//! metadata server of an instance. What is found goes to Google alone: the URL names a file for any
//! other endpoint.

use super::{
    client::{Cloud, Identified, ONCE, key_in, patience, unmade},
    option_is,
    witness::Witness,
};
use crate::{
    Ground,
    endpoint::{Endpoint, GOOGLE},
    place::{Place, is_endpoint},
};
use holdfast_common::Result;
use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder};
use std::sync::Arc;

const KNOWN: &[&str] = &["endpoint", "service_account"];

pub(super) fn parse(text: &str) -> Result<Place, String> {
    let place = Place::parse(text, 1, KNOWN)?;
    if !is_bucket(&place.container) {
        return Err(format!("`{}` is no name of a bucket", place.container));
    }
    option_is(&place, "endpoint", is_endpoint, "http://HOST[:PORT] or https://HOST[:PORT]")?;
    option_is(&place, "service_account", |file| file.starts_with('/'), "an absolute path")?;
    Ok(place)
}

/// The one text of a place, from what people write. Why it is none, if so.
pub(crate) fn settle(text: &str) -> Result<String, String> {
    parse(text).map(|place| place.to_string())
}

pub(crate) fn ground(text: &str) -> Option<Ground> {
    let place = parse(text).ok()?;
    let there = Endpoint::of(place.option("endpoint").unwrap_or(GOOGLE));
    let server = there.google().map_or_else(|| there.server(), str::to_owned);
    Some(Ground::in_container(&server, &place))
}

pub(super) fn connect(place: &Place) -> Result<Arc<dyn Cloud>> {
    let endpoint = place.option("endpoint").unwrap_or(GOOGLE);
    let there = Endpoint::of(endpoint);
    there.insist_on_tls()?;
    let found = match place.option("service_account") {
        Some(file) => GoogleCloudStorageBuilder::new().with_service_account_key(key_in(file)?),
        None if there.google().is_some() => GoogleCloudStorageBuilder::from_env(),
        None => return Err(there.not_for("Google", "service_account=FILE")),
    };
    let built = found
        .with_bucket_name(&place.container)
        .with_base_url(endpoint)
        .with_client_options(patience(endpoint))
        .with_retry(ONCE)
        .with_http_connector(Witness::default())
        .build();
    Ok(Arc::new(built.map_err(unmade)?))
}

impl Cloud for GoogleCloudStorage {
    fn identify(&self) -> Identified<'_> {
        Box::pin(async { self.credentials().get_credential().await.map(drop) })
    }
}

fn is_bucket(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends_plain = |byte: Option<u8>| byte.is_some_and(is_plain);
    (3..=222).contains(&name.len())
        && name.bytes().all(|byte| is_plain(byte) || b"._-".contains(&byte))
        && name.split('.').all(|part| (1..=63).contains(&part.len()))
        && ends_plain(name.bytes().next())
        && ends_plain(name.bytes().last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_says_the_bucket_and_where_it_is_not_googles() {
        for text in ["clinic-backup", "backup.clinic.example/vault", "a_b"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        let own = "abc/v?endpoint=http://127.0.0.1:4443&service_account=/etc/holdfast/gcs.json";
        assert_eq!(parse(own).unwrap().to_string(), own);
        assert_ne!(ground(own), ground("abc/v"), "another server is other ground");
        assert!(ground("abc").unwrap().meets(&ground("abc/v").unwrap()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, why) in [
            ("ab", "no name of a bucket"),
            ("Clinic", "no name of a bucket"),
            ("-ab", "no name of a bucket"),
            ("a..b", "no name of a bucket"),
            ("abc?endpoint=ftp://host", "endpoint is"),
            ("abc?endpoint=https://user:secret@host", "endpoint is"),
            ("abc?service_account=gcs.json", "service_account is an absolute path"),
            ("abc?key=secret", "is no option here"),
        ] {
            let found = parse(text).unwrap_err();
            assert!(found.contains(why), "{text}: {found}");
        }
    }
}
