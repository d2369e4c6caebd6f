//! Committing a point: everything it needs is durable first, then one entry in the ledger.

use super::{
    WriteSession,
    receive::{PLACINGS_MAX, ReceivedPack, bases, inline_homes},
};
use crate::house::{House, Vault};
use bytes::Bytes;
use holdfast_common::{ChunkKind, Code, Error, Name, PointId, Result, RunId};
use holdfast_keyring::IdentityPublicKey;
use holdfast_ledger::{
    command::{CommitPoint, IntendPacks, Outcome},
    level::{COLLECTED, COPIES, RETENTION, SEALED},
    row::{PointRow, PointState as RowState, RunCounts, RunKind, RunRow, Sharing, VaultRow},
};
use holdfast_repository::{IdKeyScope, PointObject, PointRecord, PointState, Reach, layout};
use std::sync::Arc;

/// How often a reach is compared with what was given up.
const COMPARISONS_MAX: usize = 4;

/// What an agent sends to end its run.
pub(crate) struct Finish {
    pub(crate) record: Bytes,
    pub(crate) signature: [u8; 64],
    pub(crate) inline: Vec<Bytes>,
    pub(crate) counts: RunCounts,
}

impl House {
    /// Commits the point (or checkpoint) of a session.
    pub(crate) async fn finish(
        self: &Arc<Self>,
        session: &WriteSession,
        finish: Finish,
        checkpoint: bool,
    ) -> Result<PointId> {
        let vault = self.vault(&session.row.vault)?;
        let object = PointObject::new(finish.record, finish.signature, finish.inline)?;
        let run = self.run_of(session)?;
        self.check_record(session, &vault, &run, &object, checkpoint)?;
        let inline = receive_inline(&vault, &object)?;
        if let Err(missing) = self.check_root(session, object.record(), &inline) {
            // It was answered before a version of the keys was closed.
            let reach = session.copied_reach();
            self.insist_on_open_keys(session, &reach).await?;
            return Err(missing);
        }
        let bytes = Bytes::from(object.to_object());
        let inline = self.announce_inline(session, &vault, &object, &bytes, inline).await?;
        // Before the reach is copied, or what an answer finds meanwhile is counted on by nobody.
        let based = self.base(checkpoint)?;
        let reach = self.reach_with(session, &inline)?;
        self.insist_on_whole(session, &vault, &reach)?;
        self.insist_on_open_keys(session, &reach).await?;
        let point = object.record().point;
        let reach_bytes = Bytes::from(reach.to_object(&vault.row.id, &point)?);
        let row = PointRow {
            object_hash: *blake3::hash(&bytes).as_bytes(),
            reach_hash: *self.hash(reach_bytes.clone()).await?.as_bytes(),
            // Members of an older level would not keep it.
            root: (self.ledger.query().level()? >= RETENTION).then_some(object.record().root),
            ..point_row(object.record(), &vault.row, run.id)
        };
        self.settle(&vault).await?;
        let commit = CommitPoint {
            session: session.row.id,
            point: row,
            counts: finish.counts,
            inline_packs: inline.iter().map(|(pack, _)| pack.id).collect(),
            revision: None,
            based,
            whole_at: None,
            keys_at: None,
        };
        let committed = self.place_point(session, (commit, &reach), (reach_bytes, bytes)).await?;
        for (pack, base) in &inline {
            self.count(session, &vault, pack, Some(*base))?;
        }
        if !checkpoint {
            self.end_session(&session.row.id);
        }
        // Reported committed means: the extent of the log that says so is durable too.
        if let Outcome::At(index) = committed {
            let here = self.ledger.position();
            let shipped = self.shipped(index).await?;
            self.shipping.tell(shipped, here);
        }
        Ok(point)
    }

    /// Puts a point where it is required and commits it. While it was put, the vault may have come
    /// to require a further location: then it is put there too.
    async fn place_point(
        &self,
        session: &WriteSession,
        (mut commit, reached): (CommitPoint, &Reach),
        (reach, object): (Bytes, Bytes),
    ) -> Result<Outcome> {
        let point = commit.point.id;
        let names = (layout::ObjectName::reach(&point), layout::ObjectName::point(&point));
        let now = || self.ledger.query().vault(&session.row.vault);
        let mut left = PLACINGS_MAX;
        loop {
            let vault = now()?;
            let is_told = self.ledger.query().level()? >= COPIES;
            commit.revision = is_told.then_some(vault.revision);
            self.places.put(&vault, names.0.as_str(), reach.clone()).await?;
            self.places.put(&vault, names.1.as_str(), object.clone()).await?;
            // One that was passed over meanwhile has one of them at most.
            commit.point.locations = required_still(&vault, &now()?);
            left -= 1;
            let refused = match self.propose_whole(session, commit.clone(), reached).await {
                Err(error) if may_be_placed_anew(&error) => error,
                ended => return ended,
            };
            if left == 0 || now()?.grown == vault.grown {
                return Err(refused);
            }
        }
    }

