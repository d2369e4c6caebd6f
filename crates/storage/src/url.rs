//! What people write for a location, and the one table of what can be opened.
//!
//! `local:/srv/vault`, `file:///srv/vault` and `/srv//vault/` are the same place, and become the
//! same text; so do `s3:bucket/prefix` and `s3://bucket/prefix/`. A path is absolute and without
//! `..`, because the cluster opens it from wherever it runs; what a person typed against a
//! directory is resolved with [`LocationUrl::resolve`] first.
//! A new kind of location is a row in `KINDS`.

use crate::{CloudStore, Ground, LocalStore, ObjectStore, S3Store, clouds, s3};
use core::{fmt, str::FromStr};
use holdfast_common::{Code, Error, Result};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

struct Kind {
    scheme: &'static str,
    form: &'static str,
    /// The one form of what may be written in several.
    settle: fn(&str) -> Result<String, String>,
    ground: fn(&str) -> Option<Ground>,
    open: fn(&str) -> Result<Arc<dyn ObjectStore>>,
    /// The same, and changes nothing by it.
    visit: fn(&str) -> Result<Arc<dyn ObjectStore>>,
    create: fn(&str) -> Result<Arc<dyn ObjectStore>>,
}

static KINDS: &[Kind] = &[
    Kind {
        scheme: LOCAL,
        form: "local:PATH",
        settle: settle_path,
        ground: |place| Ground::of(Path::new(place)).ok(),
        open: |place| Ok(Arc::new(LocalStore::open(Path::new(place))?)),
        visit: |place| Ok(Arc::new(LocalStore::visit(Path::new(place))?)),
        create: |place| Ok(Arc::new(LocalStore::create(Path::new(place))?)),
    },
    Kind {
        scheme: "s3",
        form: "s3:BUCKET/PREFIX?region=REGION",
        settle: s3::settle,
        ground: s3::ground,
        open: |place| Ok(Arc::new(S3Store::open(place)?)),
        visit: |place| Ok(Arc::new(S3Store::open(place)?)),
        // A bucket is made by whoever pays for it.
        create: |place| Ok(Arc::new(S3Store::open(place)?)),
    },
    Kind {
        scheme: "gcs",
        form: "gcs:BUCKET/PREFIX",
        settle: clouds::gcs::settle,
        ground: clouds::gcs::ground,
        open: |place| Ok(Arc::new(CloudStore::gcs(place)?)),
        visit: |place| Ok(Arc::new(CloudStore::gcs(place)?)),
        create: |place| Ok(Arc::new(CloudStore::gcs(place)?)),
    },
    Kind {
        scheme: "azure",
        form: "azure:ACCOUNT/CONTAINER/PREFIX",
        settle: clouds::azure::settle,
        ground: clouds::azure::ground,
        open: |place| Ok(Arc::new(CloudStore::azure(place)?)),
        visit: |place| Ok(Arc::new(CloudStore::azure(place)?)),
        create: |place| Ok(Arc::new(CloudStore::azure(place)?)),
    },
];

const LOCAL: &str = "local";

#[derive(Clone)]
pub struct LocationUrl {
    kind: &'static Kind,
    place: String,
}

impl LocationUrl {
    /// As [`FromStr`], with a relative `local:` path taken from `base`, an absolute directory.
    pub fn resolve(text: &str, base: &Path) -> Result<Self> {
        match split(text)? {
            (LOCAL, place) if !place.is_empty() && !place.starts_with('/') => {
                let whole = base.join(place.strip_prefix("./").unwrap_or(place));
                let whole = whole.to_str().ok_or_else(|| malformed(text, "it is not UTF-8"))?;
                format!("{LOCAL}:{whole}").parse()
            }
            _ => text.parse(),
        }
    }

    /// The kind of location: `local`, `s3`, `gcs`, `azure`.
    pub fn scheme(&self) -> &'static str {
        self.kind.scheme
    }
}

/// Opens a location that exists.
pub fn open(url: &LocationUrl) -> Result<Arc<dyn ObjectStore>> {
    (url.kind.open)(&url.place)
}

/// Opens a place that may be somebody else's, to try it: nothing that lies there is swept away.
pub fn visit(url: &LocationUrl) -> Result<Arc<dyn ObjectStore>> {
    (url.kind.visit)(&url.place)
}

/// What a location stands on, as far as that can be told from here.
pub fn ground(url: &LocationUrl) -> Option<Ground> {
    (url.kind.ground)(&url.place)
}

/// The room that is left there, where that is known: an object store does not tell.
pub fn free_bytes(url: &LocationUrl) -> Result<Option<u64>> {
    match url.scheme() {
        LOCAL => crate::local::free_bytes(Path::new(&url.place)).map(Some),
        _ => Ok(None),
    }
}

/// Opens a location, making it first if it is not there and its kind can be made.
pub fn create(url: &LocationUrl) -> Result<Arc<dyn ObjectStore>> {
    (url.kind.create)(&url.place)
}

