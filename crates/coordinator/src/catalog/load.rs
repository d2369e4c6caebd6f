//! Brings an index up to what the ledger says is stored, in the background, while it is in use.
//!
//! ```text
//!   own files ─→ segments of the locations that no file covers ─→ footers of packs still unknown
//!      ▲                                                             │ settled whenever due
//!      └───────────────── again, less and less often, while ─────────┘
//!                         something could not be asked
//! ```
//!
//! A segment that is damaged or missing is only a slower start. A pack that every location answered
//! for and none has whole is not waited for, though asked for again; a lost one when it is found.
//! Memory is bounded: one batch of segments, a few footers, and the fresh rows.

use super::{Catalog, Progress, footer::SealedFooter};
use crate::{
    budget::Share,
    house::{House, Vault},
    keys::custody::VaultCustody,
    places::Place,
};
use futures::{StreamExt, future::BoxFuture, stream};
use holdfast_common::{
    Clock, Code, Entropy, Error, Name, PackId, Result, SegmentId, codes::Exit, limits,
};
use holdfast_ledger::row::{PackRow, PackState, SegmentRow};
use holdfast_repository::{layout, pack::Footer, segment::SegmentTable};
use holdfast_runtime::tasks::{OnError, Tasks};
use holdfast_storage::ObjectName;
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// Starts the loading of every vault's index, of those that are made later too.
pub(crate) async fn keep(house: Arc<House>, token: CancellationToken) -> Result<()> {
    loop {
        for row in house.ledger.query().vaults()? {
            match house.vault(&row.id) {
                Ok(vault) if vault.catalog.is_first_keeper() => {
                    vault.catalog.begin_at(house.ledger.state().applied);
                    start(&house, vault);
                }
                Ok(_) => {}
                Err(error) => tracing::error!(%error, vault = %row.name, "it has no index"),
            }
        }
        tokio::select! {
            () = token.cancelled() => return Ok(()),
            () = house.catalog_made.notified() => {}
        }
    }
}

fn start(house: &Arc<House>, vault: Vault) {
    let loader = Loader {
        catalog: vault.catalog.clone(),
        custody: vault.custody.clone(),
        tasks: house.tasks.clone(),
        clock: house.clock.clone(),
        entropy: house.entropy.clone(),
        truth: Arc::new(InHouse { house: house.clone(), vault }),
        down: Mutex::default(),
    };
    house.tasks.spawn("index", OnError::Log, async move {
        let token = loader.tasks.token().clone();
        tokio::select! {
            () = token.cancelled() => Ok(()),
            () = loader.keep() => Ok(()),
        }
    });
}

/// What a loader asks of the rest of the coordinator.
pub(super) trait Truth: Send + Sync + 'static {
    /// A page of the packs that the ledger knows.
    fn packs(&self, after: Option<&PackId>) -> Result<Vec<PackRow>>;
    /// A page of the segments that the ledger knows.
    fn segments(&self, after: Option<&SegmentId>) -> Result<Vec<SegmentRow>>;
    /// The locations that open, and why another did not.
    fn places(&self) -> BoxFuture<'_, Result<(Vec<Place>, Option<Error>)>>;
    /// A share of the process's byte budget.
    fn reserve(&self, bytes: usize) -> BoxFuture<'_, Result<Share>>;
    /// The same, if nobody has to be waited for.
    fn try_reserve(&self, bytes: usize) -> Option<Share>;
    /// Fresh rows into a file and a segment.
    fn settle(&self) -> BoxFuture<'_, Result<()>>;
}

struct InHouse {
    house: Arc<House>,
    vault: Vault,
}

impl Truth for InHouse {
    fn packs(&self, after: Option<&PackId>) -> Result<Vec<PackRow>> {
        self.house.ledger.query().packs(&self.vault.row.id, after)
    }

    fn segments(&self, after: Option<&SegmentId>) -> Result<Vec<SegmentRow>> {
        let vault = self.vault.row.id.as_bytes().as_slice();
        let after = after.map(|id| [vault, id.as_bytes().as_slice()].concat());
        self.house.ledger.query().rows(vault, after.as_deref(), SEGMENTS_A_PAGE)
    }

