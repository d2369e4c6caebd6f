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
/// How far behind the newest an operator makes a further version, whatever coordinators say.
pub const KEY_VERSION_STEP_MAX: u32 = 1000;
/// Versions of one vault's keys. An agent is told how each followed the one before.
pub const KEY_VERSIONS_MAX: usize = 256;
/// A person who asks that a version be destroyed waits so long for another one who agrees.
pub const KEY_REQUEST_SECS: u64 = 7 * 24 * 3600;
/// Points that a version takes along when it is destroyed; retention lets more of them go first.
pub const KEY_POINTS_LOST_MAX: usize = 2_000;
/// Points that make up for these: for each one everywhere, and one in each of a few locations.
pub const KEY_SUCCESSORS_MAX: usize = 8_000;
/// What is kept of a version that was destroyed: public halves and a signature.
pub const KEY_REMAINS_BYTES_MAX: usize = KIB;
pub const KEY_OBJECT_BYTES_MAX: usize = 16 * KIB;
/// A file that holds a KEK or a passphrase.
pub const KEY_FILE_BYTES_MAX: usize = 4 * KIB;
/// A KEK as its provider sealed it: 32 bytes, and what a provider puts around them.
pub const SEALED_KEK_BYTES_MAX: usize = 4 * KIB;
/// What a provider calls its key, or a version of it: an ARN has 2,048 letters at most.
pub const KEK_NAME_BYTES_MAX: usize = 2 * KIB;
/// What a KEK's provider may answer; a key of many versions lists them all.
pub const PROVIDER_ANSWER_BYTES_MAX: usize = 256 * KIB;
/// How often a member asks its KEK's provider whether it would open the KEK; and at most, however
/// often somebody wants to know.
pub const KEK_LOOK_SECS: u64 = 300;
pub const KEK_LOOK_SECS_MIN: u64 = 5;
/// For how many different KEKs one source is tried, by whoever opens a location without a cluster.
/// Each change of the KEK leaves one there.
pub const KEK_QUESTIONS_MAX: usize = 256;
pub const BUNDLE_BYTES_MAX: usize = 64 * MIB;
pub const BUNDLE_HEADER_BYTES_MAX: usize = 4 * KIB;
pub const BUNDLE_PASSPHRASE_BYTES_MIN: usize = 8;
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

// The index of a coordinator.
/// Footers that are read at once when an index is loaded.
pub const FOOTERS_IN_FLIGHT_MAX: usize = 8;
/// How long a reader waits for an index that is being loaded.
pub const INDEX_WAIT_SECS: u64 = 20;

// Objects of a location. A part is what one directory entry can hold.
pub const OBJECT_NAME_BYTES_MAX: usize = 256;
pub const OBJECT_NAME_PART_BYTES_MAX: usize = 255;
pub const OBJECT_BYTES_MAX: usize = 512 * MIB;

// The agent's window.
pub const OFFER_CHUNKS_MAX: usize = 1024;
/// Copies of a chunk, by other agents of a vault that shares, that a point reaches.
pub const CHUNK_COPIES_MAX: usize = 16;
pub const PACKS_IN_FLIGHT_MAX: usize = 4;
/// Packs of one agent that may wait while so many are in flight; with them their windows.
pub const PACKS_WAITING_MAX: usize = 4;
pub const STREAM_FRAME_BYTES: usize = 256 * KIB;
pub const FETCH_CHUNKS_MAX: usize = 1024;

// Between members.
/// Entries of the log in one message; a single larger one goes alone.
pub const APPEND_BYTES_MAX: usize = 2 * MIB;
/// After so many entries a snapshot is taken, unless the configuration says another number.
pub const SNAPSHOT_ENTRIES: u64 = 50_000;
pub const SNAPSHOT_ENTRIES_MIN: u64 = 20;
/// A snapshot goes to the locations after this many times the entries between two of them, and once
/// a day when there is anything to tell.
pub const SHIPPED_SNAPSHOT_TIMES: u64 = 2;
pub const SHIPPED_SNAPSHOT_SECS: u64 = 24 * 3600;
pub const SHIPPED_SNAPSHOT_ENTRIES_MIN: u64 = 100;
/// What one part of a shipped snapshot holds.
pub const SHIPPED_PART_BYTES: usize = 8 * MIB;
/// Entries of one extent of the shipped log, and their bytes before the last of them.
pub const EXTENT_ENTRIES_MAX: u64 = 256;
pub const EXTENT_BYTES_MAX: usize = 8 * MIB;
/// The longest snapshot that a member takes from another.
pub const SNAPSHOT_BYTES_MAX: u64 = 64 << 30;
/// Calls of one member that are open at once: it speaks for all its callers.
pub const CALLS_PER_MEMBER_MAX: usize = 4096;

