//! Which commands the ledger may hold: those up to this level. Without the row, those of the first.

use super::row;
use holdfast_common::Timestamp;
use minicbor::{Decode, Encode};

#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct LevelRow {
    #[n(0)]
    pub level: u32,
    #[n(1)]
    pub since: Timestamp,
}

pub const LEVEL_KEY: &[u8] = b"level";
row!(LevelRow, Level, "level", |_row| LEVEL_KEY);
