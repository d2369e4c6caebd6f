//! One simulation from its seed to its verdict.
//!
//! ```text
//!   found ─→ storm: clients work, things go wrong ─→ clear up ─→ everybody is asked to have a
//!   command agreed ─→ evening: clients end, all apply the same ─→ what everybody holds is told
//! ```

use super::{
    clients,
    disk::{applied, digest},
    events::{Event, Outcome, Wish},
    invariants::Wrong,
    member::{Living, node},
    weather,
    world::{Lie, World},
};
use holdfast_common::Entropy;
use holdfast_ledger::{audit::AuditHead, row::MemberRole};
use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::{
    runtime::Builder,
    task::JoinHandle,
    time::{Instant, timeout},
};

const CLIENTS: usize = 4;
const FOUNDING_MAX: Duration = Duration::from_secs(30);
const AGREEING_MAX: Duration = Duration::from_secs(60);
const EVENING_MAX: Duration = Duration::from_secs(60);
const LEVEL_MAX: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);

/// What is played.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) voters: u64,
    pub(super) steps: u64,
    pub(super) lie: Option<Lie>,
}

/// How it ended.
pub(super) struct Verdict {
    pub(super) wrong: Option<Wrong>,
    pub(super) trace: String,
    pub(super) last_words: String,
}

impl Plan {
    /// Three voters or five, and one who learns.
    pub(super) fn of(seed: u64) -> Self {
        Self { seed, voters: if seed.is_multiple_of(2) { 3 } else { 5 }, steps: 22, lie: None }
    }

    pub(super) fn play(self) -> Verdict {
        self.stage(async |world| {
            self.run(world).await;
            let (wrong, trace) = (world.wrong(), world.trace());
            Verdict { wrong, trace, last_words: world.last_words() }
        })
    }

    /// Has something happen in a world of this seed.
    pub(super) fn stage<T>(self, scene: impl AsyncFnOnce(&Arc<World>) -> T) -> T {
        let root = tempfile::tempdir().unwrap();
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        let (world, _presence) = {
            let _entered = runtime.enter();
            World::create(self.seed, self.lie, root.path().to_owned())
        };
        runtime.block_on(scene(&world))
    }

    async fn run(self, world: &Arc<World>) {
        let burying = spawn(weather::bury(world.clone()));
        let reconciling = spawn(weather::reconcile(world.clone()));
        self.found(world).await;
        let clients: Vec<_> = (0..CLIENTS).map(|_| spawn(clients::work(world.clone()))).collect();
        weather::storm(world, self.steps).await;
        for member in world.members() {
            member.disk.fuse.spare(world, member.id);
        }
        tokio::time::sleep(2 * LOOK).await;
        if world.wrong().is_some() {
            return;
        }
        weather::clear_up(world).await;
        agree_everywhere(world).await;
        world.is_evening.store(true, Relaxed);
        for client in clients {
            if timeout(EVENING_MAX, client).await.is_err() {
                strange(world, 0, "a client does not come to an end");
            }
        }
        if !until(EVENING_MAX, || weather::is_arranged(world)).await {
            strange(world, 0, "the membership does not become what is wanted");
        }
        reconciling.abort();
        level(world).await;
        burying.abort();
        for member in world.members() {
            member.tell_end(world);
        }
        if world.wrong().is_none() {
            world.conclude();
        }
    }

    pub(super) async fn found(self, world: &Arc<World>) {
        world.links.lock().unwrap().late_ms = 3;
        for id in 1..=self.voters + 1 {
            Living::start(world, id).await;
            let role = if id > self.voters { MemberRole::Learner } else { MemberRole::Voter };
            world.wanted.lock().unwrap().insert(id, weather::row(id, role));
        }
        *world.newest.lock().unwrap() = self.voters + 1;
        let Some(first) = world.member(1) else { return };
        if let Err(error) = first.ledger.found(&node(1)).await {
            strange(world, 1, &error.to_string());
        }
        // Where disks are slow, another may lead before all of them vote.
        let founded = until(FOUNDING_MAX, || {
            let leader = world.members().into_iter().find(|member| member.ledger.leads());
            let standing = leader.and_then(|leader| leader.ledger.standing().ok());
            standing.is_some_and(|now| now.voters.len() as u64 == self.voters)
        });
        if !founded.await {
            strange(world, 1, "the cluster was not founded in time");
        }
    }
}

impl Living {
    fn tell_end(&self, world: &World) {
        let chain: Result<Vec<_>, _> = self.ledger.query().audit_chain().collect();
        let head = self.ledger.query().audit_head();
        let (chain, head) = match (chain, head) {
            (Ok(chain), Ok(head)) => (chain, head),
            _ => return strange(world, self.id, "the audit chain cannot be read"),
        };
        let proposers = chain.iter().map(|row| clients::number_of(&row.actor)).collect();
        let chain = chain.into_iter().map(Ok);
        if let Err(error) = holdfast_ledger::audit::verify(chain, &AuditHead::default(), &head) {
            strange(world, self.id, &error.to_string());
        }
        let tables = self.ledger.tables.as_ref();
        let (upto, rows) = (applied(tables), digest(tables));
        world.tell(Event::Ended { member: self.id, upto, proposers, rows });
    }
}

/// Under a clear sky, a command goes through every member.
async fn agree_everywhere(world: &Arc<World>) {
    let sunrise = Instant::now();
    let members = world.members();
    let stay = members.iter().filter(|member| world.is_to_stay(member.id));
    let asked = stay.map(|member| agree_through(world, member, sunrise));
    futures::future::join_all(asked).await;
}

async fn agree_through(world: &World, through: &Living, sunrise: Instant) {
    let number = world.number();
    let (actor, command) = clients::note(number);
    let (entropy, wish): (&dyn Entropy, _) = (world, Wish::Note(number));
    let key = entropy.array();
    world.tell(Event::Asked { wish });
    loop {
        let command = command.clone();
        let error = match through.handle().propose_as(key, actor.clone(), command).await {
            Ok(_) => break,
            Err(error) => error,
        };
        if sunrise.elapsed() > AGREEING_MAX || !clients::is_usual(&error) {
            return strange(world, through.id, &format!("under a clear sky: {error}"));
        }
        // One that has stopped answers at once: the hour would never come.
        tokio::time::sleep(LOOK).await;
    }
    let (member, after) = (through.id, sunrise.elapsed());
    world.tell(Event::Answered { wish, outcome: Outcome::Done });
    world.tell(Event::Agreed { member, after });
}

/// Waits until everybody has applied the same.
async fn level(world: &Arc<World>) {
    let is_level = || {
        let members = world.members().into_iter();
        let mut levels = members.map(|member| applied(member.ledger.tables.as_ref()));
        let first = levels.next();
        levels.all(|other| Some(other) == first)
    };
    if !until(LEVEL_MAX, is_level).await {
        strange(world, 0, "not everybody has applied the same in the end");
    }
}

async fn until(patience: Duration, condition: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while !condition() {
        if Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(LOOK).await;
    }
    true
}

fn strange(world: &World, member: u64, what: &str) {
    world.tell(Event::Strange { member, what: what.to_owned() });
}

#[expect(clippy::disallowed_methods, reason = "the simulation owns its tasks")]
pub(super) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(work)
}