// Messages.
pub const MESSAGE_BYTES_MAX: usize = 8 * MIB;
/// What an agent may send in one message: a point with its inline packs, or a piece of a pack.
pub const INGEST_MESSAGE_BYTES_MAX: usize = POINT_OBJECT_BYTES_MAX + 16 * KIB;
/// What anybody may send who has no certificate.
pub const ENROLL_MESSAGE_BYTES_MAX: usize = 64 * KIB;
/// What one call may send that has no need of more: an offer of 1,024 chunks takes half of it.
pub const SMALL_REQUEST_BYTES_MAX: usize = 64 * KIB;
/// A request must be there whole within this; the largest then comes at 10 KiB a second.
pub const REQUEST_SECS_MAX: u64 = 128;
/// Calls of one identity that may be open at once, however many connections it has. An agent of
/// ours comes to about a dozen.
pub const CALLS_PER_CALLER_MAX: usize = 64;
/// Of these, calls with a large message: a point, many resources.
pub const LARGE_CALLS_PER_CALLER_MAX: usize = 8;
pub const LIST_PAGE_ROWS: usize = 10_000;
/// Rows of packs that are read at once: those that took numbers over are long.
pub const PACK_PAGE_ROWS: usize = 2000;

// Receiving packs. A sender that falls below the pace gives its share of the budget back.
/// Slow lines are real, so this is little; but one byte a minute must not hold 16 MiB.
pub const PUT_BYTES_PER_SECOND_MIN: u64 = 8 * KIB as u64;
/// The pace is looked at in windows; a sender that stops is found out when its window ends.
pub const PUT_WINDOW_SECS: u64 = 32;
/// What a policy's own bound must leave: all packs in flight keep the pace, twice over.
pub const POLICY_BYTES_PER_SECOND_MIN: u64 =
    2 * PACKS_IN_FLIGHT_MAX as u64 * PUT_BYTES_PER_SECOND_MIN;

// The byte budgets of a coordinator: one for what comes in, one for what goes out, so that neither
// can starve the other. Together with the caches and the windows they stay below 256 MiB.
pub const WRITE_BUDGET_BYTES: usize = 96 * MIB;
pub const READ_BUDGET_BYTES: usize = 32 * MIB;
/// Objects on their way into a location that is filled up; their bytes are of the read budget.
pub const COPIES_IN_FLIGHT_MAX: usize = 4;
/// What copies into one location hold in memory.
pub const COPY_BUDGET_BYTES: usize = 32 * MIB;
/// Objects that a location did not list, or that none has whole, and that are looked for one by
/// one.
pub const OBJECTS_LACKED_MAX: usize = 20_000;
/// Objects that no location has whole and nothing relies on, and that are told one by one; of more
/// there is a count.
pub const OBJECTS_LEFT_TOLD_MAX: usize = 100;
/// Who may wait for a share, and for how long; then it is told to try again.
pub const BUDGET_WAITERS_MAX: usize = 256;
pub const BUDGET_WAIT_SECS: u64 = 60;
/// A reader that takes not one message for so long is cut off; ours come back for the rest. Four of
/// the largest chunks side by side need 1 Mbit a second.
pub const READ_PAUSE_SECS: u64 = 128;
/// Read sessions keep the reach of their point in memory.
pub const READ_SESSIONS_MAX: usize = 256;

