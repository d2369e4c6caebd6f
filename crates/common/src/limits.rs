//! Every bound of the house, in one place, with how they relate. Sizes are bytes, spans seconds.
//!
//! What is part of the stored format (chunk and pack sizes) is also written in
//! `docs/design/repository-format.md`; a vault carries its own chunk sizes and never changes them.

pub const KIB: usize = 1 << 10;
pub const MIB: usize = 1 << 20;

pub const NAME_BYTES_MAX: usize = 63;

// Chunks: content-defined, fixed, whole.
pub const CDC_BYTES_MIN: usize = 256 * KIB;
pub const CDC_BYTES_AVG: usize = MIB;
pub const CDC_BYTES_MAX: usize = 4 * MIB;
/// For files that are changed in place: a multiple of every usual page size.
pub const FIXED_CHUNK_BYTES: usize = 128 * KIB;
/// The largest plaintext that any chunk may claim; checked before a byte is decompressed.
pub const CHUNK_BYTES_MAX: usize = CDC_BYTES_MAX;
/// A sealed frame: nonce, tag, codec byte and plain length around at most one chunk.
pub const FRAME_OVERHEAD_BYTES: usize = 12 + 16 + 5;
pub const FRAME_BYTES_MAX: usize = CHUNK_BYTES_MAX + FRAME_OVERHEAD_BYTES;

// Packs.
pub const PACK_BYTES_MAX: usize = 16 * MIB;
pub const PACK_SLOTS_MAX: usize = 1 << 16;
pub const PACK_CAPSULES_MAX: usize = 1 << 12;
/// What a run may put into the point's own object instead of packs.
pub const INLINE_PACK_BYTES_MAX: usize = 256 * KIB;

// Manifest pages.
pub const PAGE_BYTES_TARGET: usize = 128 * KIB;
pub const PAGE_BYTES_MAX: usize = 2 * MIB;
pub const ENTRY_BYTES_MAX: usize = MIB;
/// Chunks of one entry that its page may hold before the list moves to pages of its own.
pub const ENTRY_CHUNKS_INLINE_MAX: usize = 4096;

// The bitmap of a point, and records in a location.
pub const REACH_BYTES_MAX: usize = 256 * MIB;
pub const RECORD_BYTES_MAX: usize = MIB;
pub const POINT_OBJECT_BYTES_MAX: usize = RECORD_BYTES_MAX + INLINE_PACK_BYTES_MAX + KIB;
pub const SEGMENT_ROWS_MAX: usize = 1 << 18;

// The agent's window.
pub const OFFER_CHUNKS_MAX: usize = 1024;
pub const PACKS_IN_FLIGHT_MAX: usize = 4;
pub const STREAM_FRAME_BYTES: usize = 256 * KIB;
pub const FETCH_CHUNKS_MAX: usize = 1024;

// Messages.
pub const MESSAGE_BYTES_MAX: usize = 8 * MIB;
pub const LIST_PAGE_ROWS: usize = 10_000;

// The ledger.
pub const LEDGER_VALUE_BYTES_MAX: usize = 64 * KIB;
pub const LEDGER_COMMAND_BYTES_MAX: usize = MIB;
pub const LOG_CACHE_BYTES: usize = 64 * MIB;
pub const TABLE_CACHE_BYTES: u64 = 64 << 20;
pub const IDEMPOTENCY_KEYS_KEPT: u64 = 100_000;

// Leases, tokens, certificates.
pub const SESSION_LEASE_SECS: u64 = 15 * 60;
pub const TOKEN_TTL_SECS: u64 = 3600;
pub const CERT_TTL_SECS: u64 = 7 * 24 * 3600;
pub const OPERATOR_CERT_TTL_SECS: u64 = 365 * 24 * 3600;

const _: () = {
    assert!(CDC_BYTES_MIN < CDC_BYTES_AVG && CDC_BYTES_AVG < CDC_BYTES_MAX);
    assert!(CDC_BYTES_MIN.is_multiple_of(2) && CDC_BYTES_MAX.is_multiple_of(2));
    assert!(FIXED_CHUNK_BYTES.is_multiple_of(64 * KIB));
    assert!(FIXED_CHUNK_BYTES <= CHUNK_BYTES_MAX);
    assert!(FRAME_BYTES_MAX * 2 < PACK_BYTES_MAX);
    assert!(PAGE_BYTES_MAX <= CHUNK_BYTES_MAX && ENTRY_BYTES_MAX < PAGE_BYTES_MAX);
    assert!(INLINE_PACK_BYTES_MAX < PACK_BYTES_MAX);
    assert!(STREAM_FRAME_BYTES < MESSAGE_BYTES_MAX && FRAME_BYTES_MAX < MESSAGE_BYTES_MAX);
    assert!(PACK_SLOTS_MAX <= 1 << 24);
};
