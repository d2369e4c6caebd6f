//! Who keeps a key that it never shows, as configuration names it:
//!
//! ```text
//!   pkcs11:token=LABEL;object=LABEL?module-path=PATH&pin-source=file:PATH      (RFC 7512)
//!   aws-kms:KEY?region=REGION&endpoint=URL&profile=NAME
//!   transit:URL/MOUNT/KEY?token=file:PATH&ca=PATH&namespace=NAME
//! ```
//!
//! Pure text. Secrets never stand in it: a PIN and a token are named by file or variable, and what
//! was written where they belong is refused without being repeated.

use super::{Provider, query};
use core::{fmt, str::FromStr};
use holdfast_common::{Code, Error, Result};
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteKek {
    AwsKms(AwsKmsKey),
    Pkcs11(Pkcs11Key),
    Transit(TransitKey),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsKmsKey {
    /// An id, an ARN, or `alias/NAME`.
    pub key: String,
    pub region: Option<String>,
    pub endpoint: Option<String>,
    pub profile: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pkcs11Key {
    pub token: String,
    pub object: String,
    pub module: PathBuf,
    pub pin: SecretPlace,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitKey {
    /// Scheme, host and port.
    pub address: String,
    pub mount: String,
    pub key: String,
    pub token: SecretPlace,
    pub ca: Option<PathBuf>,
    pub namespace: Option<String>,
}

/// Where a PIN or a token is found each time that it is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretPlace {
    Env(String),
    File(PathBuf),
}

pub(super) const KINDS: [&str; 3] = ["aws-kms", "pkcs11", "transit"];

impl RemoteKek {
    pub fn provider(&self) -> Provider {
        match self {
            Self::AwsKms(_) => Provider::AwsKms,
            Self::Pkcs11(_) => Provider::Pkcs11,
            Self::Transit(_) => Provider::Transit,
        }
    }

    /// Whether the names of a key and of its versions mean the same in both: one server, one token.
    /// An ARN, which is what a version of KMS is, means the same everywhere.
    pub fn is_at_the_place_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::AwsKms(_), Self::AwsKms(_)) => true,
            (Self::Pkcs11(one), Self::Pkcs11(other)) => {
                (&one.token, &one.module) == (&other.token, &other.module)
            }
            (Self::Transit(one), Self::Transit(other)) => {
                (&one.address, &one.namespace) == (&other.address, &other.namespace)
            }
            _ => false,
        }
    }

    /// The file of its PIN or token, where it has one.
    pub fn secret_file(&self) -> Option<&Path> {
        match self {
            Self::Pkcs11(Pkcs11Key { pin: SecretPlace::File(path), .. })
            | Self::Transit(TransitKey { token: SecretPlace::File(path), .. }) => Some(path),
            _ => None,
        }
    }

    /// With every path of it as `change` gives it.
    pub fn with_paths<E>(self, change: impl Fn(&Path) -> Result<PathBuf, E>) -> Result<Self, E> {
        let place = |place| match place {
            SecretPlace::File(path) => change(&path).map(SecretPlace::File),
            env => Ok(env),
        };
        Ok(match self {
            Self::AwsKms(key) => Self::AwsKms(key),
            Self::Pkcs11(key) => Self::Pkcs11(Pkcs11Key {
                module: change(&key.module)?,
                pin: place(key.pin)?,
                ..key
            }),
            Self::Transit(key) => Self::Transit(TransitKey {
                token: place(key.token)?,
                ca: key.ca.as_deref().map(&change).transpose()?,
                ..key
            }),
        })
    }

    pub(super) fn parse(kind: &str, rest: &str) -> Result<Self> {
        let (name, options) = rest.split_once('?').unwrap_or((rest, ""));
        let mut options = query::Options::parse(options)?;
        let parsed = match kind {
            "aws-kms" => Self::AwsKms(AwsKmsKey::parse(name, &mut options)?),
            "pkcs11" => Self::Pkcs11(Pkcs11Key::parse(name, &mut options)?),
            _ => Self::Transit(TransitKey::parse(name, &mut options)?),
        };
        options.end()?;
        Ok(parsed)
    }
}

