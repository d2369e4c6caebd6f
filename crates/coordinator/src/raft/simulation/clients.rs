//! Clients: each does one thing after another, through any member, and repeats it under the same
//! key until it knows how it ended or gives up.

use super::{
    events::{Event, Outcome, Wish},
    world::{Lie, World},
};
use crate::raft::Ledger;
use holdfast_common::{Code, Error, Result};
use holdfast_ledger::{
    Actor, Command,
    command::{Note, NoteKind, PutLocation},
    row::LocationRow,
};
use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

const REGISTER: &str = "register";
const ATTEMPTS: usize = 4;

/// Goes on until the evening.
pub(super) async fn work(world: Arc<World>) {
    while !world.is_evening.load(Relaxed) {
        let number = world.number();
        let wish = match world.dice().below(10) {
            0..4 => Wish::Read(number),
            4..8 => Wish::Write(number),
            _ => Wish::Note(number),
        };
        let (key, patience) = {
            let mut dice = world.dice();
            let mut key = [0; 16];
            key[..8].copy_from_slice(&dice.word().to_le_bytes());
            key[8..].copy_from_slice(&number.to_le_bytes());
            (key, dice.millis(300, 6_000))
        };
        world.tell(Event::Asked { wish });
        let outcome = insist(&world, wish, key, patience).await;
        world.tell(Event::Answered { wish, outcome });
        tokio::time::sleep(world.millis(0, 120)).await;
    }
}

/// A command that leaves its number in the audit chain.
pub(super) fn note(number: u64) -> (Actor, Command) {
    let kind = NoteKind::ObjectHealed;
    (proposer(number), Note { kind, subject: format!("{number}") }.into())
}

/// Who proposes is told by the audit chain; here that is a number.
pub(super) fn number_of(actor: &Actor) -> u64 {
    let Actor::Operator(name) = actor else { return 0 };
    name.to_string().trim_start_matches("p-").parse().unwrap()
}

async fn insist(world: &Arc<World>, wish: Wish, key: [u8; 16], patience: Duration) -> Outcome {
    for _ in 0..ATTEMPTS {
        let Some(member) = world.any_member() else {
            tokio::time::sleep(world.millis(50, 300)).await;
            continue;
        };
        let ledger = member.handle();
        let attempt = attempt(world, &ledger, wish, key);
        match tokio::time::timeout(patience, attempt).await {
            Ok(Ok(outcome)) => return outcome,
            Ok(Err(error)) if is_usual(&error) => {}
            Ok(Err(error)) => {
                let what = format!("{wish:?}: {error}");
                world.tell(Event::Strange { member: member.id, what });
            }
            Err(_) => {}
        }
        tokio::time::sleep(world.millis(1, 100)).await;
    }
    Outcome::Unknown
}

pub(super) fn is_usual(error: &Error) -> bool {
    // A member that crashes has its clients told that its disk failed.
    [Code::ClusterLeaderless, Code::ClusterUnreachable, Code::FileIoFailed].contains(&error.code)
}

async fn attempt(world: &World, ledger: &Ledger, wish: Wish, key: [u8; 16]) -> Result<Outcome> {
    let (actor, command) = match wish {
        Wish::Note(number) => note(number),
        Wish::Write(number) => (proposer(number), write(number)),
        Wish::Read(_) => {
            if world.lie != Some(Lie::LocalRead) {
                ledger.catch_up().await?;
            }
            return read(ledger);
        }
    };
    ledger.propose_as(key, actor, command).await.map(|_| Outcome::Done)
}

fn proposer(number: u64) -> Actor {
    Actor::Operator(format!("p-{number}").parse().unwrap())
}

fn write(number: u64) -> Command {
    let location = LocationRow {
        name: REGISTER.parse().unwrap(),
        url: format!("local:/{number}"),
        region: "here".parse().unwrap(),
        revision: 0,
        disabled: None,
    };
    PutLocation { location }.into()
}

fn read(ledger: &Ledger) -> Result<Outcome> {
    let found = ledger.query().locations()?;
    let number = found.first().map_or("0", |row| row.url.trim_start_matches("local:/"));
    Ok(Outcome::Found(number.parse().unwrap()))
}
