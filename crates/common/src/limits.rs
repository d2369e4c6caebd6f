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

// Keys: what is read before anything vouches for it.
/// A capsule of any suite; suite 1 takes about 100, a post-quantum hybrid about 1,300.
pub const CAPSULE_BYTES_MAX: usize = 4 * KIB;
/// Eight digits in the names of key objects.
pub const KEY_VERSION_MAX: u32 = 99_999_999;
pub const KEY_OBJECT_BYTES_MAX: usize = 16 * KIB;
/// A file that holds a KEK or a passphrase.
pub const KEY_FILE_BYTES_MAX: usize = 4 * KIB;
pub const BUNDLE_BYTES_MAX: usize = 64 * MIB;
pub const BUNDLE_HEADER_BYTES_MAX: usize = 4 * KIB;
/// Bounds on a passphrase derivation that somebody else wrote down.
pub const ARGON_MEMORY_KIB_MAX: u32 = 1 << 20;
pub const ARGON_PASSES_MAX: u32 = 16;
pub const ARGON_LANES_MAX: u32 = 16;

// Manifest pages.
pub const PAGE_BYTES_TARGET: usize = 128 * KIB;
pub const PAGE_BYTES_MAX: usize = 2 * MIB;
/// Levels of a manifest, leaves included. A branch has two rows at least, a real one hundreds.
pub const MANIFEST_HEIGHT_MAX: u32 = 32;
pub const ENTRY_BYTES_MAX: usize = MIB;
/// Chunks of one entry that its page may hold before the list moves to pages of its own.
pub const ENTRY_CHUNKS_INLINE_MAX: usize = 4096;

// The bitmap of a point, and records in a location.
pub const REACH_BYTES_MAX: usize = 256 * MIB;
pub const RECORD_BYTES_MAX: usize = MIB;
pub const POINT_OBJECT_BYTES_MAX: usize = RECORD_BYTES_MAX + INLINE_PACK_BYTES_MAX + KIB;
pub const SEGMENT_ROWS_MAX: usize = 1 << 18;

// Objects of a location. A part is what one directory entry can hold.
pub const OBJECT_NAME_BYTES_MAX: usize = 256;
pub const OBJECT_NAME_PART_BYTES_MAX: usize = 255;
pub const OBJECT_BYTES_MAX: usize = 512 * MIB;

// The agent's window.
pub const OFFER_CHUNKS_MAX: usize = 1024;
pub const PACKS_IN_FLIGHT_MAX: usize = 4;
/// Packs of one agent that may wait while so many are in flight; with them their windows.
pub const PACKS_WAITING_MAX: usize = 4;
pub const STREAM_FRAME_BYTES: usize = 256 * KIB;
pub const FETCH_CHUNKS_MAX: usize = 1024;

// Messages.
pub const MESSAGE_BYTES_MAX: usize = 8 * MIB;
/// What an agent may send in one message: a point with its inline packs, or a piece of a pack.
pub const INGEST_MESSAGE_BYTES_MAX: usize = POINT_OBJECT_BYTES_MAX + 16 * KIB;
/// What anybody may send who has no certificate.
pub const ENROLL_MESSAGE_BYTES_MAX: usize = 64 * KIB;
/// How long a sender may pause within a pack. A frame at 2 KiB a second takes this long.
pub const PUT_PAUSE_SECS: u64 = 128;
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
pub const AUTHORITY_TTL_SECS: u64 = 20 * 365 * 24 * 3600;
/// How far a new certificate reaches back, for hosts whose clocks run behind.
pub const CERT_BACKDATE_SECS: u64 = 300;
pub const CERT_REQUEST_BYTES_MAX: usize = 16 * KIB;
/// A file of certificates, a key or a context.
pub const IDENTITY_FILE_BYTES_MAX: usize = 256 * KIB;

// Connections.
pub const HANDSHAKE_TIMEOUT_SECS: u64 = 10;
pub const HANDSHAKES_MAX: usize = 256;
pub const CONNECTIONS_MAX: usize = 16_384;
pub const CONNECTION_BACKLOG_MAX: usize = 64;
/// After this a connection is wound down, so that its peer proves itself again.
pub const CONNECTION_AGE_SECS: u64 = 30 * 60;
pub const CONNECT_TIMEOUT_SECS: u64 = 5;
pub const KEEPALIVE_INTERVAL_SECS: u64 = 20;
pub const KEEPALIVE_TIMEOUT_SECS: u64 = 10;
/// Windows bound what a receiver holds: streams × window, at most the connection's.
pub const DATA_STREAM_WINDOW_BYTES: u32 = 16 << 20;
pub const DATA_CONNECTION_WINDOW_BYTES: u32 = 32 << 20;
pub const DATA_HTTP_FRAME_BYTES: u32 = 256 << 10;
pub const STREAMS_PER_CONNECTION_MAX: u32 = 256;

