//! Supervised tasks: the only place that spawns.
//!
//! ```text
//! spawn(kind, on_error, work) --> ends · fails · panics --> Log: one line   Shutdown: cancel all
//! shutdown(deadline): close to new work -> cancel the token -> wait -> abort -> name what was left
//! ```
//!
//! Every task has a kind, an owner who waits for it, and a policy for its error. On cancel a task
//! is asked, through the token, and decides itself what to finish; what is still there at the
//! deadline is aborted and named. A panic is an error like any other: caught, logged, never lost.
//! After `shutdown` began nothing new starts; such work is dropped unrun.

use core::panic::AssertUnwindSafe;
use core::{future::Future, pin::Pin, task::Poll, time::Duration};
use holdfast_common::{Code, Error, Result};
use std::any::Any;
use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::{TaskTracker, TaskTrackerToken};

/// What an error or a panic of a task leads to, beyond the line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The others go on.
    Log,
    /// The process cannot do its work without this task: everything is cancelled.
    Shutdown,
}

/// A cheap handle; the last one to be dropped aborts what was never shut down.
#[derive(Clone, Debug)]
pub struct Tasks(Arc<Owner>);

impl Tasks {
    pub fn new(name: &'static str) -> Self {
        Self(Arc::new(Owner(Arc::new(Group {
            name,
            token: CancellationToken::new(),
            tracker: TaskTracker::new(),
            registry: Mutex::default(),
        }))))
    }

    /// Cancelled when the group shuts down. Every task of the group listens to it.
    pub fn token(&self) -> &CancellationToken {
        &self.group().token
    }

    /// Starts `work`. Must be called inside a runtime.
    #[expect(clippy::disallowed_methods, reason = "this is the task supervisor")]
    pub fn spawn<F>(&self, kind: &'static str, on_error: OnError, work: F)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let Some(seat) = Seat::take(self.group(), kind) else { return };
        let id = seat.id;
        let mut work = Box::pin(work);
        let handle = tokio::spawn(async move {
            let ended = caught(kind, work.as_mut()).await;
            drop(work);
            seat.group.finish(kind, on_error, ended);
            drop(seat);
        });
        self.group().abort_with(id, handle.abort_handle());
    }

    /// Starts blocking `work` on a thread. It cannot be aborted: it must look at the token itself.
    pub fn spawn_blocking<F>(&self, kind: &'static str, on_error: OnError, work: F)
    where
        F: FnOnce() -> Result<()> + Send + 'static,
    {
        let Some(seat) = Seat::take(self.group(), kind) else { return };
        tokio::task::spawn_blocking(move || {
            let ended = catch_unwind(AssertUnwindSafe(work))
                .unwrap_or_else(|panic| Err(panicked(kind, panic.as_ref())));
            seat.group.finish(kind, on_error, ended);
            drop(seat);
        });
    }

    /// Runs blocking `work` on a thread and gives its result back; a panic becomes an error.
    pub async fn run_blocking<T, F>(&self, kind: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        let Some(seat) = Seat::take(self.group(), kind) else { return Err(stopped(kind)) };
        let thread = tokio::task::spawn_blocking(move || {
            let ended = catch_unwind(AssertUnwindSafe(work));
            drop(seat);
            ended.unwrap_or_else(|panic| Err(panicked(kind, panic.as_ref())))
        });
        thread.await.unwrap_or_else(|_| Err(stopped(kind)))
    }

    /// The kinds of what runs now, once per task.
    pub fn running(&self) -> Vec<&'static str> {
        self.group().lock().running.values().map(|entry| entry.kind).collect()
    }

    /// The first error that asked for a shutdown.
    pub fn failure(&self) -> Option<Error> {
        self.group().lock().failure.clone()
    }

    /// Cancels, waits, and aborts what is left at the deadline. Gives the kinds of those.
    pub async fn shutdown(&self, deadline: Duration) -> Vec<&'static str> {
        self.group().lock().closed = true;
        self.group().tracker.close();
        self.group().token.cancel();
        if tokio::time::timeout(deadline, self.group().tracker.wait()).await.is_ok() {
            return Vec::new();
        }
        let left = self.group().abort_all();
        for kind in &left {
            tracing::warn!(group = self.group().name, task = kind, "did not finish in time");
        }
        left
    }

    fn group(&self) -> &Arc<Group> {
        &self.0.0
    }
}

