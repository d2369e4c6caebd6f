//! The sealed blocks of a cache file.
//!
//! `"HFCA" ‖ version ‖ 16 random bytes`, then blocks: `length u32 ‖ AEAD field`. Each is bound to
//! the file's opening and its own number, so that none can be dropped, moved or taken from another
//! file; the last one says that it is the last, so that a file cut short is noticed.

use holdfast_common::limits::{self, KIB};
use holdfast_common::{Code, Entropy, Error, Result, Secret};
use holdfast_keyring::aead;

pub(super) const OPENING_BYTES: usize = 4 + 1 + 16;
/// A block is closed when it has grown to this.
pub(super) const BLOCK_BYTES_TARGET: usize = 64 * KIB;
/// The most that a block with its last record may have.
pub(super) const BLOCK_BYTES_MAX: usize =
    BLOCK_BYTES_TARGET + 2 * limits::ENTRY_BYTES_MAX + aead::FIELD_OVERHEAD_BYTES;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    Inside,
    Last,
}

pub(super) fn opening(entropy: &dyn Entropy) -> [u8; OPENING_BYTES] {
    let mut out = [0; OPENING_BYTES];
    out[..4].copy_from_slice(MAGIC);
    out[4] = VERSION;
    out[5..].copy_from_slice(&entropy.array::<16>());
    out
}

pub(super) fn check_opening(bytes: &[u8; OPENING_BYTES]) -> Result<()> {
    if bytes.starts_with(MAGIC) && bytes[4] == VERSION { Ok(()) } else { Err(damaged()) }
}

pub(super) fn seal(
    key: &Secret<32>,
    opening: &[u8; OPENING_BYTES],
    number: u64,
    position: Position,
    plain: &[u8],
    entropy: &dyn Entropy,
) -> Vec<u8> {
    aead::seal(key.expose(), &binding(opening, number, position), plain, entropy)
}

/// The plaintext and where the block stands: its position is not written, it is what opens it.
pub(super) fn open(
    key: &Secret<32>,
    opening: &[u8; OPENING_BYTES],
    number: u64,
    field: &[u8],
) -> Result<(Vec<u8>, Position)> {
    for position in [Position::Inside, Position::Last] {
        if let Ok(plain) = aead::open(key.expose(), &binding(opening, number, position), field) {
            return Ok((plain, position));
        }
    }
    Err(damaged())
}

pub(super) fn damaged() -> Error {
    Error::new(Code::RecordMalformed, "the cache of the last backup is damaged")
}

fn binding(opening: &[u8; OPENING_BYTES], number: u64, position: Position) -> Vec<u8> {
    let last = u8::from(position == Position::Last);
    [opening.as_slice(), &number.to_le_bytes(), &[last]].concat()
}

const MAGIC: &[u8; 4] = b"HFCA";
const VERSION: u8 = 1;
