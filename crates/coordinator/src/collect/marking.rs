//! What points need, all together, and what that says of every pack.
//!
//! A reach that cannot be read is never taken for an empty one: then there is no mark. Only a point
//! that was forgotten meanwhile may be left out. In memory is one set of numbers, beside the few
//! reaches that are being read and a page of rows.

use crate::house::{House, Vault};
use futures::{StreamExt, stream};
use holdfast_common::{Error, PackId, PointId, Result, SessionId, limits};
use holdfast_ledger::{
    Query,
    row::{self, PackHome, PackRow, PackState, PointRow},
};
use holdfast_repository::{
    ChunkNumber, Reach, Slot,
    collect::{Mark, PackSpan, Place, Plan, TakenRun, Thresholds, Verdict},
};
use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

/// So many reaches are read at once.
const READS: usize = 4;
/// So many are united in one go, and between them it is asked whether to go on.
const PART: usize = 64;

/// Asked now and then; refuses when nobody wants the mark any more.
pub(super) type Insist<'a> = &'a (dyn Fn(u64) -> Result<()> + Send + Sync);

/// Whatever the points of a vault need that the tables hold.
pub(super) async fn mark_all(
    house: &Arc<House>,
    vault: &Vault,
    insist: Insist<'_>,
) -> Result<Mark> {
    let id = vault.row.id;
    let points: Box<dyn Iterator<Item = Result<PointRow>> + Send + Sync> =
        Box::new(house.ledger.query().points_like("").filter(move |point| match point {
            Ok(point) => point.vault == id,
            Err(_) => true,
        }));
    mark(house, vault, points, insist).await
}

/// What some points need, those that are in the tables still.
async fn mark_some(
    house: &Arc<House>,
    vault: &Vault,
    points: &[PointId],
    insist: Insist<'_>,
) -> Result<Mark> {
    let query = house.ledger.query();
    let row = |id: &PointId| query.row::<PointRow>(id.as_bytes()).transpose();
    mark(house, vault, Box::new(points.iter().filter_map(row)), insist).await
}

/// The same with whatever came since a round began, whatever goes meanwhile: what was noted may be
/// forgotten before it is read, and what was committed after it need the same.
pub(super) async fn settle(
    house: &Arc<House>,
    (vault, round): (&Vault, u64),
    mut mark: Mark,
    insist: Insist<'_>,
) -> Result<Mark> {
    let mut read = BTreeSet::new();
    loop {
        let mut new = house.ledger.query().new_points(&vault.row.id, round)?;
        new.retain(|point| read.insert(*point));
        if new.is_empty() {
            return Ok(mark);
        }
        mark.join(&mark_some(house, vault, &new, insist).await?);
    }
}

async fn mark(
    house: &Arc<House>,
    vault: &Vault,
    mut points: Box<dyn Iterator<Item = Result<PointRow>> + Send + Sync + '_>,
    insist: Insist<'_>,
) -> Result<Mark> {
    let mut mark = Mark::new();
    loop {
        insist(mark.points())?;
        let part: Vec<_> = points.by_ref().take(PART).collect::<Result<_>>()?;
        if part.is_empty() {
            return Ok(mark);
        }
        let mut reads = stream::iter(part).map(|point| read(house, vault, point)).buffered(READS);
        while let Some(reach) = reads.next().await {
            let Some(reach) = reach? else { continue };
            let mut united = mark;
            let unite = move || {
                united.add(&reach);
                Ok(united)
            };
            mark = house.tasks.run_blocking("mark", unite).await?;
        }
    }
}

async fn read(house: &House, vault: &Vault, point: PointRow) -> Result<Option<Reach>> {
    let going = || house.ledger.peers().insist_on_epoch();
    let _share = house.outgoing.wait_for(limits::PACK_BYTES_MAX, &going).await?;
    let error = match house.read_reach(vault, &point).await {
        Ok(reach) => return Ok(Some(reach)),
        Err(error) => error,
    };
    match house.ledger.query().row::<PointRow>(point.id.as_bytes())? {
        // It was forgotten meanwhile: nobody needs what it needed.
        None => Ok(None),
        Some(_) => {
            let message = format!("what the point {} needs cannot be read", point.id);
            Err(Error::new(error.code, message)
                .cause(error)
                .next("see to its location, or `holdfast verify --all`; collection goes on then"))
        }
    }
}

/// What a mark says of a page of packs: each pack that collection may take, with its verdict.
pub(super) fn judge(
    query: Query<'_>,
    plan: &mut Plan,
    writing: &HashSet<SessionId>,
    page: &[PackRow],
) -> Result<Vec<(PackId, Verdict)>> {
    let mut verdicts = Vec::with_capacity(page.len());
    // What somebody is writing is in no reach yet.
    let is_judged =
        |pack: &&PackRow| pack.state != PackState::Doomed && !writing.contains(&pack.session);
    for pack in page.iter().filter(is_judged) {
        verdicts.push((pack.id, span_of(query, pack, |span| plan.judge(span))?));
    }
    Ok(verdicts)
}

/// A pack as collection sees it, shown.
pub(super) fn span_of<T>(
    query: Query<'_>,
    pack: &PackRow,
    show: impl FnOnce(&PackSpan<'_>) -> T,
) -> Result<T> {
    let (taken, place) = (taken(pack)?, place(query, pack)?);
    let (base, slots, length) = (ChunkNumber::from_u64(pack.base), pack.slots, pack.length);
    Ok(show(&PackSpan { base, slots, length, place, taken: &taken }))
}

/// The numbers that a pack took over, as collection reads them.
pub(super) fn taken(pack: &PackRow) -> Result<Vec<TakenRun>> {
    let run = |run: &row::TakenRun| {
        let slot = Slot::try_from(usize::try_from(run.slot).unwrap_or(usize::MAX))?;
        Ok(TakenRun { number: ChunkNumber::from_u64(run.number), slot, count: run.count })
    };
    pack.taken().iter().map(run).collect()
}

fn place(query: Query<'_>, pack: &PackRow) -> Result<Place> {
    Ok(match (pack.state, pack.home) {
        (PackState::Intended | PackState::Lost | PackState::Doomed, _) => Place::Nowhere,
        (PackState::Stored, PackHome::Object) => Place::Object,
        (PackState::Stored, PackHome::Point(home, _)) => {
            match query.row::<PointRow>(home.as_bytes())? {
                Some(_) => Place::Point,
                None => Place::ForgottenPoint,
            }
        }
    })
}

/// A plan by a mark, before it has judged anything.
pub(super) fn plan(mark: Mark) -> Plan {
    Plan::new(mark, Thresholds::default())
}

/// Sessions of any kind: their packs are nobody's garbage.
pub(super) fn writing(query: Query<'_>) -> Result<HashSet<SessionId>> {
    Ok(query.sessions()?.into_iter().map(|session| session.id).collect())
}
