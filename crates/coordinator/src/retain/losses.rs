//! Whether what stays of a source is whole, as far as is known: it needs no pack that is lost.
//!
//! The ledger does not know which points need which packs; their reaches do. So where packs of a
//! vault are lost, the reach of each point is read that is to outlive others: one of each source
//! mostly. A source whose good point needs what is lost stands still, until a newer one does not.
//! What is lost after the plan began, the ledger knows of, and refuses the plan.

use super::{Plan, plan::SourcePlan};
use crate::house::{House, Vault};
use holdfast_common::{Code, Error, PointId, Result, VaultId, limits};
use holdfast_repository::Reach;
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

/// The numbers of chunks that lie in lost packs.
type Lost = Arc<Vec<(u64, u32)>>;

/// Says of each source that cannot go on by its plan why it stands still.
pub(crate) async fn look(house: &Arc<House>, plan: &mut Plan) -> Result<()> {
    let mut lost: BTreeMap<VaultId, Lost> = BTreeMap::new();
    for source in plan.sources.iter_mut().filter(|source| source.going().next().is_some()) {
        let lost = match lost.entry(source.vault) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(lost_in(house, source.vault).await?),
        };
        if lost.is_empty() {
            continue;
        }
        if let Err(error) = insist_on_good(house, source, lost).await {
            source.stand_still(error);
        }
    }
    Ok(())
}

async fn lost_in(house: &Arc<House>, vault: VaultId) -> Result<Lost> {
    let at = house.clone();
    let find = move || {
        let packs = at.ledger.query().lost_packs(&vault);
        let mut numbers = Vec::new();
        for pack in packs {
            numbers.extend(pack?.numbers());
        }
        Ok(Arc::new(numbers))
    };
    house.tasks.run_blocking("lost packs", find).await
}

async fn insist_on_good(house: &Arc<House>, source: &SourcePlan, lost: &Lost) -> Result<()> {
    let vault = house.vault(&source.vault)?;
    let stay: BTreeSet<PointId> = source.going().filter_map(|gone| gone.outlived_by).collect();
    for point in stay {
        insist_on_whole(house, &vault, &point, lost.clone()).await?;
    }
    Ok(())
}

async fn insist_on_whole(
    house: &Arc<House>,
    vault: &Vault,
    point: &PointId,
    lost: Lost,
) -> Result<()> {
    let row = house.ledger.query().point(point)?;
    let _share = house.outgoing.reserve(limits::PACK_BYTES_MAX).await?;
    let reach = house.read_reach(vault, &row).await?;
    let look = move || Ok(needs(&reach, &lost));
    match house.tasks.run_blocking("reach", look).await? {
        false => Ok(()),
        true => {
            let message =
                format!("{point}, which would be left of its source, needs a pack that is lost");
            Err(Error::new(Code::PackMissing, message).next("back its source up once more"))
        }
    }
}

fn needs(reach: &Reach, lost: &[(u64, u32)]) -> bool {
    reach.meets_any(lost.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_needs_a_lost_pack_when_it_needs_any_number_of_it() {
        let mut reach = Reach::new();
        reach.insert(holdfast_repository::ChunkNumber::from_u64(15));
        let lost = |base: u64, slots: u32| (base, slots);
        assert!(needs(&reach, &[lost(90, 5), lost(10, 6)]));
        assert!(!needs(&reach, &[lost(10, 5), lost(16, 9)]));
        assert!(!needs(&reach, &[]));
    }
}
