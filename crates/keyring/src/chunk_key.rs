//! From a session's data key to the key of one chunk.
//!
//! A data key is drawn once per session, leaves the agent only inside a capsule and is forgotten
//! when the session ends. Every chunk has a key of its own, so that a custodian can release exactly
//! the chunks of a granted point and nothing beside them.

use hkdf::Hkdf;
use holdfast_common::{ChunkId, ChunkKind, Code, Entropy, Error, Result, Secret};
use sha2::Sha256;
use zeroize::Zeroizing;

/// One random key per session.
#[derive(Debug)]
pub struct DataKey(Secret<32>);

impl DataKey {
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(Secret::random(entropy))
    }

    pub fn from_secret(secret: Secret<32>) -> Self {
        Self(secret)
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// HKDF-SHA256 without salt; the kind and the chunk's id are the info.
    pub fn chunk_key(&self, kind: ChunkKind, id: &ChunkId) -> ChunkKey {
        let mut key = Zeroizing::new([0; 32]);
        let info: [&[u8]; 3] = [CHUNK_CONTEXT, &[kind as u8], id.as_bytes()];
        match Hkdf::<Sha256>::new(None, self.0.expose()).expand_multi_info(&info, &mut *key) {
            Ok(()) => ChunkKey(Secret::take(&mut key)),
            Err(_) => unreachable!("HKDF gives 32 bytes to anyone"),
        }
    }
}

/// Opens one chunk and no other.
#[derive(Debug)]
pub struct ChunkKey(Secret<32>);

impl ChunkKey {
    pub const LEN: usize = 32;

    /// A chunk key as it arrives from a custodian.
    pub fn from_slice(bytes: &[u8]) -> Result<Self> {
        Secret::from_slice(bytes).map(Self).ok_or_else(|| {
            let message = format!("{} bytes given where a chunk key has 32", bytes.len());
            Error::new(Code::RecordMalformed, message)
        })
    }

    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

const CHUNK_CONTEXT: &[u8] = b"holdfast chunk v1";

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> ChunkId {
        ChunkId::from_bytes([byte; 32])
    }

    fn data_key() -> DataKey {
        DataKey::from_secret(Secret::take(&mut [5; 32]))
    }

    #[test]
    fn a_chunk_key_is_hkdf_of_data_key_kind_and_id() {
        let mut info = b"holdfast chunk v1\x02".to_vec();
        info.extend_from_slice(&[9; 32]);
        let mut expected = [0; 32];
        Hkdf::<Sha256>::new(None, &[5; 32]).expand(&info, &mut expected).unwrap();
        assert_eq!(data_key().chunk_key(ChunkKind::Page, &id(9)).expose(), &expected);
        assert_eq!(
            hex::encode(expected),
            "694e016630c63c17616e41ed3e7981d40e6eb6db0380d1e6a5112c37c5063a3c"
        );
    }

    #[test]
    fn kind_id_and_data_key_each_change_the_key() {
        let key = *data_key().chunk_key(ChunkKind::Data, &id(1)).expose();
        assert_eq!(&key, data_key().chunk_key(ChunkKind::Data, &id(1)).expose());
        assert_ne!(&key, data_key().chunk_key(ChunkKind::Page, &id(1)).expose());
        assert_ne!(&key, data_key().chunk_key(ChunkKind::Data, &id(2)).expose());
        let other = DataKey::from_secret(Secret::take(&mut [6; 32]));
        assert_ne!(&key, other.chunk_key(ChunkKind::Data, &id(1)).expose());
    }

    #[test]
    fn a_chunk_key_of_another_length_is_refused_and_none_is_printed() {
        assert_eq!(ChunkKey::from_slice(&[1; 31]).unwrap_err().code, Code::RecordMalformed);
        let key = ChunkKey::from_slice(&[1; 32]).unwrap();
        assert_eq!(
            format!("{key:?} {:?}", data_key()),
            "ChunkKey(Secret<32>(…)) DataKey(Secret<32>(…))"
        );
    }
}
