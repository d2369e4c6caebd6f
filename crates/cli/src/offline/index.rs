//! Where every chunk lies, in bounded memory: rows are collected up to a limit, sorted, and written
//! as a run to a file that has no name. A lookup searches each run; there are few of them (one per
//! million chunks, about a terabyte).
//!
//! Row: chunk id 32 ‖ pack u32 ‖ offset u32 ‖ length u32 ‖ capsule u16 ‖ two zero bytes. The file
//! lives as long as the process and is no format.

use holdfast_common::{ChunkId, Error, Result};
use std::{
    fs::File,
    io::{BufWriter, Write},
    os::unix::fs::FileExt,
};

/// Rows in memory before they are written out.
pub const ROWS_IN_MEMORY_MAX: usize = 1 << 20;
const ROW_BYTES: usize = 48;

/// Where one copy of a chunk lies. `pack` counts in the gatherer's table of packs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub pack: u32,
    pub offset: u32,
    pub length: u32,
    pub capsule: u16,
}

pub struct Index {
    rows: Vec<(ChunkId, Place)>,
    rows_max: usize,
    file: Option<File>,
    runs: Vec<core::ops::Range<u64>>,
}

impl Index {
    pub fn new(rows_max: usize) -> Self {
        Self { rows: Vec::new(), rows_max, file: None, runs: Vec::new() }
    }

    pub fn push(&mut self, chunk: ChunkId, place: Place) -> Result<()> {
        self.rows.push((chunk, place));
        if self.rows.len() >= self.rows_max { self.spill().map_err(unwritten) } else { Ok(()) }
    }

    /// To be called after the last `push` and before the first lookup.
    pub fn settle(&mut self) {
        self.rows.sort_unstable();
        self.rows.dedup();
    }

    /// Every known copy of a chunk.
    pub fn lookup(&self, chunk: &ChunkId) -> Result<Vec<Place>> {
        let from = self.rows.partition_point(|(id, _)| id < chunk);
        let same = self.rows[from..].iter().take_while(|(id, _)| id == chunk);
        let mut places: Vec<Place> = same.map(|(_, place)| *place).collect();
        for run in &self.runs {
            self.lookup_in(run, chunk, &mut places)?;
        }
        places.sort_unstable();
        places.dedup();
        Ok(places)
    }

    fn lookup_in(
        &self,
        run: &core::ops::Range<u64>,
        chunk: &ChunkId,
        places: &mut Vec<Place>,
    ) -> Result<()> {
        let (mut low, mut high) = (run.start, run.end);
        while low < high {
            let middle = low.midpoint(high);
            if self.row(middle)?.0 < *chunk { low = middle + 1 } else { high = middle }
        }
        while low < run.end {
            let (id, place) = self.row(low)?;
            if id != *chunk {
                break;
            }
            places.push(place);
            low += 1;
        }
        Ok(())
    }

    fn row(&self, number: u64) -> Result<(ChunkId, Place)> {
        let mut bytes = [0; ROW_BYTES];
        if let Some(file) = &self.file {
            file.read_exact_at(&mut bytes, number * ROW_BYTES as u64).map_err(unwritten)?;
        }
        Ok(decode(&bytes))
    }

    fn spill(&mut self) -> std::io::Result<()> {
        self.rows.sort_unstable();
        let file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile()?,
        };
        let mut out = BufWriter::new(&file);
        for row in &self.rows {
            out.write_all(&encode(row))?;
        }
        out.flush()?;
        drop(out);
        let start = self.runs.last().map_or(0, |run| run.end);
        self.runs.push(start..start + self.rows.len() as u64);
        self.rows.clear();
        self.file = Some(file);
        Ok(())
    }
}

fn encode((chunk, place): &(ChunkId, Place)) -> [u8; ROW_BYTES] {
    let mut bytes = [0; ROW_BYTES];
    bytes[..32].copy_from_slice(chunk.as_bytes());
    bytes[32..36].copy_from_slice(&place.pack.to_le_bytes());
    bytes[36..40].copy_from_slice(&place.offset.to_le_bytes());
    bytes[40..44].copy_from_slice(&place.length.to_le_bytes());
    bytes[44..46].copy_from_slice(&place.capsule.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8; ROW_BYTES]) -> (ChunkId, Place) {
    let word =
        |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let mut id = [0; 32];
    id.copy_from_slice(&bytes[..32]);
    let capsule = u16::from_le_bytes([bytes[44], bytes[45]]);
    let place = Place { pack: word(32), offset: word(36), length: word(40), capsule };
    (ChunkId::from_bytes(id), place)
}

fn unwritten(error: std::io::Error) -> Error {
    Error::io("the index of the location cannot be kept in the temporary directory", &error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(number: u32) -> ChunkId {
        ChunkId::from_bytes(*blake3::hash(&number.to_le_bytes()).as_bytes())
    }

    fn place(number: u32) -> Place {
        Place { pack: number, offset: number * 2, length: 9, capsule: (number % 7) as u16 }
    }

    #[test]
    fn every_row_is_found_whether_it_went_to_disk_or_not() {
        for rows_max in [1, 7, 100, 1000] {
            let mut index = Index::new(rows_max);
            for number in 0..300 {
                index.push(chunk(number), place(number)).unwrap();
            }
            index.settle();
            for number in 0..300 {
                let found = index.lookup(&chunk(number)).unwrap();
                assert_eq!(found, [place(number)], "{number} of runs of {rows_max}");
            }
            assert!(index.lookup(&chunk(300)).unwrap().is_empty());
        }
    }

    #[test]
    fn every_copy_of_a_chunk_is_found_once() {
        let mut index = Index::new(4);
        for number in 0..10 {
            index.push(chunk(1), place(number % 5)).unwrap();
        }
        index.settle();
        let expected: Vec<_> = (0..5).map(place).collect();
        assert_eq!(index.lookup(&chunk(1)).unwrap(), expected);
    }
}
