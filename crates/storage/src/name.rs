//! Names of objects: parts of `a-z 0-9 -`, joined by `/`, the same in every kind of location.
//!
//! The narrow alphabet is what confines a location: a name cannot climb, hide, differ only by case
//! or need quoting, so it can be a path, a key and a URL unchanged. The first part is never `tmp`,
//! which a directory needs for itself. A prefix selects names by their first bytes, as stores do.

use core::{fmt, str::FromStr};
use holdfast_common::{Code, Error, Result, limits};

/// The first part that no object may have.
pub(crate) const TMP: &str = "tmp";

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(String);

impl ObjectName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The parts that are directories, then the last one.
    pub(crate) fn split(&self) -> (impl Iterator<Item = &str>, &str) {
        let (folders, last) = self.0.rsplit_once('/').unwrap_or(("", &self.0));
        (folders.split('/').filter(|part| !part.is_empty()), last)
    }
}

/// What names begin with; the empty one begins them all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ObjectPrefix(String);

impl ObjectPrefix {
    /// The prefix of every name.
    pub const fn all() -> Self {
        Self(String::new())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn begins(&self, name: &ObjectName) -> bool {
        name.0.starts_with(&self.0)
    }
}

pub(crate) fn is_part(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= limits::OBJECT_NAME_PART_BYTES_MAX
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_name(text: &str) -> bool {
    text.len() <= limits::OBJECT_NAME_BYTES_MAX
        && text.split('/').all(is_part)
        && text.split('/').next() != Some(TMP)
}

fn refused(what: &str, text: &str) -> Error {
    let shown: String = text.chars().take(80).collect();
    Error::new(Code::UsageNameMalformed, format!("`{}` is not {what}", shown.escape_debug())).next(
        "parts are of a-z 0-9 -, joined by /, at most 256 bytes together; the first is not `tmp`",
    )
}

impl FromStr for ObjectName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if is_name(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(refused("a name of an object", text))
    }
}

impl FromStr for ObjectPrefix {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let whole = text.strip_suffix('/').unwrap_or(text);
        let is_prefix = whole.len() <= limits::OBJECT_NAME_BYTES_MAX
            && (text.is_empty() || whole.split('/').all(is_part));
        if is_prefix {
            return Ok(Self(text.to_owned()));
        }
        Err(refused("the beginning of a name", text))
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ObjectPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_formats_names_are_names() {
        let longest = format!("a/{}", "x".repeat(254));
        for good in [
            "vault",
            "keys/00000001/00000001",
            "packs/ab/abcd",
            "cluster/log/0000000001-2",
            "not-tmp",
            "a/tmp",
            &longest,
        ] {
            assert_eq!(good.parse::<ObjectName>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn names_that_climb_hide_or_need_quoting_are_refused() {
        let (long, long_part) = (format!("a/{}", "x".repeat(255)), "x".repeat(256));
        for bad in [
            "", "/", "/a", "a/", "a//b", ".", "..", "a/../b", ".hid", "a.b", "A", "a b", "a_b",
            "ä", "a\0", "a\n", "a\\b", "tmp", "tmp/a", &long, &long_part,
        ] {
            let refusal = bad.parse::<ObjectName>().unwrap_err();
            assert_eq!(refusal.code, Code::UsageNameMalformed, "{bad}");
        }
    }

    #[test]
    fn a_prefix_selects_by_the_first_bytes() {
        let name: ObjectName = "packs/ab/abcd".parse().unwrap();
        for begins in ["", "p", "packs", "packs/", "packs/a", "packs/ab/abcd"] {
            assert!(begins.parse::<ObjectPrefix>().unwrap().begins(&name), "{begins}");
        }
        for other in ["a", "packs/b", "packs/ab/abcde", "packs/ab/abcd/"] {
            assert!(!other.parse::<ObjectPrefix>().unwrap().begins(&name), "{other}");
        }
        for bad in ["/", "//", "a//", "../", "P"] {
            assert!(bad.parse::<ObjectPrefix>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_splits_into_folders_and_a_last_part() {
        let name: ObjectName = "packs/ab/abcd".parse().unwrap();
        let (folders, last) = name.split();
        assert_eq!((folders.collect::<Vec<_>>(), last), (vec!["packs", "ab"], "abcd"));
        let name: ObjectName = "vault".parse().unwrap();
        let (mut folders, last) = name.split();
        assert_eq!((folders.next(), last), (None, "vault"));
    }

    proptest! {
        #[test]
        fn whatever_is_a_name_stays_beneath_its_root(text in "[a-zA-Z0-9./_-]{0,40}|\\PC{0,20}") {
            if let Ok(name) = text.parse::<ObjectName>() {
                let path = std::path::Path::new(name.as_str());
                let plain = |part| matches!(part, std::path::Component::Normal(_));
                prop_assert!(path.components().all(plain));
                prop_assert!(!path.starts_with(TMP));
            }
        }
    }
}
