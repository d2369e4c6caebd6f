//! Whoever reads a stream of chunks, and what is on its way there.
//!
//! A batch takes a part of the budget until its last message has gone out, and the next is read
//! only then. A reader that takes nothing for a while is cut off: only the end of its connection
//! frees what waits for it, and others wait for that. Ours come back for the rest.

use crate::{budget::Share, reading::Given};
use holdfast_common::{Code, Error, Result, limits};
use std::{
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::sync::{Notify, mpsc};

/// Chunks that go out together.
pub(crate) struct Batch {
    pub(crate) chunks: Vec<Given>,
    pub(crate) hold: Hold,
}

/// Kept by what is on its way out, until it is out.
pub(crate) struct Hold {
    moved: Arc<Notify>,
    _share: Option<Share>,
    alive: Option<Arc<()>>,
}

pub(crate) struct Reader {
    out: mpsc::Sender<Result<Batch>>,
    moved: Arc<Notify>,
    cut_off: Box<dyn Fn() + Send + Sync>,
}

const PAUSE_MAX: Duration = Duration::from_secs(limits::READ_PAUSE_SECS);

impl Reader {
    /// A reader, and what goes to it. `cut_off` ends its connection.
    pub(crate) fn new(
        cut_off: impl Fn() + Send + Sync + 'static,
    ) -> (Self, mpsc::Receiver<Result<Batch>>) {
        let (out, batches) = mpsc::channel(1);
        (Self { out, moved: Arc::default(), cut_off: Box::new(cut_off) }, batches)
    }

    /// Gives a batch, and waits until all of it was taken.
    pub(crate) async fn give(&self, chunks: Vec<Given>, share: Option<Share>) -> Result<()> {
        let alive = Arc::new(());
        let taken = Arc::downgrade(&alive);
        let hold = Hold { moved: self.moved.clone(), _share: share, alive: Some(alive) };
        self.out.send(Ok(Batch { chunks, hold })).await.map_err(|_| gone())?;
        while Weak::strong_count(&taken) > 0 {
            if tokio::time::timeout(PAUSE_MAX, self.moved.notified()).await.is_err() {
                (self.cut_off)();
                return Err(gone());
            }
        }
        Ok(())
    }

    /// Ends the stream with an error; the reader may be gone, and then there is nobody to tell.
    pub(crate) fn fail(self, error: Error) {
        let _unheard = self.out.try_send(Err(error));
    }
}

impl Hold {
    /// A message went out.
    pub(crate) fn moved(&self) {
        self.moved.notify_one();
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // The count goes down first, so that whoever is woken sees it.
        self.alive.take();
        self.moved.notify_one();
    }
}

fn gone() -> Error {
    Error::new(Code::RunCancelled, "the reader went away")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use futures::FutureExt;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_waited_for_and_a_stalled_one_is_cut_off() {
        let cut = Arc::new(AtomicBool::new(false));
        let told = cut.clone();
        let (reader, mut batches) = Reader::new(move || told.store(true, Ordering::Relaxed));
        let budget = Budget::new(limits::KIB);
        let share = budget.reserve(1).await.unwrap();
        let slow = async {
            let batch = batches.recv().await.unwrap().unwrap();
            for _ in 0..5 {
                tokio::time::sleep(PAUSE_MAX - Duration::from_secs(1)).await;
                batch.hold.moved();
            }
            assert!(budget.reserve(1).now_or_never().is_none(), "the share is still taken");
            drop(batch);
            budget.reserve(1).await.unwrap()
        };
        let (given, _share) = tokio::join!(reader.give(Vec::new(), Some(share)), slow);
        given.unwrap();
        assert!(!cut.load(Ordering::Relaxed));

        let begun = tokio::time::Instant::now();
        let error = reader.give(Vec::new(), None).await.unwrap_err();
        assert_eq!(error.code, Code::RunCancelled);
        assert_eq!(begun.elapsed(), PAUSE_MAX);
        assert!(cut.load(Ordering::Relaxed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_goes_away_is_not_waited_for() {
        let (reader, batches) = Reader::new(|| panic!("there is nobody to cut off"));
        let leaving = async { drop(batches) };
        let begun = tokio::time::Instant::now();
        let (given, ()) = tokio::join!(reader.give(Vec::new(), None), leaving);
        // Taken or refused: what matters is that nobody waits.
        let _either = given;
        assert!(begun.elapsed().is_zero());
        assert!(reader.give(Vec::new(), None).await.is_err());
    }
}
