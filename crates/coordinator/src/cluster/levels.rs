//! The leader's care for the feature level: it goes up when every live member knows the next one.
//!
//! A reconciler. Members are asked, not believed from rows: what a member knows changes when its
//! binary does. One that does not answer is waited for; one that is lost is removed by a person.

use crate::house::House;
use futures::future::join_all;
use holdfast_common::Result;
use holdfast_ledger::{Actor, command::RaiseLevel, level::LEVEL_FIRST, row::MemberRow};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

const TICK: Duration = Duration::from_secs(1);

pub(crate) async fn keep(house: Arc<House>, shutdown: CancellationToken) -> Result<()> {
    loop {
        if let Err(error) = look(&house).await {
            tracing::debug!(%error, "the feature level stays; trying again");
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

async fn look(house: &House) -> Result<()> {
    let known = house.ledger.level_max();
    if !house.ledger.leads() || house.ledger.query().level()? >= known {
        return Ok(());
    }
    house.ledger.catch_up().await?;
    let rows = house.ledger.query().members()?;
    let live: Vec<&MemberRow> = rows.iter().filter(|row| row.is_live()).collect();
    let told = join_all(live.iter().map(|row| level_of(house, row.id))).await;
    // A ledger that knows no members has one.
    let Some(level) = (if live.is_empty() { Some(known) } else { common(&told) }) else {
        return Ok(());
    };
    if level <= house.ledger.query().level()? {
        return Ok(());
    }
    let raise = RaiseLevel { level, members: live.iter().map(|row| row.id).collect() };
    house.ledger.propose(Actor::System, raise).await?;
    tracing::info!(level, "the feature level went up: every member knows it");
    Ok(())
}

/// The highest level that a member knows; nothing of one that does not answer.
async fn level_of(house: &House, member: u64) -> Option<u32> {
    if member == house.node_id {
        return Some(house.ledger.level_max());
    }
    let answer = house.ledger.peers().hello(member, "").await.ok()?;
    Some(answer.level_max.max(LEVEL_FIRST))
}

/// What all of them know, when all of them were heard.
fn common(told: &[Option<u32>]) -> Option<u32> {
    told.iter().copied().collect::<Option<Vec<u32>>>()?.into_iter().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_silent_or_old_holds_the_level() {
        assert_eq!(common(&[Some(2), Some(2)]), Some(2));
        assert_eq!(common(&[Some(2), Some(1)]), Some(1));
        assert_eq!(common(&[Some(2), None]), None);
        assert_eq!(common(&[]), None);
    }
}