impl FromStr for LocationUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (scheme, place) = split(text)?;
        let Some(kind) = KINDS.iter().find(|kind| kind.scheme == scheme) else {
            return Err(malformed(text, "what it begins with is not a kind of location"));
        };
        let place = (kind.settle)(place).map_err(|why| malformed(text, &why))?;
        Ok(Self { kind, place })
    }
}

/// Into scheme and place; the other ways to write a path become `local`.
fn split(text: &str) -> Result<(&str, &str)> {
    if text.starts_with('/') {
        return Ok((LOCAL, text));
    }
    if let Some(place) = text.strip_prefix("file://") {
        return match place {
            place if !place.starts_with('/') => {
                Err(malformed(text, "a file URL here has no host: file:///PATH"))
            }
            place if place.contains('%') => {
                Err(malformed(text, "a path with `%` is written local:PATH"))
            }
            place => Ok((LOCAL, place)),
        };
    }
    text.split_once(':').ok_or_else(|| malformed(text, "it has no kind and is not absolute"))
}

/// Without what a path may say twice: slashes, dots, an end that is a slash.
fn settle_path(place: &str) -> Result<String, String> {
    let path = Path::new(place);
    if !path.is_absolute() {
        return Err("the path is not absolute".to_owned());
    }
    let climbs = path.components().any(|part| matches!(part, Component::ParentDir));
    if climbs || place.contains('\0') {
        return Err("the path has a `..` or a zero byte".to_owned());
    }
    let settled: PathBuf = path.components().collect();
    Ok(settled.to_string_lossy().into_owned())
}

/// What may be shown of a text that is no location: people type passwords, keys and signatures in
/// front of a host and behind a question mark.
fn shown(text: &str) -> String {
    let (way, query) = text.split_once('?').map_or((text, ""), |(way, _)| (way, "?…"));
    let Some((before, host)) = way.rsplit_once('@') else { return format!("{way}{query}") };
    match before.split_once(':') {
        Some((scheme, _)) => format!("{scheme}:…@{host}{query}"),
        None => format!("…@{host}{query}"),
    }
}

fn malformed(text: &str, why: &str) -> Error {
    let forms: Vec<&str> = KINDS.iter().map(|kind| kind.form).collect();
    let message = format!("`{}` is not a location: {why}", shown(text).escape_debug());
    Error::new(Code::UsageMalformed, message)
        .next(format!("supported now: {}, file:///PATH, /PATH", forms.join(", ")))
}

impl fmt::Display for LocationUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.scheme, self.place)
    }
}

impl fmt::Debug for LocationUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocationUrl({self})")
    }
}

impl PartialEq for LocationUrl {
    fn eq(&self, other: &Self) -> bool {
        (self.kind.scheme, &self.place) == (other.kind.scheme, &other.place)
    }
}

