//! The runs of this process: started, watched, stopped, and their ends kept until reported.

use crate::flow::lock;
use crate::pipeline::budget::RUNS_MAX;
use crate::pipeline::{Backup, BackupRequest, Counts, Host, RunControl, back_up};
use holdfast_common::{Code, Error, Result, RunId};
use holdfast_runtime::{OnError, Tasks};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, Semaphore};

pub(super) struct Desk {
    host: Arc<Host>,
    tasks: Tasks,
    room: Arc<Semaphore>,
    state: Mutex<State>,
    /// Told whenever a run has ended.
    pub(super) ended: Notify,
}

#[derive(Default)]
struct State {
    runs: BTreeMap<RunId, RunControl>,
    ends: Vec<End>,
}

/// How a run ended; kept until somebody was told.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) run: RunId,
    pub(super) error: Option<Error>,
}

impl Desk {
    pub(super) fn new(host: Arc<Host>, tasks: Tasks) -> Arc<Self> {
        let room = Arc::new(Semaphore::new(RUNS_MAX));
        Arc::new(Self { host, tasks, room, state: Mutex::default(), ended: Notify::new() })
    }

    /// Starts a run, or puts it in line. An order that was heard already changes nothing.
    pub(super) fn start(self: &Arc<Self>, request: BackupRequest) {
        let control = RunControl::default();
        let run = request.run;
        {
            let mut state = lock(&self.state);
            if state.runs.contains_key(&run) {
                return;
            }
            if state.runs.len() >= RUNS_KNOWN_MAX {
                let message = "this agent has too many runs in line";
                state.ends.push(End { run, error: Some(Error::new(Code::RunBusy, message)) });
                self.ended.notify_one();
                return;
            }
            state.runs.insert(run, control.clone());
        }
        let desk = Arc::clone(self);
        self.tasks.spawn("run", OnError::Log, async move {
            let ended = desk.run(request, &control).await;
            desk.note(run, ended);
            Ok(())
        });
    }

    pub(super) fn refuse(&self, run: RunId, error: Error) {
        lock(&self.state).ends.push(End { run, error: Some(error) });
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

    /// Runs that this process knows of: at work, in line, or ended and not yet reported.
    pub(super) fn known(&self) -> Vec<RunId> {
        let state = lock(&self.state);
        state.runs.keys().copied().chain(state.ends.iter().map(|end| end.run)).collect()
    }

    pub(super) fn progress(&self) -> Vec<(RunId, Counts)> {
        let state = lock(&self.state);
        state.runs.iter().map(|(run, control)| (*run, control.progress.look())).collect()
    }

    pub(super) fn take_ends(&self) -> Vec<End> {
        std::mem::take(&mut lock(&self.state).ends)
    }

    /// Ends that could not be told.
    pub(super) fn give_back(&self, ends: Vec<End>) {
        lock(&self.state).ends.extend(ends);
    }

    pub(super) fn is_idle(&self) -> bool {
        let state = lock(&self.state);
        state.runs.is_empty() && state.ends.is_empty()
    }

    async fn run(&self, request: BackupRequest, control: &RunControl) -> Result<Backup> {
        let _seat = self.room.acquire().await.map_err(|_| {
            Error::new(Code::RunInterrupted, "the agent was stopped before the run began")
        })?;
        let (host, control) = (Arc::clone(&self.host), control.clone());
        self.tasks.run_blocking("backup", move || back_up(&host, &request, &control)).await
    }

    fn note(&self, run: RunId, ended: Result<Backup>) {
        match &ended {
            Ok(backup) => tracing::info!(%run, point = %backup.point, "backup committed"),
            Err(error) => tracing::warn!(%run, code = error.code.name(), "the run has ended"),
        }
        let mut state = lock(&self.state);
        state.runs.remove(&run);
        state.ends.push(End { run, error: ended.err() });
        drop(state);
        self.ended.notify_one();
    }
}

/// At work and in line.
const RUNS_KNOWN_MAX: usize = 64;
