//! What a person hands to an operator who is to let them in: a name, proof that a key is at hand,
//! and what the key's file is called. No secret is in it.
//!
//! ```text
//! name = "ben"
//! key = "ben.key"
//! request = """-----BEGIN CERTIFICATE REQUEST----- … """
//! ```

use super::{IdentityKey, ProvenKey};
use holdfast_common::{Code, Error, Name, Result, limits};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorRequest {
    pub name: Name,
    /// The file with the key, beside which the context is to lie.
    pub key_file: String,
    der: Vec<u8>,
}

const TAG: &str = "CERTIFICATE REQUEST";
const KEY_FILE_BYTES_MAX: usize = 255;

impl OperatorRequest {
    pub fn new(name: Name, key_file: &str, key: &IdentityKey) -> Result<Self> {
        check_key_file(key_file)?;
        Ok(Self { name, key_file: key_file.to_owned(), der: key.request()? })
    }

    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > limits::OPERATOR_REQUEST_BYTES_MAX {
            let max = limits::OPERATOR_REQUEST_BYTES_MAX;
            let message = format!("a request for an operator has at most {max} bytes");
            return Err(Error::new(Code::LimitExceeded, message));
        }
        let stored: Stored =
            toml::from_str(text).map_err(|error| malformed(error.message().to_owned()))?;
        check_key_file(&stored.key)?;
        let pem = pem::parse(&stored.request).map_err(malformed)?;
        if pem.tag() != TAG {
            return Err(malformed(format!("`request` is no {TAG}")));
        }
        let der = pem.contents().to_vec();
        ProvenKey::from_request(&der)?;
        Ok(Self { name: stored.name.parse()?, key_file: stored.key, der })
    }

    pub fn render(&self) -> Result<String> {
        let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        let request = pem::encode_config(&pem::Pem::new(TAG, self.der.clone()), config);
        let stored = Stored { name: self.name.to_string(), key: self.key_file.clone(), request };
        toml::to_string(&stored).map_err(malformed)
    }

    /// As the authority takes it: PKCS#10.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    pub fn key(&self) -> Result<ProvenKey> {
        ProvenKey::from_request(&self.der)
    }
}

/// Its name alone: a context must not be made to read what lies elsewhere.
fn check_key_file(name: &str) -> Result<()> {
    let is_plain = !name.is_empty()
        && name.len() <= KEY_FILE_BYTES_MAX
        && !name.starts_with('.')
        && !name.contains(['/', '\0'])
        && name.chars().all(|letter| !letter.is_control());
    if is_plain {
        return Ok(());
    }
    Err(malformed(format!("`{}` does not name a file alone", name.escape_debug())))
}

fn malformed(cause: impl core::fmt::Display) -> Error {
    Error::new(Code::ConfigMalformed, "this is not a request for an operator")
        .cause(cause)
        .next("make one with `holdfast operator request NAME --out DIR`")
}

#[derive(Deserialize, Serialize)]
struct Stored {
    name: String,
    key: String,
    request: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::SystemEntropy;

    fn request() -> (OperatorRequest, IdentityKey) {
        let key = IdentityKey::generate(&SystemEntropy).unwrap().0;
        let request = OperatorRequest::new("ben".parse().unwrap(), "ben.key", &key).unwrap();
        (request, key)
    }

    #[test]
    fn a_request_is_read_back_and_gives_the_key_that_signed_it() {
        let (request, key) = request();
        let text = request.render().unwrap();
        let read = OperatorRequest::parse(&text).unwrap();
        assert_eq!(read, request);
        assert_eq!(read.key().unwrap().as_bytes(), &key.public());
        assert!(text.len() < limits::OPERATOR_REQUEST_BYTES_MAX / 4);
        assert_eq!(OperatorRequest::parse(&format!("{text}newer = 1\n")).unwrap(), request);
    }

    #[test]
    fn what_is_not_sound_is_refused() {
        let good = request().0.render().unwrap();
        for (from, to) in [
            ("name = \"ben\"", "name = \"Ben!\""),
            ("name = ", "nome = "),
            ("ben.key", "../ada.key"),
            ("ben.key", "/etc/shadow"),
            ("ben.key", ".hidden"),
            ("\"ben.key\"", "\"\""),
            ("CERTIFICATE REQUEST", "PRIVATE KEY"),
            ("-----BEGIN", "-----BEGAN"),
        ] {
            let bad = good.replace(from, to);
            assert_ne!(bad, good, "{from}");
            assert!(OperatorRequest::parse(&bad).is_err(), "{to}");
        }
        let long = format!("{good}# {}", "x".repeat(limits::OPERATOR_REQUEST_BYTES_MAX));
        assert_eq!(OperatorRequest::parse(&long).unwrap_err().code, Code::LimitExceeded);
        let (mine, other) = (request().0, request().0);
        let forged = OperatorRequest { der: [&mine.der[..40], &other.der[40..]].concat(), ..mine };
        assert!(OperatorRequest::parse(&forged.render().unwrap()).is_err());
        assert!(OperatorRequest::parse("").is_err());
    }
}
