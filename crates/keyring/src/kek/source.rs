//! Where a KEK comes from, as configuration names it: `file:PATH`, `env:NAME`,
//! `passphrase-file:PATH`, `passphrase-env:NAME`, or somebody who keeps a key (`remote.rs`).
//!
//! A key file or variable holds 64 hex characters; a file may hold the 32 bytes themselves. The
//! environment is injected. A key file is made once, readable by its owner alone, and is on the
//! disk before anything is wrapped under it. What was read is never quoted in an error.

use super::{Derivation, Kek, RemoteKek, SecretPlace, remote};
use core::{fmt, str::FromStr};
use holdfast_common::{Code, Entropy, Error, Result, Secret, limits};
use rustix::fs::OFlags;
use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KekSource {
    Env(String),
    File(PathBuf),
    PassphraseEnv(String),
    PassphraseFile(PathBuf),
    Remote(RemoteKek),
}

impl KekSource {
    /// Reads a key that lies on this host. A passphrase needs the derivation that its key object or
    /// bundle names; a key has none and ignores it. `holdfast_kek::load` takes every source.
    pub fn load(
        &self,
        environment: &dyn Fn(&str) -> Option<String>,
        derivation: Option<&Derivation>,
    ) -> Result<Kek> {
        let bytes = match self {
            Self::Env(name) | Self::PassphraseEnv(name) => environment(name)
                .map(|value| Zeroizing::new(value.into_bytes()))
                .ok_or_else(|| self.unavailable("the variable is not set"))?,
            Self::File(path) | Self::PassphraseFile(path) => {
                read_bounded(path).map_err(|error| self.unavailable(error))?
            }
            Self::Remote(_) => return Err(self.unavailable("its provider has to be asked")),
        };
        if !self.is_passphrase() {
            let key = self.parse_key(&bytes);
            return key.map(Kek::from_secret).ok_or_else(|| self.malformed());
        }
        let Some(Derivation::Passphrase(derivation)) = derivation else {
            return Err(self.unavailable("the key object names no passphrase derivation"));
        };
        Kek::from_passphrase(self.trim_passphrase(&bytes), derivation)
    }

    /// Makes a new key file; a name that is taken is refused, whatever it holds.
    pub fn create(&self, entropy: &dyn Entropy) -> Result<Kek> {
        let Self::File(path) = self else {
            return Err(Error::new(
                Code::UsageMalformed,
                format!("no key can be made at `{self}`"),
            )
            .next("name a key file as file:PATH"));
        };
        let key = Secret::random(entropy);
        let mut text = Zeroizing::new([0; 65]);
        text[64] = b'\n';
        match hex::encode_to_slice(key.expose(), &mut text[..64]) {
            Ok(()) => {}
            Err(_) => unreachable!("32 bytes are 64 hex characters"),
        }
        write_new(path, &*text).map_err(|error| cannot_create(path, &error))?;
        Ok(Kek::from_secret(key))
    }

    pub fn is_passphrase(&self) -> bool {
        matches!(self, Self::PassphraseEnv(_) | Self::PassphraseFile(_))
    }

    /// Whether group or others may read the file: worth a warning, not a refusal.
    pub fn is_readable_by_others(&self) -> Result<bool> {
        match self {
            Self::Env(_) | Self::PassphraseEnv(_) => Ok(false),
            Self::File(path) | Self::PassphraseFile(path) => self.is_open(path),
            Self::Remote(remote) => {
                remote.secret_file().map_or(Ok(false), |path| self.is_open(path))
            }
        }
    }

    fn is_open(&self, path: &Path) -> Result<bool> {
        std::fs::metadata(path)
            .map(|file| file.permissions().mode() & 0o044 != 0)
            .map_err(|error| self.unavailable(error))
    }

    fn parse_key(&self, bytes: &[u8]) -> Option<Secret<32>> {
        if matches!(self, Self::File(_)) && bytes.len() == 32 {
            return Secret::from_slice(bytes);
        }
        let mut key = Zeroizing::new([0; 32]);
        hex::decode_to_slice(bytes.trim_ascii(), &mut *key).ok()?;
        Some(Secret::take(&mut key))
    }

    /// An editor's line end is not part of the passphrase in a file.
    fn trim_passphrase<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        match self {
            Self::PassphraseFile(_) => {
                let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
                line.strip_suffix(b"\r").unwrap_or(line)
            }
            _ => bytes,
        }
    }

    fn unavailable(&self, cause: impl fmt::Display) -> Error {
        Error::new(Code::KekUnavailable, format!("no key can be had from `{self}`")).cause(cause)
    }

    fn malformed(&self) -> Error {
        self.unavailable("it does not hold a key")
            .next("a key is 64 hex characters, for example from `openssl rand -hex 32`")
    }
}

impl fmt::Display for KekSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::PassphraseEnv(name) => write!(f, "passphrase-env:{name}"),
            Self::PassphraseFile(path) => write!(f, "passphrase-file:{}", path.display()),
            Self::Remote(remote) => write!(f, "{remote}"),
        }
    }
}

