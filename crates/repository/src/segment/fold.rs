//! Several tables as one table, written piece by piece.
//!
//! ```text
//!   packs of all inputs ─→ out        rows of all inputs ─→ each finds its pack in what was
//!                                                           written before ─→ out
//! ```
//!
//! What comes out has the form of a segment's plaintext and may have any number of rows, so it is
//! for files of our own, never for objects. Nothing is collected: a row of each input is in memory,
//! and the pack table is looked up where the caller has put it.

use super::{
    PACK_BYTES, SegmentRows,
    builder::{Row, write_place, write_row},
    location::PackPlace,
    merge,
};
use holdfast_common::{Code, Error, PackId, Result};

/// Takes the next bytes of the table.
type Out<'a> = dyn FnMut(&[u8]) -> Result<()> + 'a;

#[derive(Debug)]
pub struct Fold<'a> {
    inputs: Vec<SegmentRows<'a>>,
}

impl<'a> Fold<'a> {
    pub fn of(inputs: Vec<SegmentRows<'a>>) -> Self {
        Self { inputs }
    }

    /// Writes the pack table; gives how many packs it has.
    pub fn packs(&self, out: &mut Out<'_>) -> Result<u32> {
        let mut heads = vec![0; self.inputs.len()];
        let (mut written, mut last) = (0, None);
        let mut bytes = Vec::with_capacity(PACK_BYTES);
        while let Some(place) = self.next_place(&mut heads)? {
            if last.replace(place) == Some(place) {
                continue;
            }
            bytes.clear();
            write_place(&mut bytes, &place);
            out(&bytes)?;
            written = one_more(written)?;
        }
        Ok(written)
    }

    /// Writes the rows, which point into the pack table that was written; gives how many.
    pub fn rows(self, packs: &[u8], out: &mut Out<'_>) -> Result<u32> {
        let (packs, _) = packs.as_chunks::<PACK_BYTES>();
        let mut written = 0;
        let mut bytes = Vec::new();
        for row in merge(self.inputs) {
            let row = row?;
            let place = position_in(packs, &PackPlace::from(&row.location))?;
            bytes.clear();
            write_row(&mut bytes, &Row::new(row.chunk, place, &row.location));
            out(&bytes)?;
            written = one_more(written)?;
        }
        Ok(written)
    }

    fn next_place(&self, heads: &mut [usize]) -> Result<Option<PackPlace>> {
        let mut least: Option<(PackPlace, usize)> = None;
        for (at, rows) in self.inputs.iter().enumerate() {
            if let Some(place) = rows.place(heads[at]) {
                let found = (place?, at);
                least = Some(least.map_or(found, |least| least.min(found)));
            }
        }
        Ok(least.map(|(place, at)| {
            heads[at] += 1;
            place
        }))
    }
}

fn position_in(packs: &[[u8; PACK_BYTES]], place: &PackPlace) -> Result<u32> {
    let mut wanted = Vec::with_capacity(PACK_BYTES);
    write_place(&mut wanted, place);
    let start = packs.partition_point(|place| place[..PackId::LEN] < wanted[..PackId::LEN]);
    let same =
        packs[start..].iter().take_while(|place| place[..PackId::LEN] == wanted[..PackId::LEN]);
    let found = same.zip(start..).find(|(place, _)| place.as_slice() == wanted);
    found.and_then(|(_, at)| u32::try_from(at).ok()).ok_or_else(|| {
        Error::new(Code::InternalBug, "a row's pack is not in the table that was written")
    })
}

fn one_more(count: u32) -> Result<u32> {
    count.checked_add(1).ok_or_else(|| Error::new(Code::LimitExceeded, "an index file is full"))
}
