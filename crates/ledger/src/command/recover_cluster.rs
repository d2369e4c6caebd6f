//! The first command of a ledger that was rebuilt from a location: a new member alone, the old ones
//! gone, nothing under way.
//!
//! What the lost end of the log may have given away is not given again: numbers of chunks go on
//! behind a gap. Keys of commands are forgotten, since whoever held one is gone too. A location
//! that is found elsewhere is a place of which nothing is known: it is looked through before it
//! counts.

use super::{
    Apply, Outcome, conflict,
    use_location::{Place, lacks_something},
};
use crate::{
    apply::{IDEMPOTENCY_TAIL, forget_keys},
    envelope::Refusal,
    level::{DOUBTS, RECOVERED_ALONE},
    row::{
        ClusterRow, LocationRow, MemberRow, MemberState, OperatorRow, Position, RecoveryRow,
        RunRow, RunState, SeatRow, VaultRow, cluster::CLUSTER_KEY, member::FOUNDER_ID,
        member::check_address,
    },
    tables::{Row, Table},
};
use holdfast_common::{Code, Error, Name, Result, limits, record};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct RecoverCluster {
    #[n(0)]
    pub reached: Position,
    /// Under the next number that no member ever had.
    #[n(1)]
    pub member: MemberRow,
    #[n(2)]
    pub operator: OperatorRow,
    /// Locations that are found elsewhere now.
    #[n(3)]
    pub moved: Vec<MovedLocation>,
    #[n(4)]
    pub missing: Option<(u64, u64)>,
    #[n(5)]
    pub reason: Option<String>,
}

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct MovedLocation {
    #[n(0)]
    pub name: Name,
    #[n(1)]
    pub url: String,
}

/// So many numbers of chunks may have been given by entries that were never shipped.
const NUMBERS_SKIPPED: u64 = 1 << 24;

impl RecoverCluster {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_system()?;
        if apply.tables.row::<ClusterRow>(CLUSTER_KEY)?.is_none() {
            return Err(conflict("this ledger belongs to no cluster yet"));
        }
        if self.reached.index >= apply.index {
            return Err(conflict("a recovered ledger goes on behind what it was made from"));
        }
        if self.missing.is_some() && self.reason.is_none() {
            return Err(conflict("entries are missing, and nobody said why that is taken"));
        }
        self.check_member(apply)?;
        self.replace_members(apply)?;
        end_everything(apply)?;
        self.move_locations(apply)?;
        apply.tables.rewrite(|vault: VaultRow| {
            let next_number = vault.next_number.saturating_add(NUMBERS_SKIPPED);
            Some(VaultRow { next_number, ..vault })
        })?;
        // Who asked before may be who recovers.
        apply.drop_requests(|_| true)?;
        let recovered = (apply.level()? >= RECOVERED_ALONE).then_some(apply.time);
        apply.tables.put(&OperatorRow { recovered, ..self.operator.clone() })?;
        forget_keys(apply.tables)?;
        let tail = apply.index.to_be_bytes().to_vec();
        apply.tables.put_raw(Table::Meta, IDEMPOTENCY_TAIL, tail)?;
        apply.tables.put(&RecoveryRow {
            base: apply.index,
            reached: self.reached,
            when: apply.time,
            reason: self.reason.clone(),
            missing: self.missing,
        })?;
        apply.upset_rules()?;
        Ok(Outcome::At(apply.index))
    }

    /// What the audit log says of it.
    pub(super) fn subject(&self) -> String {
        let Position { epoch, index, .. } = self.reached;
        let done = format!("as {} from epoch {epoch} index {index}", self.member.name);
        match (self.missing, &self.reason) {
            (Some((from, to)), Some(reason)) => {
                format!("{done}, without {from} to {to}: {reason}")
            }
            _ => done,
        }
    }

    fn check_member(&self, apply: &Apply<'_, '_>) -> Result<()> {
        let next = apply.next_member()?.unwrap_or(FOUNDER_ID);
        if self.member.id != next || !self.member.is_voter() {
            return Err(conflict(format!("the recovered cluster begins with a voter {next}")));
        }
        check_address(&self.member.address)
    }

    fn replace_members(&self, apply: &mut Apply<'_, '_>) -> Result<()> {
        for old in apply.live_members()? {
            apply.tables.remove(Table::MemberName, old.name.as_str().as_bytes());
            apply.tables.put(&MemberRow { state: MemberState::Removed, ..old })?;
        }
        apply.tables.rewrite(|seat: SeatRow| Some(SeatRow { member: None, ..seat }))?;
        apply.add_member(&MemberRow { joined: apply.time, ..self.member.clone() })
    }

    fn move_locations(&self, apply: &mut Apply<'_, '_>) -> Result<()> {
        for MovedLocation { name, url } in &self.moved {
            let Some(old) = apply.tables.row::<LocationRow>(name.as_str().as_bytes())? else {
                let message = format!("there is no location `{name}`");
                return Err(Error::new(Code::LocationMissing, message));
            };
            let revision = old.revision + 1;
            apply.tables.put(&LocationRow { url: url.clone(), revision, ..old })?;
            // Whether all that the log speaks of lies there nobody has seen.
            if apply.level()? >= DOUBTS {
                lacks_something(apply, name, Place::Empty)?;
            }
        }
        Ok(())
    }
}

/// Whoever worked under a session or a run has lost those who knew of it.
fn end_everything(apply: &mut Apply<'_, '_>) -> Result<()> {
    apply.end_rounds()?;
    while let Some((key, _)) = apply.tables.scan(Table::Session, &[], 1)?.pop() {
        apply.tables.remove(Table::Session, &key);
    }
    while let Some((key, _)) = apply.tables.scan(Table::RunOpen, &[], 1)?.pop() {
        apply.tables.remove(Table::RunOpen, &key);
        let Some(value) = apply.tables.raw(Table::Run, &key)? else { continue };
        let run: RunRow = record::from_bytes(RunRow::WHAT, &value)?;
        let error = Some(Refusal {
            code: Code::RunInterrupted.name().to_owned(),
            message: "the cluster was recovered during the run".to_owned(),
            next: None,
        });
        let (state, ended) = (RunState::Interrupted, Some(apply.time));
        apply.put_run(&RunRow { state, ended, error, ..run })?;
    }
    Ok(())
}

const _: () = assert!(NUMBERS_SKIPPED > (limits::PACK_SLOTS_MAX as u64) << 4);