impl AwsKmsKey {
    fn parse(name: &str, options: &mut query::Options) -> Result<Self> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_/:".contains(c);
        if name.is_empty() || !name.chars().all(allowed) {
            return Err(refused("`aws-kms:` is not followed by a key's id, ARN or alias/NAME"));
        }
        let endpoint = options.take("endpoint");
        if let Some(endpoint) = &endpoint {
            insist_on_address(endpoint)?;
        }
        let region = options.take("region");
        let of_arn = name.strip_prefix("arn:").map(|rest| rest.split(':').nth(2).unwrap_or(""));
        if ![region.as_deref(), of_arn].into_iter().flatten().all(is_region) {
            return Err(refused("the region of the KMS key is not a name like eu-central-1"));
        }
        Ok(Self { key: name.to_owned(), region, endpoint, profile: options.take("profile") })
    }
}

/// It becomes part of a host's name.
fn is_region(region: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !region.is_empty() && region.bytes().all(letter)
}

impl Pkcs11Key {
    fn parse(name: &str, options: &mut query::Options) -> Result<Self> {
        let mut attributes = query::Options::parse_by(name, ';')?;
        let mut attribute = |name| {
            let missing = || refused(&format!("`pkcs11:` needs {name}=LABEL"));
            attributes.take(name).ok_or_else(missing)
        };
        let (token, object) = (attribute("token")?, attribute("object")?);
        attributes.end()?;
        if options.take("pin-value").is_some() {
            return Err(refused("a PIN does not stand in configuration")
                .next("put it into a file that only holdfast reads: pin-source=file:PATH"));
        }
        let module = options.take("module-path").ok_or_else(|| {
            refused("`pkcs11:` needs module-path=PATH, the library of the token's maker")
        })?;
        let pin = options.take("pin-source").ok_or_else(|| {
            refused("`pkcs11:` needs pin-source=file:PATH or pin-source=env:NAME")
        })?;
        let pin = pin.parse()?;
        Ok(Self { token, object, module: module.into(), pin })
    }
}

impl TransitKey {
    fn parse(name: &str, options: &mut query::Options) -> Result<Self> {
        let malformed = || refused("`transit:` is not followed by https://HOST:PORT/MOUNT/KEY");
        let start = name.find("://").ok_or_else(malformed)? + 3;
        let (host, path) = name[start..].split_once('/').ok_or_else(malformed)?;
        let (mount, key) = path.rsplit_once('/').ok_or_else(malformed)?;
        let word = |word: &str| {
            !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        let is_step = |step: &str| word(step) && !matches!(step, "." | "..");
        if !mount.split('/').all(is_step) || !is_step(key) {
            return Err(malformed());
        }
        let address = name[..start + host.len()].to_owned();
        insist_on_address(&address)?;
        let token = options
            .take("token")
            .ok_or_else(|| refused("`transit:` needs token=file:PATH or token=env:NAME"))?;
        let namespace = options.take("namespace");
        if namespace.as_deref().is_some_and(|name| !name.split('/').all(is_step)) {
            return Err(refused("the namespace is not a name or names with `/` between"));
        }
        Ok(Self {
            address,
            mount: mount.to_owned(),
            key: key.to_owned(),
            token: token.parse()?,
            ca: options.take("ca").map(Into::into),
            namespace,
        })
    }
}

/// Secrets go over it: in the clear to this very host alone.
fn insist_on_address(address: &str) -> Result<()> {
    let malformed = || refused("an address is https://HOST or https://HOST:PORT");
    let (scheme, authority) = address.split_once("://").ok_or_else(malformed)?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if host.is_empty()
        || !host.chars().all(allowed)
        || port.is_some_and(|port| port.parse::<u16>().is_err())
    {
        return Err(malformed());
    }
    match (scheme, host) {
        ("https", _) | ("http", "localhost" | "127.0.0.1" | "[::1]") => Ok(()),
        ("http", _) => Err(refused("what is secret would go over the network in the clear")
            .next("use https://, or http:// to 127.0.0.1, [::1] or localhost")),
        _ => Err(malformed()),
    }
}

impl FromStr for SecretPlace {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some(("env", name)) if super::source::is_variable(name) => {
                Ok(Self::Env(name.to_owned()))
            }
            Some(("file", path)) if super::source::is_path(path) => Ok(Self::File(path.into())),
            _ => Err(refused("a PIN or token is named by file:PATH or env:NAME")),
        }
    }
}

