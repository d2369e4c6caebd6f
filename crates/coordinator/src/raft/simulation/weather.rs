//! What goes wrong, drawn from the dice: members crash and come back, disks end in the middle of a
//! write, the network is cut in every way, and people change the membership meanwhile.

use super::{
    events::Event,
    member::{Living, node},
    world::World,
};
use crate::raft::members::next_step;
use holdfast_common::Timestamp;
use holdfast_ledger::row::{Duty, MemberRole, MemberRow, MemberState};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

const MEMBERS_MAX: u64 = 9;
const STEP_PATIENCE: Duration = Duration::from_secs(3);

/// So many things go wrong, one after another and on top of each other.
pub(super) async fn storm(world: &Arc<World>, steps: u64) {
    for _ in 0..steps {
        if world.wrong().is_some() {
            return;
        }
        let kind = world.dice().below(100);
        match kind {
            0..12 => crash(world),
            12..20 => wear_out(world),
            20..28 => blackout(world),
            28..44 => start_some(world).await,
            44..60 => partition(world),
            60..69 => clear(world),
            69..77 => roughen(world),
            77..88 => snapshot(world).await,
            88..93 => hand_over(world).await,
            _ => rearrange(world).await,
        }
        tokio::time::sleep(world.millis(20, 1_200)).await;
    }
}

/// The sun comes out: every line works, everybody who belongs to the cluster runs.
pub(super) async fn clear_up(world: &Arc<World>) {
    clear(world);
    let ids: Vec<u64> = world.disks.lock().unwrap().keys().copied().collect();
    for id in ids {
        if is_wanted(world, id) {
            Living::start(world, id).await;
        }
    }
}

/// Buries members whose disk has ended.
pub(super) async fn bury(world: Arc<World>) {
    loop {
        let doomed = world.doomed.lock().unwrap().first().copied();
        match doomed {
            Some(member) => {
                Living::crash(&world, member);
                world.doomed.lock().unwrap().remove(&member);
            }
            None => tokio::time::sleep(Duration::from_millis(3)).await,
        }
    }
}

/// The product's own steps, from the membership that is wanted to the one that is.
pub(super) async fn reconcile(world: Arc<World>) {
    loop {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let Some(leader) = world.members().into_iter().find(|member| member.ledger.leads()) else {
            continue;
        };
        let Ok(standing) = leader.ledger.standing() else { continue };
        let rows: Vec<MemberRow> = world.wanted.lock().unwrap().values().cloned().collect();
        if let Some(step) = next_step(&rows, &standing) {
            let taken = tokio::time::timeout(STEP_PATIENCE, leader.ledger.take_step(step)).await;
            let ended = matches!(taken, Ok(Ok(())));
            world.tell(Event::Weather { what: format!("a step of the membership: {ended}") });
            continue;
        }
        let removed = rows.iter().filter(|row| row.state == MemberState::Removed);
        for row in removed.filter(|row| !standing.nodes.contains_key(&row.id)) {
            Living::crash(&world, row.id);
            world.disks.lock().unwrap().remove(&row.id);
            world.wanted.lock().unwrap().remove(&row.id);
        }
    }
}

/// Whether the membership is what is wanted.
pub(super) fn is_arranged(world: &World) -> bool {
    let rows: Vec<MemberRow> = world.wanted.lock().unwrap().values().cloned().collect();
    let leader = world.members().into_iter().find(|member| member.ledger.leads());
    let Some(Ok(standing)) = leader.map(|leader| leader.ledger.standing()) else { return false };
    rows.iter().all(|row| row.state == MemberState::Joined)
        && next_step(&rows, &standing).is_none()
        && standing.ready.len() == rows.len()
}

pub(super) fn row(id: u64, role: MemberRole) -> MemberRow {
    let node = node(id);
    MemberRow {
        id,
        name: node.name,
        region: node.region,
        address: node.address,
        duty: Duty::Data,
        role,
        state: MemberState::Joined,
        joined: Timestamp::ZERO,
        identity_public: [0; 32],
        keeps_key: None,
    }
}

fn say(world: &World, what: String) {
    world.tell(Event::Weather { what });
}

fn running(world: &World) -> Vec<u64> {
    world.living.lock().unwrap().keys().copied().collect()
}

fn is_wanted(world: &World, id: u64) -> bool {
    world.wanted.lock().unwrap().contains_key(&id)
}

fn crash(world: &Arc<World>) {
    let running = running(world);
    let victim = world.dice().pick(&running);
    if let Some(victim) = victim {
        Living::crash(world, victim);
    }
}

/// A disk takes a few more writes, and then none.
fn wear_out(world: &Arc<World>) {
    if let Some(member) = world.any_member() {
        let writes = world.dice().below(25);
        say(world, format!("the disk of {} ends after {writes} writes", member.id));
        member.disk.fuse.light(writes);
    }
}

