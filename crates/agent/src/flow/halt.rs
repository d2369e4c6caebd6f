//! The one way a run stops early: the first error wins, and everybody hears the same one.
//!
//! A cancelled run, a lost lease, a full disk and a bug all end here. Waiting stages look at the
//! halt; calls on the network are raced against its token, so that nothing outlives the run.

use super::lock;
use holdfast_common::{Code, Error, Result};
use std::future::Future;
use std::sync::{Arc, Mutex};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Default)]
pub(crate) struct Halt {
    first: Mutex<Option<Error>>,
    token: CancellationToken,
}

impl Halt {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Records the error unless there is one already, and wakes everybody.
    pub(crate) fn fail(&self, error: Error) {
        lock(&self.first).get_or_insert(error);
        self.token.cancel();
    }

    pub(crate) fn is_set(&self) -> bool {
        self.token.is_cancelled()
    }

    /// `Err` with the first error once the run was halted.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_set() { Err(self.error()) } else { Ok(()) }
    }

    pub(crate) fn error(&self) -> Error {
        lock(&self.first).clone().unwrap_or_else(|| {
            Error::new(Code::RunInterrupted, "the run was stopped before it was done")
        })
    }

    /// Runs a stage's body; its failure is everybody's.
    pub(crate) fn guard(&self, body: impl FnOnce() -> Result<()>) {
        let _panics = HaltOnPanic(self);
        if let Err(error) = body() {
            self.fail(error);
        }
    }

    /// Waits on the network from a stage's thread, for as long as the run goes on.
    pub(crate) fn wait_for<T>(
        &self,
        handle: &Handle,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        handle.block_on(async {
            tokio::select! {
                biased;
                () = self.token.cancelled() => Err(self.error()),
                answer = call => answer,
            }
        })
    }
}

/// Halts the run when its holder's thread panics, so that no other stage waits for it for ever.
pub(crate) struct HaltOnPanic<'a>(pub(crate) &'a Halt);

impl Drop for HaltOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(Error::new(Code::InternalBug, "a stage of the run panicked"));
        }
    }
}
