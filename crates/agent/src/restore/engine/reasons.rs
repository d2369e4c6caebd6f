//! Why entries are not in place: counted for each code, with the first path of each.
//!
//! The paths themselves may be millions; what a restore ends with is decided by these few rows.

use holdfast_common::{Code, limits};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasons {
    /// In the order in which they first came: no more than there are codes.
    rows: Vec<Reason>,
    /// What the paths take that are named.
    named_bytes: usize,
    names_all: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reason {
    pub(super) code: Code,
    /// The first path it happened to.
    pub(super) path: Vec<u8>,
    count: u64,
}

impl Reasons {
    pub(super) fn note(&mut self, path: &[u8], code: Code) {
        match self.rows.iter_mut().find(|row| row.code == code) {
            Some(row) => row.count += 1,
            None => self.rows.push(Reason { code, path: path.to_vec(), count: 1 }),
        }
    }

    /// Whoever looks for damage is told every path, whatever it takes.
    pub(in crate::restore) fn name_all(&mut self) {
        self.names_all = true;
    }

    /// Whether there is room to name a path, which then takes it.
    pub(super) fn names(&mut self, path: &[u8]) -> bool {
        let bytes = self.named_bytes + path.len() + ROW_BYTES;
        let fits = self.names_all || bytes <= limits::RESTORE_SKIPPED_BYTES_MAX;
        if fits {
            self.named_bytes = bytes;
        }
        fits
    }

    /// How many entries are not in place.
    pub fn count(&self) -> u64 {
        self.rows.iter().map(|row| row.count).sum()
    }

    /// The first that came.
    pub fn first(&self) -> Option<Code> {
        self.rows.first().map(|row| row.code)
    }

    /// The first for such a reason, and how many there were.
    pub(super) fn all(&self, is_meant: impl Fn(Code) -> bool) -> Option<(&Reason, u64)> {
        let mut meant = self.rows.iter().filter(|row| is_meant(row.code));
        let first = meant.next()?;
        Some((first, first.count + meant.map(|row| row.count).sum::<u64>()))
    }
}

/// What a path that is named takes beside its bytes.
const ROW_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::super::RestoreReport;
    use super::*;

    #[test]
    fn a_million_paths_that_are_not_in_place_are_counted_and_the_first_are_named() {
        let mut report = RestoreReport::default();
        report.skip(b"/way".to_vec(), Code::FileExists);
        for number in 0..1_000_000 {
            let code = if number % 2 == 0 { Code::ChunkDamaged } else { Code::PackMissing };
            report.skip(format!("/a/directory/of/many/files/{number}").into_bytes(), code);
        }
        assert_eq!(report.reasons.count(), 1_000_001);
        let named: usize = report.skipped.iter().map(|(path, _)| path.len() + 64).sum();
        assert!(named <= limits::RESTORE_SKIPPED_BYTES_MAX && report.skipped.len() > 100_000);
        let damage = report.damage().unwrap();
        assert_eq!(damage.code, Code::ChunkDamaged);
        assert!(damage.message.starts_with("1000000 entries"), "{damage}");
        assert!(damage.message.contains("/files/0`"), "{damage}");
        assert_eq!(report.reasons.first(), Some(Code::FileExists));
    }
}