/// Everybody crashes at once, or nearly.
fn blackout(world: &Arc<World>) {
    let mut spared = if world.dice().is(50) { world.any_member().map(|one| one.id) } else { None };
    for id in running(world) {
        if spared.take_if(|spared| *spared == id).is_none() {
            Living::crash(world, id);
        }
    }
}

async fn start_some(world: &Arc<World>) {
    let down: Vec<u64> = world.disks.lock().unwrap().keys().copied().collect();
    for id in down {
        let is_up = world.dice().is(60) && is_wanted(world, id);
        if is_up {
            Living::start(world, id).await;
        }
    }
}

fn partition(world: &Arc<World>) {
    let mut ids = running(world);
    ids.sort_unstable();
    world.dice().shuffle(&mut ids);
    let kind = world.dice().below(4);
    let leader = world.members().into_iter().find(|m| m.ledger.leads()).map(|m| m.id);
    let (what, alone): (&str, Vec<u64>) = match kind {
        0 => ("halves", ids[..ids.len() / 2].to_vec()),
        1 => ("leader alone", leader.into_iter().collect()),
        2 => ("one way", ids[..ids.len().min(1)].to_vec()),
        _ => ("ring", Vec::new()),
    };
    let mut cut = BTreeSet::new();
    for (at, from) in ids.iter().enumerate() {
        for (there, to) in ids.iter().enumerate() {
            let far = at.abs_diff(there);
            let is_cut = match what {
                "ring" => far > 1 && far != ids.len() - 1,
                "one way" => alone.contains(from),
                _ => alone.contains(from) != alone.contains(to),
            };
            if is_cut && from != to {
                cut.insert((*from, *to));
            }
        }
    }
    say(world, format!("{what}: {cut:?}"));
    world.links.lock().unwrap().cut = cut;
}

fn clear(world: &Arc<World>) {
    say(world, "the lines are mended".to_owned());
    let mut links = world.links.lock().unwrap();
    links.cut.clear();
    (links.lost_percent, links.twice_percent, links.late_ms) = (0, 0, 3);
}

fn roughen(world: &Arc<World>) {
    let mut links = world.links.lock().unwrap();
    {
        let mut dice = world.dice();
        links.lost_percent = dice.below(30);
        links.twice_percent = dice.below(30);
        links.late_ms = [3, 20, 90, 300][usize::try_from(dice.below(4)).unwrap()];
    }
    let what = format!("{links:?}");
    drop(links);
    say(world, what);
}

async fn snapshot(world: &Arc<World>) {
    for member in world.members() {
        let is_asked = world.dice().is(60);
        if is_asked {
            say(world, format!("{} takes a snapshot", member.id));
            drop(member.ledger.raft.trigger().snapshot().await);
        }
    }
}

async fn hand_over(world: &Arc<World>) {
    let to = world.any_member().map(|member| member.id);
    let leader = world.members().into_iter().find(|member| member.ledger.leads());
    if let (Some(leader), Some(to)) = (leader, to) {
        say(world, format!("{} is to hand over to {to}", leader.id));
        drop(leader.ledger.hand_over(to).await);
    }
}

/// Somebody is promoted, demoted, removed or added.
async fn rearrange(world: &Arc<World>) {
    let rows: Vec<MemberRow> = world.wanted.lock().unwrap().values().cloned().collect();
    let of = |role| -> Vec<u64> {
        let live = rows.iter().filter(|row| row.state == MemberState::Joined);
        live.filter(|row| row.role == role).map(|row| row.id).collect()
    };
    let (voters, learners) = (of(MemberRole::Voter), of(MemberRole::Learner));
    let kind = world.dice().below(4);
    let picked = match kind {
        0 | 1 => world.dice().pick(&learners),
        2 if voters.len() > 3 => world.dice().pick(&voters),
        _ => None,
    };
    let change = |id: u64, change: fn(&mut MemberRow)| {
        let mut wanted = world.wanted.lock().unwrap();
        wanted.get_mut(&id).into_iter().for_each(change);
    };
    match (kind, picked) {
        (0, Some(id)) => {
            say(world, format!("{id} is to vote"));
            change(id, |row| row.role = MemberRole::Voter);
        }
        (1, Some(id)) => {
            say(world, format!("{id} is to go"));
            change(id, |row| row.state = MemberState::Removed);
        }
        (2, Some(id)) => {
            say(world, format!("{id} is to learn"));
            change(id, |row| row.role = MemberRole::Learner);
        }
        _ => add(world).await,
    }
}

async fn add(world: &Arc<World>) {
    let id = {
        let mut newest = world.newest.lock().unwrap();
        if *newest >= MEMBERS_MAX {
            return;
        }
        *newest += 1;
        *newest
    };
    say(world, format!("{id} is new"));
    Living::start(world, id).await;
    world.wanted.lock().unwrap().insert(id, row(id, MemberRole::Learner));
}
