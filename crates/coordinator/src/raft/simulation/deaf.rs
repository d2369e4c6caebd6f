//! A leader that is heard and hears nobody, with nothing that would notice it but the election
//! itself: there are no connections here that could die of it.

use super::{play::Plan, weather, world::World};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};

/// Its silence, an election, and somebody who was elected too early.
const GOES_ON: Duration = Duration::from_secs(20);
const ANSWERS: Duration = Duration::from_secs(1);
const SETTLED: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(50);

/// Who leads for everybody but `deaf`.
fn other_leader(world: &World, deaf: u64) -> Option<u64> {
    let leads = world.members().into_iter().filter(|member| member.ledger.leads());
    leads.map(|member| member.id).find(|id| *id != deaf)
}

async fn is_replaced(world: &Arc<World>) -> bool {
    let Some(deaf) = other_leader(world, 0) else { return false };
    // With an entry on its way it sends that again and again, which is heard as well: there, only
    // a line that dies of it helps.
    tokio::time::sleep(SETTLED).await;
    let others = world.members().into_iter().map(|member| member.id).filter(|id| *id != deaf);
    world.links.lock().unwrap().cut = others.map(|other| (other, deaf)).collect();
    let start = Instant::now();
    while start.elapsed() < GOES_ON {
        if let Some(leader) = other_leader(world, deaf)
            && let Some(leader) = world.member(leader)
            && timeout(ANSWERS, leader.ledger.read_index()).await.is_ok_and(|read| read.is_ok())
        {
            return true;
        }
        tokio::time::sleep(LOOK).await;
    }
    false
}

#[test]
fn a_leader_that_hears_nobody_gives_way_though_all_hear_it() {
    for seed in [2, 3] {
        let plan = Plan::of(seed);
        let is_replaced = plan.stage(async |world| {
            let reconciling = super::play::spawn(weather::reconcile(world.clone()));
            plan.found(world).await;
            let is_replaced = is_replaced(world).await;
            reconciling.abort();
            is_replaced
        });
        assert!(is_replaced, "the deaf leader of seed {seed} holds everybody up");
    }
}