    fn places(&self) -> BoxFuture<'_, Result<(Vec<Place>, Option<Error>)>> {
        // Its locations may have been changed since the vault was first used.
        let row = self.house.ledger.query().vault(&self.vault.row.id);
        Box::pin(async move {
            let row = row?;
            let all = row.holding().cloned().collect();
            Ok(self.house.places.open_of(&row, all).await)
        })
    }

    fn reserve(&self, bytes: usize) -> BoxFuture<'_, Result<Share>> {
        Box::pin(self.house.incoming.reserve(bytes))
    }

    fn try_reserve(&self, bytes: usize) -> Option<Share> {
        self.house.incoming.try_reserve(bytes)
    }

    fn settle(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.house.settle_once(&self.vault))
    }
}

pub(super) struct Loader {
    pub(super) catalog: Arc<Catalog>,
    pub(super) custody: Arc<VaultCustody>,
    pub(super) tasks: Tasks,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) truth: Arc<dyn Truth>,
    /// Locations that could not be reached in this pass: asked last.
    pub(super) down: Mutex<HashSet<Name>>,
}

/// What one pass over the ledger's packs came to.
#[derive(Debug, Default)]
struct Pass {
    loaded: usize,
    /// No location has them whole.
    bad: usize,
    unreachable: usize,
    why: Option<Error>,
}

impl Pass {
    fn failed(error: Error) -> Self {
        Self { unreachable: 1, why: Some(error), ..Self::default() }
    }
}

enum Answer {
    Footer(Box<Footer>),
    /// Every location answered.
    Nowhere(Error),
    Unreachable(Error),
}

impl Loader {
    /// Never ends.
    pub(super) async fn keep(&self) {
        self.load().await;
        loop {
            self.learn().await;
            self.catalog.hurry.notified().await;
            // A lost pack was found, or a segment did not get out.
            if self.catalog.look.swap(false, Ordering::Relaxed) {
                self.catch_up().await;
            }
        }
    }

    pub(super) async fn load(&self) {
        let mut delay = DELAY_MIN;
        while let Err(error) = self.open_files().await {
            self.tell(&Pass::failed(error));
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(DELAY_MAX);
        }
        self.catch_up().await;
    }

    async fn open_files(&self) -> Result<()> {
        let catalog = self.catalog.clone();
        let _nothing_settles = self.catalog.settling.lock().await;
        self.tasks.run_blocking("index", move || catalog.open_files()).await
    }

    /// Ends when every pack is known that is not lost, and every segment shipped.
    pub(super) async fn catch_up(&self) {
        let mut delay = DELAY_MIN;
        loop {
            let upto = self.catalog.told_upto();
            let pass = self.pass().await.unwrap_or_else(Pass::failed);
            self.tell(&pass);
            if pass.unreachable == 0 {
                // What is whole nowhere is asked for again, and holds up nobody.
                self.catalog.has_learnt(upto);
            }
            if pass.unreachable == 0 && pass.bad == 0 && self.catalog.is_shipped() {
                return;
            }
            delay = if pass.loaded > 0 { DELAY_MIN } else { (delay * 2).min(DELAY_MAX) };
            tokio::time::sleep(DELAY_MIN).await;
            tokio::select! {
                () = tokio::time::sleep(delay - DELAY_MIN) => {}
                () = self.catalog.hurry.notified() => {}
            }
        }
    }

    fn tell(&self, pass: &Pass) {
        let vault = self.catalog.vault;
        if pass.loaded > 0 {
            tracing::info!(%vault, packs = pass.loaded, "index rebuilt from footers");
        }
        if pass.bad > 0 {
            let why = pass.why.as_ref().map(ToString::to_string);
            tracing::error!(%vault, packs = pass.bad, why, "packs are whole in no location");
        }
        let progress = match (&pass.why, self.catalog.progress()) {
            // What was whole stays so: a pack that is looked for again holds nothing up.
            (_, Progress::Loaded) => Progress::Loaded,
            (Some(why), before) if pass.unreachable > 0 => {
                let packs = pass.unreachable;
                tracing::warn!(%vault, packs, %why, "the index is not loaded; it is tried again");
                let since = match before {
                    Progress::Waiting { since, .. } => since,
                    _ => self.clock.now(),
                };
                Progress::Waiting { packs, since, why: why.clone() }
            }
            _ => Progress::Loaded,
        };
        self.catalog.progress.send_replace(progress);
    }

