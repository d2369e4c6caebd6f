//! The fifth stage: frames become packs, data and pages apart. One thread.
//!
//! A pack that is full goes to be sent while the next one fills. When a checkpoint waits, packs go
//! as they are. What is left at the end is handed to whoever ends the run: little enough, and it
//! travels inside the point's own object.

use super::budget::PAGE_PACK_BYTES_MAX;
use super::run::Run;
use super::seal::Framed;
use super::unsettled::Token;
use crate::flow::{Permit, Popped};
use holdfast_common::{ChunkKind, Result, limits};
use holdfast_repository::{Pack, PackBuilder};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A finished pack with what it holds back until it is stored.
pub(super) struct Packed {
    pub(super) pack: Pack,
    pub(super) _permit: Option<Permit>,
    pub(super) _tokens: Vec<Token>,
}

struct Filling {
    builder: PackBuilder,
    capsule: u16,
    permit: Option<Permit>,
    tokens: Vec<Token>,
}

/// Gives back what was left when the frames ended: at most one pack of each kind.
pub(super) fn pack(run: &Run<'_>) -> Result<Vec<Packed>> {
    let mut data: Option<Filling> = None;
    let mut pages: Option<Filling> = None;
    let mut flush_due = run.host.clock.elapsed();
    loop {
        match run.framed.pop_gathered(IDLE) {
            Popped::Item(framed) => {
                let slot = match framed.sealed.kind {
                    ChunkKind::Data => &mut data,
                    ChunkKind::Page => &mut pages,
                };
                fill(run, slot, framed)?;
                let now = run.host.clock.elapsed();
                if now < flush_due {
                    continue;
                }
                flush_due = now + FLUSH_INTERVAL;
            }
            Popped::Empty => {}
            Popped::Closed => {
                run.halt.check()?;
                let left = [data, pages].into_iter().flatten();
                return left.map(|filling| finish(run, filling)).collect();
            }
        }
        if run.flush.load(Ordering::Acquire) {
            for filling in [data.take(), pages.take()].into_iter().flatten() {
                send(run, finish(run, filling)?)?;
            }
        }
    }
}

fn fill(run: &Run<'_>, slot: &mut Option<Filling>, framed: Framed) -> Result<()> {
    let Framed { sealed, .. } = &framed;
    let length = sealed.frame.len();
    if slot.as_ref().is_some_and(|filling| !filling.builder.fits(length))
        && let Some(full) = slot.take()
    {
        send(run, finish(run, full)?)?;
    }
    let permit = run.host.memory.packs.enter(length, &run.halt)?;
    let filling = match slot {
        Some(filling) => filling,
        None => slot.insert(begin(run, sealed.kind)?),
    };
    // The run forgot that it sent this one before; once in a pack is enough.
    if !filling.builder.contains(&sealed.id) {
        filling.builder.push(sealed.id, filling.capsule, &sealed.frame)?;
        match &mut filling.permit {
            Some(all) => all.absorb(permit),
            none => *none = Some(permit),
        }
    }
    filling.tokens.push(framed.token);
    Ok(())
}

fn begin(run: &Run<'_>, kind: ChunkKind) -> Result<Filling> {
    let bytes_max = match kind {
        ChunkKind::Data => limits::PACK_BYTES_MAX,
        ChunkKind::Page => PAGE_PACK_BYTES_MAX,
    };
    let buffer = match kind {
        ChunkKind::Data => run.host.memory.pack_buffer(),
        ChunkKind::Page => Vec::new(),
    };
    let mut builder = PackBuilder::in_buffer(run.session.vault, kind, bytes_max, buffer);
    let capsule = builder.add_capsule(run.session.capsule.as_bytes())?;
    Ok(Filling { builder, capsule, permit: None, tokens: Vec::new() })
}

fn finish(run: &Run<'_>, filling: Filling) -> Result<Packed> {
    let index = run.session.index;
    let pack = filling.builder.finish(&|digest: &[u8; 32], plaintext: &[u8]| {
        let sealed = index.seal_footer(digest, plaintext, &*run.host.entropy)?;
        Ok((index.version, sealed))
    })?;
    Ok(Packed { pack, _permit: filling.permit, _tokens: filling.tokens })
}

pub(super) fn send(run: &Run<'_>, packed: Packed) -> Result<()> {
    run.packs_sent.fetch_add(1, Ordering::Relaxed);
    run.packed.push(packed)
}

/// How long no frame must come before a flush sends what there is.
const IDLE: Duration = Duration::from_millis(20);
/// How often a flush sends packs that are still filling, while frames keep coming.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
