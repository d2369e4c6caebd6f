//! The newest place in the cluster's history that this agent was told of.
//!
//! Whatever was committed before that place was promised to last. Should all coordinators be lost
//! and the cluster be made anew from its locations, only those who were told can say whether it
//! reaches as far as it should: the agent shows this when it attaches. Kept beside its identity,
//! written when it grows and never otherwise; without the file there is nothing to show.

use crate::flow::lock;
use holdfast_runtime::files;
use holdfast_wire::v1;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

#[derive(Debug)]
pub struct Told {
    file: PathBuf,
    newest: Mutex<Option<v1::Told>>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Written {
    epoch: u64,
    index: u64,
    audit_rows: u64,
    audit_hash: String,
    time_ns: i64,
}

impl Told {
    /// In the directory of the agent's identity.
    pub fn beside(identity: &Path) -> Self {
        let file = identity.with_file_name(TOLD_FILE);
        let newest = Mutex::new(read(&file));
        Self { file, newest }
    }

    pub(crate) fn newest(&self) -> Option<v1::Told> {
        lock(&self.newest).clone()
    }

    /// What a coordinator says now; what is older than what is known is no news.
    pub(crate) fn hear(&self, told: Option<&v1::Told>) {
        let Some(told) = told else { return };
        let mut newest = lock(&self.newest);
        let place = |told: &v1::Told| (told.epoch, told.index);
        if newest.as_ref().is_some_and(|known| place(known) >= place(told)) {
            return;
        }
        *newest = Some(told.clone());
        if let Err(error) = files::write_public(&self.file, render_told(told).as_bytes()) {
            tracing::warn!(%error, "what the cluster told could not be written down");
        }
    }
}

/// A file that says nothing usable is as good as none: it is only ever an alarm less.
fn read(file: &Path) -> Option<v1::Told> {
    parse_told(&files::read_text(file).ok()?)
}

/// What a file like `told.toml` says.
pub fn parse_told(text: &str) -> Option<v1::Told> {
    let written: Written = toml::from_str(text).ok()?;
    let digits = written.audit_hash.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let hash: Vec<u8> = digits.map(byte).collect::<Option<_>>()?;
    Some(v1::Told {
        epoch: written.epoch,
        index: written.index,
        audit_rows: written.audit_rows,
        audit_hash: hash.into(),
        time_ns: written.time_ns,
    })
}

/// The text of `told.toml`.
pub fn render_told(told: &v1::Told) -> String {
    let written = Written {
        epoch: told.epoch,
        index: told.index,
        audit_rows: told.audit_rows,
        audit_hash: hex(&told.audit_hash),
        time_ns: told.time_ns,
    };
    toml::to_string(&written).unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const TOLD_FILE: &str = "told.toml";

#[cfg(test)]
mod tests {
    use super::*;

    fn place(epoch: u64, index: u64) -> v1::Told {
        v1::Told { epoch, index, audit_rows: index, audit_hash: vec![7; 32].into(), time_ns: 9 }
    }

    #[test]
    fn the_newest_is_kept_over_a_restart_and_older_news_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let identity = folder.path().join("agent.key");
        let told = Told::beside(&identity);
        assert_eq!(told.newest(), None);
        told.hear(Some(&place(1, 7)));
        told.hear(Some(&place(1, 5)));
        told.hear(None);
        assert_eq!(Told::beside(&identity).newest(), Some(place(1, 7)));
        told.hear(Some(&place(2, 3)));
        assert_eq!(Told::beside(&identity).newest(), Some(place(2, 3)));
    }

    #[test]
    fn a_file_that_says_nothing_is_no_reason_to_stop() {
        let folder = tempfile::tempdir().unwrap();
        let identity = folder.path().join("agent.key");
        for text in ["", "epoch = 1", "epoch = \"x\"", "\u{0}"] {
            std::fs::write(folder.path().join(TOLD_FILE), text).unwrap();
            assert_eq!(Told::beside(&identity).newest(), None, "{text}");
        }
    }
}
