//! What was seen of a destroyed version's objects in a location, as the ledger is told.
//!
//! Since when none of them is there stays known until one is seen there again: a look that came to
//! nothing takes nothing back, and stands beside it. Only what is news is noted.

use crate::house::House;
use holdfast_common::{Error, Result, Timestamp, limits};
use holdfast_ledger::{
    Actor,
    command::NoteShredded,
    row::{CopyProblem, DestroyedKeyRow, LocationRow, ShreddedRow},
};

/// What came of one look.
pub(super) struct Cleared {
    /// Nothing is left, or why something may be.
    pub(super) said: Result<()>,
    /// Something was found that was to be gone.
    pub(super) lies_there: bool,
}

impl Cleared {
    /// Nobody looked, or could.
    pub(super) fn unseen(why: Error) -> Self {
        Self { said: Err(why), lies_there: false }
    }

    fn gone(&self, known: Option<&ShreddedRow>, now: Timestamp) -> Option<Timestamp> {
        let since = known.and_then(|row| row.gone);
        match &self.said {
            Ok(()) => since.filter(|_| !self.lies_there).or(Some(now)),
            Err(_) => since.filter(|_| !self.lies_there),
        }
    }

    fn problem(&self) -> Option<CopyProblem> {
        let error = self.said.as_ref().err()?;
        let message = error.message.chars().take(limits::PROBLEM_CHARS_MAX).collect();
        Some(CopyProblem { code: error.code.name().to_owned(), message })
    }
}

/// Says it where it is news.
pub(super) async fn note(
    house: &House,
    destroyed: &DestroyedKeyRow,
    location: &LocationRow,
    cleared: Cleared,
) -> Result<()> {
    let known = house.ledger.query().shredded(&destroyed.vault, destroyed.version)?;
    let known = known.iter().find(|row| row.location == location.name);
    let Some(seen) = news(known, (destroyed, location), &cleared, house.ledger.now()) else {
        return Ok(());
    };
    house.ledger.propose(Actor::System, NoteShredded { seen }).await.map(drop)
}

fn news(
    known: Option<&ShreddedRow>,
    (destroyed, location): (&DestroyedKeyRow, &LocationRow),
    cleared: &Cleared,
    now: Timestamp,
) -> Option<ShreddedRow> {
    // Of another place nothing is known.
    let known = known.filter(|row| row.revision == location.revision);
    let (gone, problem) = (cleared.gone(known, now), cleared.problem());
    let code = |problem: Option<&CopyProblem>| problem.map(|problem| problem.code.clone());
    let is_known = known.is_some_and(|row| {
        row.gone == gone && code(row.problem.as_ref()) == code(problem.as_ref())
    });
    let seen = || ShreddedRow {
        vault: destroyed.vault,
        version: destroyed.version,
        location: location.name.clone(),
        revision: location.revision,
        gone,
        problem,
        noted: now,
    };
    (!is_known).then(seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{VAULT, name};
    use holdfast_common::Code;

    fn destroyed() -> DestroyedKeyRow {
        DestroyedKeyRow {
            vault: VAULT,
            version: 1,
            remains: vec![1].into(),
            made: Timestamp::ZERO,
            retired: Timestamp::ZERO,
            destroyed: Timestamp::ZERO,
            asked_by: name("alice"),
            agreed_by: name("bob"),
            points: 0,
            closed_at: None,
            at: 1,
        }
    }

    fn location(revision: u64) -> LocationRow {
        let (name, region) = (name("main"), name("eu"));
        LocationRow { name, url: "memory:".to_owned(), region, revision, disabled: None }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    fn look(
        known: Option<&ShreddedRow>,
        revision: u64,
        cleared: &Cleared,
        now: i64,
    ) -> Option<ShreddedRow> {
        news(known, (&destroyed(), &location(revision)), cleared, at(now))
    }

    fn away() -> Cleared {
        Cleared::unseen(Error::new(Code::LocationIoFailed, "away"))
    }

    const GONE: Cleared = Cleared { said: Ok(()), lies_there: false };

    #[test]
    fn what_was_seen_gone_stays_known_until_it_is_seen_there_again() {
        let gone = look(None, 1, &GONE, 1).unwrap();
        assert_eq!((gone.gone, &gone.problem), (Some(at(1)), &None));
        assert_eq!(look(Some(&gone), 1, &GONE, 2), None, "no news");
        let unseen = look(Some(&gone), 1, &away(), 3).unwrap();
        let problem = unseen.problem.as_ref().map(|problem| problem.code.as_str());
        assert_eq!(problem, Some(Code::LocationIoFailed.name()));
        assert_eq!(unseen.gone, Some(at(1)), "nobody saw any of it");
        assert_eq!(look(Some(&unseen), 1, &away(), 4), None, "no news");
        let again = look(Some(&unseen), 1, &GONE, 5).unwrap();
        assert_eq!((again.gone, &again.problem), (Some(at(1)), &None));
        let lies_there = Cleared { lies_there: true, ..away() };
        let back = look(Some(&again), 1, &lies_there, 6).unwrap();
        assert_eq!(back.gone, None, "it is there again");
        assert_eq!(look(Some(&back), 1, &GONE, 7).unwrap().gone, Some(at(7)));
    }

    #[test]
    fn what_was_seen_where_a_location_was_says_nothing_of_where_it_is() {
        let gone = look(None, 1, &GONE, 1).unwrap();
        let moved = look(Some(&gone), 2, &away(), 2).unwrap();
        assert_eq!((moved.revision, moved.gone), (2, None));
        assert_eq!(look(Some(&gone), 2, &GONE, 3).unwrap().gone, Some(at(3)));
    }
}
