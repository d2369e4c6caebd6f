//! An extent of the shipped log, read back: a header that is bound to what it seals, and entries
//! without a gap.

use crate::{raft, shipped::ship};
use holdfast_common::{ClusterId, Code, Error, Result, Secret};

const EPOCH_AT: usize = 24;
const FROM_AT: usize = 32;

/// Which entries an extent is said to hold, and of which cluster it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) cluster: ClusterId,
    pub(crate) epoch: u64,
    pub(crate) from: u64,
}

/// An entry in its stored form, under its index.
pub(crate) type Numbered = (u64, Vec<u8>);

/// The entries of an extent that was found under a name that claims this.
pub(crate) fn open(key: &Secret<32>, claim: &Claim, bytes: &[u8]) -> Result<Vec<Numbered>> {
    let to = ship::reach_of(bytes, &claim.cluster)?;
    if (word(bytes, EPOCH_AT)?, word(bytes, FROM_AT)?) != (claim.epoch, claim.from) {
        return Err(damaged("it holds other entries than its name says"));
    }
    let plaintext = ship::opened(key, bytes)?;
    entries(&plaintext, claim.from, to)
}

/// Which cluster an extent says it is of; nothing vouches for it.
pub(crate) fn cluster_of(bytes: &[u8]) -> Result<ClusterId> {
    let id = bytes.get(8..EPOCH_AT).ok_or_else(|| damaged("it is too short"))?;
    ClusterId::from_slice(id)
}

/// The last index that an extent says it holds; nothing vouches for it.
pub(crate) fn claimed_end(bytes: &[u8], cluster: &ClusterId) -> Option<u64> {
    ship::reach_of(bytes, cluster).ok()
}

/// Splits the sequence; its entries are those from `from` to `to`, in order.
pub(crate) fn entries(plaintext: &[u8], from: u64, to: u64) -> Result<Vec<Numbered>> {
    let mut decoder = minicbor::Decoder::new(plaintext);
    let (mut entries, mut next) = (Vec::new(), from);
    while decoder.position() < plaintext.len() {
        let start = decoder.position();
        decoder.skip().map_err(|error| damaged("its entries cannot be read").cause(error))?;
        let entry = &plaintext[start..decoder.position()];
        let index = raft::entry_index(entry)?;
        if index != next {
            return Err(damaged("its entries are not in order"));
        }
        entries.push((index, entry.to_vec()));
        next = index.checked_add(1).ok_or_else(|| damaged("it has an entry after the last"))?;
    }
    if next != to.saturating_add(1) || entries.is_empty() {
        return Err(damaged("it holds fewer or more entries than it says"));
    }
    Ok(entries)
}

fn word(bytes: &[u8], at: usize) -> Result<u64> {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>());
    word.map(|word| u64::from_le_bytes(*word)).ok_or_else(|| damaged("it is too short"))
}

fn damaged(why: &str) -> Error {
    Error::new(Code::LogDamaged, format!("an extent of the shipped log is damaged: {why}"))
}
