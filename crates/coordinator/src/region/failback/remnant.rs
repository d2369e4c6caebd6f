//! What the members of a region agreed after its epoch was over for them: the entries of their log
//! behind the one with which the new epoch begins.
//!
//! Whoever of them has most is asked. Such a member forgets none of its log by itself: what it
//! agreed alone never lay in all locations. When a part is gone all the same, that is told.

use super::{Order, Report, is_superseded};
use crate::{house::House, raft::envelopes_from_bytes};
use futures::future::join_all;
use holdfast_common::{Code, Error, Name, Result, limits};
use holdfast_ledger::{
    Envelope,
    row::{EpochRow, MemberRow},
};
use holdfast_wire::v1::{HelloResponse, RemnantResponse};

/// Of a fenced member: some entries behind `after`, at most so many bytes as a message may have.
pub(crate) async fn tell(house: &House, after: u64) -> Result<RemnantResponse> {
    let (_, last) = house.ledger.end_of_log().await?;
    let next = after.saturating_add(1);
    let mut found = part(house, next, last).await?;
    if found.is_empty() {
        found = part(house, next.max(house.ledger.first_of_log()), last).await?;
    }
    // What a snapshot stands for is in the log still, for as long as it was not shipped.
    let from = found.first().map_or(next, |(index, _)| *index);
    let (mut entries, mut told) = (Vec::new(), from.saturating_sub(1));
    for (index, entry) in found {
        if !entries.is_empty() && entries.len() + entry.len() > limits::APPEND_BYTES_MAX {
            break;
        }
        entries.extend_from_slice(&entry);
        told = index;
    }
    Ok(RemnantResponse { entries: entries.into(), from, to: told, last })
}

async fn part(house: &House, from: u64, last: u64) -> Result<Vec<(u64, Vec<u8>)>> {
    let to = last.min(from.saturating_add(limits::EXTENT_ENTRIES_MAX - 1));
    house.ledger.log(from, to).await
}

/// The commands that the region agreed alone, in their order.
pub(super) async fn ask(
    house: &House,
    epoch: &EpochRow,
    order: &Order,
    report: &mut Report,
) -> Result<Vec<(u64, Envelope)>> {
    let region = &order.region;
    let rows = house.ledger.query().members()?;
    let lost: Vec<MemberRow> = rows.into_iter().filter(|row| is_superseded(row, region)).collect();
    let hello = |row: MemberRow| async move {
        let told = house.ledger.peers().hello(row.id, "").await.ok();
        (row, told)
    };
    let mut best: Option<(MemberRow, HelloResponse)> = None;
    for (row, told) in join_all(lost.into_iter().map(hello)).await {
        let Some(told) = told else {
            report.silent.push(row.name);
            continue;
        };
        report.asked.push(row.name.clone());
        let reach = |told: &HelloResponse| (told.last_term, told.last);
        if best.as_ref().is_none_or(|(_, best)| reach(best) < reach(&told)) {
            best = Some((row, told));
        }
    }
    match best {
        Some((row, _)) => read(house, row.id, epoch.base, report).await,
        None => {
            if !report.silent.is_empty() {
                report.unasked.clone_from(&order.unasked);
                insist_on_asking(order, &report.silent)?;
            }
            Ok(Vec::new())
        }
    }
}

/// Coordinators that start after their region is back put aside what they agreed alone, and nobody
/// reads it any more.
fn insist_on_asking(order: &Order, silent: &[Name]) -> Result<()> {
    if order.dry_run || order.unasked.is_some() {
        return Ok(());
    }
    let names: Vec<String> = silent.iter().map(|name| format!("`{name}`")).collect();
    let message = format!(
        "no coordinator of `{}` answers, and what it did alone is not known: {}",
        order.region,
        names.join(", ")
    );
    Err(Error::new(Code::RegionSilent, message))
}

async fn read(
    house: &House,
    member: u64,
    base: u64,
    report: &mut Report,
) -> Result<Vec<(u64, Envelope)>> {
    let (mut after, mut found) = (base, Vec::new());
    loop {
        let told = house.ledger.peers().remnant(member, after).await?;
        if told.from > after + 1 {
            report.unread = Some((after + 1, told.from - 1));
        }
        report.entries += told.to.saturating_sub(told.from.saturating_sub(1));
        found.extend(envelopes_from_bytes(&told.entries)?);
        if told.to >= told.last || told.to <= after {
            return Ok(found);
        }
        after = told.to;
    }
}