// The ledger.
/// One text of a request: a reason, a description.
pub const TEXT_BYTES_MAX: usize = 8 * KIB;
pub const LEDGER_VALUE_BYTES_MAX: usize = 96 * KIB;
pub const LEDGER_COMMAND_BYTES_MAX: usize = MIB;
/// For a log that is still in redb, while it is moved.
pub const LOG_CACHE_BYTES: usize = 64 * MIB;
/// From so many bytes on the log goes on in a new file; old ones are deleted whole.
pub const LOG_VOLUME_BYTES: usize = 16 * MIB;
/// Zeros that are laid ahead of what is written to the log.
pub const LOG_AHEAD_BYTES_MIN: usize = 64 * KIB;
pub const LOG_AHEAD_BYTES_MAX: usize = MIB;
pub const TABLE_CACHE_BYTES: u64 = 32 << 20;
/// Rows in memory go to the tables on disk together, when they come to so much.
pub const TABLE_LAYER_BYTES: usize = 64 * KIB;
/// What may be in memory while a snapshot is written, or the disk is slow; then writes wait.
pub const TABLE_LAYERS_BYTES_MAX: usize = 32 * MIB;
/// The newest entries of the log are read from memory.
pub const LOG_RECENT_BYTES_MAX: usize = 4 * MIB;
/// Paths and patterns of one source: they stand in the row of every run.
pub const SOURCE_BYTES_MAX: usize = 24 * KIB;
/// Paths of one restore, and what it says it skipped: sealed, in the row of its run.
pub const RESTORE_PATHS_BYTES_MAX: usize = 16 * KIB;
pub const RESTORE_REPORT_BYTES_MAX: usize = 24 * KIB;
/// Directories of a restore that wait in memory for their attributes; more wait in the target.
pub const RESTORE_DIRECTORIES_BYTES_MAX: usize = 8 * MIB;
/// First paths of hard links that a restore has in memory; more lie in the target.
pub const RESTORE_LINKS_BYTES_MAX: usize = 4 * MIB;
/// Paths that a restore names of what it skipped; of more it keeps the count.
pub const RESTORE_SKIPPED_BYTES_MAX: usize = 16 * MIB;
pub const IDEMPOTENCY_KEYS_KEPT: u64 = 100_000;
/// Recovery bundles that the ledger remembers; older ones count for nothing.
pub const BUNDLES_KEPT: usize = 16;
/// Members of the cluster that are not removed, learners included.
pub const MEMBERS_MAX: usize = 32;
/// Epochs are written with 24 bits in chunk numbers.
pub const EPOCH_MAX: u64 = (1 << 24) - 1;
/// So many epochs a witness may have missed that is told of a newer one.
pub const EPOCHS_MISSED_MAX: u64 = 64;
/// Why an operator takes the lead for a region.
pub const REASON_BYTES_MAX: usize = 512;
/// What is kept of what a region did alone, until somebody has settled it.
pub const FINDINGS_KEPT_MAX: usize = 4_096;
pub const FINDINGS_BYTES_MAX: usize = 2 * MIB;
/// Findings go to the ledger in parts; one of them is a row.
pub const FINDINGS_PART_BYTES_MAX: usize = 512 * KIB;
/// Where a member is reached, as `host:port`.
pub const ADDRESS_BYTES_MAX: usize = 255;
/// Agents of which one command says that they came, stayed or went.
pub const AGENTS_SEEN_MAX: usize = 1024;
/// Points of which one command says that they lie in one more location.
pub const POINTS_PLACED_MAX: usize = 1000;
/// Packs of which one command says that a location lacks them.
pub const PACKS_ABSENT_MAX: usize = 1000;
/// Points that a plan names one by one, of those that would be out of reach; of more there is a
/// count.
pub const POINTS_OUT_OF_REACH_TOLD_MAX: usize = 200;
/// The longest that a vault may have its backups wait for a location that is away.
pub const LOCATION_WAIT_SECS_MAX: u64 = 300;
/// What the ledger keeps of a sentence about a location.
pub const PROBLEM_CHARS_MAX: usize = 500;
/// How long locks may be that a vault wants: what nobody can take back is neither a slip of a
/// second nor one of a century.
pub const LOCK_SECS_MIN: u64 = 60;
pub const LOCK_SECS_MAX: u64 = 10 * 366 * 86_400;
/// A location that follows is late when a point of this age does not lie there.
pub const COPIES_LAG_SECS_MAX: u64 = 15 * 60;
/// Locations of which one command says how far their copies are.
pub const COPIES_NOTED_MAX: usize = 32;
/// What is read back a day in each location of a vault that does not say.
pub const CHECK_BYTES_PER_DAY: u64 = 8 << 30;
/// Slower than this, a vault of some size is never read to its end.
pub const CHECK_BYTES_PER_DAY_MIN: u64 = 64 << 20;
/// How long after one pass over a location began the next one begins, at the earliest.
pub const CHECK_EVERY_HOURS: u32 = 24;
pub const CHECK_EVERY_HOURS_MAX: u32 = 366 * 24;
/// What an object counts for that is smaller: each is a call too.
pub const CHECK_OBJECT_BYTES_MIN: u64 = 4 * KIB as u64;
/// Damage that one command tells of, and that is kept of one location.
pub const DAMAGE_NOTED_MAX: usize = 128;
pub const DAMAGE_KEPT_MAX: usize = 1024;
/// Points that are kept by their ids with what they need and is damaged.
pub const DAMAGE_POINTS_MAX: usize = 16;
/// They were not counted.
pub const DAMAGE_POINTS_MANY: u64 = u64::MAX;
/// Reaches that are read in a pass over a location to name the points that need what is damaged.
pub const CHECK_REACHES_MAX: usize = 10_000;

