//! The footer of a stored pack, read alone: the ledger knows the digest that it is bound to.
//!
//! The front of a pack is as long as its capsules are many: it is read again, further each time,
//! until it is whole. Every look goes beyond the one before, and none beyond the pack.

use crate::{
    keys::{custody::VaultCustody, sealed::sealed_to},
    places::Place,
};
use bytes::Bytes;
use core::ops::Range;
use holdfast_common::{Code, Error, Result};
use holdfast_ledger::row::{PackHome, PackRow};
use holdfast_repository::{
    layout,
    pack::{Footer, FrameSpan, HeaderRead, PackHeader, footer_range, footer_version, read_header},
};
use holdfast_storage::{ObjectName, ObjectStore};

/// The footer's bytes with where the frames lie that it lists.
pub(super) struct SealedFooter {
    bytes: Bytes,
    span: FrameSpan,
}

impl SealedFooter {
    /// From one location.
    pub(super) async fn read(row: &PackRow, place: &Place) -> Result<Self> {
        Parts::of(row, place)?.front_and_footer().await.map(|(_, footer)| footer)
    }

    pub(super) fn open(&self, row: &PackRow, custody: &VaultCustody) -> Result<Footer> {
        Footer::open(&self.bytes, &row.digest, self.span, custody)
    }
}

/// To which versions of the keys a pack is sealed, as one location shows its front and its footer.
/// Its name is not compared with them: that takes the whole pack.
pub(crate) async fn sealed_to_in(row: &PackRow, place: &Place) -> Result<Vec<u32>> {
    let parts = Parts::of(row, place)?;
    let header = parts.front().await?;
    let field = parts.footer_field().await?;
    let version = footer_version(&parts.part(field.start, field.start + VERSION_BYTES).await?)?;
    sealed_to(&header.capsules, version)
}

/// A pack in a location, of which parts are read.
struct Parts<'a> {
    row: &'a PackRow,
    store: &'a dyn ObjectStore,
    name: ObjectName,
    start: u64,
}

impl<'a> Parts<'a> {
    fn of(row: &'a PackRow, (_, store): &'a Place) -> Result<Self> {
        let (name, start) = match row.home {
            PackHome::Object => (layout::ObjectName::pack(&row.id), 0),
            PackHome::Point(point, at) => (layout::ObjectName::point(&point), u64::from(at)),
        };
        Ok(Self { row, store: store.as_ref(), name: name.as_str().parse()?, start })
    }

    async fn part(&self, from: u64, to: u64) -> Result<Bytes> {
        self.store.get_range(&self.name, self.start + from..self.start + to).await
    }

    async fn front_and_footer(&self) -> Result<(PackHeader, SealedFooter)> {
        let (header, field) = (self.front().await?, self.footer_field().await?);
        let end = u32::try_from(field.start).unwrap_or(u32::MAX);
        let capsules = header.capsules.len();
        let span = FrameSpan { start: header.frames_start, end, capsules };
        let bytes = self.part(field.start, field.end).await?;
        Ok((header, SealedFooter { bytes, span }))
    }

    async fn footer_field(&self) -> Result<Range<u64>> {
        let length = u64::from(self.row.length);
        let tail = self.part(length.saturating_sub(TRAILER_BYTES), length).await?;
        footer_range(&tail, length)
    }

    async fn front(&self) -> Result<PackHeader> {
        let length = u64::from(self.row.length);
        let mut upto = HEADER_BYTES.min(length);
        loop {
            let wanted = match read_header(&self.row.vault, &self.part(0, upto).await?)? {
                HeaderRead::Complete(header) => return Ok(header),
                HeaderRead::More { bytes } => (bytes as u64).min(length),
            };
            if wanted <= upto {
                return Err(Error::new(Code::PackDamaged, "a header goes on behind its pack"));
            }
            upto = wanted;
        }
    }
}

/// Enough for a header with a few capsules.
const HEADER_BYTES: u64 = 4096;
const TRAILER_BYTES: u64 = 8;
const VERSION_BYTES: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{VAULT, pack};
    use holdfast_common::{ChunkId, ChunkKind, SystemClock};
    use holdfast_repository::{PackBuilder, PackView};
    use holdfast_storage::MemoryStore;
    use std::sync::Arc;

    /// A pack of one chunk with so many capsules, in a location.
    async fn place(capsules: u16) -> (PackRow, Place) {
        let mut builder = PackBuilder::new(VAULT, ChunkKind::Data);
        for number in 0..capsules {
            let [high, low] = number.to_be_bytes();
            builder.add_capsule(&[[high; 60], [low; 60]].concat()).unwrap();
        }
        builder.push(ChunkId::from_bytes([1; 32]), 0, &[0xf1; 40]).unwrap();
        let seal = |_: &[u8; 32], plain: &[u8]| Ok((1, [&[0; 48][..], plain].concat()));
        let made = builder.finish(&seal).unwrap();
        let store: Arc<dyn ObjectStore> =
            Arc::new(MemoryStore::new(Arc::new(SystemClock::start())));
        let name = layout::ObjectName::pack(&made.id).as_str().parse().unwrap();
        store.put_new(&name, made.bytes.clone()).await.unwrap();
        let digest = *PackView::parse(&VAULT, made.bytes.clone()).unwrap().digest();
        let length = u32::try_from(made.bytes.len()).unwrap();
        let row = PackRow { id: made.id, length, digest, ..pack([0; 32]) };
        (row, ("here".parse().unwrap(), store))
    }

    #[tokio::test]
    async fn a_footer_is_found_behind_as_many_capsules_as_there_are() {
        for capsules in [1, 33, 87, 200, 4096] {
            let (row, place) = place(capsules).await;
            let sealed = SealedFooter::read(&row, &place).await.unwrap();
            assert_eq!(sealed.span.capsules, usize::from(capsules));
            let open = |_: u32, _: &[u8; 32], sealed: &[u8]| Ok(sealed[48..].to_vec());
            let footer = Footer::open(&sealed.bytes, &row.digest, sealed.span, &open).unwrap();
            assert_eq!(footer.rows.len(), 1);
        }
    }

    #[tokio::test]
    async fn a_header_that_goes_on_behind_its_pack_is_damage() {
        let (row, place) = place(200).await;
        let short = PackRow { length: 9000, ..row };
        let error = SealedFooter::read(&short, &place).await.map(drop).unwrap_err();
        assert_eq!(error.code, Code::PackDamaged);
    }
}
