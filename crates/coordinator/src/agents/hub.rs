//! The agents that are attached to this coordinator, and what is on its way to them.
//!
//! Dispatch goes by applied state: a run that is queued for an attached agent is sent when its row
//! is seen, at most once per attachment. Progress and heartbeats stay here, out of the ledger.

use holdfast_common::{AgentId, RunId, Timestamp};
use holdfast_wire::v1::{AgentOrder, RunProgress};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{Notify, mpsc};

/// Orders that may wait for one agent.
pub(crate) const ORDERS_MAX: usize = 64;

#[derive(Default)]
pub(crate) struct Hub {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    attached: HashMap<AgentId, Attachment>,
    seen: HashMap<AgentId, Timestamp>,
    progress: HashMap<RunId, RunProgress>,
    attachments: u64,
}

struct Attachment {
    number: u64,
    since: Timestamp,
    orders: mpsc::Sender<AgentOrder>,
    sent: HashSet<(RunId, bool)>,
}

impl Hub {
    /// Takes an agent's line; an older one of the same agent is dropped.
    pub(crate) fn attach(
        &self,
        agent: AgentId,
        now: Timestamp,
        orders: mpsc::Sender<AgentOrder>,
        working_on: impl IntoIterator<Item = RunId>,
    ) -> u64 {
        let mut state = self.lock();
        state.attachments += 1;
        let number = state.attachments;
        let sent = working_on.into_iter().map(|run| (run, false)).collect();
        state.attached.insert(agent, Attachment { number, since: now, orders, sent });
        state.seen.insert(agent, now);
        self.changed.notify_one();
        number
    }

    /// Forgets a line, unless a newer one took its place.
    pub(crate) fn detach(&self, agent: &AgentId, number: u64) -> bool {
        let mut state = self.lock();
        let ours = state.attached.get(agent).is_some_and(|line| line.number == number);
        if ours {
            state.attached.remove(agent);
            self.changed.notify_one();
        }
        ours
    }

    /// Cuts an agent off: its orders end.
    pub(crate) fn drop_agent(&self, agent: &AgentId) {
        self.lock().attached.remove(agent);
        self.changed.notify_one();
    }

    /// Cuts all agents off: they will try other members.
    pub(crate) fn drop_all(&self) {
        self.lock().attached.clear();
        self.changed.notify_one();
    }

    pub(crate) fn is_anybody_attached(&self) -> bool {
        !self.lock().attached.is_empty()
    }

    pub(crate) fn is_attached(&self, agent: &AgentId) -> bool {
        self.lock().attached.contains_key(agent)
    }

    /// Who is attached, and since when.
    pub(crate) fn attached(&self) -> BTreeMap<AgentId, Timestamp> {
        self.lock().attached.iter().map(|(agent, line)| (*agent, line.since)).collect()
    }

    /// Ends when an agent came or went.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Says something to everybody who is attached.
    pub(crate) fn tell_all(&self, order: &AgentOrder) {
        for line in self.lock().attached.values() {
            // A full line hears it with its next welcome.
            drop(line.orders.try_send(order.clone()));
        }
    }

    pub(crate) fn saw(&self, agent: AgentId, now: Timestamp) {
        self.lock().seen.insert(agent, now);
    }

    pub(crate) fn last_seen(&self, agent: &AgentId) -> Option<Timestamp> {
        self.lock().seen.get(agent).copied()
    }

    /// Sends an order about a run once per attachment; `cancel` tells the two kinds apart.
    pub(crate) fn send(&self, agent: &AgentId, run: RunId, cancel: bool, order: AgentOrder) {
        let mut state = self.lock();
        let Some(line) = state.attached.get_mut(agent) else { return };
        if line.sent.contains(&(run, cancel)) {
            return;
        }
        // A full line is tried again with the next applied entry or heartbeat.
        if line.orders.try_send(order).is_ok() {
            line.sent.insert((run, cancel));
        }
    }

    pub(crate) fn report(&self, run: RunId, progress: RunProgress) {
        self.lock().progress.insert(run, progress);
    }

    pub(crate) fn progress(&self, run: &RunId) -> Option<RunProgress> {
        self.lock().progress.get(run).cloned()
    }

    pub(crate) fn forget_run(&self, run: &RunId) {
        self.lock().progress.remove(run);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
