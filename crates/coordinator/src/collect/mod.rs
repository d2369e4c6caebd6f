//! What nobody needs goes, and nothing else: the rounds of `docs/design/collection.md`, made and
//! carried out.
//!
//! ```text
//!   row of a round ─→ rounds ─→ marking: every reach ─→ condemned ─→ sealed ─→ cleared ─→ doomed
//!   rows of what is doomed or forgotten ─→ deleter ─→ a day later, from every location ─→ buried
//! ```
//!
//! Both are the leader's, and go by rows alone: whoever leads next goes on where they are. What is
//! safe is the ledger's to say, and it checks each step once more; here it is decided only when
//! something is tried. Nothing waits for any of it.

mod answered;
mod care;
mod choice;
mod clearing;
mod deleter;
mod due;
mod heirs;
mod marking;
mod pass;
mod preview;
mod repacking;
mod rounds;
mod stuck;

pub(crate) use answered::GivenUp;
pub(crate) use deleter::delete;
pub(crate) use preview::{Preview, Waiting, preview, waiting};
pub(crate) use rounds::keep;
pub(crate) use stuck::{Left, Stuck};

use crate::house::House;
use holdfast_common::{Result, Timestamp, limits};
use std::time::Duration;

/// So long after its entry an object goes. A region that took the lead meanwhile is seen by then.
pub(crate) const DELAY: Duration = Duration::from_secs(limits::COLLECT_DELAY_SECS);

/// Whether anything may be collected now: everybody knows how, nobody doubts the clock, and no
/// region is parted from this one.
pub(crate) fn insist_on_peace(house: &House) -> Result<()> {
    house.ledger.peers().insist_on_epoch()?;
    house.ledger.own_time().insist_on_clock()?;
    house.ledger.query().insist_on_undivided()
}

/// Whether something of this age may be deleted.
fn is_old(when: Timestamp, now: Timestamp) -> bool {
    when.plus(DELAY) <= now
}
