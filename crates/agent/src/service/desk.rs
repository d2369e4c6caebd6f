//! The runs of this process: started, watched, stopped, and their ends kept until somebody took
//! them: one that was only sent may be lost with whom it was sent to.

use super::order;
use crate::flow::lock;
use crate::pipeline::budget::RUNS_MAX;
use crate::pipeline::{BackupRequest, Counts, Host, RunControl, back_up};
use crate::restore::{RestoreOrder, Targets, VerifyOrder, restore_ordered, verify_ordered};
use holdfast_common::{Code, Error, Result, RunId};
use holdfast_runtime::{OnError, Tasks};
use holdfast_wire::v1;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, Semaphore};

pub(super) struct Desk {
    pub(super) host: Arc<Host>,
    /// Drawn for this process: the coordinators tell two hosts with one identity by it.
    pub(super) process: u64,
    targets: Targets,
    tasks: Tasks,
    room: Arc<Semaphore>,
    state: Mutex<State>,
    /// Told whenever a run has ended.
    pub(super) ended: Notify,
}

#[derive(Default)]
struct State {
    runs: BTreeMap<RunId, RunControl>,
    /// Oldest first, one for each run.
    ends: VecDeque<Arc<End>>,
}

/// What a run does.
pub(super) enum Work {
    Backup(BackupRequest),
    Restore(RestoreOrder),
    Verify(VerifyOrder),
}

/// How a run ended; kept until somebody took it.
#[derive(Debug)]
pub(super) struct End {
    pub(super) run: RunId,
    pub(super) error: Option<Error>,
    /// Set for a restore that was tried; as it is told, without all that it skipped.
    pub(super) restored: Option<v1::Restored>,
}

impl Desk {
    pub(super) fn new(host: Arc<Host>, targets: Targets, tasks: Tasks) -> Arc<Self> {
        let room = Arc::new(Semaphore::new(RUNS_MAX));
        let process = u64::from_le_bytes(host.entropy.array());
        let (state, ended) = (Mutex::default(), Notify::new());
        Arc::new(Self { host, process, targets, tasks, room, state, ended })
    }

    /// Starts a run, or puts it in line. An order that was heard already changes nothing.
    pub(super) fn start(self: &Arc<Self>, work: Work) {
        let control = RunControl::default();
        let run = work.run();
        {
            let mut state = lock(&self.state);
            if state.runs.contains_key(&run) || state.has_ended(&run) {
                return;
            }
            if state.runs.len() >= RUNS_KNOWN_MAX {
                let message = "this agent has too many runs in line";
                state.keep(End::refused(run, Error::new(Code::RunBusy, message)));
                self.ended.notify_one();
                return;
            }
            state.runs.insert(run, control.clone());
        }
        let desk = Arc::clone(self);
        self.tasks.spawn("run", OnError::Log, async move {
            let ended = desk.run(work, &control).await;
            desk.note(ended.unwrap_or_else(|error| End::refused(run, error)));
            Ok(())
        });
    }

    pub(super) fn refuse(&self, run: RunId, error: Error) {
        lock(&self.state).keep(End::refused(run, error));
        self.ended.notify_one();
    }

    pub(super) fn cancel(&self, run: &RunId) {
        if let Some(control) = lock(&self.state).runs.get(run) {
            control.cancel();
        }
    }

    pub(super) fn interrupt_all(&self) {
        lock(&self.state).runs.values().for_each(RunControl::interrupt);
    }

    /// Runs that this process knows of: at work, in line, or ended and not yet taken.
    pub(super) fn known(&self) -> Vec<RunId> {
        let state = lock(&self.state);
        state.runs.keys().copied().chain(state.ends.iter().map(|end| end.run)).collect()
    }

    pub(super) fn progress(&self) -> Vec<(RunId, Counts)> {
        let state = lock(&self.state);
        state.runs.iter().map(|(run, control)| (*run, control.look())).collect()
    }

    pub(super) fn ends(&self) -> Vec<Arc<End>> {
        lock(&self.state).ends.iter().cloned().collect()
    }

    /// Somebody answers for the end of this run from now on.
    pub(super) fn end_taken(&self, run: &RunId) {
        lock(&self.state).ends.retain(|end| end.run != *run);
        self.ended.notify_one();
    }

    pub(super) fn is_idle(&self) -> bool {
        let state = lock(&self.state);
        state.runs.is_empty() && state.ends.is_empty()
    }

    async fn run(&self, work: Work, control: &RunControl) -> Result<End> {
        let _seat = self.room.acquire().await.map_err(|_| {
            Error::new(Code::RunInterrupted, "the agent was stopped before the run began")
        })?;
        let (host, targets) = (Arc::clone(&self.host), self.targets.clone());
        let control = control.clone();
        self.tasks.run_blocking("run", move || Ok(work.perform(&host, &targets, &control))).await
    }

    fn note(&self, end: End) {
        let run = end.run;
        match &end.error {
            None => tracing::debug!(%run, "the run is done"),
            Some(error) => tracing::warn!(%run, code = error.code.name(), "the run has ended"),
        }
        let mut state = lock(&self.state);
        state.runs.remove(&run);
        state.keep(end);
        drop(state);
        self.ended.notify_one();
    }
}

impl State {
    fn has_ended(&self, run: &RunId) -> bool {
        self.ends.iter().any(|end| end.run == *run)
    }

    fn keep(&mut self, end: End) {
        if self.has_ended(&end.run) {
            return;
        }
        if self.ends.len() >= ENDS_KEPT_MAX
            && let Some(oldest) = self.ends.pop_front()
        {
            tracing::warn!(run = %oldest.run, "nobody took the end of the run");
        }
        self.ends.push_back(Arc::new(end));
    }
}

impl Work {
    fn run(&self) -> RunId {
        match self {
            Self::Backup(request) => request.run,
            Self::Restore(order) => order.run,
            Self::Verify(order) => order.run,
        }
    }

    fn perform(&self, host: &Host, targets: &Targets, control: &RunControl) -> End {
        let run = self.run();
        match self {
            Self::Backup(request) => {
                let made = back_up(host, request, control);
                if let Ok(made) = &made {
                    tracing::info!(%run, point = %made.point, "backup committed");
                }
                End { run, error: made.err(), restored: None }
            }
            Self::Restore(order) => {
                let mut restored = restore_ordered(host, targets, order, control);
                if restored.error.is_none() {
                    tracing::info!(%run, point = %order.point, "restored");
                }
                let error = restored.error.take();
                End { run, error, restored: Some(order::restored(&restored)) }
            }
            Self::Verify(order) => {
                let ended = verify_ordered(host, order, control);
                if ended.is_ok() {
                    tracing::info!(%run, point = %order.point, "verified");
                }
                End { run, error: ended.err(), restored: None }
            }
        }
    }
}

impl End {
    fn refused(run: RunId, error: Error) -> Self {
        Self { run, error: Some(error), restored: None }
    }
}

/// At work and in line.
const RUNS_KNOWN_MAX: usize = 64;
/// Ends that nobody took; the oldest makes room.
const ENDS_KEPT_MAX: usize = 128;
