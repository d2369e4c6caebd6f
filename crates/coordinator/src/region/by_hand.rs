//! A person says at this member that another region leads, which it cannot see by itself.
//!
//! Whoever was shut out may say so where nobody has heard of that yet: what lies in the region's
//! locations is heard first, as before a promotion. Where none of them can be read the word counts;
//! what it ends is this member alone, since others that are led do not take it over (`meet`).

use super::{
    Epoch,
    gather::gather,
    promote::{insist_on_standing, places_in},
};
use crate::house::House;
use holdfast_common::{Code, Error, Name, Result, limits};
use holdfast_ledger::row::epoch::FIRST_EPOCH;
use std::time::Duration;

/// Whoever fences by hand does so because something does not answer.
const HEARING: Duration = Duration::from_secs(10);

/// Ends this member's part in its epoch, as `by` leads a newer one; its number.
pub(crate) async fn fence_by_hand(
    house: &House,
    operator: &str,
    by: Name,
    number: u64,
) -> Result<u64> {
    let known = house.ledger.peers().standing();
    let number = match number {
        0 if !known.belongs && known.epoch.is_of(&by) => known.epoch.number,
        0 => known.epoch.number + 1,
        number => number,
    };
    if number == known.epoch.number && !known.belongs {
        return Ok(number);
    }
    insist_on_next(known.epoch.number, number)?;
    hear(house).await;
    insist_on_standing(house, operator)?;
    let _turn = house.ledger.peers().turn();
    // It may have met a newer one meanwhile.
    insist_on_next(house.ledger.peers().standing().epoch.number, number)?;
    tracing::warn!(operator, number, %by, "fenced by hand");
    house.fence(&Epoch { number, regions: vec![by], member: 0, applied: 0 })?;
    Ok(number)
}

/// One that is far ahead would leave no number for whoever takes the lead back.
fn insist_on_next(known: u64, number: u64) -> Result<()> {
    let next = known.max(FIRST_EPOCH);
    if next < number && number <= limits::EPOCH_MAX.min(next + limits::EPOCHS_MISSED_MAX) {
        return Ok(());
    }
    Err(Error::new(Code::EpochTaken, format!("epoch {number} does not follow epoch {known}")))
}

/// Takes what others agreed to and shipped. One that is led heard of it already.
async fn hear(house: &House) {
    let gathered = async {
        let is_led = tokio::time::timeout(HEARING / 5, house.ledger.catch_up()).await;
        if matches!(is_led, Ok(Ok(()))) {
            return Ok(0);
        }
        let places = places_in(house, &house.region, &[]).await?;
        gather(house, &places).await
    };
    match tokio::time::timeout(HEARING, gathered).await {
        Ok(Ok(count)) => tracing::info!(count, "entries of the log heard before fencing"),
        Ok(Err(error)) => tracing::warn!(%error, "fenced by what is known here"),
        Err(_) => tracing::warn!("fenced by what is known here: a location does not answer"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_by_hand_is_of_a_number_near_ahead() {
        let said = |known, number| insist_on_next(known, number).map_err(|error| error.code);
        let far = 1 + limits::EPOCHS_MISSED_MAX;
        for (known, number) in [(0, 2), (1, 2), (1, far), (7, 8)] {
            assert_eq!(said(known, number), Ok(()), "{known} {number}");
        }
        for (known, number) in [(0, 1), (1, 1), (1, far + 1), (7, 7), (7, 3)] {
            assert_eq!(said(known, number), Err(Code::EpochTaken), "{known} {number}");
        }
        assert!(insist_on_next(1, limits::EPOCH_MAX).is_err());
        assert!(insist_on_next(limits::EPOCH_MAX, limits::EPOCH_MAX + 1).is_err());
    }
}
