//! The data set: what a hospital's or an office's host holds, made up from a seed.
//!
//! ```text
//! DIR/text/…        source-like text, 200 B to 40 KiB, fifty a directory
//! DIR/images/…      12-bit images of half a mebibyte to one
//! DIR/databases/…   six files of 64 to 256 MiB of 8 KiB pages
//! DIR/archives/…    1 to 50 MiB that no compressor shrinks
//! ```
//!
//! About 2.5 GB at scale 1. The scale divides the *number* of texts and images and the *size* of
//! databases and archives. The same seed and scale give the same bytes on every machine.

pub mod change;
pub mod database;
pub mod flat;
pub mod image;
pub mod text;

use crate::{chance::Chance, files};
use holdfast_common::Result;
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};
use text::Vocabulary;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Archive,
    Database,
    Image,
    Text,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Archive, Self::Database, Self::Image, Self::Text];

    /// Its directory, and the name of its streams of chance.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Archive => "archives",
            Self::Database => "databases",
            Self::Image => "images",
            Self::Text => "text",
        }
    }

    fn path(self, dir: &Path, number: u64) -> PathBuf {
        let base = dir.join(self.name());
        match self {
            Self::Archive => base.join(format!("bundle-{number:04}.tgz")),
            Self::Database => base.join(format!("base/16384/{}", 24_576 + number)),
            Self::Image => base.join(format!("study-{:03}/{number:06}.dcm", number / 40)),
            Self::Text => base
                .join(format!("part-{:02}/unit-{:02}", number / 2500, number / 50 % 50))
                .join(format!("file-{number:06}.rs")),
        }
    }
}

/// Writes files of one data set.
pub struct Writer {
    seed: u64,
    words: Vocabulary,
}

impl Writer {
    pub fn new(seed: u64) -> Self {
        Self { seed, words: Vocabulary::new(seed) }
    }

    /// `bytes` is the size of databases and archives; texts and images choose their own.
    pub fn write(&self, kind: Kind, number: u64, bytes: u64, path: &Path) -> Result<()> {
        let mut chance = Chance::new(self.seed, kind.name(), number);
        let mut out = files::create(path)?;
        let done = match kind {
            Kind::Archive => archive(&mut chance, bytes, &mut out),
            Kind::Database => self.database(number, bytes, &mut out),
            Kind::Image => out.write_all(&image::file(&mut chance)),
            Kind::Text => out.write_all(&text::file(&self.words, &mut chance)),
        };
        done.and_then(|()| out.flush()).map_err(|error| files::failed("write", path, &error))
    }

    fn database(&self, number: u64, bytes: u64, out: &mut BufWriter<File>) -> std::io::Result<()> {
        for page in 0..bytes / database::PAGE as u64 {
            let mut chance = Chance::new(self.seed, "page", number << 32 | page);
            out.write_all(&database::page(&self.words, &mut chance, page as u32))?;
        }
        Ok(())
    }
}

/// Makes the whole set in `dir`.
pub fn generate(dir: &Path, seed: u64, scale: f64) -> Result<()> {
    let writer = Writer::new(seed);
    for kind in Kind::ALL {
        let mut chance = Chance::new(seed, "sizes", kind as u64);
        for number in 0..count(kind, scale) {
            let bytes = size(kind, number, scale, &mut chance);
            writer.write(kind, number, bytes, &kind.path(dir, number))?;
        }
    }
    Ok(())
}

fn count(kind: Kind, scale: f64) -> u64 {
    match kind {
        Kind::Archive => ARCHIVES,
        Kind::Database => DATABASE_MIB.len() as u64,
        Kind::Image => scaled(IMAGES, scale).max(1),
        Kind::Text => scaled(TEXTS, scale).max(1),
    }
}

fn size(kind: Kind, number: u64, scale: f64, chance: &mut Chance) -> u64 {
    match kind {
        Kind::Archive => scaled(chance.spread(ARCHIVE_BYTES_MIN, ARCHIVE_BYTES_MAX), scale),
        Kind::Database => {
            let pages = (DATABASE_MIB[number as usize] << 20) / database::PAGE as u64;
            scaled(pages, scale).max(1) * database::PAGE as u64
        }
        Kind::Image | Kind::Text => 0,
    }
}

fn scaled(number: u64, scale: f64) -> u64 {
    (number as f64 * scale) as u64
}

/// A compressed stream: a gzip header and then noise.
fn archive(chance: &mut Chance, bytes: u64, out: &mut impl Write) -> std::io::Result<()> {
    out.write_all(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3])?;
    let mut block = vec![0; 1 << 16];
    let mut left = bytes;
    while left > 0 {
        let part = left.min(block.len() as u64);
        chance.fill(&mut block[..part as usize]);
        out.write_all(&block[..part as usize])?;
        left -= part;
    }
    Ok(())
}

const TEXTS: u64 = 50_000;
const IMAGES: u64 = 800;
const ARCHIVES: u64 = 40;
const ARCHIVE_BYTES_MIN: u64 = 1 << 20;
const ARCHIVE_BYTES_MAX: u64 = 50 << 20;
const DATABASE_MIB: [u64; 6] = [256, 192, 160, 128, 96, 64];

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: f64 = 0.0004;

    /// Frozen: figures of different days are comparable only over the same bytes.
    const TINY_DIGEST: &str = "6f6a35af7b29b072e0dc1be52cd519187e7f310a0f62388f0917c44880a34b87";

    #[test]
    fn a_seed_gives_the_same_bytes_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        generate(dir.path(), 7, TINY).unwrap();
        assert_eq!(files::digest(dir.path()).unwrap().to_string(), TINY_DIGEST);
    }

    #[test]
    fn another_seed_gives_other_bytes() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        generate(one.path(), 1, TINY).unwrap();
        generate(other.path(), 2, TINY).unwrap();
        let digest = |dir: &Path| files::digest(dir).unwrap();
        assert_ne!(digest(one.path()), digest(other.path()));
    }

    #[test]
    fn kinds_shrink_as_much_as_their_like_do() {
        let dir = tempfile::tempdir().unwrap();
        generate(dir.path(), 3, 0.002).unwrap();
        for (kind, low, high) in [
            (Kind::Archive, 0.99, 1.01),
            (Kind::Database, 2.5, 3.5),
            (Kind::Image, 1.5, 2.0),
            (Kind::Text, 2.5, 4.0),
        ] {
            let (mut plain, mut small) = (0, 0);
            for file in files::list(&dir.path().join(kind.name())).unwrap() {
                let bytes = std::fs::read(&file.path).unwrap();
                let packed =
                    bytes.chunks(128 << 10).map(|part| zstd::bulk::compress(part, 3).unwrap());
                small += packed.map(|part| part.len()).sum::<usize>();
                plain += bytes.len();
            }
            let ratio = plain as f64 / small as f64;
            assert!((low..high).contains(&ratio), "{kind:?} shrinks {ratio:.2} times");
        }
    }
}