#[derive(Debug)]
struct Owner(Arc<Group>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.token.cancel();
        for kind in self.0.abort_all() {
            tracing::error!(group = self.0.name, task = kind, "was left behind by its owner");
        }
    }
}

#[derive(Debug)]
struct Group {
    name: &'static str,
    token: CancellationToken,
    tracker: TaskTracker,
    registry: Mutex<Registry>,
}

#[derive(Debug, Default)]
struct Registry {
    closed: bool,
    aborted: bool,
    next: u64,
    running: BTreeMap<u64, Entry>,
    failure: Option<Error>,
}

#[derive(Debug)]
struct Entry {
    kind: &'static str,
    abort: Option<AbortHandle>,
}

impl Group {
    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self, kind: &'static str, on_error: OnError, ended: Result<()>) {
        let Err(error) = ended else { return };
        match on_error {
            OnError::Log => tracing::warn!(group = self.name, task = kind, %error, "task failed"),
            OnError::Shutdown => {
                tracing::error!(group = self.name, task = kind, %error, "task failed: stopping");
                self.lock().failure.get_or_insert(error);
                self.token.cancel();
            }
        }
    }

    /// The handle arrives after the task has started: it may be over, or already unwanted.
    fn abort_with(&self, id: u64, handle: AbortHandle) {
        let mut registry = self.lock();
        if registry.aborted {
            handle.abort();
        } else if let Some(entry) = registry.running.get_mut(&id) {
            entry.abort = Some(handle);
        }
    }

    fn abort_all(&self) -> Vec<&'static str> {
        let mut registry = self.lock();
        registry.closed = true;
        registry.aborted = true;
        let left: Vec<_> = registry.running.values().map(|entry| entry.kind).collect();
        let handles: Vec<_> =
            registry.running.values_mut().filter_map(|entry| entry.abort.take()).collect();
        // An aborted task may be dropped at once, and then takes this lock to leave.
        drop(registry);
        handles.iter().for_each(AbortHandle::abort);
        left
    }
}

/// A task's place in the registry; given up when the task ends, however it ends.
struct Seat {
    group: Arc<Group>,
    id: u64,
    /// Taken together with the seat, so that `shutdown` waits even for what is about to start.
    _waited_for: TaskTrackerToken,
}

impl Seat {
    fn take(group: &Arc<Group>, kind: &'static str) -> Option<Self> {
        let mut registry = group.lock();
        if registry.closed {
            tracing::debug!(group = group.name, task = kind, "not started: shutting down");
            return None;
        }
        let id = registry.next;
        registry.next += 1;
        registry.running.insert(id, Entry { kind, abort: None });
        let waited_for = group.tracker.token();
        Some(Self { group: Arc::clone(group), id, _waited_for: waited_for })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.group.lock().running.remove(&self.id);
    }
}

async fn caught(
    kind: &'static str,
    mut work: Pin<&mut (dyn Future<Output = Result<()>> + Send)>,
) -> Result<()> {
    core::future::poll_fn(|cx| {
        catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)))
            .unwrap_or_else(|panic| Poll::Ready(Err(panicked(kind, panic.as_ref()))))
    })
    .await
}

fn panicked(kind: &'static str, panic: &(dyn Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    Error::new(Code::InternalBug, format!("the task `{kind}` panicked")).cause(text)
}

