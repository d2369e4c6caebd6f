//! How a command ended, and the exit code that says so (`docs/command-line.md`).
//!
//! What failed is a [`holdfast_common::Error`] and its code decides. An [`Ending`] is for what did
//! its work and still has something to say: a partial point, damage that was found, a cluster that
//! does not protect as asked, a signal.

use holdfast_common::{Result, codes::Exit};
use holdfast_runtime::{Signal, Signals};
use std::process::ExitCode;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Damage,
    Done,
    Failed,
    /// What was looked at cannot be used, as an error of that class would say.
    Found(Exit),
    Interrupted,
    Partial,
    Terminated,
    Unprotected,
}

impl Ending {
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed | Self::Unprotected => 1,
            Self::Found(exit) => exit as u8,
            Self::Partial => 6,
            Self::Damage => 7,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    /// Whether somebody stopped the command.
    pub const fn is_a_stop(self) -> bool {
        matches!(self, Self::Interrupted | Self::Terminated)
    }
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        Self::from(ending.code())
    }
}

/// Waits for somebody to stop the command.
pub async fn signal() -> Result<Ending> {
    Ok(stopped_by(Signals::listen()?.next().await))
}

/// For whoever waits several times: a signal that comes in between is not lost.
pub const fn stopped_by(signal: Signal) -> Ending {
    match signal {
        Signal::Interrupt => Ending::Interrupted,
        Signal::Terminate => Ending::Terminated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_has_the_exit_code_that_the_contract_names() {
        let codes = [
            (Ending::Done, 0),
            (Ending::Failed, 1),
            (Ending::Found(Exit::Refused), 4),
            (Ending::Unprotected, 1),
            (Ending::Partial, 6),
            (Ending::Damage, 7),
            (Ending::Interrupted, 130),
            (Ending::Terminated, 143),
        ];
        for (ending, code) in codes {
            assert_eq!(ending.code(), code, "{ending:?}");
        }
    }
}
