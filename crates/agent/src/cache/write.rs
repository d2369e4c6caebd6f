//! Writes what the next run shall remember, under a temporary name that no other writer has: two
//! runs of one source may write at once, and the last to be kept is what is remembered.
//!
//! Only `keep` gives it the real one, and only after the point was committed: a cache must not
//! speak of a run that came to nothing. Dropping the writer removes the file.

use super::block::{self, BLOCK_BYTES_TARGET, OPENING_BYTES, Position};
use super::{Basis, Remembered, io};
use holdfast_common::{Entropy, Result, Secret, record};
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) struct CacheWriter {
    file: BufWriter<File>,
    beside: PathBuf,
    place: PathBuf,
    key: Arc<Secret<32>>,
    entropy: Arc<dyn Entropy>,
    opening: [u8; OPENING_BYTES],
    number: u64,
    block: Vec<u8>,
}

impl CacheWriter {
    pub(super) fn create(
        place: &Path,
        basis: Basis,
        key: &Arc<Secret<32>>,
        entropy: &Arc<dyn Entropy>,
    ) -> Result<Self> {
        let mut random = [0; 8];
        entropy.fill(&mut random);
        let random = u64::from_le_bytes(random);
        let beside = place.with_extension(format!("{random:016x}.{UNFINISHED}"));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)
            .map_err(|error| io("written", &error))?;
        let mut writer = Self {
            file: BufWriter::new(file),
            beside,
            place: place.to_owned(),
            key: Arc::clone(key),
            entropy: Arc::clone(entropy),
            opening: block::opening(&**entropy),
            number: 0,
            block: record::to_bytes(&basis),
        };
        writer.file.write_all(&writer.opening).map_err(|error| io("written", &error))?;
        writer.close_block(Position::Inside)?;
        Ok(writer)
    }

    /// Entries come in manifest order.
    pub(crate) fn push(&mut self, remembered: &Remembered) -> Result<()> {
        match minicbor::encode(remembered, &mut self.block) {
            Ok(()) => {}
            Err(error) => unreachable!("encoding to memory failed: {error}"),
        }
        if self.block.len() >= BLOCK_BYTES_TARGET {
            self.close_block(Position::Inside)?;
        }
        Ok(())
    }

    /// Puts the file in its place.
    pub(crate) fn keep(mut self) -> Result<()> {
        self.close_block(Position::Last)?;
        self.file.flush().map_err(|error| io("written", &error))?;
        std::fs::rename(&self.beside, &self.place).map_err(|error| io("put in place", &error))
    }

    fn close_block(&mut self, position: Position) -> Result<()> {
        let field = block::seal(
            &self.key,
            &self.opening,
            self.number,
            position,
            &self.block,
            &*self.entropy,
        );
        self.block.clear();
        self.number += 1;
        self.file
            .write_all(&(field.len() as u32).to_le_bytes())
            .and_then(|()| self.file.write_all(&field))
            .map_err(|error| io("written", &error))
    }
}

impl Drop for CacheWriter {
    fn drop(&mut self) {
        // Kept files were moved away, so that nothing is left to remove.
        drop(std::fs::remove_file(&self.beside));
    }
}

/// What the name of a file ends with that is not kept yet.
pub(super) const UNFINISHED: &str = "new";
