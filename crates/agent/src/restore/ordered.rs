//! A verification that somebody ordered from this agent: the point is read under the run that
//! grants it, every chunk that it reaches is opened, and the end is told where it was read.
//!
//! ```text
//!   order ─▶ read session ─▶ manifest and files ─▶ what else it reaches ─▶ conclude
//!            (signature)       (paths of damage)     ▲                       │ not all was read:
//!                                                    └───────────────────────┘ another coordinator
//! ```
//!
//! Nothing is written. Wrong or missing bytes are damage; whatever else stands in the way ends the
//! run, and says nothing of the point.

use super::engine::{Progress, RestoreReport, while_kept};
use super::online::{OnlinePoint, open_apart};
use super::point::PointReader;
use super::sealed::seal_report;
use super::source::FetchedFrame;
use super::verify::{Names, verify_under};
use crate::flow::Halt;
use crate::pipeline::{Host, RunControl};
use holdfast_common::codes::Exit;
use holdfast_common::{ChunkId, ChunkKind, Code, Error, PointId, Result, RunId, limits};
use holdfast_seal::Opener;
use holdfast_wire::{parse, v1};
use std::sync::Arc;

/// What is asked of a verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyOrder {
    pub run: RunId,
    pub point: PointId,
}

/// Verifies what was ordered, and tells what came of it. Blocks; must not be called on a thread of
/// the runtime.
pub fn verify_ordered(host: &Host, order: &VerifyOrder, control: &RunControl) -> Result<()> {
    let halt = control.begin()?;
    let (line, handle) = (Arc::clone(&host.line), host.handle.clone());
    let entropy = Arc::clone(&host.entropy);
    let (reader, point) =
        open_apart(line, handle, entropy, order.point, "verify", Some(order.run))?;
    let progress = Arc::new(Progress::default());
    control.restoring(&progress);
    while_kept(&halt, &reader, || {
        let mut found = walk(&halt, &reader, &progress)?;
        found.report = seal_report(&reader, &order.run, &found.named, &*host.entropy);
        tell(&halt, &reader, &point, found)
    })
}

/// What is known of the point so far.
#[derive(Default)]
struct Found {
    entries: u64,
    bytes: u64,
    damaged: u64,
    code: Option<Code>,
    named: RestoreReport,
    report: Vec<u8>,
}

impl Found {
    fn damage(&mut self, code: Code) {
        self.damaged += 1;
        self.code.get_or_insert(code);
    }

    /// Damage is found; anything else is no word on the point.
    fn note(&mut self, error: Error) -> Result<()> {
        if error.code.exit() != Exit::Damage {
            return Err(error);
        }
        self.damage(error.code);
        Ok(())
    }
}

/// The point as a restore sees it.
fn walk(halt: &Arc<Halt>, reader: &PointReader, progress: &Progress) -> Result<Found> {
    let named = match verify_under(halt, reader, progress, Names::Bounded) {
        Ok(report) => report,
        // The list of entries cannot be read to its end.
        Err(error) => {
            let mut found = Found::default();
            found.note(error)?;
            return Ok(found);
        }
    };
    let damaged = named.damaged();
    if damaged.is_none()
        && let Some(error) = named.not_read()
    {
        return Err(error);
    }
    let (entries, bytes) = (named.entries, named.bytes_written);
    let (code, damaged) = damaged.map_or((None, 0), |(code, count)| (Some(code), count));
    Ok(Found { entries, bytes, damaged, code, named, report: Vec::new() })
}

/// Reads what else the point reaches, and says what was found. A coordinator that was lost knew
/// what it had given, and whoever follows it does not: from that one all is read again.
fn tell(halt: &Halt, reader: &PointReader, point: &OnlinePoint, mut found: Found) -> Result<()> {
    for round in 1.. {
        if found.damaged == 0 {
            read_rest(halt, reader, point, &mut found)?;
        }
        match point.conclude(&found.told()) {
            Err(error) if error.code == Code::PointUnread && round < ROUNDS_MAX => {
                tracing::info!(%error, round, "another coordinator is read from");
            }
            ended => return ended,
        }
    }
    Ok(())
}

fn read_rest(
    halt: &Halt,
    reader: &PointReader,
    point: &OnlinePoint,
    found: &mut Found,
) -> Result<()> {
    let mut opener = Opener::new(reader.record().vault)?;
    let mut after = bytes::Bytes::new();
    loop {
        halt.check()?;
        let page = point.unread(&after)?;
        for pack in page.packs {
            if let Some(error) = pack.error {
                found.note(error.into())?;
                continue;
            }
            let kind = u8::try_from(pack.kind).unwrap_or(0);
            let ids = parse::chunk_ids(&pack.ids, limits::PACK_SLOTS_MAX)?;
            for ids in ids.chunks(BATCH_CHUNKS) {
                halt.check()?;
                open_all(reader, &mut opener, (ChunkKind::try_from(kind)?, ids), found)?;
            }
        }
        if page.next.is_empty() {
            return Ok(());
        }
        after = page.next;
    }
}

fn open_all(
    reader: &PointReader,
    opener: &mut Opener,
    (kind, ids): (ChunkKind, &[ChunkId]),
    found: &mut Found,
) -> Result<()> {
    let mut failed = Vec::new();
    let mut open = |at: usize, fetched: Result<FetchedFrame>| {
        let Some(id) = ids.get(at) else { return };
        let opened = fetched.and_then(|FetchedFrame { frame, key }| {
            opener.open_here(kind, id, &key, reader.ids(), &frame).map(drop)
        });
        failed.extend(opened.err().map(|error| (*id, error)));
    };
    reader.source().fetch(kind, ids, &mut open)?;
    for (id, error) in failed {
        if let Err(error) = reader.open_another(opener, kind, &id, error) {
            found.note(error)?;
        }
    }
    Ok(())
}

impl Found {
    fn told(&self) -> v1::Verified {
        v1::Verified {
            entries: self.entries,
            bytes: self.bytes,
            damaged: self.damaged,
            code: self.code.map(|code| code.name().to_owned()).unwrap_or_default(),
            sealed_report: bytes::Bytes::copy_from_slice(&self.report),
        }
    }
}

const BATCH_CHUNKS: usize = 64;
/// How often all is read again because a coordinator was lost on the way.
const ROUNDS_MAX: u32 = 8;
