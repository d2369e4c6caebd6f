//! The question before something that cannot be taken back.
//!
//! `--yes` answers it. On a terminal a person is asked; without one the command is refused with
//! exit code 4, so that a script never destroys by default.

use crate::demand::Demand;
use holdfast_common::{Code, Error, Result};
use std::io::{BufRead, IsTerminal, Write};

/// Returns when `what` (an imperative with its consequence) was agreed to.
pub fn confirm(demand: &Demand<'_>, what: &str) -> Result<()> {
    if demand.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Error::new(Code::ConfirmMissing, format!("nobody agreed to this: {what}"))
            .next("add --yes to confirm without a terminal"));
    }
    let unreadable = |error| Error::io("the answer cannot be read", &error);
    let mut screen = std::io::stderr().lock();
    write!(screen, "{what}? [y/N] ").and_then(|()| screen.flush()).map_err(unreadable)?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(unreadable)?;
    if matches!(answer.trim(), "y" | "yes" | "Y") {
        return Ok(());
    }
    Err(Error::new(Code::ConfirmMissing, format!("not agreed to: {what}")))
}
