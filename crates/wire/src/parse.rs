//! Parsing at the door: bytes of a message become ids and names, or the call is refused.

use bytes::Bytes;
use holdfast_common::{ChunkId, Code, Error, Name, Result, limits};

macro_rules! given {
    ($($function:ident $type:ident;)*) => {$(
        pub fn $function(bytes: &[u8]) -> Result<holdfast_common::$type> {
            holdfast_common::$type::from_slice(bytes)
        }
    )*};
}

given! {
    agent_id AgentId;
    cluster_id ClusterId;
    hold_id HoldId;
    pack_id PackId;
    point_id PointId;
    run_id RunId;
    session_id SessionId;
    vault_id VaultId;
}

pub fn name(text: &str) -> Result<Name> {
    text.parse()
}

/// An optional name: absent and empty are the same.
pub fn name_if_any(text: Option<&str>) -> Result<Option<Name>> {
    text.filter(|text| !text.is_empty()).map(str::parse).transpose()
}

/// Chunk ids, end to end; bounded.
pub fn chunk_ids(bytes: &Bytes, count_max: usize) -> Result<Vec<ChunkId>> {
    if !bytes.len().is_multiple_of(ChunkId::LEN) || bytes.len() / ChunkId::LEN > count_max {
        return Err(Error::new(
            Code::LimitExceeded,
            format!("{} bytes are not up to {count_max} chunk ids", bytes.len()),
        ));
    }
    bytes.chunks_exact(ChunkId::LEN).map(ChunkId::from_slice).collect()
}

pub fn array<const N: usize>(what: &str, bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| {
        Error::new(Code::UsageMalformed, format!("{what} has {} bytes instead of {N}", bytes.len()))
    })
}

/// A field that a message must have.
pub fn required<T>(what: &str, field: Option<T>) -> Result<T> {
    field.ok_or_else(|| Error::new(Code::UsageMalformed, format!("the message lacks {what}")))
}

/// Text from outside, bounded.
pub fn text(what: &str, text: String) -> Result<String> {
    if text.len() > limits::TEXT_BYTES_MAX {
        return Err(Error::new(Code::LimitExceeded, format!("{what} is too long")));
    }
    Ok(text)
}
