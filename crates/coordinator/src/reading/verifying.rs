//! Full verification by an agent: what it was given of a point, and what it may say of it.
//!
//! ```text
//!   chunks given ─▶ Proof ──┬─▶ unread: what is left of the reach, a few packs at a time
//!                           └─▶ conclude: nothing left ─▶ the ledger, as proof for the point
//!                                         damaged, and every location is there ─▶ as damage
//! ```
//!
//! A verifier is believed what it says of what it was given, and nothing else. A point is proven
//! only when every number of its reach went out in this session; a location that is away is no
//! damage, whoever says so. Which objects are damaged is found by reading them, never by this.

use super::{ReadSession, chunks::worse};
use crate::{
    catalog::{footer_in, rows_of},
    house::{House, Vault},
    keys::custody::insist_on_custody,
    places::show,
};
use bytes::Bytes;
use holdfast_common::{
    ChunkId, ChunkKind, Code, Error, PackId, PointId, Result, RunId, SessionId, codes::Exit, limits,
};
use holdfast_ledger::{
    Actor,
    command::EndVerify,
    envelope::Refusal,
    row::{AgentRow, PackRow, PackState, PointRow, RunKind, RunRow, VerifyCounts},
};
use holdfast_repository::{ChunkNumber, Reach};
use holdfast_wire::v1;
use std::sync::{Arc, PoisonError};

/// Packs whose footers are read for one answer.
const PACKS_AT_ONCE: usize = 8;
/// No profile cuts chunks that are smaller on the whole.
const BYTES_A_CHUNK_MIN: u64 = 4096;
/// Ids of one answer, beside those of its last pack.
const IDS_AT_ONCE: usize = limits::PACK_SLOTS_MAX;
const _: () = assert!(2 * limits::PACK_SLOTS_MAX * 32 < limits::MESSAGE_BYTES_MAX);

/// What went out in the session of a verification.
#[derive(Default)]
pub(super) struct Proof {
    given: Reach,
    /// Chunks that went out once more: what a point has twice is read twice.
    again: u64,
    failed: u64,
}

impl Proof {
    /// Grows as long as the verifier gets anywhere, and not without end: no more goes out once more
    /// than a point of so many bytes may have twice.
    pub(super) fn progress(&self, reach: &Reach, bytes: u64) -> u64 {
        let again = self.again.min(bytes / BYTES_A_CHUNK_MIN + reach.len());
        self.given.len() + again + self.failed.min(reach.len())
    }
}

/// A pack of which a verifier has not been given everything.
pub(crate) struct Unread {
    kind: ChunkKind,
    ids: Result<Vec<ChunkId>>,
}

impl ReadSession {
    /// Chunks went out, or could not.
    pub(super) fn note<'a>(&self, chunks: impl Iterator<Item = (&'a [ChunkNumber], bool)>) {
        let Some(proof) = &self.proof else { return };
        let mut proof = proof.lock().unwrap_or_else(PoisonError::into_inner);
        for (numbers, was_given) in chunks {
            match was_given {
                true => {
                    let before = proof.given.len();
                    for number in numbers {
                        proof.given.insert(*number);
                    }
                    proof.again += u64::from(proof.given.len() == before);
                }
                false => proof.failed = proof.failed.saturating_add(1),
            }
        }
    }

    /// The part of the reach that has not gone out.
    fn left(&self) -> Result<Reach> {
        let Some(proof) = &self.proof else {
            return Err(Error::new(Code::AuthDenied, "the session is of no verification"));
        };
        let mut left = self.reach.clone();
        left.subtract(&proof.lock().unwrap_or_else(PoisonError::into_inner).given);
        Ok(left)
    }
}

/// The row of a verification that was asked for.
pub(crate) fn run(house: &House, id: RunId, agent: &AgentRow, point: &PointRow) -> Result<RunRow> {
    let query = house.ledger.query();
    let source = query.run(&point.run)?.source;
    Ok(RunRow::verification(id, agent.id, point.vault, source, point.id))
}

