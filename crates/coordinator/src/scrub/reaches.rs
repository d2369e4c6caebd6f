//! What points need, as it lies in the locations: read one after the other, each when what was read
//! before is paid for.

use super::{
    needs::Reaches,
    schedule::Purse,
    scrubber::{IDLE, budget, due},
};
use crate::{
    house::{House, Vault},
    verify::problem_of,
};
use holdfast_common::{Code, Error, Name, PointId, Result, limits};
use holdfast_ledger::row::{PointRow, VaultRow};
use holdfast_repository::{Reach, layout::ObjectName};

/// For whoever reads a location back.
pub(super) struct Paid<'a> {
    pub(super) house: &'a House,
    pub(super) vault: &'a Vault,
    pub(super) location: &'a Name,
    pub(super) purse: &'a mut Purse,
}

impl Paid<'_> {
    /// As long as the location is to be read back at all.
    fn due(&self) -> Result<VaultRow> {
        let vault = due(self.house, &self.vault.row.id, self.location)?;
        vault.ok_or_else(|| {
            let message = format!("`{}` is not to be read back any more", self.location);
            Error::new(Code::ClusterBusy, message)
        })
    }
}

impl Reaches for Paid<'_> {
    fn points_behind(&self, after: Option<&PointId>) -> Result<Vec<PointRow>> {
        self.house.ledger.query().points_behind(after, limits::LIST_PAGE_ROWS)
    }

    async fn turn(&mut self) -> Result<()> {
        loop {
            let budget = budget(&self.due()?);
            let owed = budget.owed(&mut self.purse.paid, self.house.ledger.now());
            if owed.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(owed.min(IDLE)).await;
        }
    }

    /// One that a location refuses is told of by itself; a location that does not answer says
    /// nothing of what it has.
    async fn read(&mut self, point: &PointRow) -> Result<Option<Reach>> {
        let (house, vault) = (self.house, &self.vault.row);
        let name = ObjectName::reach(&point.id).as_str().parse()?;
        let all = vault.holding().cloned().collect();
        let (places, mut silent) = house.places.open_of(vault, all).await;
        for place in &places {
            let bytes = match place.1.get(&name, limits::REACH_BYTES_MAX).await {
                Ok(bytes) => bytes,
                Err(error) => {
                    silent = problem_of(vault, place, &error).await.err().or(silent);
                    continue;
                }
            };
            self.purse.spend(budget(vault), house.ledger.now(), bytes.len() as u64);
            if house.hash(bytes.clone()).await? == point.reach_hash {
                let (vault, point) = (vault.id, point.id);
                let parse = move || Reach::from_object(&bytes, &vault, &point).map(Some);
                return house.tasks.run_blocking("reach", parse).await;
            }
        }
        silent.map_or(Ok(None), Err)
    }

    async fn unite(&self, mut all: Reach, reach: Reach) -> Result<Reach> {
        let unite = move || {
            all.union(&reach);
            Ok(all)
        };
        self.house.tasks.run_blocking("reach", unite).await
    }
}
