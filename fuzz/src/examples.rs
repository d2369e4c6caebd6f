//! What examples are made of: the house's frozen bytes, fixed keys, fixed chance.
//!
//! A body under a key knows its examples: nobody without the key can make another input that opens,
//! so that whatever opens must say what an example says.

use crate::Dice;
use holdfast_common::{ClusterId, PointId, Result, Secret, SegmentId, Timestamp, VaultId};
use holdfast_keyring::{DataKey, IdKey};
use holdfast_repository::{FooterOpener, SegmentOpener};

pub const CLUSTER: ClusterId = ClusterId::from_bytes([0xc1; 16]);
pub const POINT: PointId = PointId::from_bytes([0x99; 16]);
pub const SEGMENT: SegmentId = SegmentId::from_bytes([0x55; 16]);
pub const VAULT: VaultId = VaultId::from_bytes([0xaa; 16]);
pub const NOW: Timestamp = Timestamp::from_nanos(1_795_255_200_000_000_000);

/// The bytes of a golden file: hexadecimal, broken into lines.
pub fn unhex(golden: &str) -> Vec<u8> {
    hex::decode(golden.split_whitespace().collect::<String>()).expect("golden files are hex")
}

pub fn dice() -> Dice {
    Dice::new(0x5EED)
}

pub fn secret(byte: u8) -> Secret<32> {
    Secret::take(&mut [byte; 32])
}

pub fn ids() -> IdKey {
    IdKey::from_secret(secret(1))
}

pub fn data_key() -> DataKey {
    DataKey::from_secret(secret(2))
}

/// Opens everything, as a thief of the index key would seal whatever he likes.
pub struct Blind;

impl FooterOpener for Blind {
    fn open_footer(&self, _: u32, _: &[u8; 32], sealed: &[u8]) -> Result<Vec<u8>> {
        Ok(sealed.get(32..sealed.len().saturating_sub(16)).unwrap_or_default().to_vec())
    }
}

impl SegmentOpener for Blind {
    fn open_segment(&self, _: &SegmentId, _: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
        Ok(sealed.get(12..sealed.len().saturating_sub(16)).unwrap_or_default().to_vec())
    }
}