    /// Says up to where it was compared with what collection gave up that the point needs. When
    /// more is given up faster than that, the backup does not wait for it: no rule needs the
    /// comparison.
    async fn propose_whole(
        &self,
        session: &WriteSession,
        mut commit: CommitPoint,
        reach: &Reach,
    ) -> Result<Outcome> {
        let says = self.ledger.query().level()? >= COLLECTED;
        for _ in 0..COMPARISONS_MAX {
            if !says {
                break;
            }
            commit.whole_at = Some(self.insist_on_kept(session, reach).await?);
            commit.keys_at = self.insist_on_open_keys(session, reach).await?;
            match self.ledger.propose(session.actor(), commit.clone()).await {
                Err(error) if is_compared_again(&error) => {}
                ended => return ended,
            }
        }
        commit.whole_at = None;
        self.ledger.propose(session.actor(), commit).await
    }

    /// Up to which entry the reach was compared with what closed versions of the keys open, where
    /// the ledger wants to be told. If it meets some of that, the run begins anew and sends it,
    /// sealed to the newest version.
    async fn insist_on_open_keys(
        &self,
        session: &WriteSession,
        reach: &Reach,
    ) -> Result<Option<u64>> {
        if self.ledger.query().level()? < SEALED {
            return Ok(None);
        }
        if let Some(compared) = self.compared_with_shut(&session.row.vault, reach).await? {
            return Ok(Some(compared));
        }
        self.end_session(&session.row.id);
        let message = "a version of the keys was closed while this session relied on it";
        Err(Error::new(Code::SessionMissing, message))
    }

    /// What a session relies on is never given up; if it was, the run sends again what it lacks.
    async fn insist_on_kept(&self, session: &WriteSession, reach: &Reach) -> Result<u64> {
        if let Some(compared) = self.compared(&session.row.vault, reach).await? {
            return Ok(compared);
        }
        tracing::error!(session = %session.row.id, "packs were given up that a session relies on");
        self.end_session(&session.row.id);
        let message = "packs were given up while this session relied on them";
        Err(Error::new(Code::SessionMissing, message))
    }

    fn run_of(&self, session: &WriteSession) -> Result<RunRow> {
        match &session.row.run {
            Some(run) => self.ledger.query().run(run),
            None => Err(Error::new(Code::SessionMissing, "this session does not write a point")),
        }
    }

    /// The record says what the session says, and the session's agent signed it.
    fn check_record(
        &self,
        session: &WriteSession,
        vault: &Vault,
        run: &RunRow,
        object: &PointObject,
        checkpoint: bool,
    ) -> Result<()> {
        let agent = self.ledger.query().agent(&session.agent)?;
        IdentityPublicKey::from_bytes(agent.identity_public)
            .verify_point(object.record_bytes(), object.signature())?;
        let record = object.record();
        let scope = match vault.row.sharing {
            Sharing::Agent => IdKeyScope::Agent,
            Sharing::Vault => IdKeyScope::Vault,
        };
        let is_own_point = record.point == session.row.point;
        let bound = record.vault == vault.row.id
            && record.agent == session.agent
            && record.run == run.id
            && record.policy == run.policy
            && record.source == run.source_text()
            && record.previous == session.row.previous
            && record.id_key_scope == scope
            && (record.state == PointState::Checkpoint) == checkpoint
            && (record.state == PointState::Safety) == (run.kind == RunKind::Restore)
            && is_own_point != checkpoint;
        if !bound {
            return Err(Error::new(
                Code::AuthDenied,
                "the point's record does not say what its session says",
            ));
        }
        Ok(())
    }

