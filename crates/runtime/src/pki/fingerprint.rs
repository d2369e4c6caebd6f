//! The fingerprint of a certificate: the BLAKE3 of its DER, as 64 hex characters. A join token
//! carries that of the authority, so that a new host can tell the right cluster from any other
//! before it trusts anything.

use core::{fmt, str::FromStr};
use holdfast_common::{Code, Error, Result};

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub fn of(der: &[u8]) -> Self {
        Self(*blake3::hash(der).as_bytes())
    }

    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fingerprint:{self}")
    }
}

impl FromStr for Fingerprint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        blake3::Hash::from_hex(text)
            .ok()
            .map(|hash| Self(*hash.as_bytes()))
            .filter(|fingerprint| fingerprint.to_string() == text)
            .ok_or_else(|| {
                Error::new(Code::UsageIdMalformed, "the text is not a fingerprint")
                    .next("a fingerprint is 64 lower-case hex characters")
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_survives_its_written_form_and_has_one_spelling() {
        let fingerprint = Fingerprint::of(b"a certificate");
        let text = fingerprint.to_string();
        assert_eq!(text.len(), 64);
        assert_eq!(text.parse::<Fingerprint>().unwrap(), fingerprint);
        for bad in ["", &text[1..], &text.to_uppercase(), &format!("{text}0"), &"zz".repeat(32)] {
            assert_eq!(bad.parse::<Fingerprint>().unwrap_err().code, Code::UsageIdMalformed);
        }
    }
}
