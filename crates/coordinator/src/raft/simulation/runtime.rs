//! tokio as openraft sees it in this crate's tests: the same, but that in a simulation its dice are
//! the simulation's, and that every task belongs to the life of a member.
//!
//! A life ends as a process does at SIGKILL: none of its tasks runs again, nobody says goodbye.
//! Outside of a simulation everything is passed on to tokio unchanged.

use super::{dice::Draws, world::World};
use openraft::{AsyncRuntime, OptionalSend, impls::TokioRuntime};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::task::{AbortHandle, JoinHandle};

tokio::task_local! {
    static LIFE: Life;
}

/// All tasks of one start of a member.
#[derive(Clone, Debug, Default)]
pub(super) struct Life(Arc<Mutex<Vec<AbortHandle>>>);

impl Life {
    /// Runs as a part of this life; what it spawns belongs to it as well.
    pub(super) async fn lead<T>(&self, work: impl Future<Output = T>) -> T {
        LIFE.scope(self.clone(), work).await
    }

    #[expect(clippy::disallowed_methods, reason = "the simulation owns its tasks")]
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let task = tokio::spawn(LIFE.scope(self.clone(), work));
        let mut tasks = self.0.lock().unwrap();
        if tasks.len() > 64 {
            tasks.retain(|task| !task.is_finished());
        }
        tasks.push(task.abort_handle());
        task
    }

    pub(super) fn end(&self) {
        let tasks = std::mem::take(&mut *self.0.lock().unwrap());
        tasks.into_iter().for_each(|task| task.abort());
    }
}

/// The runtime of `Types` in tests.
#[derive(Debug)]
pub(crate) struct Runtime(TokioRuntime);

impl AsyncRuntime for Runtime {
    type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = JoinHandle<T>;
    type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
    type Instant = <TokioRuntime as AsyncRuntime>::Instant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> =
        <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = Draws;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = super::watch::Watched;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        match LIFE.try_with(Life::clone) {
            Ok(life) => life.spawn(future),
            Err(_) => TokioRuntime::spawn(future),
        }
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        TokioRuntime::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        let entropy: &dyn holdfast_common::Entropy = &holdfast_common::SystemEntropy;
        let drawn = || u64::from_le_bytes(entropy.array());
        Draws(super::dice::Dice::new(World::here().map_or_else(drawn, |world| world.word())))
    }

    fn new(threads: usize) -> Self {
        Self(TokioRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }
}
