//! When to stop: a signal from outside, or a task without which the process is of no use.
//!
//! `Signals` is made first thing, before anything can take long, so that no signal meets the
//! default action and kills a process half-way. Nothing here exits: `main` alone does.

use crate::tasks::Tasks;
use holdfast_common::{Code, Error, Result};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Interrupt,
    Terminate,
}

impl Signal {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// What a command line that was stopped by this signal exits with.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// Why a process stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    Failure(Error),
    /// The group was cancelled from within, without an error.
    Request,
    Signal(Signal),
}

#[derive(Debug)]
pub struct Signals {
    interrupt: Stream,
    terminate: Stream,
}

impl Signals {
    /// Takes SIGINT and SIGTERM over. Must be called inside a runtime.
    pub fn listen() -> Result<Self> {
        let take = |kind| {
            signal(kind).map_err(|error| {
                Error::new(Code::InternalBug, "signals cannot be taken over").cause(error)
            })
        };
        Ok(Self {
            interrupt: take(SignalKind::interrupt())?,
            terminate: take(SignalKind::terminate())?,
        })
    }

    /// The next signal; a second one while the process drains is a second call.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }

    /// Waits until somebody wants the process to stop, and cancels the group's token.
    pub async fn wait(&mut self, tasks: &Tasks) -> Stop {
        let stop = tokio::select! {
            signal = self.next() => Stop::Signal(signal),
            () = tasks.token().cancelled() => tasks.failure().map_or(Stop::Request, Stop::Failure),
        };
        tasks.token().cancel();
        match &stop {
            Stop::Failure(_) => {}
            Stop::Request => tracing::info!("stopping"),
            Stop::Signal(signal) => tracing::info!(signal = signal.name(), "stopping"),
        }
        stop
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::OnError;
    use core::time::Duration;

    /// One test, because a signal reaches every listener of the process.
    #[tokio::test]
    async fn a_failed_task_a_request_and_a_signal_end_the_wait_and_say_which_it_was() {
        let mut signals = Signals::listen().unwrap();
        let tasks = Tasks::new("test");
        let error = Error::new(Code::DiskFull, "no room");
        let failing = error.clone();
        tasks.spawn("vital", OnError::Shutdown, async { Err(failing) });
        assert_eq!(signals.wait(&tasks).await, Stop::Failure(error));
        assert!(tasks.shutdown(Duration::from_secs(1)).await.is_empty());

        let tasks = Tasks::new("test");
        tasks.token().cancel();
        assert_eq!(signals.wait(&tasks).await, Stop::Request);

        for (name, signal) in [("TERM", Signal::Terminate), ("INT", Signal::Interrupt)] {
            let tasks = Tasks::new("test");
            let own = std::process::id().to_string();
            // The shell's own `kill`: the program of that name is not on every machine.
            let send = format!("kill -s {name} {own}");
            let sent = std::process::Command::new("sh").args(["-c", &send]).status();
            assert!(sent.unwrap().success());
            assert_eq!(signals.wait(&tasks).await, Stop::Signal(signal));
            assert!(tasks.token().is_cancelled());
        }
    }
}
