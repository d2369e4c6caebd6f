//! Bringing an index up to what the ledger says is stored, from the packs' own footers.

use super::Catalog;
use crate::{custody::VaultCustody, places::Places, raft::Ledger};
use holdfast_common::{Code, Error, PackId, Result};
use holdfast_ledger::row::{PackHome, PackRow, PackState, VaultRow};
use holdfast_repository::{
    layout,
    number::ChunkNumber,
    pack::{Footer, FrameSpan, HeaderRead, footer_range, read_header},
    segment::Home,
};

/// Reads the footers of stored packs that the index does not know; returns how many there were.
pub(crate) async fn load(
    catalog: &Catalog,
    vault: &VaultRow,
    custody: &VaultCustody,
    ledger: &Ledger,
    places: &Places,
) -> Result<usize> {
    let (mut after, mut loaded): (Option<PackId>, usize) = (None, 0);
    loop {
        let rows = ledger.query().packs(&vault.id, after.as_ref())?;
        let Some(last) = rows.last() else { return Ok(loaded) };
        after = Some(last.id);
        for row in rows {
            if row.state == PackState::Intended || catalog.knows(&row.id) {
                continue;
            }
            match read_footer(vault, custody, places, &row).await {
                Ok(footer) => {
                    add(catalog, &row, &footer);
                    loaded += 1;
                }
                Err(error) if row.state == PackState::Lost => {
                    tracing::debug!(%error, pack = %row.id, "a lost pack is not indexed");
                }
                Err(error) => tracing::error!(%error, pack = %row.id, "a pack cannot be indexed"),
            }
        }
    }
}

/// Puts the rows of one stored pack into the index.
pub(crate) fn add(catalog: &Catalog, row: &PackRow, footer: &Footer) {
    let home = match row.home {
        PackHome::Object => Home::Pack,
        PackHome::Point(point, _) => Home::Point(point),
    };
    catalog.add(row.id, footer.locations(row.id, home, ChunkNumber::from_u64(row.base)));
}

/// Reads the footer alone: the ledger knows the digest that it is bound to.
async fn read_footer(
    vault: &VaultRow,
    custody: &VaultCustody,
    places: &Places,
    row: &PackRow,
) -> Result<Footer> {
    let (name, start) = match row.home {
        PackHome::Object => (layout::ObjectName::pack(&row.id), 0),
        PackHome::Point(point, offset) => (layout::ObjectName::point(&point), u64::from(offset)),
    };
    let name = name.as_str().parse()?;
    let mut last = Error::new(Code::PackMissing, "the pack is in no location");
    for (_, store) in places.required(vault)? {
        let read = async {
            let length = u64::from(row.length);
            let head = store.get_range(&name, start..start + HEADER_BYTES.min(length)).await?;
            let header = match read_header(&vault.id, &head)? {
                HeaderRead::Complete(header) => header,
                HeaderRead::More { bytes } => {
                    let longer = start..start + (bytes as u64).min(length);
                    match read_header(&vault.id, &store.get_range(&name, longer).await?)? {
                        HeaderRead::Complete(header) => header,
                        HeaderRead::More { .. } => {
                            return Err(Error::new(Code::PackDamaged, "a header is too long"));
                        }
                    }
                }
            };
            let tail = length.saturating_sub(TRAILER_BYTES);
            let trailer = store.get_range(&name, start + tail..start + length).await?;
            let field = footer_range(&trailer, length)?;
            let end = u32::try_from(field.start).unwrap_or(u32::MAX);
            let sealed = store.get_range(&name, start + field.start..start + field.end).await?;
            let capsules = header.capsules.len();
            let span = FrameSpan { start: header.frames_start, end, capsules };
            Footer::open(&sealed, &row.digest, span, custody)
        };
        match read.await {
            Ok(footer) => return Ok(footer),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Enough for a header with a few capsules.
const HEADER_BYTES: u64 = 4096;
const TRAILER_BYTES: u64 = 8;
