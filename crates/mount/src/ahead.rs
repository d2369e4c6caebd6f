//! What will be read next, fetched before it is asked for: a few threads and a short queue.
//!
//! It only fills the cache. What has no place in the queue is not fetched ahead, and what fails is
//! told by whoever reads it. The threads end with their owner, each after the call it is in.

use crate::{cache::Cache, point::Point};
use holdfast_common::{Result, limits};
use holdfast_seal::manifest::entry::ChunkRef;
use std::{
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

pub(crate) struct Ahead {
    queue: SyncSender<Wanted>,
}

struct Wanted {
    point: Arc<dyn Point>,
    chunks: Vec<ChunkRef>,
}

impl Ahead {
    pub(crate) fn new(cache: &Arc<Cache>) -> Result<Self> {
        let (queue, wanted) = sync_channel(limits::MOUNT_AHEAD_WAITING_MAX);
        let wanted = Arc::new(Mutex::new(wanted));
        for number in 0..limits::MOUNT_AHEAD_THREADS {
            let (cache, wanted) = (Arc::clone(cache), Arc::clone(&wanted));
            let named = thread::Builder::new().name(format!("ahead-{number}"));
            let begun = named.spawn(move || work(&cache, &wanted));
            begun.map_err(|error| {
                holdfast_common::Error::io("no thread to read ahead with", &error)
            })?;
        }
        Ok(Self { queue })
    }

    /// Whether it will be fetched.
    pub(crate) fn fetch(&self, point: Arc<dyn Point>, chunks: Vec<ChunkRef>) -> bool {
        self.queue.try_send(Wanted { point, chunks }).is_ok()
    }
}

fn work(cache: &Cache, queue: &Mutex<Receiver<Wanted>>) {
    loop {
        let next = crate::lock(queue).recv();
        let Ok(Wanted { point, chunks }) = next else { return };
        if let Err(error) = cache.fetch(&*point, &chunks, &mut |_, _| {}) {
            tracing::debug!(%error, "what may be read next was not fetched");
        }
    }
}