impl FromStr for KekSource {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = match text.split_once(':') {
            Some(("env", name)) if is_variable(name) => Self::Env(name.to_owned()),
            Some(("file", path)) if is_path(path) => Self::File(path.into()),
            Some(("passphrase-env", name)) if is_variable(name) => {
                Self::PassphraseEnv(name.to_owned())
            }
            Some(("passphrase-file", path)) if is_path(path) => Self::PassphraseFile(path.into()),
            Some((kind, rest)) if remote::KINDS.contains(&kind) => {
                Self::Remote(RemoteKek::parse(kind, rest)?)
            }
            _ => return Err(not_a_source(text)),
        };
        Ok(parsed)
    }
}

impl SecretPlace {
    /// The PIN or token as it is there now, without the line end of an editor.
    pub fn read(&self, environment: &dyn Fn(&str) -> Option<String>) -> Result<Zeroizing<String>> {
        let unavailable = |cause: &dyn fmt::Display| {
            Error::new(Code::KekUnavailable, format!("no PIN or token can be had from `{self}`"))
                .cause(cause)
        };
        let bytes = match self {
            Self::Env(name) => environment(name)
                .map(|value| Zeroizing::new(value.into_bytes()))
                .ok_or_else(|| unavailable(&"the variable is not set"))?,
            Self::File(path) => read_bounded(path).map_err(|error| unavailable(&error))?,
        };
        let text = str::from_utf8(bytes.trim_ascii_end());
        match text {
            Ok("") => Err(unavailable(&"it is empty")),
            Ok(text) => Ok(Zeroizing::new(text.to_owned())),
            Err(_) => Err(unavailable(&"it is no text")),
        }
    }
}

pub(super) fn is_variable(name: &str) -> bool {
    name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

pub(super) fn is_path(path: &str) -> bool {
    !path.is_empty() && !path.contains('\0')
}

/// Says only what kind was written: people paste keys where names belong.
fn not_a_source(text: &str) -> Error {
    let kind = text.split_once(':').map_or("", |(kind, _)| kind);
    let known = ["env", "file", "passphrase-env", "passphrase-file"].contains(&kind);
    let message = match known {
        true => format!("`{kind}:` is not followed by a name or path"),
        false => "the key's provider is not known".to_owned(),
    };
    Error::new(Code::UsageMalformed, message).next(
        "write file:PATH, env:NAME, passphrase-file:PATH, passphrase-env:NAME, pkcs11:…, aws-kms:… \
             or transit:…; see docs/kek.md",
    )
}

fn read_bounded(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    // One allocation that never grows, so that no copy of a key stays behind.
    let mut bytes = Zeroizing::new(vec![0; limits::KEY_FILE_BYTES_MAX + 1]);
    let mut file = open_regular(path)?;
    let mut length = 0;
    while length < bytes.len() {
        match file.read(&mut bytes[length..])? {
            0 => break,
            read => length += read,
        }
    }
    if length > limits::KEY_FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "too large for a key file"));
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// Whoever changes the KEK names a path, from afar: what is no file would be waited for, for ever.
fn open_regular(path: &Path) -> io::Result<File> {
    let at_once = OFlags::NONBLOCK.union(OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(at_once).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no regular file")),
    }
}

/// Durable when it returns: the bytes, and the name in its directory.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    if let Err(error) = file.write_all(bytes).and_then(|()| file.sync_all()) {
        // Half a key would only stand in the way of the next try.
        let _ = std::fs::remove_file(path);
        return Err(error);
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

