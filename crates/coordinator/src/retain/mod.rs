//! How long points are kept: plans, shown and carried out.
//!
//! ```text
//!   rows ─→ plan ─→ what stays needs nothing that is lost (`losses`)
//!                     ├─→ shown, with what it would free (`weigh`)
//!                     └─→ carried out: ForgetPoints, of many sources at a time
//! ```
//!
//! The leader carries plans out by itself, now and then and when something has changed, but not by
//! rules that were changed lately: whoever wrote them shall have the time to look. Operators carry
//! out at once what they were shown. The ledger checks all that must hold once more. No object is
//! touched by any of it.

mod carry_out;
mod losses;
mod plan;
mod reconcile;
mod weigh;

pub(crate) use carry_out::{Carried, carry_out};
pub(crate) use losses::look;
pub(crate) use plan::{Anomalies, Plan, Wanted, plan};
pub(crate) use reconcile::keep;
pub(crate) use weigh::{Weight, weigh};

use crate::{house::House, raft::LeaderTime};
use holdfast_common::Result;

/// Refuses while nothing may be forgotten, whatever the rules say; by the time of whoever leads.
pub(crate) fn insist_on_peace(house: &House, leader: &LeaderTime) -> Result<()> {
    leader.insist_on_clock()?;
    house.ledger.query().insist_on_undivided()
}
