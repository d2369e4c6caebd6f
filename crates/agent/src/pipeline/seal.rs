//! The fourth stage: compress and seal. Several threads; this is where most of the time goes.
//!
//! One chunk in 64 is opened again and compared, as a proof that this host computes correctly: a
//! backup must not be ruined quietly by bad memory. Which ones is decided by their ids.

use super::run::Run;
use super::unsettled::Token;
use crate::flow::{Permit, lock};
use holdfast_common::Result;
use holdfast_seal::{Opener, PlainChunk, SealedChunk, Sealer};

/// A chunk that waits for an answer or for being sealed.
pub(super) struct Held {
    pub(super) chunk: PlainChunk,
    pub(super) permit: Permit,
    pub(super) token: Token,
}

/// A sealed chunk that waits for its pack.
pub(super) struct Framed {
    pub(super) sealed: SealedChunk,
    /// Given back when the frame was copied into a pack.
    pub(super) _permit: Permit,
    pub(super) token: Token,
}

pub(super) fn seal(run: &Run<'_>) -> Result<()> {
    let level = if run.request.level == 0 { LEVEL_USUAL } else { run.request.level };
    let key = std::sync::Arc::clone(&run.session.data_key);
    let mut sealer = Sealer::new(run.session.vault, key, level)?;
    while let Some(Held { chunk, permit, token }) = run.held.pop() {
        let sealed = sealer.seal(&chunk, &*run.host.entropy)?;
        drop(chunk);
        if sealed.id.as_bytes()[0].is_multiple_of(PROOF_ONE_IN) {
            prove(run, &sealed)?;
        }
        run.framed.push(Framed { sealed, _permit: permit, token })?;
    }
    Ok(())
}

/// One at a time in the process; the opener's buffers are freed again.
fn prove(run: &Run<'_>, sealed: &SealedChunk) -> Result<()> {
    let _turn = lock(&run.host.memory.proof);
    Opener::new(run.session.vault)?.verify_sealed(sealed, &run.session.data_key, &run.session.ids)
}

const LEVEL_USUAL: i32 = 3;
const PROOF_ONE_IN: u8 = 64;
