//! What the agent may hold in memory, in one place, with the sum asserted.
//!
//! Two gates are shared by all runs of the process; the rest is counted per run. Nothing here grows
//! with the size of a file, of a directory or of the vault. The pack gate is large enough that all
//! runs may have their packs half full and one frame still fits: so a builder that waits for bytes
//! always waits for a pack on its way, never for another builder.

use crate::flow::{Gate, lock};
use crate::source::files::LinkGroups;
use holdfast_common::ChunkKind;
use holdfast_common::limits::{self, KIB, MIB};
use holdfast_repository::Pack;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// Runs at work at once; others wait for their turn.
pub const RUNS_MAX: usize = 2;
/// Threads that cut, and as many that seal, per run; fewer where there are fewer cores.
pub(super) const WORKERS_MAX: usize = 2;

/// The whole process.
const AGENT_BYTES_MAX: usize = 128 * MIB;
/// Code, stacks, TLS, the runtime, zstd's contexts.
const PROCESS_BYTES: usize = 15 * MIB;

/// Chunks between being cut and being packed; each is charged twice, for itself and its frame.
const IN_FLIGHT_BYTES: usize = 13 * MIB;
/// Packs being filled, packs being sent.
const PACK_BYTES: usize = 44 * MIB;
/// One chunk opened again, at a time: a copy of its frame and its plaintext.
const PROOF_BYTES: usize = 2 * limits::CHUNK_BYTES_MAX;

/// What a cutting thread reads into: a whole largest chunk, and room so that what is left over is
/// seldom moved.
pub(super) const CUT_BUFFER_BYTES: usize = limits::CHUNK_BYTES_MAX + MIB;
/// What a compressor keeps.
const COMPRESSOR_BYTES: usize = limits::CHUNK_BYTES_MAX;
/// Pages are small and few: their packs stop earlier.
pub(super) const PAGE_PACK_BYTES_MAX: usize = 3 * MIB;
/// Ids that a run remembers.
pub(super) const SEEN_IDS_MAX: usize = 1 << 15;
const SEEN_BYTES: usize = SEEN_IDS_MAX * 48;
/// How far entries may be ahead of the oldest that is not done.
pub(super) const ORDER_TICKETS_MAX: u64 = 1024;
pub(super) const ORDER_BYTES_MAX: usize = MIB;
/// Files handed out to be cut.
pub(super) const JOBS_MAX: usize = 16;
/// Paths of what was skipped, as far as they are kept.
pub(super) const SKIPPED_BYTES_MAX: usize = MIB / 2;
/// Blocks of the cache that are open, the manifest's open pages.
const TABLE_BYTES: usize = MIB / 2;
/// The table of inodes with links ahead: its rows, a byte of each place's state, made once.
const LINKS_BYTES: usize = (limits::LINKS_OPEN_MAX / 7 * 8) * (LinkGroups::ROW_BYTES + 1);
const RUN_BYTES: usize = WORKERS_MAX * (CUT_BUFFER_BYTES + COMPRESSOR_BYTES)
    + SEEN_BYTES
    + ORDER_BYTES_MAX
    + SKIPPED_BYTES_MAX
    + LINKS_BYTES
    + TABLE_BYTES;

/// The gates that all runs of a process share.
pub struct Memory {
    pub(super) in_flight: Arc<Gate>,
    pub(super) packs: Arc<Gate>,
    /// Held while a sealed chunk is opened again.
    pub(super) proof: Mutex<()>,
    /// Of packs that were sent, for those that come: fresh memory has to be cleared by the kernel,
    /// page by page. No more exist than were needed at once.
    pack_buffers: Mutex<Vec<Vec<u8>>>,
    runs: AtomicUsize,
}

/// A run at work.
pub(super) struct Turn(Arc<Memory>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.runs.fetch_sub(1, Relaxed);
        lock(&self.0.pack_buffers).clear();
    }
}

impl Memory {
    pub fn for_process() -> Arc<Self> {
        Arc::new(Self {
            in_flight: Gate::new(IN_FLIGHT_BYTES),
            packs: Gate::new(PACK_BYTES),
            proof: Mutex::new(()),
            pack_buffers: Mutex::default(),
            runs: AtomicUsize::new(0),
        })
    }

    pub(super) fn begin_run(self: &Arc<Self>) -> Turn {
        self.runs.fetch_add(1, Relaxed);
        lock(&self.pack_buffers).clear();
        Turn(Arc::clone(self))
    }

    /// For a pack of data; empty where none was sent yet.
    pub(super) fn pack_buffer(&self) -> Vec<u8> {
        lock(&self.pack_buffers).pop().unwrap_or_default()
    }

    /// Several runs have none to spare: the gate counts bytes in packs, not room.
    pub(super) fn keep_pack_buffer(&self, pack: Pack) {
        let mut bytes = pack.bytes;
        let is_alone = self.runs.load(Relaxed) == 1;
        if is_alone && pack.kind == ChunkKind::Data && bytes.is_unique() {
            bytes.clear();
            let mut kept = lock(&self.pack_buffers);
            if kept.len() < PACK_BUFFERS_KEPT {
                kept.push(bytes.into());
            }
        }
    }
}

/// One is filling while these wait; each is as large as the largest pack.
const PACK_BUFFERS_KEPT: usize = 2;

const SUM: usize =
    PROCESS_BYTES + IN_FLIGHT_BYTES + PACK_BYTES + PROOF_BYTES + RUNS_MAX * RUN_BYTES;

const _: () = {
    assert!(SUM <= AGENT_BYTES_MAX);
    assert!(LINKS_BYTES >= limits::LINKS_OPEN_MAX * (LinkGroups::ROW_BYTES + 1));
    assert!((limits::LINKS_OPEN_MAX / 7 * 8).is_power_of_two(), "or the table has room unused");
    assert!(IN_FLIGHT_BYTES >= 2 * limits::CHUNK_BYTES_MAX);
    assert!(PAGE_PACK_BYTES_MAX > limits::PAGE_BYTES_MAX + limits::CAPSULE_BYTES_MAX + 4 * KIB);
    let builders = limits::PACK_BYTES_MAX + PAGE_PACK_BYTES_MAX;
    assert!(RUNS_MAX * builders + limits::FRAME_BYTES_MAX <= PACK_BYTES);
};
