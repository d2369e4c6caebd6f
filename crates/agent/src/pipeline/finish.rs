//! The end of a run: the record of the point, signed, and its commit.
//!
//! The signature is made by the identity that the cluster enrolled, over exactly the bytes that are
//! sent. Whoever restores checks it before anything else.

use super::Purpose;
use super::pack::Packed;
use super::run::Run;
use bytes::Bytes;
use holdfast_common::{ChunkId, Code, Error, PackId, PointId, Result};
use holdfast_repository::PointRecord;
use holdfast_repository::point::{ChunkProfileOne, FormatOne, PointState};
use holdfast_seal::Root;
use holdfast_wire::{parse, v1};

/// A closed manifest.
pub(super) struct Table {
    pub(super) root: Root,
    pub(super) skipped: u64,
    pub(super) skipped_page: Option<ChunkId>,
}

pub(super) fn record(
    run: &Run<'_>,
    table: &Table,
    point: PointId,
    state: PointState,
    inline_packs: &[PackId],
) -> Result<Vec<u8>> {
    let session = &run.session;
    let height = u8::try_from(table.root.height)
        .map_err(|_| Error::new(Code::InternalBug, "the manifest is too high"))?;
    let record = PointRecord {
        format: FormatOne::One,
        point,
        vault: session.vault,
        agent: run.host.agent,
        run: run.request.run,
        policy: run.request.policy.clone(),
        source: run.request.source(),
        started: run.started,
        ended: run.host.clock.now(),
        root: table.root.page,
        height,
        entries: table.root.entries,
        bytes: table.root.bytes,
        previous: session.previous,
        state,
        chunk_profile: ChunkProfileOne::One,
        id_key_scope: session.scope,
        skipped: table.skipped,
        inline_packs: inline_packs.to_vec(),
        skipped_page: table.skipped_page,
    };
    Ok(record.to_bytes())
}

pub(super) fn request(run: &Run<'_>, record: &[u8], inline: Vec<Bytes>) -> v1::FinishRequest {
    v1::FinishRequest {
        session_id: run.ingest.session(),
        record: Bytes::copy_from_slice(record),
        signature: Bytes::copy_from_slice(&run.host.identity.sign_point(record)),
        inline_packs: inline,
        counts: Some(run.progress.look().into()),
    }
}

/// Commits the point. `inline` travels in the point's own object.
pub(super) fn finish(run: &Run<'_>, table: &Table, inline: &[Packed]) -> Result<PointId> {
    let state = match run.request.purpose {
        Purpose::Safety(_) => PointState::Safety,
        Purpose::Backup if table.skipped > 0 => PointState::Partial,
        Purpose::Backup => PointState::Complete,
    };
    let ids: Vec<PackId> = inline.iter().map(|packed| packed.pack.id).collect();
    let record = record(run, table, run.session.point, state, &ids)?;
    let packs = inline.iter().map(|packed| packed.pack.bytes.clone()).collect();
    let request = request(run, &record, packs);
    let answer = run.halt.wait_for(&run.host.handle, run.ingest.finish(request))?;
    run.host.told.hear(answer.told.as_ref());
    let point = parse::point_id(&answer.point_id)?;
    if point == run.session.point {
        Ok(point)
    } else {
        Err(Error::new(Code::InternalBug, "another point was committed than the one signed"))
    }
}
