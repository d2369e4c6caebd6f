//! Short texts that people and messages carry: ids, names, times, places, tokens.
//!
//! A text that parses is the text that is written, but for times, which have many spellings and
//! one value.

use crate::Refused;
use core::{
    fmt::{Debug, Display},
    str::FromStr,
};
use holdfast_agent::source::files::Pattern;
use holdfast_common::{ChunkId, Name, PointId, Timestamp, limits};
use holdfast_runtime::{
    Identity,
    pki::{Fingerprint, pin_of},
};
use holdfast_storage::{LocationUrl, ObjectName, ObjectPrefix};
use std::path::Path;

pub fn id(bytes: &[u8]) -> Result<(), Refused> {
    let given = one_spelling::<PointId>(bytes);
    let content = one_spelling::<ChunkId>(bytes);
    given.or(content)
}

pub fn name(bytes: &[u8]) -> Result<(), Refused> {
    assert!(one_spelling::<Name>(bytes).is_err() || bytes.len() <= limits::NAME_BYTES_MAX);
    one_spelling::<Name>(bytes)
}

pub fn timestamp(bytes: &[u8]) -> Result<(), Refused> {
    let time: Timestamp = text(bytes)?.parse()?;
    assert_eq!(time.to_string().parse::<Timestamp>()?, time);
    Ok(())
}

pub fn identity(bytes: &[u8]) -> Result<(), Refused> {
    one_spelling::<Identity>(bytes)
}

pub fn fingerprint(bytes: &[u8]) -> Result<(), Refused> {
    one_spelling::<Fingerprint>(bytes)
}

pub fn join_token(bytes: &[u8]) -> Result<(), Refused> {
    let text = text(bytes)?;
    let pin = pin_of(text)?;
    assert!(text.starts_with("hf1-") && text.ends_with(&pin.to_string()));
    Ok(())
}

/// A name or a prefix in a store: neither can climb.
pub fn stored_name(bytes: &[u8]) -> Result<(), Refused> {
    let text = text(bytes)?;
    let _a_prefix_may_end_with_a_slash = text.parse::<ObjectPrefix>();
    one_spelling::<ObjectName>(bytes)?;
    assert!(!text.contains("..") && !text.starts_with('/') && text.parse::<ObjectPrefix>().is_ok());
    Ok(())
}

pub fn location_url(bytes: &[u8]) -> Result<(), Refused> {
    let text = text(bytes)?;
    let resolved = LocationUrl::resolve(text, Path::new("/srv/base"));
    if let Ok(url) = &resolved {
        let again: LocationUrl = url.to_string().parse().expect("what is written is read");
        assert_eq!(again.to_string(), url.to_string());
        assert!(!url.to_string().split('/').any(|part| part == ".."), "nothing climbs");
    }
    if text.parse::<LocationUrl>().is_ok() {
        assert!(resolved.is_ok(), "what stands alone also stands against a directory");
    }
    resolved?;
    Ok(())
}

/// A pattern, a zero byte, then a path: matching ends, and says the same twice.
pub fn pattern(bytes: &[u8]) -> Result<(), Refused> {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let pattern = Pattern::parse(text(parts.next().unwrap_or_default())?)?;
    let path = parts.next().unwrap_or(b"/srv/a.tmp");
    let matched = [true, false].map(|is_directory| pattern.matches(path, is_directory));
    assert!(!matched[1] || matched[0], "what a file matches, a directory of its name does");
    Ok(())
}

fn text(bytes: &[u8]) -> Result<&str, Refused> {
    Ok(core::str::from_utf8(bytes)?)
}

fn one_spelling<T>(bytes: &[u8]) -> Result<(), Refused>
where
    T: FromStr + Display + Debug,
{
    let text = text(bytes)?;
    assert_eq!(text.parse::<T>().map_err(|_| Refused)?.to_string(), text, "one spelling");
    Ok(())
}

fn all(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub fn ids() -> Vec<Vec<u8>> {
    all(&[&"0a".repeat(16), &"f9".repeat(32)])
}

pub fn names() -> Vec<Vec<u8>> {
    all(&["main", "pacs-1.eu_west"])
}

pub fn timestamps() -> Vec<Vec<u8>> {
    all(&["2026-11-21T10:00:00.000000001Z", "1970-01-01T00:00:00+02:00"])
}

pub fn identities() -> Vec<Vec<u8>> {
    let of = |who: &str| format!("holdfast://{}/{who}", "c1".repeat(16)).into_bytes();
    vec![of("operator/admin"), of("coordinator/1"), of(&format!("agent/{}", "07".repeat(16)))]
}

pub fn fingerprints() -> Vec<Vec<u8>> {
    all(&[&"5e".repeat(32)])
}

pub fn join_tokens() -> Vec<Vec<u8>> {
    all(&[&format!("hf1-{}-{}", "0".repeat(48), "5e".repeat(32))])
}

pub fn stored_names() -> Vec<Vec<u8>> {
    all(&["vault", "packs/ab/abcd", "cluster/log/0000000001-00000000000000000001"])
}

pub fn location_urls() -> Vec<Vec<u8>> {
    all(&["local:/srv/vault", "file:///srv/vault", "/srv/vault", "local:./beside"])
}

pub fn patterns() -> Vec<Vec<u8>> {
    all(&["*.tmp", "/srv/**/cache/\0/srv/a/b/cache", "!keep[a-z!].log", "a?c*d/**/e\0/a/c/d/e"])
}
