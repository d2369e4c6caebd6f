//! One task for each row of a kind, run by the leader alone and told what is applied.
//!
//! ```text
//!   rows ─→ one task each, for as long as its row is the same
//!   applied ─→ packs, segments, points ─→ the queue of each
//! ```
//!
//! The next leader begins them anew, from the tables and the locations; ending one in the middle
//! of anything loses nothing. Copies and locks are such.

use crate::{
    house::House,
    raft::{Heard, Listener},
    replicate::Queue,
};
use holdfast_common::{Name, Result, VaultId};
use holdfast_runtime::tasks::OnError;
use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A leader that was not heard of through the ledger is noticed by then.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// A row that says what is to be done in a location for a vault.
pub(crate) trait Errand: Sized + Send + 'static {
    /// Of its tasks.
    const NAME: &'static str;
    const LISTENER: Listener;

    /// All that are to run; none where it is too early for any.
    fn all(house: &House) -> Result<Vec<Self>>;

    fn place(&self) -> (VaultId, Name);

    /// When it was opened: one that was opened anew is of another place.
    fn opened(&self) -> u64;

    fn run(self, house: Arc<House>, queue: Arc<Queue>) -> impl Future<Output = Result<()>> + Send;
}

/// Runs them for as long as this member leads.
pub(crate) async fn run<E: Errand>(house: Arc<House>, shutdown: CancellationToken) -> Result<()> {
    let mut applied = house.ledger.applied();
    let mut running = BTreeMap::new();
    loop {
        let heard = house.ledger.take_heard(E::LISTENER);
        if house.ledger.leads() && house.ledger.peers().insist_on_epoch().is_ok() {
            keep::<E>(&house, &mut running)?;
            tell(&house, &running, &heard)?;
        } else {
            running.clear();
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            changed = applied.changed() => if changed.is_err() { return Ok(()) },
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
}

struct Running {
    opened: u64,
    queue: Arc<Queue>,
    /// Ends the task when it goes.
    _ends: DropGuard,
}

type All = BTreeMap<(VaultId, Name), Running>;

fn keep<E: Errand>(house: &Arc<House>, running: &mut All) -> Result<()> {
    let errands = E::all(house)?;
    running.retain(|place, running| {
        errands.iter().any(|errand| errand.place() == *place && errand.opened() == running.opened)
    });
    for errand in errands {
        running.entry(errand.place()).or_insert_with(|| start(house, errand));
    }
    Ok(())
}

fn tell(house: &House, running: &All, heard: &Heard) -> Result<()> {
    for ((vault, _), running) in running {
        running.queue.hear(house.ledger.query(), vault, heard)?;
    }
    Ok(())
}

fn start<E: Errand>(house: &Arc<House>, errand: E) -> Running {
    let (queue, token) = (Arc::<Queue>::default(), house.tasks.token().child_token());
    let (opened, ends) = (errand.opened(), token.clone());
    let run = errand.run(house.clone(), queue.clone());
    house.tasks.spawn(E::NAME, OnError::Log, async move {
        match ends.run_until_cancelled(run).await {
            Some(ended) => ended,
            None => Ok(()),
        }
    });
    Running { opened, queue, _ends: token.drop_guard() }
}