    /// The root is a page that comes along, or one that the agent may rely on.
    fn check_root(
        &self,
        session: &WriteSession,
        record: &PointRecord,
        inline: &[ReceivedPack],
    ) -> Result<()> {
        let comes_along = inline
            .iter()
            .filter(|pack| pack.kind == ChunkKind::Page)
            .any(|pack| pack.footer.rows.iter().any(|row| row.id == record.root));
        if comes_along || self.offer(session, ChunkKind::Page, &[record.root])?.is_empty() {
            return Ok(());
        }
        Err(Error::new(Code::ChunkMissing, "the point's root page is not stored"))
    }

    async fn announce_inline(
        &self,
        session: &WriteSession,
        vault: &Vault,
        object: &PointObject,
        bytes: &Bytes,
        packs: Vec<ReceivedPack>,
    ) -> Result<Vec<(ReceivedPack, u64)>> {
        if packs.is_empty() {
            return Ok(Vec::new());
        }
        let homes = inline_homes(&object.record().point, bytes, object.inline());
        for (pack, home) in packs.iter().zip(&homes) {
            self.insist_on_own(session, vault, &pack.id, home)?;
        }
        let level = self.ledger.query().level()?;
        let intended = packs.iter().zip(homes);
        let intended = intended.map(|(pack, home)| pack.intended(home, level)).collect();
        let intend = IntendPacks { session: session.row.id, packs: intended };
        let bases = bases(self.ledger.propose(session.actor(), intend).await?)?;
        Ok(packs.into_iter().zip(bases).collect())
    }

    /// What was held when it was offered may have been lost since. A session that begins anew hears
    /// of it, and sends it.
    fn insist_on_whole(&self, session: &WriteSession, vault: &Vault, reach: &Reach) -> Result<()> {
        let Some(pack) = vault.catalog.lost_in(reach) else { return Ok(()) };
        self.end_session(&session.row.id);
        let message = format!("the pack {pack} was lost while this session relied on it");
        Err(Error::new(Code::SessionMissing, message))
    }

    /// From where on the session of a checkpoint counts as begun.
    fn base(&self, checkpoint: bool) -> Result<Option<u64>> {
        let says = checkpoint && self.ledger.query().level()? >= COLLECTED;
        Ok(says.then(|| self.ledger.state().applied))
    }

    fn reach_with(&self, session: &WriteSession, inline: &[(ReceivedPack, u64)]) -> Result<Reach> {
        let mut reach = session.copied_reach();
        for (pack, base) in inline {
            let slots = u32::try_from(pack.footer.rows.len()).unwrap_or(u32::MAX);
            reach.insert_range(holdfast_repository::ChunkNumber::from_u64(*base), slots)?;
        }
        Ok(reach)
    }
}

fn receive_inline(vault: &Vault, object: &PointObject) -> Result<Vec<ReceivedPack>> {
    let ids = &object.record().inline_packs;
    let packs = ids.iter().zip(object.inline());
    packs.map(|(id, bytes)| ReceivedPack::check(vault, *id, bytes.clone())).collect()
}

/// The row of a point as it is to be committed; what its objects hash to is filled in by whoever
/// knows.
pub(crate) fn point_row(record: &PointRecord, vault: &VaultRow, run: RunId) -> PointRow {
    let state = match record.state {
        PointState::Complete => RowState::Complete,
        PointState::Checkpoint => RowState::Checkpoint,
        PointState::Partial => RowState::Partial,
        PointState::Safety => RowState::Safety,
    };
    PointRow {
        id: record.point,
        vault: vault.id,
        agent: record.agent,
        run,
        policy: record.policy.clone(),
        source: record.source.clone(),
        started: record.started,
        committed: record.ended,
        state,
        entries: record.entries,
        bytes: record.bytes,
        skipped: record.skipped,
        previous: record.previous,
        object_hash: [0; 32],
        reach_hash: [0; 32],
        locations: vault.required.clone(),
        id_scope: match record.id_key_scope {
            IdKeyScope::Agent => 1,
            IdKeyScope::Vault => 2,
        },
        recovered: None,
        root: None,
        lost: None,
        verified: None,
    }
}

/// What was required before an object was put, and is when it is told of.
fn required_still(before: &VaultRow, now: &VaultRow) -> Vec<Name> {
    now.required.iter().filter(|name| before.required.contains(name)).cloned().collect()
}

fn is_compared_again(error: &Error) -> bool {
    matches!(error.code, Code::VaultCollected | Code::VaultKeysClosed)
}

fn may_be_placed_anew(error: &Error) -> bool {
    matches!(error.code, Code::LocationMissing | Code::VaultGrown)
}