fn stopped(kind: &'static str) -> Error {
    let message = format!("`{kind}` was not run: the process is stopping");
    // To whoever asked over the wire it is as good as gone, and another may answer.
    Error::new(Code::ClusterUnreachable, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    const LONG: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn shutdown_waits_for_what_listens_and_names_nothing() {
        let tasks = Tasks::new("test");
        let (done, is_done) = oneshot::channel();
        let token = tasks.token().clone();
        tasks.spawn("listener", OnError::Log, async move {
            token.cancelled().await;
            tokio::time::sleep(LONG / 2).await;
            done.send(()).map_err(|()| stopped("listener"))
        });
        assert_eq!(tasks.running(), ["listener"]);
        assert!(tasks.shutdown(LONG).await.is_empty());
        assert!(is_done.await.is_ok());
        assert!(tasks.running().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn shutdown_aborts_and_names_what_does_not_listen() {
        let tasks = Tasks::new("test");
        let (held, released) = oneshot::channel::<()>();
        tasks.spawn("deaf", OnError::Log, async move {
            core::future::pending::<()>().await;
            drop(held);
            Ok(())
        });
        tasks.spawn("quick", OnError::Log, async { Ok(()) });
        assert_eq!(tasks.shutdown(LONG).await, ["deaf"]);
        let released = tokio::time::timeout(LONG, released).await.expect("aborted, not left");
        assert!(released.is_err(), "the aborted task was dropped");
        assert!(tasks.shutdown(LONG).await.is_empty());
    }

    #[tokio::test]
    async fn a_panic_is_caught_and_reported_and_the_others_go_on() {
        let tasks = Tasks::new("test");
        tasks.spawn("calm", OnError::Log, async { panic!("only logged") });
        tasks.spawn("vital", OnError::Shutdown, async { panic!("of {}", "consequence") });
        tasks.token().cancelled().await;
        let failure = tasks.failure().unwrap();
        assert_eq!(failure.code, Code::InternalBug);
        assert_eq!(failure.message, "the task `vital` panicked");
        assert_eq!(failure.cause.as_deref(), Some("of consequence"));
        assert!(tasks.shutdown(LONG).await.is_empty());
    }

    #[tokio::test]
    async fn an_error_that_is_only_logged_stops_nobody() {
        let tasks = Tasks::new("test");
        tasks.spawn("weak", OnError::Log, async { Err(stopped("weak")) });
        while !tasks.running().is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(!tasks.token().is_cancelled());
        assert_eq!(tasks.failure(), None);
        assert!(tasks.shutdown(LONG).await.is_empty());
    }

    #[tokio::test]
    async fn blocking_work_gives_its_result_and_its_panic_is_an_error() {
        let tasks = Tasks::new("test");
        assert_eq!(tasks.run_blocking("sum", || Ok(1 + 1)).await.unwrap(), 2);
        let error = tasks.run_blocking::<(), _>("sum", || panic!("too much")).await.unwrap_err();
        assert_eq!(error.code, Code::InternalBug);
        tasks.spawn_blocking("vital", OnError::Shutdown, || Err(stopped("vital")));
        tasks.token().cancelled().await;
        assert!(tasks.shutdown(LONG).await.is_empty());
    }

    #[tokio::test]
    async fn nothing_starts_after_shutdown_began() {
        let tasks = Tasks::new("test");
        assert!(tasks.shutdown(LONG).await.is_empty());
        tasks.spawn("late", OnError::Log, async { panic!("must not run") });
        tasks.spawn_blocking("late", OnError::Log, || panic!("must not run"));
        assert!(tasks.running().is_empty());
        let error = tasks.run_blocking("late", || Ok(())).await.unwrap_err();
        assert_eq!(error.code, Code::ClusterUnreachable, "whoever asked goes to another");
    }

    #[tokio::test]
    async fn what_the_owner_left_behind_is_aborted_with_the_last_handle() {
        let tasks = Tasks::new("test");
        let (held, released) = oneshot::channel::<()>();
        let token = tasks.token().clone();
        tasks.spawn("orphan", OnError::Log, async move {
            core::future::pending::<()>().await;
            drop(held);
            Ok(())
        });
        let second = tasks.clone();
        drop(tasks);
        assert!(!token.is_cancelled());
        drop(second);
        assert!(token.is_cancelled());
        let released = tokio::time::timeout(LONG, released).await.expect("aborted, not left");
        assert!(released.is_err(), "the aborted task was dropped");
    }

    #[test]
    fn a_task_dropped_by_a_closing_runtime_leaves_the_registry() {
        let tasks = Tasks::new("test");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            tasks.spawn("cut off", OnError::Log, core::future::pending());
        });
        assert_eq!(tasks.running(), ["cut off"]);
        drop(runtime);
        assert!(tasks.running().is_empty());
    }
}
