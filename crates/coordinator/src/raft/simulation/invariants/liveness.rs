//! When the sky has cleared, somebody leads and a command is agreed within a bounded time, and in
//! the end through every member, also one that needs a snapshot first. And nothing strange has
//! happened: no member stopped by itself, no client was told something else than yes, no, or not
//! known.

use super::{Event, Invariant};
use std::time::Duration;

/// Elections and back-off.
const FIRST_MAX: Duration = Duration::from_secs(10);
/// It may take 20 s to see that a snapshot on its way was lost.
const LAST_MAX: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Liveness {
    agreed: usize,
    ended: usize,
}

impl Invariant for Liveness {
    fn look(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Agreed { member, after } => {
                self.agreed += 1;
                if *after > if self.agreed == 1 { FIRST_MAX } else { LAST_MAX } {
                    return Err(format!("a command took {after:?} through {member}"));
                }
            }
            Event::Ended { .. } => self.ended += 1,
            Event::Strange { member, what } => return Err(format!("{member}: {what}")),
            _ => {}
        }
        Ok(())
    }

    fn conclude(&mut self) -> Result<(), String> {
        let (agreed, ended) = (self.agreed, self.ended);
        if agreed < ended || ended == 0 {
            return Err(format!("{agreed} of {ended} members had a command agreed"));
        }
        Ok(())
    }
}
