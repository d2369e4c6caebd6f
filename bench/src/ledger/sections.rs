//! One report of two runs: each writes its own part and leaves the other's as it is.

use crate::files;
use holdfast_common::Result;
use std::path::Path;

/// In the order in which they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Peers,
    Rows,
}

/// Writes one part of `report`; the other stays, if there is one.
pub fn put(report: &Path, part: Part, text: &str) -> Result<()> {
    let before = if report.exists() { files::read_text(report)? } else { String::new() };
    let text = joined(&before, part, text);
    std::fs::write(report, text).map_err(|error| files::failed("write", report, &error))
}

fn joined(before: &str, part: Part, text: &str) -> String {
    let (peers, rows) = before.split_once(MARK).unwrap_or((before, ""));
    let (peers, rows) = match part {
        Part::Peers => (text, rows),
        Part::Rows => (peers, text),
    };
    match rows.trim() {
        "" => format!("{}\n", peers.trim_end()),
        rows => format!("{}\n\n{MARK}\n\n{rows}\n", peers.trim_end()),
    }
}

/// Shown to nobody who reads the page.
const MARK: &str = "<!-- of many rows -->";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_replaced_alone_and_in_its_place() {
        let peers = joined("", Part::Peers, "# Peers\n\none\n");
        assert_eq!(peers, "# Peers\n\none\n");
        let both = joined(&peers, Part::Rows, "## Rows\n\ntwo\n");
        assert_eq!(both, format!("# Peers\n\none\n\n{MARK}\n\n## Rows\n\ntwo\n"));
        let newer = joined(&both, Part::Peers, "# Peers\n\nthree\n");
        assert_eq!(newer, format!("# Peers\n\nthree\n\n{MARK}\n\n## Rows\n\ntwo\n"));
        let newest = joined(&newer, Part::Rows, "## Rows\n\nfour\n");
        assert_eq!(newest, format!("# Peers\n\nthree\n\n{MARK}\n\n## Rows\n\nfour\n"));
        assert_eq!(joined(&newest, Part::Rows, "## Rows\n\nfour\n"), newest, "again");
    }
}
