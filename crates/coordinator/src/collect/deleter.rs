//! Carries out what the ledger has agreed on: objects of doomed packs and of forgotten points go
//! from every location, a day after their entry.
//!
//! ```text
//!   a part of what is due ─→ each location of the vault: is it this vault's? is no epoch claimed?
//!                             delete, look whether it is gone ─→ gone everywhere: buried
//! ```
//!
//! Only names that are dead for good are deleted, so it does no harm when it is done twice, late,
//! or by somebody who slept: nothing is ever stored under them again. What cannot be deleted now,
//! since its location is away, disabled or locked, is tried again later; its row stays until then.

use super::{Left, insist_on_peace, pass::Pass};
use crate::house::House;
use holdfast_common::{Code, Error, Name, Result, Timestamp, VaultId};
use holdfast_ledger::{
    level::COLLECTED,
    row::{CollectionRow, VaultRow},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

const TICK: Duration = Duration::from_secs(2);
/// When something could not be deleted.
const AGAIN_MIN: Duration = Duration::from_secs(600);
const AGAIN_MAX: Duration = Duration::from_secs(6 * 3600);
/// At first, when a location may lack the end of the log, which it is brought soon, or when nothing
/// is heard of a region.
const AGAIN_SOON: Duration = Duration::from_secs(10);
/// How long the log is waited for at a time.
const LOG_PATIENCE: Duration = Duration::from_secs(5);

pub(crate) async fn delete(house: Arc<House>, shutdown: CancellationToken) -> Result<()> {
    let mut desks = BTreeMap::<VaultId, Desk>::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(TICK) => {}
        }
        let looked = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            looked = look(&house, &mut desks) => looked,
        };
        if let Err(error) = looked {
            tracing::debug!(%error, "nothing is deleted now; trying again");
        }
    }
}

/// What was seen of a vault last, and when to look again.
#[derive(Default)]
struct Desk {
    seen: Option<Sign>,
    /// Up to which entry the log is known to be shipped, and since when.
    shipped: Option<(u64, Timestamp)>,
    due: Option<Timestamp>,
    again: Option<Duration>,
    /// Between two tries, longer and longer.
    pause: Duration,
    /// Up to when what was doomed is seen gone from a location: it is not asked again while others
    /// are waited for.
    clear: BTreeMap<Name, Timestamp>,
}

/// What differs when there may be more to delete: the round, what was doomed last, and which
/// locations there are: one that moved or was put to use again is another one.
type Sign = (u64, u64, Vec<(Name, u64, bool)>);

async fn look(house: &Arc<House>, desks: &mut BTreeMap<VaultId, Desk>) -> Result<()> {
    if !house.ledger.leads() {
        desks.clear();
        house.stuck.clear();
        return Ok(());
    }
    if house.ledger.query().level()? < COLLECTED {
        return Ok(());
    }
    insist_on_peace(house)?;
    let mut first = Ok(());
    for vault in house.ledger.query().vaults()? {
        // What one vault waits for, or lacks, keeps nothing from going in another.
        first = first.and(look_at(house, &vault, desks).await);
    }
    first
}

async fn look_at(
    house: &Arc<House>,
    vault: &VaultRow,
    desks: &mut BTreeMap<VaultId, Desk>,
) -> Result<()> {
    let Some(round) = house.ledger.query().collection(&vault.id)? else { return Ok(()) };
    let desk = desks.entry(vault.id).or_default();
    let sign = sign(house, vault, &round)?;
    if !desk.is_due(house, &sign) {
        return Ok(());
    }
    desk.begin(&sign);
    desk.go(house, vault, &round).await
}

fn sign(house: &House, vault: &VaultRow, round: &CollectionRow) -> Result<Sign> {
    let seen = |name: &Name| {
        let row = house.places.row(name)?;
        Ok((row.name, row.revision, row.disabled.is_none()))
    };
    let places = vault.holding().map(seen).collect::<Result<_>>()?;
    Ok((round.round, round.doomed_at, places))
}

impl Desk {
    fn is_due(&self, house: &House, sign: &Sign) -> bool {
        let is_new = self.seen.as_ref() != Some(sign);
        let is_old = self.due.is_some_and(|due| due <= house.ledger.now());
        is_new || is_old || self.again.is_some_and(|again| again <= house.clock.elapsed())
    }

