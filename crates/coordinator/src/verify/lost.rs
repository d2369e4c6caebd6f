//! What the ledger is told of points whose record or reach lies whole nowhere, and of those that
//! are whole again.
//!
//! Whoever calls has asked every location that may have them. A point that is lost counts for
//! nothing when it is decided what is forgotten. What lay in its object is relied on no more, and
//! is sent again by the next backup that has it.

use super::{Expected, look_at};
use crate::{
    house::{House, Vault},
    places::Place,
};
use holdfast_common::{Code, PackId, PointId, Result, VaultId};
use holdfast_ledger::{
    Actor,
    command::{FindPack, JudgePoint, LosePack},
    level::RETENTION,
    row::{PackHome, PackState, PointRow},
};

/// Says whether a point's own objects are whole. Members of an older level have no word for it, and
/// forget nothing; one that was forgotten meanwhile is judged no more.
pub(crate) async fn judge(house: &House, point: PointId, is_whole: bool) -> Result<()> {
    let query = house.ledger.query();
    let row = query.row::<PointRow>(point.as_bytes())?;
    let is_news = row.is_some_and(|row| row.lost.is_none() != is_whole);
    if !is_news || query.level()? < RETENTION {
        return Ok(());
    }
    match house.ledger.propose(Actor::System, JudgePoint { point, is_whole }).await {
        Err(error) if error.code == Code::PointMissing => Ok(()),
        told => told.map(drop),
    }
}

/// Gives up whatever lies in a point's object.
pub(crate) async fn lose_home(house: &House, vault: VaultId, home: PointId) -> Result<()> {
    let ledger = house.ledger.clone();
    let find = move || ledger.query().packs_within(&vault, &home);
    for pack in house.tasks.run_blocking("packs of a point", find).await? {
        if pack.state == PackState::Stored {
            let command = LosePack { vault, pack: pack.id };
            house.ledger.propose(Actor::System, command).await?;
        }
    }
    Ok(())
}

/// Whatever was given up and is whole in every required location again is relied on again; how much
/// that was.
pub(crate) async fn find_again(house: &House, vault: VaultId) -> Result<u64> {
    let vault = house.vault(&vault)?;
    let places = house.places.required(&vault.row).await?;
    let mut found = 0;
    for row in house.ledger.query().lost_packs(&vault.row.id) {
        let row = row?;
        let object = match row.home {
            PackHome::Object => Expected::pack(&row)?,
            PackHome::Point(home, _) => {
                let point = house.ledger.query().point_even_forgotten(&home)?;
                let Some(point) = point else { continue };
                Expected::home(&point)?
            }
        };
        if is_whole_in(house, &vault, &object, &places).await? {
            find(house, &vault, row.id).await?;
            found += 1;
        }
    }
    Ok(found)
}

async fn is_whole_in(
    house: &House,
    vault: &Vault,
    object: &Expected,
    places: &[Place],
) -> Result<bool> {
    for place in places {
        if !look_at(house, vault, object, place).await?.is_whole {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A pack is whole in every location again.
pub(super) async fn find(house: &House, vault: &Vault, pack: PackId) -> Result<()> {
    let command = FindPack { vault: vault.row.id, pack };
    house.ledger.propose(Actor::System, command).await?;
    vault.catalog.look_again();
    Ok(())
}