// Retention.
/// Nothing is forgotten before it is so old, unless its policy says otherwise.
pub const PROTECT_SECS: u64 = 14 * 24 * 3600;
/// Rules that were changed are carried out by themselves after so long: there is time to look.
pub const RETENTION_SETTLES_SECS: u64 = 24 * 3600;
/// A point with more than so many times the entries of the newest is not let go: that may be junk.
pub const ENTRIES_FEWER_TIMES: u64 = 10;
/// Points that one command forgets; all of them go in one batch.
pub const POINTS_FORGOTTEN_MAX: usize = 256;
/// Points that are in memory while it is planned what goes; policies that do not fit come next.
pub const POINTS_PLANNED_MAX: usize = 200_000;
/// Checkpoints that nobody needs any more and that one plan lets go beside; others come next.
pub const STEPS_PLANNED_MAX: usize = 20_000;
/// Points whose reach is read to say how much a plan frees; of a larger vault it is not said.
pub const REACHES_WEIGHED_MAX: usize = 4_096;
/// Points that one call may ask to forget.
pub const POINTS_ASKED_MAX: usize = 1_000;
/// Of points and policies. Of agents there are as many as were revoked.
pub const HOLDS_MAX: usize = 10_000;
/// Beside what it is about, a reason fits into one row of the audit log.
pub const HOLD_REASON_BYTES_MAX: usize = 120;
/// So long after its end a hold is still known, and no longer.
pub const HOLD_ENDED_KEPT_SECS: u64 = 30 * 24 * 3600;
/// Old runs that are looked at for points that are left of them.
pub const RUNS_LOOKED_AT_MAX: usize = 10_000;
/// Runs are forgotten so long after their end, when none of their points is left.
pub const RUNS_KEPT_SECS: u64 = 400 * 24 * 3600;
/// Rows of the audit log stay for so long, whatever its rule says: as long as runs do.
pub const AUDIT_KEPT_SECS_MIN: u64 = RUNS_KEPT_SECS;
/// Rows of the audit log that one command lets go.
pub const AUDIT_ROWS_CUT_MAX: u64 = 1_000;
/// Commands of that kind for each look at what has grown old.
pub const AUDIT_CUTS_PER_LOOK: u64 = 50;
/// Runs that one command forgets.
pub const RUNS_FORGOTTEN_MAX: usize = 256;

