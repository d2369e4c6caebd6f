//! What every store must do, whichever it is: one suite, run by every implementation and layer.
//!
//! A case works below a prefix of its own, clears it before and after, and makes claims; the first
//! one that does not hold ends the suite with an error that quotes it. So the suite can run against
//! a location that is in use. Whoever writes a store runs [`uphold`] in its tests.

mod listing;
mod reading;
mod writing;

#[cfg(test)]
mod runs;

use crate::store::{ObjectStore, Pending};
use crate::{ObjectName, ObjectPrefix};
use bytes::Bytes;
use core::fmt::Debug;
use holdfast_common::{Code, Error, Result, limits};
use std::sync::Arc;

/// Whether what a store answers about the past can be exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    Exact,
    /// A retried call may find its own work: `existed` of a put and the answer of a delete differ.
    MayBeLost,
}

/// A store on which a case works.
pub struct Desk {
    store: Arc<dyn ObjectStore>,
    acks: Acks,
    case: &'static str,
}

type Case = (&'static str, for<'a> fn(&'a Desk) -> Pending<'a, ()>);

const CASES: &[Case] = &[
    ("absent", |desk| Box::pin(reading::what_was_never_put_is_missing(desk))),
    ("bound", |desk| Box::pin(reading::an_object_over_the_callers_bound_is_refused(desk))),
    ("conflict", |desk| Box::pin(writing::other_bytes_conflict_and_change_nothing(desk))),
    ("delete", |desk| Box::pin(listing::deleting_twice_is_deleting_once(desk))),
    ("empty", |desk| Box::pin(reading::an_empty_object_is_an_object(desk))),
    ("large", |desk| Box::pin(reading::a_pack_of_the_largest_size_survives(desk))),
    ("names", |desk| Box::pin(writing::the_longest_and_deepest_names_work(desk))),
    ("order", |desk| Box::pin(listing::names_come_in_byte_order(desk))),
    ("paging", |desk| Box::pin(listing::pages_together_are_the_whole(desk))),
    ("probe", |desk| Box::pin(writing::a_probe_leaves_nothing(desk))),
    ("race-other", |desk| Box::pin(writing::of_racing_contents_one_wins(desk))),
    ("race-same", |desk| Box::pin(writing::racing_writers_of_the_same_bytes_all_succeed(desk))),
    ("range", |desk| Box::pin(reading::a_range_is_exact_or_refused(desk))),
    ("replace", |desk| Box::pin(writing::what_is_replaced_is_never_absent_nor_torn(desk))),
    ("round", |desk| Box::pin(writing::what_was_put_is_there_at_once(desk))),
    ("same", |desk| Box::pin(writing::the_same_bytes_again_are_success(desk))),
];

/// Runs every case; the error names the case and the claim that did not hold.
pub async fn uphold(store: Arc<dyn ObjectStore>, acks: Acks) -> Result<()> {
    for (case, run) in CASES {
        let desk = Desk { store: Arc::clone(&store), acks, case };
        let named = |error: Error| Error {
            message: format!("case `{case}` of {store:?}: {}", error.message),
            ..error
        };
        desk.clear().await.map_err(named)?;
        run(&desk).await.map_err(named)?;
        desk.clear().await.map_err(named)?;
    }
    Ok(())
}

impl Desk {
    fn name(&self, below: &str) -> Result<ObjectName> {
        format!("conformance/{}/{below}", self.case).parse()
    }

    fn prefix(&self, below: &str) -> Result<ObjectPrefix> {
        format!("conformance/{}/{below}", self.case).parse()
    }

    async fn put(&self, below: &str, bytes: &'static [u8]) -> Result<ObjectName> {
        let name = self.name(below)?;
        self.store.put_new(&name, Bytes::from_static(bytes)).await?;
        Ok(name)
    }

    async fn clear(&self) -> Result<()> {
        let all = self.prefix("")?;
        loop {
            let page = self.store.list(&all, None, limits::LIST_PAGE_ROWS).await?;
            if page.is_empty() {
                return Ok(());
            }
            for object in page {
                self.store.delete(&object.name).await?;
            }
        }
    }

    /// Holds only for stores that know whose work they find.
    fn exactly(&self, holds: bool, claim: &str) -> Result<()> {
        claimed(holds || self.acks == Acks::MayBeLost, claim)
    }
}

fn claimed(holds: bool, claim: &str) -> Result<()> {
    if holds {
        return Ok(());
    }
    Err(Error::new(Code::InternalBug, format!("it does not hold that {claim}")))
}

fn same<T: PartialEq + Debug>(found: &T, due: &T, claim: &str) -> Result<()> {
    let shown = |value: &T| format!("{value:?}").chars().take(400).collect::<String>();
    let both = || format!("found {}, due {}", shown(found), shown(due));
    claimed(found == due, claim).map_err(|error| error.cause(both()))
}

fn refused<T>(outcome: Result<T>, code: Code, claim: &str) -> Result<()> {
    match outcome {
        Err(error) if error.code == code => Ok(()),
        Err(error) => claimed(false, claim).map_err(|claim| claim.cause(error)),
        Ok(_) => claimed(false, claim).map_err(|claim| claim.cause("the call succeeded")),
    }
}
