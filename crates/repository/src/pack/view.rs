//! Looking into a whole pack without copying it.
//!
//! [`PackView::parse`] checks everything that can be checked without a key. It does not hash;
//! [`PackView::verify`] does, once, and whoever took the bytes from a location calls it before
//! believing anything. [`PackView::open_footer`] needs the index key, lent as an opener.

use super::{
    FORM,
    footer::{self, Footer, FooterOpener, FooterRow, FrameSpan},
    header::{self, PackHeader},
};
use crate::{
    defect::Defect,
    fields::{Fields, index},
};
use bytes::Bytes;
use core::{fmt, ops::Range};
use holdfast_common::{ChunkKind, Code, Error, PackId, Result, VaultId, limits};
use std::sync::OnceLock;

#[derive(Clone)]
pub struct PackView {
    bytes: Bytes,
    header: PackHeader,
    /// Where the footer field begins, and ends.
    footer: Range<usize>,
    hashes: OnceLock<Hashes>,
}

#[derive(Clone, Copy, Debug)]
struct Hashes {
    /// Of everything before the footer: what the footer is bound to.
    digest: [u8; 32],
    id: PackId,
}

impl PackView {
    /// A pack of `vault`, from the bytes of a whole object.
    pub fn parse(vault: &VaultId, bytes: Bytes) -> Result<Self> {
        Self::parse_bytes(vault, bytes).map_err(|defect| defect.told_of(&FORM))
    }

    pub(crate) fn parse_bytes(vault: &VaultId, bytes: Bytes) -> Result<Self, Defect> {
        if bytes.len() > limits::PACK_BYTES_MAX {
            return Err(Defect::malformed(format!("it has {} bytes", bytes.len())));
        }
        let mut fields = Fields::new(&bytes);
        let header = header::parse(vault, &bytes, &mut fields)?;
        let range = footer::range_from_tail(&bytes, bytes.len() as u64)?;
        let footer = range.start as usize..range.end as usize;
        if footer.start < index(header.frames_start) {
            return Err(Defect::malformed("its footer reaches into its capsules"));
        }
        Ok(Self { bytes, header, footer, hashes: OnceLock::new() })
    }

    /// The hash of the whole object, computed at the first call.
    pub fn id(&self) -> PackId {
        self.hashes().id
    }

    /// Refuses a pack that is not the one it was fetched as.
    pub fn verify(&self, id: &PackId) -> Result<()> {
        if self.id() == *id {
            return Ok(());
        }
        Err(Defect::HashMismatch.told_of(&FORM))
    }

    pub fn kind(&self) -> ChunkKind {
        self.header.kind
    }

    pub fn capsules(&self) -> &[Bytes] {
        &self.header.capsules
    }

    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What the footer's rows must cover.
    pub fn span(&self) -> FrameSpan {
        FrameSpan {
            start: self.header.frames_start,
            end: self.footer.start as u32,
            capsules: self.header.capsules.len(),
        }
    }

    /// Hash of everything before the footer, which the sealed footer is bound to.
    pub fn digest(&self) -> &[u8; 32] {
        &self.hashes().digest
    }

    pub fn open_footer(&self, opener: &dyn FooterOpener) -> Result<Footer> {
        self.open_footer_field(opener).map_err(|defect| defect.told_of(&FORM))
    }

    pub(crate) fn open_footer_field(&self, opener: &dyn FooterOpener) -> Result<Footer, Defect> {
        let field = &self.bytes[self.footer.clone()];
        Footer::open_field(field, self.digest(), self.span(), opener)
    }

    /// The version of the index key that its footer is sealed to.
    pub fn footer_version(&self) -> Result<u32> {
        footer::footer_version(&self.bytes[self.footer.clone()])
    }

    pub fn frame(&self, row: &FooterRow) -> Result<Bytes> {
        self.frame_at(row.offset, row.length)
    }

    /// A frame by where another index says it is.
    pub fn frame_at(&self, offset: u32, length: u32) -> Result<Bytes> {
        let span = self.span();
        match offset.checked_add(length) {
            Some(end) if span.start <= offset && end <= span.end => {
                Ok(self.bytes.slice(index(offset)..index(end)))
            }
            _ => {
                let message = format!("the pack has no frame of {length} bytes at {offset}");
                Err(Error::new(Code::PackDamaged, message))
            }
        }
    }

    fn hashes(&self) -> &Hashes {
        self.hashes.get_or_init(|| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&self.bytes[..self.footer.start]);
            let digest = *hasher.finalize().as_bytes();
            hasher.update(&self.bytes[self.footer.start..]);
            Hashes { digest, id: PackId::from_bytes(hasher.finalize().into()) }
        })
    }
}

impl fmt::Debug for PackView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PackView({:?}, {} bytes)", self.header.kind, self.bytes.len())
    }
}
