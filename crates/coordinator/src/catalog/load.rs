//! Bringing an index up to what the ledger says is stored, from the packs' own footers.

use super::Catalog;
use crate::{custody::VaultCustody, places::Places, raft::Ledger};
use holdfast_common::{Code, Error, PackId, Result, limits};
use holdfast_ledger::row::{PackHome, PackRow, PackState, VaultRow};
use holdfast_repository::{
    layout,
    number::ChunkNumber,
    pack::{Footer, PackView},
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
            if row.state != PackState::Stored || catalog.knows(&row.id) {
                continue;
            }
            match read_footer(vault, custody, places, &row).await {
                Ok(footer) => {
                    add(catalog, &row, &footer);
                    loaded += 1;
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

async fn read_footer(
    vault: &VaultRow,
    custody: &VaultCustody,
    places: &Places,
    row: &PackRow,
) -> Result<Footer> {
    let name = match row.home {
        PackHome::Object => layout::ObjectName::pack(&row.id),
        PackHome::Point(point, _) => layout::ObjectName::point(&point),
    };
    let bytes = places.read(vault, name.as_str(), limits::PACK_BYTES_MAX).await?;
    let bytes = match row.home {
        PackHome::Object => bytes,
        PackHome::Point(_, offset) => {
            let (from, to) = (offset as usize, offset as usize + row.length as usize);
            if to > bytes.len() {
                return Err(Error::new(Code::PackDamaged, "a point object is too short"));
            }
            bytes.slice(from..to)
        }
    };
    let view = PackView::parse(&vault.id, bytes)?;
    view.verify(&row.id)?;
    view.open_footer(custody)
}