/// The point to verify. Of a vault whose data only operators open, no agent can be given a key.
pub(crate) fn point(house: &House, id: &PointId) -> Result<PointRow> {
    let point = house.ledger.query().point(id)?;
    insist_on_custody(&house.ledger.query().vault(&point.vault)?).map_err(|error| {
        error.next(
            "whoever has the operator's key verifies it himself: `holdfast verify --level full \
             --from-location URL`, without --agent",
        )
    })?;
    Ok(point)
}

pub(crate) fn order(run: &RunRow, point: &PointId) -> v1::StartVerify {
    v1::StartVerify {
        run_id: Bytes::copy_from_slice(run.id.as_bytes()),
        point_id: Bytes::copy_from_slice(point.as_bytes()),
    }
}

/// Why a verification did not end that its verifier says is over.
pub(crate) fn left_open(house: &House, run: &RunId) -> Result<Option<Error>> {
    let run = house.ledger.query().run(run)?;
    let is_open = run.kind == RunKind::Verify && !run.state.is_end();
    Ok(is_open.then(|| Error::new(Code::PointUnread, "the verifier said nothing of the point")))
}

impl House {
    /// Chunks of the reach that have not gone out, in packs behind `after`; and where to go on.
    pub(crate) async fn unread(
        &self,
        session: &Arc<ReadSession>,
        after: Option<PackId>,
    ) -> Result<(Vec<Unread>, Option<PackId>)> {
        let left = session.left()?;
        let vault = self.vault(&session.point.vault)?;
        let (ledger, id) = (self.ledger.clone(), vault.row.id);
        let find = move || {
            let mut found = Vec::new();
            let mut after = after;
            loop {
                let page = ledger.query().packs(&id, after.as_ref())?;
                let Some(last) = page.last() else { return Ok((found, left)) };
                after = Some(last.id);
                for row in page {
                    if row.state != PackState::Doomed && left.meets_any(row.numbers()) {
                        found.push(row);
                    }
                    if found.len() >= PACKS_AT_ONCE {
                        return Ok((found, left));
                    }
                }
            }
        };
        let (rows, left) = self.tasks.run_blocking("unread packs", find).await?;
        let is_all = rows.len() < PACKS_AT_ONCE;
        let (mut unread, mut ids, mut next) = (Vec::new(), 0, None);
        let count = rows.len();
        for (nth, row) in rows.into_iter().enumerate() {
            let pack = row.id;
            let found = self.unread_in(&vault, &row, &left).await;
            ids += found.as_ref().map_or(0, Vec::len);
            unread.push(Unread { kind: ChunkKind::try_from(row.kind)?, ids: found });
            let is_last = nth + 1 == count;
            if ids >= IDS_AT_ONCE || is_last {
                next = (!is_last || !is_all).then_some(pack);
                break;
            }
        }
        Ok((unread, next))
    }

    /// Which chunks of a pack are left, by its footer. Any location's is as good as another's.
    async fn unread_in(&self, vault: &Vault, row: &PackRow, left: &Reach) -> Result<Vec<ChunkId>> {
        let mut last = Error::new(Code::PackMissing, "the pack is in no location");
        for place in self.places.readable(&vault.row).await? {
            let footer = match footer_in(row, &place, &vault.custody).await {
                Ok(footer) => footer,
                // What cannot be asked may have it.
                Err(error) => {
                    last = worse(last, error);
                    continue;
                }
            };
            let mut ids = Vec::new();
            for (id, chunk) in rows_of(row, &footer) {
                if left.contains(chunk.number()?) {
                    ids.push(id);
                }
            }
            ids.sort_unstable();
            ids.dedup();
            return Ok(ids);
        }
        Err(last)
    }

