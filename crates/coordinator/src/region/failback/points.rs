//! Points that the returning region made alone: found in its locations, copied to where this side
//! keeps its own, and then taken in, so that no point is listed that does not lie where it should.

use super::{Order, Report, Return, Teller};
use crate::{
    fill::{self, Progress},
    house::House,
    places::Place,
    recovery::{Found, LeftPoint, Sources, find as find_in},
};
use holdfast_common::{Code, Error, Result};
use holdfast_ledger::{
    Command, Envelope,
    command::ImportPoint,
    row::{LocationRow, PackHome},
};
use holdfast_repository::layout::ObjectName;

/// What lies in each returning location and is not in the ledger. Only reads.
///
/// In a rehearsal what stands in for the locations was not brought what these alone have: it counts
/// as if it had been.
pub(super) async fn find(house: &House, returns: &[Return], rehearsal: bool) -> Result<Vec<Found>> {
    let mut all = Vec::with_capacity(returns.len());
    for back in returns {
        let mut places = vec![back.to.clone()];
        places.extend(back.from.iter().cloned());
        let sources = Sources::among(back.vault.id, named(house, places)?);
        let custody = house.keys()?.custodian.vault(&back.vault, &house.ledger)?;
        let query = house.ledger.query();
        all.push(find_in(query, &sources, &back.vault, (&custody.keys(), rehearsal)).await?);
    }
    Ok(all)
}

/// Each with the URL that the ledger has for it.
fn named(house: &House, places: Vec<Place>) -> Result<Vec<(String, Place)>> {
    let with_url = |place: Place| {
        let row: Option<LocationRow> = house.ledger.query().row(place.0.as_str().as_bytes())?;
        Ok((row.map(|row| row.url).unwrap_or_default(), place))
    };
    places.into_iter().map(with_url).collect()
}

/// Takes in what was found, unless it is only looked; whatever the other side had committed and is
/// in neither place is named.
pub(super) async fn settle(
    house: &House,
    order: &Order,
    returns: &[Return],
    (found, remnant): (Vec<Found>, &[(u64, Envelope)]),
    report: &mut Report,
    told: &Teller,
) -> Result<()> {
    for (back, found) in returns.iter().zip(found) {
        report.left.extend(found.left);
        for import in found.imports {
            let point = import.point.id;
            if order.dry_run {
                report.imported.push(point);
                continue;
            }
            told("taking in its points", report.imported.len() as u64, 0);
            match take_in(house, order, back, import, report).await {
                Ok(()) => report.imported.push(point),
                Err(error) if error.code.retry() => return Err(error),
                Err(error) => report.left.push(LeftPoint { point, why: error.to_string() }),
            }
        }
    }
    for (_, envelope) in remnant {
        let Command::CommitPoint(commit) = &envelope.command else { continue };
        let point = commit.point.id;
        let is_told = report.imported.contains(&point)
            || report.left.iter().any(|left| left.point == point)
            || house.ledger.query().point_even_forgotten(&point)?.is_some();
        if !is_told {
            let why = "it was committed there and lies in no location that is here".to_owned();
            report.left.push(LeftPoint { point, why });
        }
    }
    Ok(())
}

async fn take_in(
    house: &House,
    order: &Order,
    back: &Return,
    mut import: ImportPoint,
    report: &mut Report,
) -> Result<()> {
    let mut names = vec![ObjectName::point(&import.point.id), ObjectName::reach(&import.point.id)];
    let objects = import.packs.iter().filter(|pack| pack.home == PackHome::Object);
    names.extend(objects.map(|pack| ObjectName::pack(&pack.id)));
    let hear = |_: Progress| {};
    for place in &back.from {
        let others = back.from.iter().filter(|other| other.0 != place.0);
        let sources: Vec<Place> = [&back.to].into_iter().chain(others).cloned().collect();
        let copied = fill::copy(house, &back.vault, &sources, place, &names, &hear).await?;
        report.objects += copied.objects;
        report.bytes += copied.bytes;
        if let Some(left) = copied.first_left() {
            let message = format!("`{}` cannot have all of it: {left}", place.0);
            return Err(Error::new(Code::ObjectDamaged, message));
        }
    }
    import.point.locations = back.from.iter().map(|(name, _)| name.clone()).collect();
    house.ledger.propose(order.actor.clone(), import).await.map(drop)
}