// Reading and writing a host. What one entry may hold, so that it always fits its page.
pub const PATH_BYTES_MAX: usize = 64 * KIB;
pub const PATH_PART_BYTES_MAX: usize = 255;
pub const ENTRY_XATTR_BYTES_MAX: usize = 256 * KIB;
pub const SPARSE_RANGES_MAX: usize = 1 << 14;
/// A chunk's row in an entry: its id, its length and the CBOR around them, rounded up.
const ENTRY_CHUNK_ROW_BYTES: usize = 44;
/// A data range's row in an entry, rounded up.
const ENTRY_RANGE_ROW_BYTES: usize = 20;
pub const EXCLUDE_PATTERNS_MAX: usize = 10_000;
pub const EXCLUDE_PATTERN_BYTES_MAX: usize = 4 * KIB;
/// How often a file that changes while it is read is read before it is flagged and kept.
pub const READ_ATTEMPTS_MAX: usize = 3;
/// Inodes with links not yet seen; beyond it their links are stored as files of their own.
pub const LINKS_OPEN_MAX: usize = 1 << 20;
/// Directories that a walk keeps open at once; deeper trees reopen their parents.
pub const WALK_OPEN_MAX: usize = 32;
/// Parent directories that a restore keeps open at once.
pub const TARGET_OPEN_MAX: usize = 64;
/// `/etc/passwd` and `/etc/group` are read up to here.
pub const OWNER_FILE_BYTES_MAX: u64 = 16 << 20;

const _: () = {
    assert!(CDC_BYTES_MIN < CDC_BYTES_AVG && CDC_BYTES_AVG < CDC_BYTES_MAX);
    assert!(CDC_BYTES_MIN.is_multiple_of(2) && CDC_BYTES_MAX.is_multiple_of(2));
    assert!(FIXED_CHUNK_BYTES.is_multiple_of(64 * KIB));
    assert!(FIXED_CHUNK_BYTES <= CHUNK_BYTES_MAX);
    assert!(FRAME_BYTES_MAX * 2 < PACK_BYTES_MAX);
    assert!(
        PATH_BYTES_MAX
            + ENTRY_XATTR_BYTES_MAX
            + SPARSE_RANGES_MAX * ENTRY_RANGE_ROW_BYTES
            + ENTRY_CHUNKS_INLINE_MAX * ENTRY_CHUNK_ROW_BYTES
            + 16 * KIB
            < ENTRY_BYTES_MAX
    );
    assert!(PAGE_BYTES_MAX <= CHUNK_BYTES_MAX && ENTRY_BYTES_MAX < PAGE_BYTES_MAX);
    assert!(2 * PATH_BYTES_MAX + KIB < PAGE_BYTES_MAX);
    assert!(INLINE_PACK_BYTES_MAX < PACK_BYTES_MAX);
    assert!(PACK_BYTES_MAX < OBJECT_BYTES_MAX && REACH_BYTES_MAX < OBJECT_BYTES_MAX);
    assert!(OBJECT_NAME_PART_BYTES_MAX < OBJECT_NAME_BYTES_MAX);
    assert!(STREAM_FRAME_BYTES < MESSAGE_BYTES_MAX && FRAME_BYTES_MAX < MESSAGE_BYTES_MAX);
    assert!(STREAM_FRAME_BYTES + KIB < INGEST_MESSAGE_BYTES_MAX);
    assert!(INGEST_MESSAGE_BYTES_MAX < MESSAGE_BYTES_MAX);
    assert!(CERT_REQUEST_BYTES_MAX < ENROLL_MESSAGE_BYTES_MAX);
    assert!(PACK_SLOTS_MAX <= 1 << 24);
    assert!(DATA_STREAM_WINDOW_BYTES <= DATA_CONNECTION_WINDOW_BYTES);
    assert!(CERT_TTL_SECS < OPERATOR_CERT_TTL_SECS);
    assert!(OPERATOR_CERT_TTL_SECS < AUTHORITY_TTL_SECS);
    assert!(CAPSULE_BYTES_MAX <= u16::MAX as usize);
    assert!(BUNDLE_HEADER_BYTES_MAX < BUNDLE_BYTES_MAX);
};