    async fn pass(&self) -> Result<Pass> {
        self.lock_down().clear();
        let mut pass = Pass::default();
        let (mut after, mut has_segments) = (None, false);
        loop {
            let (last, unknown) = self.unknown_packs(after).await?;
            if !unknown.is_empty() && !has_segments {
                self.load_segments().await?;
                has_segments = true;
                continue;
            }
            after = last;
            self.load_footers(unknown, &mut pass).await?;
            if after.is_none() || pass.unreachable >= UNREACHABLE_MAX {
                break;
            }
        }
        if pass.loaded > 0 || !self.catalog.is_shipped() {
            self.settle().await?;
        }
        Ok(pass)
    }

    /// A page of the ledger's packs: its end, and those that the index does not know.
    async fn unknown_packs(&self, after: Option<PackId>) -> Result<(Option<PackId>, Vec<PackRow>)> {
        let (truth, catalog) = (self.truth.clone(), self.catalog.clone());
        let look = move || {
            let mut rows = truth.packs(after.as_ref())?;
            let last = rows.last().map(|row| row.id);
            rows.iter().for_each(|row| catalog.note_fate(row));
            rows.retain(|row| row.may_be_read() && !catalog.knows(&row.id));
            Ok((last, rows))
        };
        self.tasks.run_blocking("index", look).await
    }

    async fn load_footers(&self, unknown: Vec<PackRow>, pass: &mut Pass) -> Result<()> {
        let mut answers = stream::iter(unknown)
            .map(|row| async move {
                let share = self.share(row.slots as usize * FOOTER_ROW_BYTES).await;
                (share, self.read_footer(&row).await, row)
            })
            .buffer_unordered(limits::FOOTERS_IN_FLIGHT_MAX);
        while let Some((share, answer, row)) = answers.next().await {
            let _share = share?;
            match answer? {
                Answer::Footer(footer) => {
                    self.catalog.add(&row, &footer);
                    pass.loaded += 1;
                }
                // Nobody needs it, or the key would be there still; it is collected.
                Answer::Nowhere(error) if error.code == Code::KeyDestroyed => {
                    tracing::debug!(%error, pack = %row.id, "its key was destroyed");
                }
                Answer::Nowhere(error) if row.state == PackState::Lost => {
                    tracing::debug!(%error, pack = %row.id, "a lost pack is not indexed");
                }
                Answer::Nowhere(error) => {
                    tracing::debug!(%error, pack = %row.id, "a pack cannot be indexed");
                    pass.bad += 1;
                    pass.why.get_or_insert(error);
                }
                Answer::Unreachable(error) => {
                    if pass.unreachable == 0 {
                        pass.why = Some(error);
                    }
                    pass.unreachable += 1;
                    if pass.unreachable >= UNREACHABLE_MAX {
                        break;
                    }
                }
            }
            if self.catalog.is_due() {
                self.settle().await?;
            }
        }
        Ok(())
    }

