//! What may go: which packs no point needs, which are mostly dead, and how many bytes that frees.
//!
//! ```text
//!   reaches, one after the other ─▶ Mark ─▶ Plan ◀── rows of packs, page by page
//!                                            ├─▶ a verdict on each
//!                                            └─▶ Tally: packs and bytes of each verdict
//! ```
//!
//! What is to be packed anew goes through a [`Remake`].
//!
//! Pure values: no row is kept and none is looked for, so memory is one set of numbers, however
//! many points and packs there are. A verdict is an opinion as of a mark. What may follow from it,
//! and when, is for the rounds of `docs/design/collection.md` to say; nothing here deletes.

mod mark;
mod plan;
mod remake;
mod span;

pub use mark::Mark;
pub use plan::{Amount, Plan, Tally, Thresholds, Verdict};
pub use remake::{Remade, Remake, Source};
pub use span::{PackSpan, Place, TakenRun};