impl fmt::Display for SecretPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl fmt::Display for RemoteKek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |path: &Path| path.display().to_string();
        let (name, options) = match self {
            Self::AwsKms(AwsKmsKey { key, region, endpoint, profile }) => (
                format!("aws-kms:{key}"),
                vec![
                    ("region", region.clone()),
                    ("endpoint", endpoint.clone()),
                    ("profile", profile.clone()),
                ],
            ),
            Self::Pkcs11(Pkcs11Key { token, object, module, pin }) => {
                let (token, object) = (query::encode(token), query::encode(object));
                (
                    format!("pkcs11:token={token};object={object}"),
                    vec![
                        ("module-path", Some(path(module))),
                        ("pin-source", Some(pin.to_string())),
                    ],
                )
            }
            Self::Transit(TransitKey { address, mount, key, token, ca, namespace }) => (
                format!("transit:{address}/{mount}/{key}"),
                vec![
                    ("token", Some(token.to_string())),
                    ("ca", ca.as_deref().map(path)),
                    ("namespace", namespace.clone()),
                ],
            ),
        };
        f.write_str(&name)?;
        let given = options.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        for (place, (name, value)) in given.enumerate() {
            let mark = if place == 0 { '?' } else { '&' };
            write!(f, "{mark}{name}={}", query::encode(value))?;
        }
        Ok(())
    }
}

