//! Commits a point: all of it or nothing. From here on it is promised to restore.

use super::{Apply, Outcome, begin_session::remember_newest, rounds::insist_on_alive};
use crate::{
    level::COLLECTED,
    row::{
        PackRow, PackState, PointRow, PointState, RestoreRow, RunCounts, RunKind, RunRow, RunState,
        SessionRow, pack::pack_key, point::time_key,
    },
    tables::Table,
};
use holdfast_common::{Code, Error, PackId, Result, SessionId, limits};
use minicbor::{Decode, Encode};
use std::time::Duration;

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct CommitPoint {
    #[n(0)]
    pub session: SessionId,
    /// `committed` is stamped by the ledger.
    #[n(1)]
    pub point: PointRow,
    #[n(2)]
    pub counts: RunCounts,
    /// Packs that lie inside the point's object; they become stored with it.
    #[n(3)]
    pub inline_packs: Vec<PackId>,
    /// The revision of the vault under which its objects were put; members of older levels do not
    /// say.
    #[n(4)]
    pub revision: Option<u64>,
    /// What its member had applied before it copied the session's reach into a checkpoint: from
    /// there on the session counts as begun. Without it, it counts as before.
    #[n(5)]
    pub based: Option<u64>,
    /// Up to which entry the reach was compared with what was doomed; it has nothing of it.
    #[n(6)]
    pub whole_at: Option<u64>,
    /// Up to which entry the reach was compared with what closed versions of the keys open; it has
    /// nothing of it. Members of older levels do not say.
    #[n(7)]
    pub keys_at: Option<u64>,
}

impl CommitPoint {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let session = apply.write_session(&self.session)?;
        let run = self.own_run(apply, &session)?;
        let point =
            PointRow { committed: apply.time, lost: None, verified: None, ..self.point.clone() };
        self.check(&session, &run, apply)?;
        for id in &self.inline_packs {
            let key = pack_key(&session.vault, id);
            let Some(pack) = apply.tables.row::<PackRow>(&key)? else {
                let message = format!("the pack {id} was never announced");
                return Err(Error::new(Code::PackMissing, message));
            };
            insist_on_alive(&pack)?;
            apply.turn_pack(pack, PackState::Stored)?;
        }
        apply.tables.put(&point)?;
        let order = time_key(point.committed, point.id.as_bytes());
        apply.tables.put_raw(Table::PointTime, &order, point.id.as_bytes().to_vec())?;
        apply.note_new_point(&point, false)?;
        match point.state {
            PointState::Checkpoint => self.go_on(apply, session, run),
            PointState::Complete | PointState::Partial => self.end(apply, &session, run, &point),
            PointState::Safety => self.keep_safe(apply, &session, run),
        }
    }

    fn own_run(&self, apply: &Apply<'_, '_>, session: &SessionRow) -> Result<RunRow> {
        let run = session.run.ok_or_else(|| {
            Error::new(Code::SessionMissing, "this session does not write a point")
        })?;
        let run = apply.run(&run)?;
        if run.commits_nothing() {
            return Err(Error::new(Code::RunCancelled, format!("run {} has ended", run.id)));
        }
        Ok(run)
    }

    fn check(&self, session: &SessionRow, run: &RunRow, apply: &Apply<'_, '_>) -> Result<()> {
        let point = &self.point;
        let bound = point.vault == session.vault
            && Some(point.agent) == session.agent
            && point.run == run.id
            && point.policy == run.policy
            && (point.state == PointState::Safety) == (run.kind == RunKind::Restore)
            && point.previous == session.previous;
        if !bound {
            return Err(Error::new(
                Code::AuthDenied,
                "the point is not of its session's vault, agent, run, policy or kind",
            ));
        }
        if apply.is_point_leaving(&point.vault, &point.id)?
            || apply.tables.row::<PointRow>(point.id.as_bytes())?.is_some()
        {
            let message = format!("the point {} exists already", point.id);
            return Err(Error::new(Code::ResourceConflict, message));
        }
        apply.insist_on_whole(&session.vault, self.whole_at)?;
        apply.insist_on_open_keys(&session.vault, self.keys_at)?;
        let vault = apply.vault(&session.vault)?;
        if vault.required.iter().any(|name| !point.locations.contains(name)) {
            return Err(Error::new(
                Code::LocationMissing,
                "a required location does not hold the point",
            ));
        }
        match self.revision {
            Some(revision) => vault.insist_on_all(Some(revision)),
            None => Ok(()),
        }
    }

    /// A checkpoint re-bases the session: what it names is safe from here on.
    fn go_on(
        &self,
        apply: &mut Apply<'_, '_>,
        session: SessionRow,
        run: RunRow,
    ) -> Result<Outcome> {
        let lease_until = apply.time.plus(Duration::from_secs(limits::SESSION_LEASE_SECS));
        let begun = self.begun(apply, &session)?;
        apply.tables.put(&SessionRow { begun, lease_until, ..session })?;
        let checkpoint = Some(self.point.id);
        apply.put_run(&RunRow { checkpoint, counts: self.counts.clone(), ..run })?;
        Ok(Outcome::At(apply.index))
    }

    /// What was answered after the reach was copied is not in the checkpoint, and may rely on what
    /// was condemned before the checkpoint's own entry. So that entry is not what counts.
    fn begun(&self, apply: &Apply<'_, '_>, session: &SessionRow) -> Result<u64> {
        if apply.level()? < COLLECTED {
            return Ok(apply.index);
        }
        let based = self.based.unwrap_or(0).min(apply.index);
        Ok(based.max(session.begun))
    }

    /// The run goes on to the restore that the safety point is for.
    fn keep_safe(
        &self,
        apply: &mut Apply<'_, '_>,
        session: &SessionRow,
        run: RunRow,
    ) -> Result<Outcome> {
        let safety_point = Some(self.point.id);
        let restore = run.restore.clone().map(|restore| RestoreRow { safety_point, ..restore });
        apply.put_run(&RunRow { restore, ..run })?;
        apply.tables.remove(Table::Session, session.id.as_bytes());
        Ok(Outcome::At(apply.index))
    }

    fn end(
        &self,
        apply: &mut Apply<'_, '_>,
        session: &SessionRow,
        run: RunRow,
        point: &PointRow,
    ) -> Result<Outcome> {
        remember_newest(apply, &run, point)?;
        let state = match point.state {
            PointState::Partial => RunState::Partial,
            _ => RunState::Done,
        };
        let (ended, counts) = (Some(apply.time), self.counts.clone());
        apply.put_run(&RunRow { state, ended, counts, point: Some(point.id), ..run })?;
        apply.tables.remove(Table::Session, session.id.as_bytes());
        Ok(Outcome::At(apply.index))
    }
}