// Collection.
/// A pack of which less than this part is alive is written anew.
pub const COLLECT_LIVE_PERCENT_MIN: u32 = 50;
/// Packs shorter than this are merged when there are enough of them.
pub const COLLECT_PACK_BYTES_MIN: u32 = 4 << 20;
/// Rounds begin by themselves so often.
pub const COLLECT_EVERY_SECS: u64 = 24 * 3600;
/// After one that could not be made, the next is tried.
pub const COLLECT_AGAIN_SECS: u64 = 3600;
/// So long after its entry an object is deleted: who took the lead elsewhere is seen by then.
pub const COLLECT_DELAY_SECS: u64 = 24 * 3600;
/// A round that is open for longer is told of.
pub const COLLECT_ROUND_SECS: u64 = 24 * 3600;
/// A round that is open for longer is ended, and the next one begun.
pub const COLLECT_ROUND_SECS_MAX: u64 = 3 * 24 * 3600;
/// Points that come while a round is open, and are noted for its second mark.
pub const COLLECT_POINTS_NOTED_MAX: u64 = 100_000;
/// Noted points that one command forgets.
pub const POINTS_CLEARED_MAX: usize = 2_000;
/// What was given up and has not gone so long after that is told of.
pub const COLLECT_STUCK_SECS: u64 = 3 * 24 * 3600;
/// What the ledger keeps of why a round ended.
pub const COLLECT_PROBLEM_CHARS_MAX: usize = 500;
/// Packs of which one command says that they are condemned, spared, doomed or gone; points of which
/// one says that they are gone.
pub const PACKS_COLLECTED_MAX: usize = 1000;
/// Runs of numbers that one pack takes over from others.
pub const TAKEN_RUNS_MAX: usize = 1000;
/// Packs that one round packs anew. Until they are, what backups have of them is sent again.
pub const PACKS_REPACKED_MAX: usize = 4000;

// Bundles and room.
/// After this a bundle has to be opened once more to prove that it can be.
pub const BUNDLE_AGE_SECS: u64 = 90 * 24 * 3600;
/// With less than this free on the ledger's disk nothing new begins.
pub const LEDGER_FREE_BYTES_MIN: u64 = 32 << 20;
/// Held by a file, and given up when the disk is full, for what ends things and brings data back.
pub const LEDGER_RESERVE_BYTES: u64 = 32 << 20;
/// With less than this nothing is proposed at all: a write that fails would stop the ledger.
pub const LEDGER_LAST_BYTES: u64 = 8 << 20;

/// With so much free, one look at the disk is good for all commands of a moment.
pub const LEDGER_PLENTY_BYTES: u64 = 1 << 30;

// Leases, tokens, certificates.
pub const SESSION_LEASE_SECS: u64 = 15 * 60;
pub const TOKEN_TTL_SECS: u64 = 3600;
pub const CERT_TTL_SECS: u64 = 7 * 24 * 3600;
pub const OPERATOR_CERT_TTL_SECS: u64 = 365 * 24 * 3600;
/// Whoever stands, and whoever was revoked or has run out and is still remembered.
pub const OPERATORS_MAX: usize = 1000;
pub const OPERATORS_GONE_MAX: usize = 1000;
/// How long before its end an operator's certificate is spoken of.
pub const OPERATOR_ENDING_SECS: u64 = 14 * 24 * 3600;
pub const OPERATOR_REQUEST_BYTES_MAX: usize = 4 * KIB;
pub const AUTHORITY_TTL_SECS: u64 = 20 * 365 * 24 * 3600;
/// How far a new certificate reaches back, for clocks that are wrong by a day or two: whoever is
/// behind must still take what was issued ahead, and a key is no older for it.
pub const CERT_BACKDATE_SECS: u64 = 3 * 24 * 3600;
pub const CERT_REQUEST_BYTES_MAX: usize = 16 * KIB;
/// A file of certificates, a key or a context.
pub const IDENTITY_FILE_BYTES_MAX: usize = 256 * KIB;

// Connections.
pub const HANDSHAKE_TIMEOUT_SECS: u64 = 10;
pub const HANDSHAKES_MAX: usize = 256;
pub const HANDSHAKES_PER_ADDRESS_MAX: usize = 128;
/// After this a handshake's place goes to whoever comes next, when all are taken.
pub const HANDSHAKE_SAFE_SECS: u64 = 1;
/// Each takes some 100 KiB once it has been used.
pub const CONNECTIONS_MAX: usize = 4096;
/// An agent needs two, and as many again while a line that broke has not been noticed.
pub const CONNECTIONS_PER_AGENT_MAX: usize = 8;
/// People run scripts of many commands, each with connections of its own.
pub const CONNECTIONS_PER_IDENTITY_MAX: usize = 64;
pub const CONNECTION_BACKLOG_MAX: usize = 64;
/// After this a connection is wound down, so that its peer proves itself again.
pub const CONNECTION_AGE_SECS: u64 = 30 * 60;
pub const CONNECT_TIMEOUT_SECS: u64 = 5;
pub const KEEPALIVE_INTERVAL_SECS: u64 = 20;
pub const KEEPALIVE_TIMEOUT_SECS: u64 = 10;
/// Of one member to another.
pub const PEER_KEEPALIVE_INTERVAL_SECS: u64 = 2;
pub const PEER_KEEPALIVE_TIMEOUT_SECS: u64 = 3;
/// Windows bound what a receiver holds: streams × window, at most the connection's. These are a
/// client's, for restores.
pub const DATA_STREAM_WINDOW_BYTES: u32 = 16 << 20;
pub const DATA_CONNECTION_WINDOW_BYTES: u32 = 32 << 20;
/// A server has many clients. Over a line of 100 ms this is 40 MB a second for each.
pub const SERVER_STREAM_WINDOW_BYTES: u32 = 1 << 20;
pub const SERVER_CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
pub const DATA_HTTP_FRAME_BYTES: u32 = 256 << 10;
pub const HTTP_HEADER_BYTES_MAX: u32 = 16 << 10;
pub const STREAMS_PER_CONNECTION_MAX: u32 = 256;

