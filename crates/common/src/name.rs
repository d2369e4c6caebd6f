//! Names that people give: vaults, locations, agents, policies, regions, labels.
//!
//! A name is 1 to 63 of `a-z 0-9 . _ -`, beginning with a letter or digit, so that it can stand in
//! a path, a URL, a certificate and a metric without quoting.

use crate::{Code, Error, Result, limits};
use core::{fmt, str::FromStr};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.len() <= limits::NAME_BYTES_MAX
        && text.bytes().next().is_some_and(plain)
        && text.bytes().all(|b| plain(b) || matches!(b, b'.' | b'_' | b'-'))
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if is_name(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::new(
            Code::UsageNameMalformed,
            format!("`{}` is not a name", text.escape_debug()),
        )
        .next("a name is 1 to 63 of a-z 0-9 . _ - and begins with a letter or digit"))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<C> minicbor::Encode<C> for Name {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> core::result::Result<(), minicbor::encode::Error<W::Error>> {
        e.str(&self.0)?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Name {
    fn decode(
        d: &mut minicbor::Decoder<'b>,
        _: &mut C,
    ) -> core::result::Result<Self, minicbor::decode::Error> {
        d.str()?.parse().map_err(|_| minicbor::decode::Error::message("not a name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_are_names() {
        for good in ["main", "a", "0", "pacs-1.eu_west", &"x".repeat(63)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
    }

    #[test]
    fn names_that_would_need_quoting_are_refused() {
        for bad in ["", ".hidden", "-x", "A", "a b", "a/b", "ä", "a\n", &"x".repeat(64)] {
            assert_eq!(bad.parse::<Name>().unwrap_err().code, Code::UsageNameMalformed, "{bad}");
        }
    }
}
