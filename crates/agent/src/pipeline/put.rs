//! The last stage of a byte: packs go to the cluster, several at once, each until it is durable in
//! every required location. Only then its chunks are settled and its memory is given back.

use super::pack::Packed;
use super::progress::add;
use super::run::Run;
use holdfast_common::Result;
use std::sync::Arc;

pub(super) fn put(run: &Run<'_>) -> Result<()> {
    while let Some(packed) = run.packed.pop() {
        let bandwidth = Arc::clone(&run.bandwidth);
        let clock = Arc::clone(&run.host.clock);
        let pace = move |bytes| bandwidth.take(bytes, clock.elapsed());
        let Packed { pack, _permit: permit, _tokens: tokens } = packed;
        run.halt.wait_for(&run.host.handle, run.ingest.put(pack.id, &pack.bytes, pace))?;
        add(&run.progress.bytes_stored, pack.bytes.len() as u64);
        run.host.memory.keep_pack_buffer(pack);
        drop((permit, tokens));
    }
    Ok(())
}
