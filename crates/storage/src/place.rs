//! How a place in an object store is written: `bucket/prefix?option=value&option=value`.
//!
//! One place has one text: options are sorted, and what people may write twice is written once. So
//! two locations that are the same are seen to be.

use crate::ObjectName;
use core::fmt;
use std::collections::BTreeMap;

const CONTAINER_BYTES_MAX: usize = 255;
const PREFIX_BYTES_MAX: usize = 512;
const OPTION_BYTES_MAX: usize = 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// A bucket, or an account and a container.
    pub(crate) container: String,
    /// Without a slash at either end; empty is the whole container.
    pub(crate) prefix: String,
    options: BTreeMap<String, String>,
}

impl Place {
    /// `parts` of the path are the container's, the rest is the prefix. Why it is none, if so.
    pub(crate) fn parse(text: &str, parts: usize, known: &[&str]) -> Result<Self, String> {
        let text = text.strip_prefix("//").unwrap_or(text);
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        let path = path.strip_suffix('/').unwrap_or(path);
        let pieces: Vec<&str> = path.split('/').collect();
        if pieces.len() < parts || !pieces.iter().all(|piece| is_piece(piece)) {
            return Err("names are of A-Z a-z 0-9 . _ -, joined by /".to_owned());
        }
        let (container, prefix) = pieces.split_at(parts);
        let (container, prefix) = (container.join("/"), prefix.join("/"));
        if container.len() > CONTAINER_BYTES_MAX || prefix.len() > PREFIX_BYTES_MAX {
            return Err("it is too long".to_owned());
        }
        let mut options = BTreeMap::new();
        // What is not known is not repeated: it may be a secret.
        let given = query.split('&').filter(|option| !option.is_empty());
        for (at, option) in given.enumerate() {
            let number = at + 1;
            let Some((name, value)) = option.split_once('=') else {
                return Err(format!("what is number {number} behind the `?` has no value"));
            };
            if !known.contains(&name) {
                let known = known.join(", ");
                return Err(format!("what is number {number} is no option here: {known}"));
            }
            let is_plain = value.bytes().all(|byte| byte.is_ascii_graphic());
            if value.is_empty() || value.len() > OPTION_BYTES_MAX || !is_plain {
                return Err(format!("the value of `{name}` is empty, too long or not plain text"));
            }
            if options.insert(name.to_owned(), value.to_owned()).is_some() {
                return Err(format!("`{name}` stands there twice"));
            }
        }
        Ok(Self { container, prefix, options })
    }

    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// The key that stands for an object, or for the beginning of names.
    pub(crate) fn key(&self, name: &str) -> String {
        match self.prefix.as_str() {
            "" => name.to_owned(),
            prefix => format!("{prefix}/{name}"),
        }
    }

    /// The object that a key stands for, if it stands for one.
    pub(crate) fn name(&self, key: &str) -> Option<ObjectName> {
        let below = match self.prefix.as_str() {
            "" => key,
            prefix => key.strip_prefix(prefix)?.strip_prefix('/')?,
        };
        below.parse().ok()
    }
}

/// A scheme and an authority, and nothing that could hide a password.
pub(crate) fn is_endpoint(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    host.is_some_and(|host| !host.is_empty() && host.bytes().all(is_plain))
}

fn is_piece(piece: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !piece.is_empty() && piece != "." && piece != ".." && piece.bytes().all(is_plain)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.container)?;
        if !self.prefix.is_empty() {
            write!(f, "/{}", self.prefix)?;
        }
        for (at, (name, value)) in self.options.iter().enumerate() {
            write!(f, "{}{name}={value}", if at == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["endpoint", "region"];

    #[test]
    fn one_place_has_one_text() {
        for text in [
            "bucket/a/b?endpoint=http://127.0.0.1:9000&region=eu",
            "//bucket/a/b/?region=eu&endpoint=http://127.0.0.1:9000&",
        ] {
            let place = Place::parse(text, 1, KNOWN).unwrap();
            let settled = "bucket/a/b?endpoint=http://127.0.0.1:9000&region=eu";
            assert_eq!(place.to_string(), settled);
            assert_eq!(Place::parse(settled, 1, KNOWN).unwrap(), place);
        }
        let place = Place::parse("account/container", 2, KNOWN).unwrap();
        assert_eq!((place.container.as_str(), place.prefix.as_str()), ("account/container", ""));
    }

    #[test]
    fn what_is_no_place_says_why() {
        for (text, why) in [
            ("", "joined by /"),
            ("/a", "joined by /"),
            ("bucket//a", "joined by /"),
            ("bucket/../a", "joined by /"),
            ("bucket/a b", "joined by /"),
            ("bucket?region", "has no value"),
            ("bucket?region=", "is empty"),
            ("bucket?colour=red", "is no option here: endpoint, region"),
            ("bucket?region=eu&region=us", "stands there twice"),
            ("bucket?region=e\u{e4}", "not plain text"),
        ] {
            let found = Place::parse(text, 1, KNOWN).unwrap_err();
            assert!(found.contains(why), "{text}: {found}");
        }
        assert!(Place::parse("account", 2, KNOWN).is_err());
        assert!(Place::parse(&format!("b/{}", "a".repeat(600)), 1, KNOWN).is_err());
    }

    #[test]
    fn keys_and_names_lead_to_each_other_below_the_prefix_alone() {
        for (text, key) in [("bucket", "packs/ab/cd"), ("bucket/a/b", "a/b/packs/ab/cd")] {
            let place = Place::parse(text, 1, KNOWN).unwrap();
            assert_eq!(place.key("packs/ab/cd"), key);
            assert_eq!(place.name(key).unwrap().as_str(), "packs/ab/cd");
        }
        let place = Place::parse("bucket/a", 1, KNOWN).unwrap();
        for foreign in ["packs/ab/cd", "ab/packs", "a", "a/", "a/Upper", "a/tmp/probe", "a//b"] {
            assert_eq!(place.name(foreign), None, "{foreign}");
        }
    }
}
