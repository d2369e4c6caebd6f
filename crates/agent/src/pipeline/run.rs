//! What all stages of one run share: its queues, its gates, its session, its counters.
//!
//! Owned by the thread that started the run and lent to the stages for as long as they live.

use super::bandwidth::Bandwidth;
use super::offer::Offered;
use super::order::Order;
use super::pack::Packed;
use super::progress::{Progress, add};
use super::seal::{Framed, Held};
use super::seen::Seen;
use super::session::Session;
use super::skipped::SkippedList;
use super::unsettled::Unsettled;
use super::{BackupRequest, Host, budget};
use crate::cache::Remembered;
use crate::flow::{Halt, Queue};
use crate::line::Ingest;
use crate::source::Skipped;
use crate::source::files::{Found, LinkRole, Owners, Status};
use bytes::Bytes;
use holdfast_common::{ChunkKind, Result, Timestamp, limits};
use holdfast_seal::PlainChunk;
use holdfast_seal::manifest::entry::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

pub(super) struct Run<'a> {
    pub(super) host: &'a Host,
    pub(super) request: &'a BackupRequest,
    pub(super) halt: Arc<Halt>,
    pub(super) progress: Arc<Progress>,
    pub(super) session: Session,
    pub(super) ingest: Ingest,
    pub(super) owners: Owners,
    pub(super) started: Timestamp,
    /// When the run that filled the cache began to read.
    pub(super) remembered_at: Timestamp,
    pub(super) jobs: Queue<Job>,
    pub(super) order: Order<Done>,
    pub(super) data: Queue<Offered>,
    pub(super) pages: Queue<Offered>,
    pub(super) held: Queue<Held>,
    pub(super) framed: Queue<Framed>,
    pub(super) packed: Queue<Packed>,
    pub(super) seen: Seen,
    pub(super) unsettled: Arc<Unsettled>,
    /// A checkpoint waits: packs go out as they are.
    pub(super) flush: AtomicBool,
    pub(super) packs_sent: AtomicU64,
    pub(super) skipped: SkippedList,
    pub(super) bandwidth: Arc<Bandwidth>,
}

/// A path on its way through the cutting threads.
pub(super) struct Job {
    pub(super) ticket: u64,
    pub(super) found: Found,
    pub(super) role: LinkRole,
    pub(super) remembered: Option<Box<Remembered>>,
    /// What its attributes lack was reported already.
    pub(super) told: bool,
}

/// What became of a ticket.
pub(super) enum Done {
    Saved(Box<Remembered>, LinkRole),
    /// A later path of a group: done if the group's first path is.
    Linked(Box<Linked>),
    /// Could not be saved.
    Lost(LinkRole),
}

pub(super) struct Linked {
    pub(super) entry: Entry,
    pub(super) group: u64,
    /// What the walk found there.
    pub(super) status: Status,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        host: &'a Host,
        request: &'a BackupRequest,
        (halt, progress): (&Arc<Halt>, &Arc<Progress>),
        session: Session,
        remembered_at: Timestamp,
    ) -> Self {
        let bandwidth = Bandwidth::new(request.bytes_per_second_max, host.clock.elapsed());
        let ingest = Ingest::new(Arc::clone(&host.line), session.id, session.lease);
        Self {
            host,
            request,
            halt: Arc::clone(halt),
            progress: Arc::clone(progress),
            session,
            ingest,
            owners: Owners::load(),
            started: host.clock.now(),
            remembered_at,
            jobs: Queue::new(budget::JOBS_MAX, halt),
            order: Order::new(budget::ORDER_TICKETS_MAX, budget::ORDER_BYTES_MAX, halt),
            data: Queue::new(limits::OFFER_CHUNKS_MAX, halt),
            pages: Queue::new(limits::OFFER_CHUNKS_MAX, halt),
            held: Queue::new(limits::OFFER_CHUNKS_MAX, halt),
            framed: Queue::new(limits::OFFER_CHUNKS_MAX, halt),
            packed: Queue::new(1, halt),
            seen: Seen::new(budget::SEEN_IDS_MAX),
            unsettled: Arc::default(),
            flush: AtomicBool::new(false),
            packs_sent: AtomicU64::new(0),
            skipped: SkippedList::new(budget::SKIPPED_BYTES_MAX),
            bandwidth: Arc::new(bandwidth),
        }
    }

    /// Sends a chunk on its way, unless it was already. Waits while too much is in flight.
    pub(super) fn send(&self, chunk: PlainChunk) -> Result<()> {
        let data = chunk.kind == ChunkKind::Data;
        let Some(token) = self.seen.claim(chunk.id, &self.unsettled) else {
            if data {
                add(&self.progress.chunks_reused, 1);
            }
            return Ok(());
        };
        let charge = 2 * chunk.bytes.len();
        let permit = self.host.memory.in_flight.enter(charge, &self.halt)?;
        let offered = Offered::Chunk(Held { chunk, permit, token });
        if data { self.data.push(offered) } else { self.pages.push(offered) }
    }

    pub(super) fn send_data(&self, bytes: &[u8]) -> Result<holdfast_common::ChunkId> {
        let id = self.session.ids.data_id(bytes);
        if self.seen.contains(&id) {
            add(&self.progress.chunks_reused, 1);
        } else {
            let bytes = Bytes::copy_from_slice(bytes);
            self.send(PlainChunk { kind: ChunkKind::Data, id, bytes })?;
        }
        Ok(id)
    }

    pub(super) fn save(&self, ticket: u64, remembered: Box<Remembered>, role: LinkRole) {
        let bytes = weight(&remembered);
        self.order.put(ticket, Done::Saved(remembered, role), bytes);
    }

    pub(super) fn link(&self, job: Job, entry: Entry, group: u64) {
        let (ticket, status) = (job.ticket, job.found.status);
        let remembered = Remembered { entry, rows: None };
        let bytes = weight(&remembered) + size_of::<Status>();
        let linked = Linked { entry: remembered.entry, group, status };
        self.order.put(ticket, Done::Linked(Box::new(linked)), bytes);
    }

    pub(super) fn lose(&self, ticket: u64, role: LinkRole, skipped: Skipped) {
        self.skip(skipped);
        self.order.put(ticket, Done::Lost(role), 0);
    }

    pub(super) fn skip(&self, skipped: Skipped) {
        add(&self.progress.skipped, 1);
        self.skipped.push(skipped);
    }
}

/// About what an entry holds in memory.
pub(super) fn weight(remembered: &Remembered) -> usize {
    let Entry { path, xattrs, content, .. } = &remembered.entry;
    let xattrs = xattrs.iter().flatten().map(|xattr| xattr.name.len() + xattr.value.len());
    let chunks = content.as_ref().map_or(0, |content| {
        content.chunks.as_ref().map_or(0, Vec::len)
            + content.lists.as_ref().map_or(0, Vec::len)
            + content.ranges.as_ref().map_or(0, Vec::len)
    });
    let rows = remembered.rows.as_ref().map_or(0, Vec::len);
    256 + path.len() + xattrs.sum::<usize>() + 48 * (chunks + rows)
}