    /// What is known of before counts for nothing when something differs.
    fn begin(&mut self, sign: &Sign) {
        if self.seen.as_ref() != Some(sign) {
            (self.pause, self.seen) = (Duration::ZERO, Some(sign.clone()));
            self.clear.clear();
        }
    }

    async fn go(
        &mut self,
        house: &Arc<House>,
        vault: &VaultRow,
        round: &CollectionRow,
    ) -> Result<()> {
        // Whoever rebuilds the ledger from the locations must not believe in what is gone.
        let end = round.doomed_at.max(round.round);
        (self.due, self.again) = (None, Some(house.clock.elapsed() + AGAIN_SOON));
        insist_shipped(house, end).await.inspect_err(|error| {
            tracing::info!(%error, vault = %vault.name, "what was collected waits for the log");
        })?;
        let known = self.shipped.filter(|(known, _)| *known >= end);
        let (_, shipped) = *self.shipped.insert(known.unwrap_or((end, house.ledger.now())));
        let mut pass = Pass::new(house, vault, shipped, &self.clear);
        let ended = pass.all(round).await;
        let Pass { wait, buried, problems, oldest, .. } = pass;
        self.due = wait.next;
        if ended.is_ok() {
            let clear = vault.holding().filter(|name| !problems.contains_key(*name));
            self.clear = clear.map(|name| (name.clone(), wait.covers())).collect();
        }
        let errors = ended.as_ref().err().into_iter().chain(problems.values());
        self.pause = pause(self.pause, errors.map(|error| error.code));
        self.again = (!self.pause.is_zero()).then(|| house.clock.elapsed() + self.pause);
        for (location, error) in &problems {
            tracing::info!(%error, %location, "what was collected is not all deleted there yet");
        }
        if buried > 0 {
            let (vault, objects) = (&vault.name, buried);
            tracing::info!(%vault, objects, "collected objects are gone");
        }
        let waits = ended.as_ref().err().cloned();
        let left = oldest.map(|oldest| Left { oldest, refused: problems, waits });
        house.stuck.set(vault.id, left);
        ended
    }
}

/// Nobody waits long for it here: other vaults have what goes, too.
async fn insist_shipped(house: &House, end: u64) -> Result<()> {
    let behind = || Error::new(Code::LocationBehind, "the ledger's log is not shipped so far yet");
    let shipped = tokio::time::timeout(LOG_PATIENCE, house.shipped(end)).await;
    shipped.map_err(|_| behind())?.map(drop)
}

/// Until the next try, longer and longer; nothing when all of it went.
fn pause(last: Duration, errors: impl Iterator<Item = Code>) -> Duration {
    let least = |code| match code {
        Code::LocationBehind | Code::RegionSilent => AGAIN_SOON,
        _ => AGAIN_MIN,
    };
    let least = errors.map(least).max();
    least.map_or(Duration::ZERO, |least| (2 * last).clamp(least, AGAIN_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_go_is_tried_less_and_less_often() {
        let mut pauses = vec![Duration::ZERO];
        while *pauses.last().unwrap() < AGAIN_MAX {
            let next = pause(*pauses.last().unwrap(), [Code::LocationBehind].into_iter());
            assert!(next > *pauses.last().unwrap(), "{pauses:?}");
            pauses.push(next);
        }
        assert_eq!(pauses[1..4], [10, 20, 40].map(Duration::from_secs));
        assert_eq!(pause(AGAIN_MAX, [Code::RegionSilent].into_iter()), AGAIN_MAX);
        let both = [Code::LocationBehind, Code::LocationDisabled];
        assert_eq!(pause(AGAIN_SOON, both.into_iter()), AGAIN_MIN);
        assert_eq!(pause(AGAIN_MAX, [].into_iter()), Duration::ZERO, "all of it went");
    }

    #[test]
    fn what_was_seen_clear_is_forgotten_when_a_location_is_another_one() {
        let name: Name = "main".parse().unwrap();
        let sign = |revision, in_use| (7, 8, vec![(name.clone(), revision, in_use)]);
        let mut desk = Desk::default();
        desk.begin(&sign(1, true));
        for (sign, is_known) in
            [(sign(1, true), true), (sign(2, true), false), (sign(2, false), false)]
        {
            desk.clear.insert(name.clone(), Timestamp::ZERO);
            desk.pause = AGAIN_MIN;
            desk.begin(&sign);
            assert_eq!((desk.clear.len() == 1, desk.pause.is_zero()), (is_known, !is_known));
        }
    }
}