// Strangers: whoever shows no certificate. Joining takes one call and less than a second.
pub const STRANGERS_MAX: usize = 128;
pub const STRANGERS_PER_ADDRESS_MAX: usize = 32;
/// After this a stranger's place goes to whoever comes next, when all are taken.
pub const STRANGER_SAFE_SECS: u64 = 5;
/// After this its connection is closed, whatever it does.
pub const STRANGER_SECS_MAX: u64 = 30;
pub const STRANGER_STREAMS_MAX: u32 = 4;
pub const STRANGER_STREAM_WINDOW_BYTES: u32 = 32 << 10;
pub const STRANGER_CONNECTION_WINDOW_BYTES: u32 = 64 << 10;

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
/// Inodes with links not yet seen, as many as a table of 2^16 places holds; beyond it their links
/// are stored as files of their own.
pub const LINKS_OPEN_MAX: usize = (1 << 16) / 8 * 7;
/// Directories that a walk keeps open at once; deeper trees reopen their parents.
pub const WALK_OPEN_MAX: usize = 32;
/// Parent directories that a restore keeps open at once.
pub const TARGET_OPEN_MAX: usize = 64;
/// `/etc/passwd` and `/etc/group` are read up to here.
pub const OWNER_FILE_BYTES_MAX: u64 = 16 << 20;

// A mount. Beside its cache it holds what these allow, however large the points are.
/// Opened chunks, unless the command says another size.
pub const MOUNT_CACHE_BYTES: usize = 128 * MIB;
/// Some of the largest chunks side by side.
pub const MOUNT_CACHE_BYTES_MIN: usize = 16 * MIB;
/// Requests of the kernel that are worked on at once; further ones wait in the kernel.
pub const MOUNT_REQUESTS_MAX: usize = 8;
/// Threads that fetch what will be read next, and how much each reader is ahead.
pub const MOUNT_AHEAD_THREADS: usize = 2;
pub const MOUNT_AHEAD_BYTES: u64 = 8 << 20;
pub const MOUNT_AHEAD_WAITING_MAX: usize = 16;
/// What one call for chunks asks for, unless a single chunk is larger.
pub const MOUNT_FETCH_BYTES: usize = 2 * MIB;
/// Points that are held open by read sessions of their own; the one used longest ago makes room.
pub const MOUNT_POINTS_OPEN_MAX: usize = 8;
/// Points that are shown by their times; of more, the newest.
pub const MOUNT_POINTS_LISTED_MAX: usize = 100_000;
/// After so long without a reader a point is not held any more.
pub const MOUNT_IDLE_SECS: u64 = 4 * 3600;
/// How often it is said that a point is still being read.
pub const MOUNT_KEEP_SECS: u64 = 60;
/// How old the list of points may be that is shown.
pub const MOUNT_REFRESH_SECS: u64 = 5;
/// The same where it takes long to be told.
pub const MOUNT_REFRESH_SECS_MAX: u64 = 30;
/// Open files and directories, and the tables of chunks of the files among them.
pub const MOUNT_HANDLES_MAX: usize = 1024;
pub const MOUNT_HANDLE_BYTES_MAX: usize = 64 * MIB;
/// Entries that the kernel knows. From the half on it is asked to forget the oldest.
pub const MOUNT_NODE_BYTES_MAX: usize = 64 * MIB;
/// Hard links of one point whose first paths are remembered.
pub const MOUNT_LINK_BYTES_MAX: usize = 16 * MIB;
/// Entries of a directory that are read at once, and about what they take with their paths.
pub const MOUNT_DIRECTORY_ROWS: usize = 128;
pub const MOUNT_DIRECTORY_BYTES: usize = 64 * KIB;
/// Things that are told once, and for how long they are remembered so as not to be told again.
pub const MOUNT_TOLD_MAX: usize = 1000;
pub const MOUNT_TOLD_SECS: u64 = 3600;

