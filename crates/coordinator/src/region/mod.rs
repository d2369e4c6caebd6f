//! Regions and epochs: who may lead when a whole region is lost, and how the lost side is kept from
//! going on by itself.
//!
//! ```text
//!   plan (asks the region's members, the others, the locations) ─→ obstacles, or
//!   claim `epochs/N` in the region's locations ─→ intent, durable ─→ the ledger starts anew
//!                     │                              with this member as its only voter
//!                     │                              ─→ ClaimEpoch ─→ candidates vote, as ever
//!                     └─→ whoever hears of a newer epoch: of its regions? adopts it. Else it is
//!                         fenced: durably, it leads no more, takes nothing, and says so
//! ```
//!
//! A vault whose required locations all went goes on in one of the region that followed (`taking`).
//! What was given up comes back into the same epoch (`failback`), or is forgotten.
//!
//! The claim is the point of no return: a member that finds it in a location follows it, and the
//! member that made it and died goes on when it starts again.

mod by_hand;
mod claim;
mod epoch;
mod failback;
mod gather;
mod hearing;
mod meet;
mod plan;
mod promote;
mod standing;
mod taking;
mod voucher;
mod watch;

pub(crate) use by_hand::fence_by_hand;
pub(crate) use claim::Claim;
pub(crate) use epoch::Epoch;
pub(crate) use failback::{Order as ReturnOrder, Report, fail_back, forget, kept, settle, tell};
pub(crate) use hearing::{insist_heard, insist_none_newer};
pub(crate) use plan::{Obstacle, Plan, plan};
pub(crate) use promote::{Order, promote};
#[cfg(test)]
pub(crate) use standing::IntendedNode;
pub(crate) use standing::{Intent, Standing, prepare};
pub(crate) use taking::{Accepted, Source, Taking, awaited};
pub(crate) use voucher::vouch;
pub(crate) use watch::{end_of, insist_unclaimed, keep, look, stand_again};
