//! The two kinds of chunk, which never share a pack, a key or an id space.

use crate::{Code, Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ChunkKind {
    /// A piece of a file's content.
    Data = 1,
    /// A page of a manifest.
    Page = 2,
}

impl TryFrom<u8> for ChunkKind {
    type Error = Error;

    fn try_from(byte: u8) -> Result<Self> {
        match byte {
            1 => Ok(Self::Data),
            2 => Ok(Self::Page),
            other => Err(Error::new(Code::RecordMalformed, format!("{other} is no kind of chunk"))),
        }
    }
}