const _: () = {
    assert!(4 * CHUNK_BYTES_MAX <= MOUNT_CACHE_BYTES_MIN);
    assert!(MOUNT_CACHE_BYTES_MIN <= MOUNT_CACHE_BYTES);
    assert!(MOUNT_FETCH_BYTES <= MOUNT_CACHE_BYTES_MIN);
    assert!(MOUNT_AHEAD_BYTES as usize <= MOUNT_CACHE_BYTES_MIN / 2);
    assert!(3 * MOUNT_KEEP_SECS < SESSION_LEASE_SECS && MOUNT_KEEP_SECS < MOUNT_IDLE_SECS);
    assert!(MOUNT_POINTS_OPEN_MAX < READ_SESSIONS_MAX / 4);
    assert!(MOUNT_POINTS_OPEN_MAX < CONNECTIONS_PER_IDENTITY_MAX / 2);
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
    assert!(
        SOURCE_BYTES_MAX
            + RESTORE_PATHS_BYTES_MAX
            + RESTORE_REPORT_BYTES_MAX
            + PATH_BYTES_MAX / 4
            + 4 * KIB
            < LEDGER_VALUE_BYTES_MAX
    );
    assert!(PACK_SLOTS_MAX <= 1 << 24);
    // An id takes 17 bytes.
    assert!(AGENTS_SEEN_MAX * 17 + KIB < LEDGER_COMMAND_BYTES_MAX);
    assert!(POINTS_PLACED_MAX * 17 + KIB < LEDGER_COMMAND_BYTES_MAX);
    // An id of a pack takes 34 bytes.
    assert!(PACKS_ABSENT_MAX * 34 + KIB < LEDGER_COMMAND_BYTES_MAX);
    assert!(4 * COLLECT_PACK_BYTES_MIN as usize <= PACK_BYTES_MAX);
    assert!(COLLECT_LIVE_PERCENT_MIN <= 100);
    assert!(COLLECT_DELAY_SECS < COLLECT_STUCK_SECS);
    assert!(COLLECT_ROUND_SECS < COLLECT_ROUND_SECS_MAX);
    assert!(PACKS_COLLECTED_MAX * 34 + KIB < LEDGER_COMMAND_BYTES_MAX);
    // A run takes 20 bytes.
    assert!(TAKEN_RUNS_MAX * 20 + KIB < LEDGER_VALUE_BYTES_MAX);
    assert!(TAKEN_RUNS_MAX * 20 + PACKS_COLLECTED_MAX * 34 + KIB < LEDGER_COMMAND_BYTES_MAX);
    assert!(KEY_POINTS_LOST_MAX * 18 + KIB < LEDGER_VALUE_BYTES_MAX);
    assert!(
        KEY_SUCCESSORS_MAX >= KEY_POINTS_LOST_MAX
            && (KEY_POINTS_LOST_MAX + KEY_SUCCESSORS_MAX) * 18 + 2 * KIB < LEDGER_COMMAND_BYTES_MAX
    );
    assert!(POINTS_FORGOTTEN_MAX <= POINTS_ASKED_MAX);
    assert!(POINTS_ASKED_MAX * 18 + KIB < SMALL_REQUEST_BYTES_MAX);
    assert!(RUNS_FORGOTTEN_MAX <= RUNS_LOOKED_AT_MAX);
    assert!(RETENTION_SETTLES_SECS <= HOLD_ENDED_KEPT_SECS);
    assert!(
        FINDINGS_PART_BYTES_MAX + LEDGER_VALUE_BYTES_MAX + KIB < LEDGER_COMMAND_BYTES_MAX
            && FINDINGS_KEPT_MAX < LIST_PAGE_ROWS
            && 2 * FINDINGS_BYTES_MAX < MESSAGE_BYTES_MAX
    );
    assert!(
        DAMAGE_NOTED_MAX * (2 * OBJECT_NAME_BYTES_MAX + 17 * DAMAGE_POINTS_MAX + 256) + KIB
            < LEDGER_COMMAND_BYTES_MAX
    );
    assert!(CHECK_BYTES_PER_DAY_MIN <= CHECK_BYTES_PER_DAY);
    assert!(APPEND_BYTES_MAX + LEDGER_COMMAND_BYTES_MAX < MESSAGE_BYTES_MAX);
    assert!(4 * TABLE_LAYER_BYTES < TABLE_LAYERS_BYTES_MAX);
    assert!(LEDGER_LAST_BYTES < LEDGER_RESERVE_BYTES);
    assert!(LOG_AHEAD_BYTES_MIN < LOG_AHEAD_BYTES_MAX && LOG_AHEAD_BYTES_MAX < LOG_VOLUME_BYTES);
    assert!(4 * LOG_AHEAD_BYTES_MAX as u64 <= LEDGER_LAST_BYTES);
    assert!(LEDGER_PLENTY_BYTES > 4 * (LEDGER_FREE_BYTES_MIN + LEDGER_RESERVE_BYTES));
    assert!(2 * SHIPPED_PART_BYTES < OBJECT_BYTES_MAX && 2 * EXTENT_BYTES_MAX < OBJECT_BYTES_MAX);
    assert!(LEDGER_COMMAND_BYTES_MAX < EXTENT_BYTES_MAX);
    assert!(LEDGER_LAST_BYTES > 4 * LEDGER_COMMAND_BYTES_MAX as u64);
    assert!(DATA_STREAM_WINDOW_BYTES <= DATA_CONNECTION_WINDOW_BYTES);
    assert!(SERVER_STREAM_WINDOW_BYTES <= SERVER_CONNECTION_WINDOW_BYTES);
    assert!(STRANGER_STREAM_WINDOW_BYTES <= STRANGER_CONNECTION_WINDOW_BYTES);
    assert!(HANDSHAKES_PER_ADDRESS_MAX < HANDSHAKES_MAX);
    assert!(HANDSHAKE_SAFE_SECS < HANDSHAKE_TIMEOUT_SECS);
    assert!(STRANGERS_PER_ADDRESS_MAX < STRANGERS_MAX && STRANGER_SAFE_SECS < STRANGER_SECS_MAX);
    assert!(OFFER_CHUNKS_MAX * 32 + KIB < SMALL_REQUEST_BYTES_MAX);
    assert!(FETCH_CHUNKS_MAX * 32 + KIB < SMALL_REQUEST_BYTES_MAX);
    assert!(ENROLL_MESSAGE_BYTES_MAX <= SMALL_REQUEST_BYTES_MAX);
    assert!(PACKS_IN_FLIGHT_MAX + PACKS_WAITING_MAX < CALLS_PER_CALLER_MAX);
    assert!(LARGE_CALLS_PER_CALLER_MAX < CALLS_PER_CALLER_MAX);
    // One agent's packs in flight leave room for another's.
    assert!(PACKS_IN_FLIGHT_MAX * PACK_BYTES_MAX + PACK_BYTES_MAX <= WRITE_BUDGET_BYTES);
    // A frame of the slowest sender fits a window.
    assert!(STREAM_FRAME_BYTES as u64 <= PUT_BYTES_PER_SECOND_MIN * PUT_WINDOW_SECS);
    assert!(CERT_TTL_SECS < OPERATOR_CERT_TTL_SECS);
    assert!(CERT_BACKDATE_SECS < CERT_TTL_SECS);
    assert!(OPERATOR_CERT_TTL_SECS < AUTHORITY_TTL_SECS);
    assert!(OPERATOR_ENDING_SECS < OPERATOR_CERT_TTL_SECS / 3);
    assert!(OPERATOR_REQUEST_BYTES_MAX <= IDENTITY_FILE_BYTES_MAX);
    assert!(CAPSULE_BYTES_MAX <= u16::MAX as usize);
    assert!(BUNDLE_HEADER_BYTES_MAX < BUNDLE_BYTES_MAX);
};
