//! What was found stays in the ledger from before the region is back until somebody has settled it.
//!
//! Once a region is back nobody can ask it again: its members have put aside what they agreed
//! alone. So the report is kept first, shown by every later failback and by `region status`, and
//! replaced only by that of another return.

use super::{Order, Report};
use crate::{house::House, recovery::LeftPoint};
use holdfast_common::{Name, PointId, Result, limits, record};
use holdfast_ledger::{
    Actor, Query,
    command::NoteFindings,
    row::{
        Finding, FindingRow,
        finding::{Asked, LeftFinding},
    },
};

/// Keeps a report for the region, in place of what was kept before.
pub(super) async fn keep(house: &House, order: &Order, report: &Report) -> Result<()> {
    for findings in parts(rows(&order.region, report)) {
        let note = NoteFindings { region: order.region.clone(), findings };
        house.ledger.propose(order.actor.clone(), note).await?;
    }
    Ok(())
}

/// What is kept of a region, as far as a report has it.
pub(crate) fn kept(query: &Query<'_>, region: &Name) -> Result<Option<Report>> {
    let rows = query.findings(Some(region))?;
    let mut report = Report::default();
    let has_any = !rows.is_empty();
    for row in rows {
        match row.finding {
            Finding::Asked(asked) => {
                report.epoch = asked.epoch;
                (report.asked, report.silent) = (asked.asked, asked.silent);
                report.entries = asked.entries;
                report.unread = asked.unread_from.zip(asked.unread_to);
                report.unasked = asked.unasked;
                report.untold = asked.untold;
            }
            Finding::Imported(point) => report.imported.push(point),
            Finding::Left(LeftFinding { point, why }) => report.left.push(LeftPoint { point, why }),
            Finding::Decision(decision) => report.differences.push(*decision),
        }
    }
    Ok(has_any.then_some(report))
}

/// Somebody has decided what was to be decided: it is shown no more.
pub(crate) async fn settle(house: &House, actor: Actor, region: Name) -> Result<u64> {
    house.ledger.catch_up().await?;
    let count = house.ledger.query().findings(Some(&region))?.len() as u64;
    let note = NoteFindings { region, findings: Vec::new() };
    house.ledger.propose(actor, note).await?;
    Ok(count)
}

/// Points that were taken in by a try that was cut short, and that this one does not find any more.
pub(super) fn taken_before(query: &Query<'_>, region: &Name, epoch: u64) -> Result<Vec<PointId>> {
    let kept = kept(query, region)?.filter(|report| report.epoch == epoch);
    let points = kept.map(|report| report.imported).unwrap_or_default();
    Ok(points.into_iter().filter(|point| query.point(point).is_ok()).collect())
}

/// What people decide about comes first, so that what there is no room for is not that.
fn rows(region: &Name, report: &Report) -> Vec<FindingRow> {
    let decided = report.differences.iter().cloned();
    let decided = decided.map(|decision| Finding::Decision(Box::new(decision)));
    let left = report
        .left
        .iter()
        .map(|left| Finding::Left(LeftFinding { point: left.point, why: left.why.clone() }));
    let imported = report.imported.iter().copied().map(Finding::Imported);
    let all: Vec<Finding> = decided.chain(left).chain(imported).collect();
    let (mut bytes, mut kept) = (0, Vec::new());
    for (finding, number) in all.iter().zip(1..limits::FINDINGS_KEPT_MAX as u32) {
        let row = FindingRow { region: region.clone(), number, finding: finding.clone() };
        bytes += record::to_bytes(&row).len();
        if bytes > limits::FINDINGS_BYTES_MAX {
            break;
        }
        kept.push(row);
    }
    let asked = Asked {
        epoch: report.epoch,
        asked: report.asked.clone(),
        silent: report.silent.clone(),
        entries: report.entries,
        unread_from: report.unread.map(|(from, _)| from),
        unread_to: report.unread.map(|(_, to)| to),
        unasked: report.unasked.clone(),
        untold: (all.len() - kept.len()) as u64,
    };
    kept.insert(
        0,
        FindingRow { region: region.clone(), number: 0, finding: Finding::Asked(asked) },
    );
    kept
}

/// In commands that the ledger takes.
fn parts(rows: Vec<FindingRow>) -> Vec<Vec<FindingRow>> {
    let (mut parts, mut bytes) = (vec![Vec::new()], 0);
    for row in rows {
        if bytes > limits::FINDINGS_PART_BYTES_MAX {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += record::to_bytes(&row).len();
        if let Some(part) = parts.last_mut() {
            part.push(row);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::Timestamp;
    use holdfast_ledger::row::finding::Decision;

    fn region() -> Name {
        "eu".parse().unwrap()
    }

    fn report(decisions: u64, subject_bytes: usize) -> Report {
        let decision = |index| Decision {
            index,
            time: Timestamp::ZERO,
            actor: Actor::System,
            action: "policy.put".to_owned(),
            subject: "x".repeat(subject_bytes),
            theirs: None,
        };
        Report { differences: (0..decisions).map(decision).collect(), ..Report::default() }
    }

    fn untold(rows: &[FindingRow]) -> u64 {
        let Finding::Asked(asked) = &rows[0].finding else { panic!("the first says who") };
        asked.untold
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let rows = rows(&region(), &report(10, 10));
        assert_eq!((rows.len(), untold(&rows)), (11, 0));
        let many = super::rows(&region(), &report(5_000, 10));
        assert_eq!(many.len(), limits::FINDINGS_KEPT_MAX);
        assert_eq!(untold(&many) as usize, 5_000 - (many.len() - 1));
        let large = super::rows(&region(), &report(100, 50_000));
        assert!(large.len() < 45, "{}", large.len());
        assert_eq!(untold(&large) as usize, 100 - (large.len() - 1));
    }

    #[test]
    fn parts_are_in_order_and_each_fits_a_command() {
        let rows = rows(&region(), &report(100, 50_000));
        let parts = parts(rows.clone());
        assert!(parts.len() > 2);
        assert_eq!(parts.concat(), rows);
        for findings in parts {
            let note = NoteFindings { region: region(), findings };
            assert!(record::to_bytes(&note).len() < limits::LEDGER_COMMAND_BYTES_MAX);
        }
    }
}
