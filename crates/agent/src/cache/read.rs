//! Reads a cache file beside the walk: both are in manifest order, so each is passed once.
//!
//! What was read before damage is as good as ever; behind it nothing is known any more.

use super::block::{self, BLOCK_BYTES_MAX, OPENING_BYTES, Position};
use super::{Basis, Remembered, io};
use holdfast_common::{Result, Secret, record};
use holdfast_seal::manifest::path;
use std::cmp::Ordering;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

pub struct CacheReader {
    file: Box<dyn Read + Send>,
    key: Arc<Secret<32>>,
    opening: [u8; OPENING_BYTES],
    basis: Basis,
    /// The number of the next block.
    number: u64,
    block: Vec<u8>,
    at: usize,
    ended: bool,
    ahead: Option<Remembered>,
}

impl CacheReader {
    pub(super) fn open(file: &Path, key: &Arc<Secret<32>>) -> Result<Self> {
        let file = File::open(file).map_err(|error| io("opened", &error))?;
        Self::over(BufReader::new(file), key)
    }

    /// Reads a cache wherever its bytes come from.
    pub fn over(mut file: impl Read + Send + 'static, key: &Arc<Secret<32>>) -> Result<Self> {
        let mut opening = [0; OPENING_BYTES];
        file.read_exact(&mut opening).map_err(|error| io("read", &error))?;
        block::check_opening(&opening)?;
        let mut reader = Self {
            file: Box::new(file),
            key: Arc::clone(key),
            opening,
            basis: Basis { cutting: [0; 32], read_at: holdfast_common::Timestamp::ZERO },
            number: 0,
            block: Vec::new(),
            at: 0,
            ended: false,
            ahead: None,
        };
        reader.load()?;
        reader.basis = record::from_bytes("cache", &reader.block)?;
        reader.at = reader.block.len();
        Ok(reader)
    }

    pub fn basis(&self) -> &Basis {
        &self.basis
    }

    /// What is remembered of this path. Paths must be asked for in manifest order.
    pub fn find(&mut self, wanted: &[u8]) -> Option<Remembered> {
        loop {
            let ahead = match self.ahead.take() {
                Some(ahead) => ahead,
                None => self.next()?,
            };
            match path::order(&ahead.entry.path, wanted) {
                Ordering::Less => {}
                Ordering::Equal => return Some(ahead),
                Ordering::Greater => {
                    self.ahead = Some(ahead);
                    return None;
                }
            }
        }
    }

    fn next(&mut self) -> Option<Remembered> {
        let next = self.advance();
        next.unwrap_or_else(|error| {
            tracing::warn!(%error, "the rest of the cache is of no use; reading the files instead");
            self.ended = true;
            None
        })
    }

    fn advance(&mut self) -> Result<Option<Remembered>> {
        while self.at >= self.block.len() {
            if self.ended {
                return Ok(None);
            }
            self.load()?;
        }
        let mut decoder = minicbor::Decoder::new(&self.block[self.at..]);
        let remembered = decoder.decode::<Remembered>().map_err(|_| block::damaged())?;
        self.at += decoder.position();
        Ok(Some(remembered))
    }

    fn load(&mut self) -> Result<()> {
        let mut length = [0; 4];
        self.file.read_exact(&mut length).map_err(|error| io("read", &error))?;
        let length = u32::from_le_bytes(length) as usize;
        if length > BLOCK_BYTES_MAX {
            return Err(block::damaged());
        }
        // A length may lie: what it costs is what is there.
        let mut field = Vec::new();
        let mut rest = (&mut self.file).take(length as u64);
        rest.read_to_end(&mut field).map_err(|error| io("read", &error))?;
        if field.len() < length {
            return Err(block::damaged());
        }
        let (plain, position) = block::open(&self.key, &self.opening, self.number, &field)?;
        self.block = plain;
        self.at = 0;
        self.number += 1;
        self.ended = position == Position::Last;
        Ok(())
    }
}