/// Never repeats what was written: people paste secrets where names belong.
fn refused(message: &str) -> Error {
    Error::new(Code::UsageMalformed, message).next("see docs/kek.md for how each is written")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KekSource;
    use proptest::prelude::*;

    const SOURCES: [&str; 6] = [
        "aws-kms:alias/holdfast",
        "aws-kms:arn:aws:kms:eu-central-1:111122223333:key/1234abcd?region=eu-central-1",
        "aws-kms:alias/x?region=us-east-1&endpoint=http://127.0.0.1:4566&profile=kek",
        "pkcs11:token=backup;object=holdfast%20kek?module-path=/usr/lib/softhsm/libsofthsm2.so\
         &pin-source=file:/etc/holdfast/pin",
        "transit:https://bao.example:8200/transit/holdfast?token=file:/run/bao/token",
        "transit:http://127.0.0.1:8200/eu/kek/holdfast?token=env:BAO_TOKEN&ca=/etc/ca%26b.pem\
         &namespace=team/a",
    ];

    #[test]
    fn a_place_is_a_server_or_a_token_and_not_how_one_gets_in() {
        let remote = |text: &str| match text.parse::<KekSource>().unwrap() {
            KekSource::Remote(remote) => remote,
            other => panic!("{other}"),
        };
        let transit = "transit:https://h/m/k?token=file:/t";
        let token = "pkcs11:token=a;object=b?module-path=/m&pin-source=file:/p";
        for (one, other, same) in [
            (transit, "transit:https://h/m/k?token=env:T&ca=/c", true),
            (transit, "transit:https://g/m/k?token=file:/t", false),
            (transit, "transit:https://h/m/k?token=file:/t&namespace=n", false),
            (token, "pkcs11:token=a;object=b?module-path=/m&pin-source=env:P", true),
            (token, "pkcs11:token=c;object=b?module-path=/m&pin-source=file:/p", false),
            (token, "pkcs11:token=a;object=b?module-path=/n&pin-source=file:/p", false),
            ("aws-kms:alias/x?region=eu-central-1", "aws-kms:12?region=us-east-1", true),
            (transit, token, false),
        ] {
            assert_eq!(remote(one).is_at_the_place_of(&remote(other)), same, "{one} {other}");
        }
    }

    #[test]
    fn sources_are_written_as_they_are_read() {
        for text in SOURCES {
            assert_eq!(text.parse::<KekSource>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_incomplete_unknown_or_unsafe_is_refused_and_not_repeated() {
        for bad in [
            "aws-kms:",
            "aws-kms:alias/x?secret=hunter2hunter2",
            "aws-kms:alias/x?endpoint=http://kms.example",
            "aws-kms:alias/x?region=a&region=hunter2hunter2",
            "aws-kms:alias/x?region=kms.hunter2/",
            "aws-kms:alias/x?region=hunter2%23",
            "aws-kms:arn:aws:kms:hunter2/:1:key/x",
            "aws-kms:arn:aws:kms",
            "pkcs11:token=a?module-path=/m&pin-source=file:/p",
            "pkcs11:object=a?module-path=/m&pin-source=file:/p",
            "pkcs11:token=a;object=b?pin-source=file:/p",
            "pkcs11:token=a;object=b?module-path=/m",
            "pkcs11:token=a;object=b?module-path=/m&pin-value=hunter2hunter2",
            "pkcs11:token=a;object=b?module-path=/m&pin-source=hunter2hunter2",
            "pkcs11:token=a;object=b;slot=hunter2hunter2?module-path=/m&pin-source=env:P",
            "transit:hunter2hunter2",
            "transit:https://h/key?token=file:/t",
            "transit:https://h/m/../k?token=file:/t",
            "transit:https://h/m/k",
            "transit:https://h/m/k?token=hunter2hunter2",
            "transit:https://u:hunter2hunter2@h/m/k?token=env:T",
            "transit:http://bao.example/m/k?token=env:T",
            "transit:https://h:99999/m/k?token=env:T",
            "transit:https://h/m/k?token=env:T&ca=%zz",
        ] {
            let error = bad.parse::<KekSource>().unwrap_err();
            assert_eq!(error.code, Code::UsageMalformed, "{bad}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn every_path_can_be_made_whole() {
        let text = "pkcs11:token=a;object=b?module-path=m.so&pin-source=file:pin";
        let Ok(KekSource::Remote(remote)) = text.parse() else { panic!("{text}") };
        let whole = remote.with_paths(|path| Ok::<_, Error>(Path::new("/etc").join(path)));
        assert_eq!(
            whole.unwrap().to_string(),
            "pkcs11:token=a;object=b?module-path=/etc/m.so&pin-source=file:/etc/pin"
        );
    }

    proptest! {
        #[test]
        fn what_parses_returns(rest in "[ -~]{0,40}", kind in 0..3_usize) {
            let text = format!("{}:{rest}", KINDS[kind]);
            if let Ok(source) = text.parse::<KekSource>() {
                prop_assert_eq!(source.to_string().parse::<KekSource>().unwrap(), source);
            }
        }

        #[test]
        fn labels_and_paths_of_any_letters_return(token in "\\PC{1,12}", path in "\\PC{1,12}") {
            let key = RemoteKek::Pkcs11(Pkcs11Key {
                object: token.clone(),
                token,
                module: path.clone().into(),
                pin: SecretPlace::File(path.into()),
            });
            let source = KekSource::Remote(key);
            prop_assert_eq!(source.to_string().parse::<KekSource>().unwrap(), source);
        }
    }
}