fn cannot_create(path: &Path, error: &io::Error) -> Error {
    if error.kind() != io::ErrorKind::AlreadyExists {
        return Error::io(format!("the key file `{}` cannot be made", path.display()), error);
    }
    Error::new(Code::FileExists, format!("the key file `{}` exists already", path.display()))
        .next("use it as it is, or name another; a KEK is never overwritten")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Argon, KekId, seeded::Seeded};
    use proptest::prelude::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn source(text: &str) -> KekSource {
        text.parse().unwrap()
    }

    fn nothing(_: &str) -> Option<String> {
        None
    }

    fn counting() -> KekId {
        Kek::from_secret(Secret::from_slice(&hex::decode(HEX).unwrap()).unwrap()).id
    }

    #[test]
    fn sources_are_written_as_they_are_read() {
        for text in ["file:/a/b:c", "env:KEK_1", "passphrase-file:p", "passphrase-env:_P"] {
            assert_eq!(source(text).to_string(), text);
        }
        assert!(!source("file:x").is_passphrase() && source("passphrase-env:X").is_passphrase());
    }

    #[test]
    fn what_names_no_source_is_refused_and_not_repeated() {
        for bad in ["", "file", "file:", "env:", "env:1X", "env:A=B", "kms:x", "File:x", HEX] {
            let error = bad.parse::<KekSource>().unwrap_err();
            assert_eq!(error.code, Code::UsageMalformed, "{bad}");
            assert!(bad.len() < 8 || !format!("{error:?}").contains(bad), "{error:?}");
        }
    }

    #[test]
    fn a_key_is_read_from_hex_or_raw_files_and_from_hex_variables() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kek");
        let file = KekSource::File(path.clone());
        let raw: Vec<u8> = (0..32).collect();
        let padded = format!("  {HEX}\r\n");
        for content in [HEX.as_bytes(), padded.as_bytes(), HEX.to_uppercase().as_bytes(), &raw] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(file.load(&nothing, None).unwrap().id, counting());
        }
        let environment = |name: &str| (name == "KEK").then(|| HEX.to_owned());
        assert_eq!(source("env:KEK").load(&environment, None).unwrap().id, counting());
    }

    #[test]
    fn what_is_absent_or_no_key_is_unavailable_and_not_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kek");
        let file = KekSource::File(path.clone());
        let refused = |source: &KekSource, environment: &dyn Fn(&str) -> Option<String>| {
            let error = source.load(environment, None).unwrap_err();
            assert_eq!(error.code, Code::KekUnavailable, "{error}");
            assert!(!format!("{error:?}").contains("0102"), "{error:?}");
        };
        refused(&file, &nothing);
        refused(&KekSource::File(dir.path().into()), &nothing);
        refused(&source("file:/dev/zero"), &nothing);
        refused(&source("env:KEK"), &nothing);
        for bad in [&HEX[..62], "zz", "", &HEX.repeat(2), &"0102".repeat(5000)] {
            std::fs::write(&path, bad).unwrap();
            refused(&file, &nothing);
            refused(&source("env:KEK"), &|_| Some(bad.to_owned()));
        }
        // Raw bytes are for files: a variable of 32 characters is no key.
        refused(&source("env:KEK"), &|_| Some("x".repeat(32)));
    }

    #[test]
    fn nobody_is_waited_for_who_may_never_write_a_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
        let (tell, told) = std::sync::mpsc::sync_channel(2);
        std::thread::spawn(move || {
            let argon = Derivation::Passphrase(Argon::cheapest(&Seeded::new(1)));
            let phrase = KekSource::PassphraseFile(path.clone()).load(&nothing, Some(&argon));
            let pin = SecretPlace::File(path).read(&nothing);
            let _gone = tell.send([phrase.err(), pin.err()]);
        });
        let refused = told.recv_timeout(std::time::Duration::from_secs(30)).expect("an end");
        for error in refused.map(Option::unwrap) {
            assert_eq!(error.code, Code::KekUnavailable);
            assert!(format!("{error:?}").contains("no regular file"), "{error:?}");
        }
    }

    #[test]
    fn a_passphrase_is_read_without_its_line_end_and_with_its_derivation() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("phrase");
        let file = KekSource::PassphraseFile(path.clone());
        let argon = Argon::cheapest(&Seeded::new(1));
        let expected = Kek::from_passphrase(b"correct horse ", &argon).unwrap().id;
        let derivation = Derivation::Passphrase(argon);
        for text in ["correct horse ", "correct horse \n", "correct horse \r\n"] {
            std::fs::write(&path, text).unwrap();
            let kek = file.load(&nothing, Some(&derivation)).unwrap();
            assert_eq!(kek.id, expected, "{text:?}");
            assert_eq!(kek.derivation.as_ref(), Some(&derivation));
        }
        let environment = |_: &str| Some("correct horse ".to_owned());
        let variable = source("passphrase-env:P");
        assert_eq!(variable.load(&environment, Some(&derivation)).unwrap().id, expected);
        let error = variable.load(&environment, None).unwrap_err();
        assert_eq!(error.code, Code::KekUnavailable);
        std::fs::write(&path, "\n").unwrap();
        assert_eq!(file.load(&nothing, Some(&derivation)).unwrap_err().code, Code::KekUnavailable);
    }

    #[test]
    fn a_made_key_file_is_the_owners_alone_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kek");
        let file = KekSource::File(path.clone());
        let kek = file.create(&Seeded::new(1)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!file.is_readable_by_others().unwrap());
        assert_eq!(file.load(&nothing, None).unwrap().id, kek.id);
        let before = std::fs::read(&path).unwrap();
        assert_eq!(file.create(&Seeded::new(2)).unwrap_err().code, Code::FileExists);
        assert_eq!(std::fs::read(&path).unwrap(), before);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        assert!(file.is_readable_by_others().unwrap());
        assert_eq!(file.load(&nothing, None).unwrap().id, kek.id, "a warning, not a refusal");
    }

    #[test]
    fn keys_are_made_in_files_and_nowhere_else() {
        for text in ["env:X", "passphrase-env:X", "passphrase-file:/nonexistent/x"] {
            let error = source(text).create(&Seeded::new(1)).unwrap_err();
            assert_eq!(error.code, Code::UsageMalformed, "{text}");
        }
        let error = source("file:/nonexistent/kek").create(&Seeded::new(1)).unwrap_err();
        assert_eq!(error.code, Code::FileMissing);
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused_and_what_parses_returns(text: String) {
            if let Ok(source) = text.parse::<KekSource>() {
                prop_assert_eq!(source.to_string().parse::<KekSource>().unwrap(), source);
            }
        }
    }
}
