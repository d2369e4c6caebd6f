//! How often the log was written, told a second time beside it.
//!
//! Where the last group of the log is damaged, the log alone cannot tell whether the power was cut
//! while it was written or a vote or entries that were promised are gone. So every group carries a
//! number, and after it is durable the number goes into a small file, without a sync of its own. A
//! log that is behind the file was taken back. The file may lag, after a power cut say, and never
//! lead; one that cannot be read proves nothing and is written anew.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

const BYTES: usize = 12;

pub(super) struct Generation {
    file: File,
}

impl Generation {
    /// The file beside the log at `path`, and whether the log, which is at `stored`, is behind it.
    pub(super) fn open(path: &Path, stored: u64) -> io::Result<(Self, bool)> {
        let path = path.with_extension("generation");
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = [0; BYTES];
        let told = file.read_exact_at(&mut bytes, 0).ok().and_then(|()| parse(&bytes));
        Ok((Self { file }, told.is_some_and(|told| told > stored)))
    }

    /// The group of this number is durable.
    pub(super) fn tell(&mut self, number: u64) -> io::Result<()> {
        self.file.write_all_at(&render(number), 0)
    }
}

fn render(number: u64) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes[8..].copy_from_slice(&crc32c::crc32c(&number.to_le_bytes()).to_le_bytes());
    bytes
}

fn parse(bytes: &[u8; BYTES]) -> Option<u64> {
    let (number, _) = bytes.split_first_chunk::<8>()?;
    let number = u64::from_le_bytes(*number);
    (render(number) == *bytes).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_behind_what_was_told_was_taken_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let (mut generation, behind) = Generation::open(&path, 7).unwrap();
        assert!(!behind, "nothing was told yet");
        generation.tell(8).unwrap();
        let is_behind = |stored| Generation::open(&path, stored).unwrap().1;
        assert!(is_behind(7) && is_behind(0));
        assert!(!is_behind(8) && !is_behind(9), "the file may lag");
        let mut bytes = render(8);
        for at in 0..BYTES {
            bytes[at] ^= 1;
            std::fs::write(directory.path().join("log.generation"), bytes).unwrap();
            assert!(!is_behind(0), "what cannot be read proves nothing");
            bytes[at] ^= 1;
        }
    }
}
