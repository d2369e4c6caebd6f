//! The footer of a stored pack, read alone: the ledger knows the digest that it is bound to.

use crate::{keys::custody::VaultCustody, places::Place};
use holdfast_common::{Code, Error, Result};
use holdfast_ledger::row::{PackHome, PackRow};
use holdfast_repository::{
    layout,
    pack::{Footer, FrameSpan, HeaderRead, footer_range, read_header},
};
use holdfast_storage::{ObjectName, ObjectStore};

/// The footer's bytes with where the frames lie that it lists.
pub(super) struct SealedFooter {
    bytes: bytes::Bytes,
    span: FrameSpan,
}

impl SealedFooter {
    /// From one location.
    pub(super) async fn read(row: &PackRow, (_, store): &Place) -> Result<Self> {
        let (name, start) = match row.home {
            PackHome::Object => (layout::ObjectName::pack(&row.id), 0),
            PackHome::Point(point, at) => (layout::ObjectName::point(&point), u64::from(at)),
        };
        let name: ObjectName = name.as_str().parse()?;
        let length = u64::from(row.length);
        let piece = |from: u64, to: u64| {
            let (store, name): (&dyn ObjectStore, _) = (store.as_ref(), &name);
            async move { store.get_range(name, start + from..start + to).await }
        };
        let head = piece(0, HEADER_BYTES.min(length)).await?;
        let header = match read_header(&row.vault, &head)? {
            HeaderRead::Complete(header) => header,
            HeaderRead::More { bytes } => {
                match read_header(&row.vault, &piece(0, (bytes as u64).min(length)).await?)? {
                    HeaderRead::Complete(header) => header,
                    HeaderRead::More { .. } => {
                        return Err(Error::new(Code::PackDamaged, "a header is too long"));
                    }
                }
            }
        };
        let field =
            footer_range(&piece(length.saturating_sub(TRAILER_BYTES), length).await?, length)?;
        let end = u32::try_from(field.start).unwrap_or(u32::MAX);
        let capsules = header.capsules.len();
        let span = FrameSpan { start: header.frames_start, end, capsules };
        Ok(Self { bytes: piece(field.start, field.end).await?, span })
    }

    pub(super) fn open(&self, row: &PackRow, custody: &VaultCustody) -> Result<Footer> {
        Footer::open(&self.bytes, &row.digest, self.span, custody)
    }
}

/// Enough for a header with a few capsules.
const HEADER_BYTES: u64 = 4096;
const TRAILER_BYTES: u64 = 8;
