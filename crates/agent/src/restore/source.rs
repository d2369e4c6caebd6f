//! Where a restore gets sealed chunks from: a cluster, or a location and the keys.
//!
//! A source gives frames, each with the key that opens this chunk and no other. Nothing that it
//! gives is believed: whoever opens a frame authenticates it and recomputes the id.

use bytes::Bytes;
use holdfast_common::{ChunkId, ChunkKind, Code, Error, Result};
use holdfast_keyring::ChunkKey;

/// A sealed chunk on its way to being opened.
#[derive(Debug)]
pub struct FetchedFrame {
    pub frame: Bytes,
    pub key: ChunkKey,
}

/// Blocks, and is called from several threads at once.
pub trait ChunkSource: Send + Sync {
    /// Fetches up to `limits::FETCH_CHUNKS_MAX` chunks of one kind. `each` hears of every position
    /// in `ids` exactly once, in any order: the frame, or why there is none. An error of the whole
    /// call ends it; positions not yet told are then not told any more.
    fn fetch(
        &self,
        kind: ChunkKind,
        ids: &[ChunkId],
        each: &mut dyn FnMut(usize, Result<FetchedFrame>),
    ) -> Result<()>;

    /// Keeps what was granted for as long as it is needed; an error says why it is no more.
    fn keep(&self) -> Result<()> {
        Ok(())
    }

    /// Another copy of a chunk whose frame did not open: number 1, 2, … An error means that there
    /// is no such copy. A source that tries all its copies by itself has none to offer.
    fn another(&self, kind: ChunkKind, id: &ChunkId, copy: u32) -> Result<FetchedFrame> {
        let message = format!("there is no copy {copy} of {kind:?} chunk {id}");
        Err(Error::new(Code::ChunkMissing, message))
    }
}