impl Eq for LocationUrl {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_the_same_location_however_it_is_written() {
        for text in [
            "local:/srv/vault",
            "file:///srv/vault",
            "/srv/vault",
            "local:/srv/vault/",
            "local:/srv//./vault",
            "/srv/vault/.",
        ] {
            let url: LocationUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), "local:/srv/vault", "{text}");
            assert_eq!(url.scheme(), "local");
        }
    }

    #[test]
    fn a_relative_path_needs_a_base() {
        assert!("local:vault".parse::<LocationUrl>().is_err());
        for text in ["local:vault", "local:./vault", "local:/srv/vault", "/srv/vault"] {
            let url = LocationUrl::resolve(text, Path::new("/srv")).unwrap();
            assert_eq!(url.to_string(), "local:/srv/vault", "{text}");
        }
        assert!(LocationUrl::resolve("vault", Path::new("/srv")).is_err());
        assert!(LocationUrl::resolve("local:../vault", Path::new("/srv")).is_err());
    }

    #[test]
    fn other_kinds_are_refused_with_what_is_supported() {
        for text in [
            "ftp://host/path",
            "s3:",
            "s3:b",
            "s3:bucket?colour=red",
            "vault",
            "",
            "local:",
            "local:a",
            "file://host/a",
            "file:///a%20b",
            "/a/../b",
            "local:/a\0b",
        ] {
            let error = text.parse::<LocationUrl>().unwrap_err();
            assert_eq!(error.code, Code::UsageMalformed, "{text}");
            assert!(error.advice().contains("local:PATH"), "{text}: {}", error.advice());
        }
    }

    #[test]
    fn a_place_in_a_cloud_is_the_same_however_it_is_written() {
        for (text, due) in [
            ("s3://bucket/vault/", "s3:bucket/vault"),
            ("gcs://bucket/vault/", "gcs:bucket/vault"),
            ("gcs:bucket?service_account=/a&endpoint=http://b", GCS),
            ("azure://clinic/vaults/one/", "azure:clinic/vaults/one"),
        ] {
            let url: LocationUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), due);
            assert!(ground(&url).unwrap().is(&ground(&due.parse().unwrap()).unwrap()));
            open(&url).unwrap();
        }
        for text in ["gcs:", "gcs:b", "azure:clinic", "azure:clinic/vaults?sas=secret"] {
            assert!(text.parse::<LocationUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn one_server_in_two_spellings_is_one_ground() {
        let ground = |text: &str| ground(&text.parse().unwrap()).unwrap();
        for (one, other) in [
            ("s3:abc/v?endpoint=https://s3.example", "s3:abc/v?endpoint=https://S3.Example.:443"),
            ("s3:abc?endpoint=http://s3.example:80", "s3:abc/v?endpoint=https://s3.example"),
            ("s3:abc/v", "s3:abc?endpoint=https://s3.eu-central-1.amazonaws.com"),
            ("s3:abc?endpoint=https://s3.amazonaws.com", "s3:abc/v?region=eu-central-1"),
            ("s3:abc?region=cn-north-1", "s3:abc?endpoint=https://s3.cn-north-1.amazonaws.com.cn"),
            ("gcs:abc/v", "gcs:abc?endpoint=https://storage.googleapis.com"),
            ("gcs:abc/v", "s3:abc?endpoint=https://storage.googleapis.com"),
            ("gcs:abc?endpoint=http://[::1]", "gcs:abc?endpoint=http://[0:0:0:0:0:0:0:1]:80"),
            ("azure:clinic/one", "azure:clinic/one?endpoint=https://CLINIC.blob.core.windows.net"),
        ] {
            assert!(ground(one).meets(&ground(other)), "{one} {other}");
        }
        for (one, other) in [
            ("s3:abc", "gcs:abc"),
            ("s3:abc", "s3:abc?region=cn-north-1"),
            ("s3:abc?endpoint=http://a:9000", "s3:abc?endpoint=http://a:9001"),
            ("s3:abc", "s3:abc?endpoint=https://s3.amazonaws.com.example"),
            (
                "azure:clinic/one",
                "azure:clinic/one?endpoint=https://clinic.blob.core.chinacloudapi.cn",
            ),
        ] {
            assert!(!ground(one).meets(&ground(other)), "{one} {other}");
        }
    }

    #[test]
    fn no_refusal_repeats_a_secret_that_was_typed() {
        for text in [
            "s3://AKIA:hush@bucket/vault",
            "s3:bucket?endpoint=https://user:hush@host",
            "s3:bucket?endpoint=https://host/hush",
            "s3:bucket?secret_access_key=hush",
            "s3:bucket?hush",
            "s3:bucket?hush==",
            "s3:bucket?storage_class=hush",
            "s3:bucket?secret=x&hush=y",
            "gcs:bucket?service_account={hush}",
            "azure:clinic/vaults?sv=2024-01-01&sig=hush",
            "azure:clinic/vaults?key=hush",
            "azure:clinic/vaults?Hush/hush+hush==",
            "https://clinic.blob.core.windows.net/vaults?sig=hush",
            "https://user:hush@host/vaults",
            "user:hush@host",
            "/srv/vault?sig=hush\0",
        ] {
            let error = text.parse::<LocationUrl>().unwrap_err();
            assert!(!format!("{error:?} {error}").contains("hush"), "{text}: {error:?}");
        }
    }

    const GCS: &str = "gcs:bucket?endpoint=http://b&service_account=/a";

    #[test]
    fn a_place_that_is_not_there_opens_only_when_it_may_be_made() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("a/b");
        let url: LocationUrl = format!("local:{}", place.display()).parse().unwrap();
        assert_eq!(open(&url).unwrap_err().code, Code::FileMissing);
        assert!(!place.exists());
        create(&url).unwrap();
        open(&url).unwrap();
        assert!(place.is_dir());
    }

    #[tokio::test]
    async fn a_directory_that_is_tried_is_left_as_it_was_found() {
        let dir = tempfile::tempdir().unwrap();
        let url: LocationUrl = format!("local:{}", dir.path().display()).parse().unwrap();
        let names = |place: &Path| {
            let entries = std::fs::read_dir(place).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.collect::<Vec<_>>()
        };
        let try_it = async || visit(&url).unwrap().probe().await.unwrap().is_usable();
        assert!(try_it().await);
        assert_eq!(names(dir.path()), [""; 0], "no tmp/ stays where none was");

        // What a location that is in use left behind is swept by whoever opens it.
        let left = format!("put-{}", "0".repeat(32));
        std::fs::create_dir(dir.path().join("tmp")).unwrap();
        std::fs::write(dir.path().join("tmp").join(&left), "left").unwrap();
        assert!(try_it().await);
        assert_eq!(names(&dir.path().join("tmp")), [left.as_str()]);
        open(&url).unwrap();
        assert_eq!(names(&dir.path().join("tmp")), [""; 0]);
    }
}
