//! Frames: what opens under the chunk's key, and what a thief of that key could put inside one.

use crate::{
    Refused,
    examples::{VAULT, data_key, dice, ids, unhex},
};
use holdfast_common::{ChunkId, ChunkKind, limits};
use holdfast_keyring::aead;
use holdfast_seal::{
    Decompressor, PlainChunk, Sealer,
    compress::{Codec, Compressor},
    frame,
};
use std::sync::Arc;

const ZSTD: &str = include_str!("../../../crates/seal/tests/golden/frame-zstd.hex");

/// The chunk's id, then its frame. Nothing opens that we did not seal.
pub fn frame(bytes: &[u8]) -> Result<(), Refused> {
    let (id, sealed) = bytes.split_first_chunk::<32>().ok_or(Refused)?;
    let id = ChunkId::from_bytes(*id);
    let key = data_key().chunk_key(ChunkKind::Data, &id);
    let plain = frame::open(VAULT, ChunkKind::Data, &id, &key, &ids(), sealed)?;
    assert!(frames().iter().any(|known| known == bytes), "a forged frame opened");
    assert_eq!(ids().data_id(&plain), id);
    Ok(())
}

/// Codec, length and payload, sealed by somebody who has the key and means harm.
pub fn frame_inside(inside: &[u8]) -> Result<(), Refused> {
    let (codec, rest) = inside.split_first().ok_or(Refused)?;
    let (length, payload) = rest.split_first_chunk::<4>().ok_or(Refused)?;
    let length = u32::from_le_bytes(*length) as usize;
    let codec = Codec::try_from(*codec)?;
    let mut room = Vec::new();
    let plain = Decompressor::new()?.decompress(codec, payload, length, &mut room)?;
    assert!(plain.len() == length && length <= limits::CHUNK_BYTES_MAX);
    let id = ids().data_id(plain);
    let key = data_key().chunk_key(ChunkKind::Data, &id);
    let binding = [b"hf1", &VAULT.as_bytes()[..], &[ChunkKind::Data as u8], id.as_bytes()].concat();
    let sealed = aead::seal(key.expose(), &binding, inside, &dice());
    let opened = frame::open(VAULT, ChunkKind::Data, &id, &key, &ids(), &sealed);
    assert!(opened.expect("what decompresses opens") == plain);
    Ok(())
}

pub fn frames() -> Vec<Vec<u8>> {
    let mut sealer = Sealer::new(VAULT, Arc::new(data_key()), 3).unwrap();
    [&b"holdfast ".repeat(50)[..], b"short", b""]
        .map(|plain| {
            let chunk = PlainChunk::new(&ids(), ChunkKind::Data, plain.to_vec().into());
            let sealed = sealer.seal(&chunk, &dice()).unwrap();
            [&chunk.id.as_bytes()[..], &sealed.frame].concat()
        })
        .to_vec()
}

pub fn frame_insides() -> Vec<Vec<u8>> {
    let plain = b"holdfast ".repeat(50);
    let mut compressor = Compressor::new(3).unwrap();
    let (codec, payload) = compressor.compress(&plain).unwrap();
    let zstd = [&[codec as u8][..], &(plain.len() as u32).to_le_bytes(), payload].concat();
    let raw = [&[Codec::Raw as u8][..], &5u32.to_le_bytes(), b"short"].concat();
    assert!(unhex(ZSTD).len() > payload.len(), "the golden frame holds the same words");
    vec![zstd, raw]
}