    /// Takes what a verifier says of the point that it read in this session.
    pub(crate) async fn conclude(
        &self,
        actor: &Actor,
        id: &SessionId,
        told: v1::Verified,
    ) -> Result<()> {
        let session = self.read_session(actor, id)?;
        let left = session.left()?;
        let Some(run) = session.run else {
            return Err(Error::new(Code::AuthDenied, "the session is of no run"));
        };
        let damage = damage(&told)?;
        match &damage {
            None if !left.is_empty() => return Err(unread(&session.reach, &left)),
            None => {}
            Some(_) => self.insist_on_places(&session.point).await?,
        }
        let v1::Verified { entries, bytes, damaged, .. } = told;
        let report = (!told.sealed_report.is_empty()).then(|| told.sealed_report.to_vec().into());
        let counts = VerifyCounts { entries, bytes, damaged };
        let end = EndVerify { run, session: *id, counts, report, damage };
        self.ledger.propose(actor.clone(), end).await?;
        self.reads.lock().remove(id);
        Ok(())
    }

    /// Whoever lacks something says nothing as long as a location is away that may have it.
    async fn insist_on_places(&self, point: &PointRow) -> Result<()> {
        let vault = self.ledger.query().vault(&point.vault)?;
        let used = self.places.in_use(&vault)?;
        for name in &used.required {
            let store = self.places.location(name).await?;
            show(&vault, &(name.clone(), store)).await?;
        }
        Ok(())
    }
}

impl From<Unread> for v1::UnreadPack {
    fn from(unread: Unread) -> Self {
        let kind = unread.kind as u32;
        match unread.ids {
            Ok(ids) => {
                let ids = ids.iter().flat_map(|id| *id.as_bytes()).collect();
                Self { kind, ids, error: None }
            }
            Err(error) => Self { kind, error: Some((&error).into()), ..Self::default() },
        }
    }
}

/// What the ledger keeps of why a point is damaged: only wrong or missing bytes are damage.
fn damage(told: &v1::Verified) -> Result<Option<Refusal>> {
    if told.damaged == 0 {
        return Ok(None);
    }
    let code = Code::from_name(&told.code).filter(|code| code.exit() == Exit::Damage);
    let Some(code) = code else {
        let message = "only wrong or missing bytes are damage";
        return Err(Error::new(Code::UsageMalformed, message));
    };
    Ok(Some(Refusal {
        code: code.name().to_owned(),
        message: format!("{} entries cannot be restored whole: {code}", told.damaged),
        next: Some(code.advice().to_owned()),
    }))
}

fn unread(reach: &Reach, left: &Reach) -> Error {
    let message = format!("{} of {} chunks were not read", left.len(), reach.len());
    Error::new(Code::PointUnread, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_wrong_or_missing_bytes_are_damage() {
        let told = |damaged, code: Code| {
            damage(&v1::Verified { damaged, code: code.name().to_owned(), ..Default::default() })
        };
        assert_eq!(told(2, Code::ChunkMissing).unwrap().unwrap().code, "chunk.content_missing");
        assert_eq!(told(0, Code::ChunkMissing).unwrap(), None);
        for code in [Code::LocationIoFailed, Code::ClusterUnreachable, Code::IndexLoading] {
            assert_eq!(told(2, code).unwrap_err().code, Code::UsageMalformed, "{code}");
        }
        let unknown = v1::Verified { damaged: 1, code: "x.y".to_owned(), ..Default::default() };
        assert_eq!(damage(&unknown).unwrap_err().code, Code::UsageMalformed);
    }

    #[test]
    fn whoever_gets_nowhere_makes_no_progress_however_often_it_asks() {
        let mut reach = Reach::new();
        reach.insert_range(ChunkNumber::from_u64(10), 3).unwrap();
        let mut proof = Proof::default();
        for _ in 0..5 {
            proof.given.insert(ChunkNumber::from_u64(10));
            proof.failed += 1;
        }
        assert_eq!(proof.progress(&reach, 0), 1 + 3);
        // What the point has twice is read twice, and no more often than it may have it.
        proof.again = 2;
        assert_eq!(proof.progress(&reach, 0), 1 + 3 + 2);
        proof.again = 1_000_000;
        assert_eq!(proof.progress(&reach, 2 * BYTES_A_CHUNK_MIN), 1 + 3 + 3 + 2);
    }
}
