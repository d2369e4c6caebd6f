//! `name=value` pairs of a KEK's text, with `%41` for what has a meaning of its own.

use holdfast_common::{Code, Error, Result};

/// What was written and not yet asked for.
pub(super) struct Options(Vec<(String, String)>);

impl Options {
    pub(super) fn parse(text: &str) -> Result<Self> {
        Self::parse_by(text, '&')
    }

    pub(super) fn parse_by(text: &str, between: char) -> Result<Self> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in text.split(between).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(malformed)?;
            let value = decode(value).filter(|value| !value.is_empty()).ok_or_else(malformed)?;
            if pairs.iter().any(|(taken, _)| taken == name) {
                return Err(refused("an option of the KEK is given twice"));
            }
            pairs.push((name.to_owned(), value));
        }
        Ok(Self(pairs))
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let place = self.0.iter().position(|(held, _)| held == name)?;
        Some(self.0.swap_remove(place).1)
    }

    /// Nothing may be left: a misspelt option would be no option at all.
    pub(super) fn end(self) -> Result<()> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(refused("the KEK's text has an option that is not known")),
        }
    }
}

pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._~/:@,+".contains(&byte) => {
                encoded.push(char::from(byte));
            }
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                let mut value = [0];
                hex::decode_to_slice(digits, &mut value).ok()?;
                value[0]
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

fn malformed() -> Error {
    refused("the KEK's options are not name=value pairs")
}

fn refused(message: &str) -> Error {
    Error::new(Code::UsageMalformed, message).next("see docs/kek.md for how each is written")
}