    /// That a segment does not get into a location is no reason to stop; that rows stay in memory
    /// is.
    async fn settle(&self) -> Result<()> {
        match self.truth.settle().await {
            Err(error) if self.catalog.is_due() => Err(error),
            Err(error) => {
                tracing::warn!(%error, "an index segment is in no location");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    async fn read_footer(&self, row: &PackRow) -> Result<Answer> {
        let (places, unopened) = self.places().await?;
        let (mut nowhere, mut unreachable) =
            (Error::new(Code::PackMissing, "the pack is in no location"), unopened);
        for place in places {
            match SealedFooter::read(row, &place).await {
                Ok(sealed) => {
                    let (row, custody) = (row.clone(), self.custody.clone());
                    let opened =
                        self.tasks.run_blocking("index", move || Ok(sealed.open(&row, &custody)));
                    match opened.await? {
                        Ok(footer) => return Ok(Answer::Footer(Box::new(footer))),
                        // No other location has a key for it.
                        Err(error) if error.code == Code::KeyDestroyed => {
                            return Ok(Answer::Nowhere(error));
                        }
                        Err(error) => nowhere = error,
                    }
                }
                Err(error) if is_answer(&error) => nowhere = error,
                Err(error) => {
                    self.lock_down().insert(place.0);
                    unreachable = Some(error);
                }
            }
        }
        Ok(unreachable.map_or(Answer::Nowhere(nowhere), Answer::Unreachable))
    }

    /// Those that are down come last.
    async fn places(&self) -> Result<(Vec<Place>, Option<Error>)> {
        let (mut places, unopened) = self.truth.places().await?;
        let down = self.lock_down();
        places.sort_by_key(|(name, _)| down.contains(name));
        Ok((places, unopened))
    }

    /// The footers of packs that were just stored; false when one could not be asked for.
    pub(super) async fn load_some(&self, unknown: Vec<PackRow>) -> bool {
        self.lock_down().clear();
        let mut pass = Pass::default();
        let loaded = self.load_footers(unknown, &mut pass).await;
        loaded.is_ok() && pass.unreachable == 0 && pass.bad == 0
    }

    /// Segments that were just added, into a file.
    pub(super) async fn load_listed(&self, rows: Vec<SegmentRow>) -> Result<()> {
        let mut batch = Batch::default();
        for row in rows {
            if batch.rows + row.rows as usize > limits::SEGMENT_ROWS_MAX {
                self.keep_batch(std::mem::take(&mut batch)).await?;
            }
            let share = self.share_for(&row, &mut batch).await?;
            batch.push(self.fetch_segment(&row, share).await?);
        }
        self.keep_batch(batch).await
    }

    /// Segments that no file of ours covers, in batches of what one holds at most.
    async fn load_segments(&self) -> Result<()> {
        let (mut after, mut batch, mut failed) = (None, Batch::default(), 0);
        loop {
            let (truth, catalog) = (self.truth.clone(), self.catalog.clone());
            let look = move || {
                let mut rows = truth.segments(after.as_ref())?;
                let last = rows.last().map(|row| row.id);
                let files = catalog.files();
                rows.retain(|row| !files.iter().any(|file| file.covers(&row.id)));
                Ok((last, rows))
            };
            let (last, rows) = self.tasks.run_blocking("index", look).await?;
            for row in rows {
                if batch.rows + row.rows as usize > limits::SEGMENT_ROWS_MAX {
                    self.keep_batch(std::mem::take(&mut batch)).await?;
                }
                let share = self.share_for(&row, &mut batch).await?;
                match self.fetch_segment(&row, share).await {
                    Ok(fetched) => batch.push(fetched),
                    Err(error) => {
                        tracing::warn!(%error, segment = %row.id, "a segment is passed over");
                        failed += usize::from(!is_answer(&error));
                    }
                }
                if failed >= UNREACHABLE_MAX {
                    return self.keep_batch(batch).await;
                }
            }
            after = last;
            if after.is_none() {
                return self.keep_batch(batch).await;
            }
        }
    }

    /// Memory for a segment's object and its table, at once. What was fetched before goes into a
    /// file before others are waited for: they may be waiting for it.
    async fn share_for(&self, row: &SegmentRow, batch: &mut Batch) -> Result<Share> {
        let bytes = length_of(row).saturating_mul(2);
        if let Some(share) = self.truth.try_reserve(bytes) {
            return Ok(share);
        }
        self.keep_batch(std::mem::take(batch)).await?;
        self.share(bytes).await
    }

    async fn fetch_segment(
        &self,
        row: &SegmentRow,
        mut share: Share,
    ) -> Result<(SegmentTable, Share)> {
        let length = length_of(row);
        if length > limits::OBJECT_BYTES_MAX {
            return Err(Error::new(Code::LimitExceeded, "a segment is too long"));
        }
        let name: ObjectName = layout::ObjectName::segment(&row.id).as_str().parse()?;
        let (places, unopened) = self.places().await?;
        let mut last = unopened
            .unwrap_or_else(|| Error::new(Code::ObjectMissing, "the segment is in no location"));
        for (place, store) in places {
            let opened = match store.get(&name, length).await {
                Ok(bytes) => {
                    let (row, custody) = (row.clone(), self.custody.clone());
                    let open = move || Ok(open_segment(&row, &bytes, &custody));
                    self.tasks.run_blocking("index", open).await?
                }
                Err(error) => {
                    if !is_answer(&error) {
                        self.lock_down().insert(place);
                    }
                    Err(error)
                }
            };
            match opened {
                Ok(table) => {
                    share.shrink(length);
                    return Ok((table, share));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Writes what was fetched as one file of our own.
    async fn keep_batch(&self, batch: Batch) -> Result<()> {
        if batch.tables.is_empty() {
            return Ok(());
        }
        let (catalog, entropy) = (self.catalog.clone(), self.entropy.clone());
        let token = self.tasks.token().clone();
        let write = move || {
            let is_stopping = || token.is_cancelled();
            let inputs = batch.tables.iter().map(|(table, _)| table.rows()).collect();
            let segments = batch.tables.iter().map(|(table, _)| table.header().segment).collect();
            let file = catalog.write_file(inputs, segments, entropy.as_ref(), &is_stopping)?;
            tracing::info!(rows = file.len(), segments = batch.tables.len(), "segments loaded");
            catalog.swap_files(vec![file], |_| true);
            catalog.merge(entropy.as_ref(), &is_stopping)
        };
        self.tasks.run_blocking("index", write).await
    }

    /// Others come first as often as they like: a load has time.
    async fn share(&self, bytes: usize) -> Result<Share> {
        loop {
            match self.truth.reserve(bytes).await {
                Err(error) if error.code == Code::ClusterBusy => {
                    tokio::time::sleep(DELAY_MIN).await;
                }
                reserved => return reserved,
            }
        }
    }

    fn lock_down(&self) -> std::sync::MutexGuard<'_, HashSet<Name>> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Segments that were fetched and are in no file yet.
#[derive(Default)]
struct Batch {
    tables: Vec<(SegmentTable, Share)>,
    rows: usize,
}

impl Batch {
    fn push(&mut self, fetched: (SegmentTable, Share)) {
        self.rows += fetched.0.header().rows as usize;
        self.tables.push(fetched);
    }
}

fn length_of(row: &SegmentRow) -> usize {
    usize::try_from(row.length).unwrap_or(usize::MAX)
}

fn open_segment(row: &SegmentRow, bytes: &[u8], custody: &VaultCustody) -> Result<SegmentTable> {
    if blake3::hash(bytes) != row.hash {
        return Err(Error::new(Code::SegmentDamaged, "a segment is not what was written"));
    }
    SegmentTable::parse(&row.vault, &row.id, bytes, custody)
}

/// The location said what it has, and it was not right: asking again changes nothing by itself.
fn is_answer(error: &Error) -> bool {
    let is_foreign = matches!(
        error.code,
        Code::KeyWrong | Code::LimitExceeded | Code::PackForeign | Code::VaultForeign
    );
    is_foreign || error.code.exit() == Exit::Damage
}

const DELAY_MIN: Duration = Duration::from_secs(1);
const DELAY_MAX: Duration = Duration::from_secs(60);
/// A pass that could not ask for so many goes no further.
const UNREACHABLE_MAX: usize = 2 * limits::FOOTERS_IN_FLIGHT_MAX;
const SEGMENTS_A_PAGE: usize = 1000;
/// A row of a footer, sealed and opened and as it is kept.
const FOOTER_ROW_BYTES: usize = 3 * 64;
