//! What other members stored becomes known here.
//!
//! ```text
//!   applied ─→ packs, segments ─→ news of each vault's index ─→ its loader: footers, segments
//! ```
//!
//! A pack is known by its footer a moment after it was stored, whoever took it, so that a run that
//! goes on at this member sends nothing twice. When the segment with its rows comes, that takes the
//! place of what was read from footers, and memory stays small. An index says how far it has heard;
//! who must know waits for that.

use super::{Catalog, load::Loader};
use crate::{
    house::House,
    raft::{Heard, Listener},
};
use holdfast_common::{Code, Error, Result};
use holdfast_ledger::row::{PackRow, SegmentRow};
use std::{
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// What an index was told and has not looked at.
#[derive(Default)]
pub(super) struct News {
    packs: Vec<PackRow>,
    segments: Vec<SegmentRow>,
    upto: u64,
    /// All rows are to be looked through.
    everything: bool,
}

impl News {
    fn is_empty(&self) -> bool {
        self.packs.is_empty() && self.segments.is_empty() && !self.everything
    }
}

/// How long somebody waits for what was stored elsewhere.
const PATIENCE: Duration = Duration::from_secs(5);
/// So many at most are told apart.
const NEWS_MAX: usize = 8192;

/// Tells every index what was applied, for as long as the coordinator runs.
pub(crate) async fn follow(house: Arc<House>, token: CancellationToken) -> Result<()> {
    let mut applied = house.ledger.applied();
    loop {
        let heard = house.ledger.take_heard(Listener::Index);
        for (_, catalog) in house.catalogs() {
            tell(&house, &catalog, &heard)?;
        }
        tokio::select! {
            () = token.cancelled() => return Ok(()),
            changed = applied.changed() => if changed.is_err() { return Ok(()) },
        }
    }
}

fn tell(house: &House, catalog: &Catalog, heard: &Heard) -> Result<()> {
    let (query, vault) = (house.ledger.query(), catalog.vault);
    let mut packs = Vec::new();
    for pack in heard.packs.iter().filter(|pack| !catalog.knows(pack)) {
        let row = query.pack(&vault, pack)?.filter(PackRow::may_be_read);
        // What this member is taking itself is put into the index by whoever takes it.
        // What was made of others nobody takes here.
        let is_taken_here =
            |row: &PackRow| row.taken.is_none() && house.sessions.are_of(&row.writer);
        packs.extend(row.filter(|row| !is_taken_here(row)));
    }
    for (_, pack) in heard.fates.iter().filter(|(of, _)| *of == vault) {
        query.pack(&vault, pack)?.iter().for_each(|row| catalog.note_fate(row));
    }
    let segments = heard.segments.iter().filter(|segment| segment.vault == vault);
    catalog.hear(News {
        packs,
        segments: segments.cloned().collect(),
        upto: heard.upto,
        everything: heard.everything,
    });
    Ok(())
}

impl Catalog {
    fn hear(&self, told: News) {
        let mut news = self.news();
        let upto = told.upto.max(news.upto);
        if news.is_empty() && told.is_empty() {
            news.upto = upto;
            // Nothing stands between: this far everything is known, once all was loaded.
            if self.is_loaded() && !*self.is_learning.borrow() {
                self.followed.send_replace(upto);
            }
            return;
        }
        news.packs.extend(told.packs);
        news.segments.extend(told.segments);
        news.everything |= told.everything || news.packs.len() + news.segments.len() > NEWS_MAX;
        if news.everything {
            news.packs.clear();
            news.segments.clear();
        }
        news.upto = upto;
        drop(news);
        self.hurry.notify_one();
    }

    /// Whoever loads this from now on reads all rows up to an index in the tables.
    pub(super) fn begin_at(&self, upto: u64) {
        self.hear(News { upto, ..News::default() });
    }

    /// How far this index was told.
    pub(super) fn told_upto(&self) -> u64 {
        self.news().upto
    }

    /// All rows up to an index were looked through.
    pub(super) fn has_learnt(&self, upto: u64) {
        self.followed.send_if_modified(|followed| {
            let is_further = *followed < upto;
            *followed = upto.max(*followed);
            is_further
        });
    }

    /// Whether everything up to an index of the log is known here.
    pub(crate) fn has_heard(&self, index: u64) -> bool {
        *self.followed.borrow() >= index
    }

    /// Waits for that; not for ever.
    pub(crate) async fn heard(&self, index: u64) -> Result<()> {
        let mut followed = self.followed.subscribe();
        let heard = followed.wait_for(|upto| *upto >= index);
        match tokio::time::timeout(PATIENCE, heard).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::new(Code::IndexLoading, "the index is behind the ledger")),
        }
    }

    fn take_news(&self) -> News {
        let mut news = self.news();
        let upto = news.upto;
        self.is_learning.send_replace(true);
        std::mem::replace(&mut *news, News { upto, ..News::default() })
    }

    fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rows that a file holds now need not be in memory too.
    fn forget_filed(&self) {
        let mut state = self.write();
        let files = state.files.clone();
        state.fresh.forget(|pack| files.iter().any(|file| file.knows(pack)));
    }
}

impl Loader {
    /// Looks at what was told, until nothing is left.
    pub(super) async fn learn(&self) {
        loop {
            let news = self.catalog.take_news();
            let upto = news.upto;
            let is_done = news.is_empty();
            if news.everything || !self.take(news).await {
                self.catch_up().await;
            }
            {
                // What is told between these two would be heard by nobody.
                let told = self.catalog.news();
                self.catalog.is_learning.send_replace(false);
                self.catalog.has_learnt(if told.is_empty() { told.upto } else { upto });
            }
            if is_done {
                return;
            }
        }
    }

    /// False when something could not be asked: then all rows are looked through, again and again.
    async fn take(&self, news: News) -> bool {
        let mut packs = news.packs;
        packs.retain(|row| !self.catalog.knows(&row.id));
        let footers = self.load_some(packs).await;
        let files = self.catalog.files();
        let mut segments = news.segments;
        segments.retain(|row| !files.iter().any(|file| file.covers(&row.id)));
        match self.load_listed(segments).await {
            Ok(()) => {
                self.catalog.forget_filed();
                footers
            }
            Err(error) => {
                tracing::warn!(%error, "segments of other members are passed over");
                footers
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Progress;
    use holdfast_common::VaultId;

    #[tokio::test(start_paused = true)]
    async fn what_is_applied_and_was_not_told_yet_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let catalog = Catalog::new(VaultId::from_bytes([1; 16]), directory.path());
        catalog.progress.send_replace(Progress::Loaded);
        let told = |upto| News { upto, ..News::default() };
        catalog.hear(told(6));
        let error = catalog.loaded(7).await.unwrap_err();
        assert_eq!(error.code, Code::IndexLoading, "it may have come with entry 7");
        assert!(error.is_retryable());
        let telling = async { catalog.hear(told(7)) };
        let (known, ()) = tokio::join!(catalog.loaded(7), telling);
        known.unwrap();
    }
}
