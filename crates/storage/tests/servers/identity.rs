//! Who is told who this host is: the vendor's own servers, and nobody else whom a URL names.

use crate::{
    credentials::{KeyFile, own_environment},
    double::{said, serve},
};
use bytes::Bytes;
use std::sync::{Arc, Mutex};

/// What a cloud's own service gives an instance that asks who it is.
const TOKEN: &str = r#"{"access_token": "who-we-are", "expires_in": 3600,
                        "expires_on": "4102444800", "token_type": "Bearer", "resource": "r"}"#;

/// Gives everybody a token, and keeps the heads of all that it was asked.
struct Ear {
    address: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Ear {
    fn open() -> Self {
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let keeps = heard.clone();
        let address = serve(move |head| {
            keeps.lock().unwrap().push(head.to_owned());
            said("200 OK", "Content-Type: application/json\r\n", TOKEN)
        });
        Self { address, heard }
    }

    fn has_heard(&self, what: &str) -> bool {
        self.heard.lock().unwrap().iter().any(|head| head.contains(what))
    }
}

/// Run by the tests below, in an environment of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an environment of its own"]
async fn at_the_place_that_is_named() {
    let place = std::env::var_os("PLACE").unwrap().into_string().unwrap();
    let store = holdfast_storage::url::open(&place.parse().unwrap()).unwrap();
    let put = store.put_new(&"vault".parse().unwrap(), Bytes::from_static(b"v")).await;
    match put {
        Ok(_) => println!("put: done"),
        Err(error) => println!("put: {} {error:?}", error.code.name()),
    }
}

/// What comes of a put there by a host that has an identity in each cloud, of which `ear` knows.
fn put_by_a_known_host(place: &str, ear: &Ear, more: &[(&str, &str)]) -> String {
    let asks = format!("http://{}/token", ear.address);
    let known = [
        ("PLACE", place),
        ("GCE_METADATA_HOST", &ear.address),
        ("GCE_METADATA_IP", &ear.address),
        ("IDENTITY_ENDPOINT", &asks),
        ("AWS_ACCESS_KEY_ID", "AKIAHOST"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "who-we-are"),
    ];
    own_environment("identity::at_the_place_that_is_named", &[&known[..], more].concat())
}

#[test]
fn an_endpoint_of_somebody_else_is_not_told_who_this_host_is() {
    let mut told = Vec::new();
    for place in ["gcs:bucket", "azure:clinic/vaults", "s3:bucket"] {
        let ear = Ear::open();
        let place = format!("{place}?endpoint=http://{}", ear.address);
        let said = put_by_a_known_host(&place, &ear, &[]);
        let is_refused = said.contains("put: location.credentials_missing");
        if !is_refused || ear.has_heard("who-we-are") || said.contains("who-we-are") {
            told.push((place, said));
        }
    }
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn a_host_without_an_identity_says_so() {
    let ear = Ear::open();
    // Where an instance would get one nobody listens.
    let nobody = [
        ("GCE_METADATA_HOST", "127.0.0.1:9"),
        ("GCE_METADATA_IP", "127.0.0.1:9"),
        ("IDENTITY_ENDPOINT", "http://127.0.0.1:9/token"),
    ];
    for place in ["gcs:bucket", "azure:clinic/vaults"] {
        let said = put_by_a_known_host(place, &ear, &nobody);
        assert!(said.contains("put: location.credentials_missing"), "{place}: {said}");
        assert!(!said.contains("is not sent there"), "{place}: {said}");
    }
}

#[test]
fn keys_that_are_bound_to_no_session_sign_for_a_server_of_ones_own() {
    let ear = Ear::open();
    let place = format!("s3:bucket?endpoint=http://{}", ear.address);
    let said = put_by_a_known_host(&place, &ear, &[("AWS_SESSION_TOKEN", "")]);
    assert!(!said.contains("put: location.credentials_missing"), "{said}");
    assert!(ear.has_heard("credential=akiahost/"), "{said}");
}

#[test]
fn keys_of_a_session_are_sent_where_the_url_names_them() {
    let profiles = "[own]\naws_access_key_id = AKIAOWN\naws_secret_access_key = secret\n\
                    aws_session_token = who-we-are";
    let (ear, file) = (Ear::open(), KeyFile::of(profiles));
    let place = format!("s3:bucket?endpoint=http://{}&profile=own", ear.address);
    let profiles = [("AWS_SHARED_CREDENTIALS_FILE", file.path())];
    let said = put_by_a_known_host(&place, &ear, &profiles);
    assert!(ear.has_heard("x-amz-security-token: who-we-are"), "{said}");
}

#[test]
fn without_tls_a_key_goes_no_further_than_this_host() {
    let (ear, file) = (Ear::open(), KeyFile::of("a key"));
    let far = "endpoint=http://far.example";
    for place in [
        format!("gcs:bucket?{far}&service_account={}", file.path()),
        format!("azure:clinic/vaults?{far}&key_file={}", file.path()),
        format!("s3:bucket?{far}&profile=own"),
    ] {
        let profiles = KeyFile::of(
            "[own]\naws_access_key_id = AKIAOWN\naws_secret_access_key = secret\n\
             aws_session_token = who-we-are",
        );
        let profiles = [("AWS_SHARED_CREDENTIALS_FILE", profiles.path())];
        let said = put_by_a_known_host(&place, &ear, &profiles);
        let due = ["put: location.credentials_refused", "put: location.credentials_missing"];
        assert!(due.iter().any(|due| said.contains(due)), "{place}: {said}");
        assert!(said.contains("no TLS"), "{place}: {said}");
    }
}

/// The way to a vendor's own server is seen by a proxy, which is asked for it by name.
#[test]
fn the_vendors_own_is_asked_with_what_the_host_has_and_wherever_the_environment_points() {
    for (place, key, vendor) in [
        (
            "gcs:bucket",
            ("GOOGLE_SERVICE_ACCOUNT_KEY", crate::gcs::ACCOUNT),
            "storage.googleapis.com:443",
        ),
        (
            "azure:clinic/vaults",
            ("AZURE_STORAGE_ACCOUNT_KEY", holdfast_testkit_servers::AZURE_KEY),
            "clinic.blob.core.windows.net:443",
        ),
    ] {
        let ear = Ear::open();
        let proxy = format!("http://{}", ear.address);
        let environment = [
            key,
            ("HTTPS_PROXY", proxy.as_str()),
            ("GOOGLE_BUCKET", "other"),
            ("GOOGLE_BASE_URL", "http://127.0.0.1:9"),
            ("GOOGLE_PROXY_URL", "http://127.0.0.1:9"),
            ("AZURE_STORAGE_ACCOUNT_NAME", "other"),
            ("AZURE_CONTAINER_NAME", "other"),
            ("AZURE_STORAGE_ENDPOINT", "http://127.0.0.1:9"),
            ("AZURE_STORAGE_USE_EMULATOR", "true"),
        ];
        let said = put_by_a_known_host(place, &ear, &environment);
        assert!(said.contains("put: location.io_failed"), "{place}: {said}");
        assert!(ear.has_heard(&format!("connect {vendor}")), "{place}: {said}");
    }
}
