//! Sealers that hide nothing: plaintext between a fake encapsulated key or nonce and a checksum
//! over everything that a real one would authenticate. Lengths are those of the real ones. And the
//! small things that every test needs one of.

use bytes::Bytes;
use holdfast_common::{ChunkId, ChunkKind, Code, Error, Result, SegmentId, VaultId};
use holdfast_repository::{
    FooterOpener, FooterSealer, Pack, PackBuilder, SegmentOpener, SegmentSealer,
};

pub(crate) const VAULT: VaultId = VaultId::from_bytes([0xaa; 16]);
pub(crate) const OTHER_VAULT: VaultId = VaultId::from_bytes([0xbb; 16]);
pub(crate) const INDEX_KEY_VERSION: u32 = 3;

/// A type of another crate that implements the traits itself, as the keyring's do.
pub(crate) struct Clear;

impl FooterSealer for Clear {
    fn seal_footer(&self, digest: &[u8; 32], plaintext: &[u8]) -> Result<(u32, Vec<u8>)> {
        let tag = tag(&[digest, plaintext]);
        Ok((INDEX_KEY_VERSION, [&[0xee; 32], plaintext, &tag].concat()))
    }
}

impl FooterOpener for Clear {
    fn open_footer(&self, version: u32, digest: &[u8; 32], sealed: &[u8]) -> Result<Vec<u8>> {
        let plaintext = sealed.get(32..sealed.len().saturating_sub(16)).unwrap_or_default();
        let whole = [&[0xee; 32], plaintext, &tag(&[digest, plaintext])].concat();
        opened(version == INDEX_KEY_VERSION && whole == sealed, plaintext)
    }
}

impl SegmentSealer for Clear {
    fn seal_segment(&self, id: &SegmentId, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>> {
        Ok([&[0xdd; 12], plaintext, &tag(&[id.as_bytes(), aad, plaintext])].concat())
    }
}

impl SegmentOpener for Clear {
    fn open_segment(&self, id: &SegmentId, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
        let plaintext = sealed.get(12..sealed.len().saturating_sub(16)).unwrap_or_default();
        opened(self.seal_segment(id, aad, plaintext)? == sealed, plaintext)
    }
}

/// Opens everything, as a thief of the index key would seal whatever he likes.
pub(crate) struct Blind;

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

pub(crate) fn chunk(seed: u64) -> ChunkId {
    ChunkId::from_bytes(blake3::hash(&seed.to_le_bytes()).into())
}

/// Two capsules, three frames of 40, 33 and 50 bytes.
pub(crate) fn small_pack() -> Pack {
    let mut builder = PackBuilder::new(VAULT, ChunkKind::Data);
    let first = builder.add_capsule(&[0xc1; 20]).unwrap();
    let second = builder.add_capsule(&[0xc2; 7]).unwrap();
    builder.push(chunk(1), first, &[0xf1; 40]).unwrap();
    builder.push(chunk(2), second, &[0xf2; 33]).unwrap();
    builder.push(chunk(3), first, &[0xf3; 50]).unwrap();
    builder.finish(&Clear).unwrap()
}

pub(crate) fn flipped(bytes: &[u8], at: usize) -> Bytes {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 0x40;
    bytes.into()
}

fn tag(parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    parts.iter().for_each(|part| {
        hasher.update(part);
    });
    *hasher.finalize().as_bytes().first_chunk().unwrap()
}

fn opened(intact: bool, plaintext: &[u8]) -> Result<Vec<u8>> {
    match intact {
        true => Ok(plaintext.to_vec()),
        false => Err(Error::new(Code::KeyWrong, "the seal does not hold")),
    }
}
