//! Azure's blobs: `azure:ACCOUNT/CONTAINER/PREFIX?key_file=FILE&endpoint=URL`.
//!
//! Credentials are the account's key in a file, or what is found where the process runs: a key, a
//! shared access signature or an application in `AZURE_…` variables, or the managed identity of an
//! instance. What is found goes to Azure alone: the URL names a file for any other endpoint.
//!
//! An endpoint is the account's own (`https://ACCOUNT.blob.…`), or it serves many and has the
//! account in its paths; its name tells, unless `path_style` does.

use super::{
    client::{Cloud, Identified, ONCE, key_in, patience, unmade},
    option_is,
    witness::Witness,
};
use crate::{
    Ground,
    endpoint::Endpoint,
    place::{Place, is_endpoint},
};
use holdfast_common::Result;
use object_store::azure::{MicrosoftAzure, MicrosoftAzureBuilder};
use std::sync::Arc;

const KNOWN: &[&str] = &["endpoint", "key_file", "path_style"];

pub(super) fn parse(text: &str) -> Result<Place, String> {
    let place = Place::parse(text, 2, KNOWN)?;
    let (account, container) = parts(&place);
    if !is_account(account) {
        return Err(format!("`{account}` is no name of a storage account"));
    }
    if !is_container(container) {
        return Err(format!("`{container}` is no name of a container"));
    }
    option_is(&place, "endpoint", is_endpoint, "http://HOST[:PORT] or https://HOST[:PORT]")?;
    option_is(&place, "key_file", |file| file.starts_with('/'), "an absolute path")?;
    option_is(&place, "path_style", |text| ["true", "false"].contains(&text), "true or false")?;
    Ok(place)
}

/// The one text of a place, from what people write. Why it is none, if so.
pub(crate) fn settle(text: &str) -> Result<String, String> {
    parse(text).map(|place| place.to_string())
}

pub(crate) fn ground(text: &str) -> Option<Ground> {
    let place = parse(text).ok()?;
    let there = Endpoint::of(&service(&place));
    let server = there.azure().map_or_else(|| there.server(), str::to_owned);
    Some(Ground::in_container(&server, &place))
}

pub(super) fn connect(place: &Place) -> Result<Arc<dyn Cloud>> {
    let (account, container) = parts(place);
    let service = service(place);
    let there = Endpoint::of(&service);
    there.insist_on_tls()?;
    let found = match place.option("key_file") {
        Some(file) => MicrosoftAzureBuilder::new().with_access_key(key_in(file)?.trim()),
        // Of the environment only who we are is taken, not where to go.
        None if there.azure().is_some() => {
            MicrosoftAzureBuilder::from_env().with_use_emulator(false)
        }
        None => return Err(there.not_for("Azure", "key_file=FILE")),
    };
    let built = found
        .with_account(account)
        .with_container_name(container)
        .with_client_options(patience(&service))
        .with_endpoint(service)
        .with_retry(ONCE)
        .with_http_connector(Witness::default())
        .build();
    Ok(Arc::new(built.map_err(unmade)?))
}

impl Cloud for MicrosoftAzure {
    fn identify(&self) -> Identified<'_> {
        Box::pin(async { self.credentials().get_credential().await.map(drop) })
    }
}

/// The account and the container.
fn parts(place: &Place) -> (&str, &str) {
    place.container.split_once('/').unwrap_or((&place.container, ""))
}

/// Where the account's containers are.
fn service(place: &Place) -> String {
    let (account, _) = parts(place);
    let Some(endpoint) = place.option("endpoint") else {
        return format!("https://{account}.blob.core.windows.net");
    };
    let host = endpoint.split_once("://").map_or(endpoint, |(_, host)| host);
    let is_own = host.strip_prefix(account).is_some_and(|rest| rest.starts_with('.'));
    match place.option("path_style") {
        Some("true") => format!("{endpoint}/{account}"),
        None if !is_own => format!("{endpoint}/{account}"),
        _ => endpoint.to_owned(),
    }
}

fn is_account(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (3..=24).contains(&name.len()) && name.bytes().all(is_plain)
}

fn is_container(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(is_plain);
    (3..=63).contains(&name.len()) && name.split('-').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_the_accounts_own_or_has_it_in_its_paths() {
        for (options, due) in [
            ("", "https://clinic.blob.core.windows.net"),
            ("?endpoint=https://clinic.blob.example", "https://clinic.blob.example"),
            ("?endpoint=http://127.0.0.1:51000", "http://127.0.0.1:51000/clinic"),
            ("?endpoint=https://clinics.example", "https://clinics.example/clinic"),
            ("?endpoint=https://blobs.example&path_style=false", "https://blobs.example"),
            ("?endpoint=https://clinic.a&path_style=true", "https://clinic.a/clinic"),
        ] {
            let place = parse(&format!("clinic/vaults/one{options}")).unwrap();
            assert_eq!(service(&place), due, "{options}");
        }
        assert!(ground("clinic/vaults").unwrap().meets(&ground("clinic/vaults/one").unwrap()));
        assert!(!ground("clinic/vaults").unwrap().meets(&ground("other/vaults").unwrap()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, why) in [
            ("clinic", "joined by /"),
            ("Clinic/vaults", "no name of a storage account"),
            ("my-clinic/vaults", "no name of a storage account"),
            ("clinic/va", "no name of a container"),
            ("clinic/va--ults", "no name of a container"),
            ("clinic/vaults?endpoint=https://host/clinic", "endpoint is"),
            ("clinic/vaults?endpoint=https://host?sig=secret", "endpoint is"),
            ("clinic/vaults?key_file=key", "key_file is an absolute path"),
            ("clinic/vaults?path_style=yes", "path_style is true or false"),
            ("clinic/vaults?key=secret", "is no option here"),
        ] {
            let found = parse(text).unwrap_err();
            assert!(found.contains(why), "{text}: {found}");
        }
    }
}
