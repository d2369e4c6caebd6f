//! Clients that write and read registers through any member, all at once, and the judgement of what
//! they were told: every read and write takes effect at one moment between question and answer.
//!
//! A register is a policy whose path is the number of whoever wrote last. What got no answer may
//! have happened, or may happen yet: such a write counts from the first read that found it, and one
//! that nobody found might as well not have been. The search is todc-utils' (Wing, Gong, Lowe), as
//! in the simulation, here over what real processes said.

use super::scene::Members;
use crate::harness::Chance;
use holdfast_common::SystemClock;
use holdfast_runtime::{ChannelKind, ClientTls, Context, connect};
use holdfast_wire::v1::{self, admin_client::AdminClient, resource::Spec, source_spec::Source};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use todc_utils::{
    linearizability::{
        WGLChecker,
        history::{Action, History},
    },
    specifications::register::{
        RegisterOperation::{self, Read, Write},
        RegisterSpecification,
    },
};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tonic::{Request, Status, transport::Channel};

const CLIENTS: u64 = 5;
const REGISTERS: u64 = 2;
/// How long a client waits; a member itself waits longer for somebody who leads.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE_MS_MAX: u64 = 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Read(u64),
    Write(u64),
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Asked(Wish),
    /// What was found; a write found itself.
    Answered(Wish, u64),
}

/// The clients at work.
pub(super) struct Crew {
    runtime: Runtime,
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

struct Shared {
    tls: Arc<ClientTls>,
    agent: String,
    /// Part of the registers' names.
    crew: String,
    addresses: Mutex<Vec<String>>,
    steps: Mutex<Vec<(u64, Step)>>,
    numbers: AtomicU64,
    attempted: AtomicU64,
    answered: AtomicU64,
    is_over: AtomicBool,
}

impl Crew {
    /// Begins to work on registers of an agent that has joined.
    pub(super) fn at_work(members: &Members, agent: &str, seed: u64) -> Self {
        let crew = format!("{seed:016x}");
        let context = Context::load(&members.scratch.join("c/operator.toml")).unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let shared = Arc::new(Shared {
            tls: context.tls(Arc::new(SystemClock::start())).unwrap(),
            agent: agent.to_owned(),
            crew,
            addresses: Mutex::default(),
            steps: Mutex::default(),
            numbers: AtomicU64::new(1),
            attempted: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        });
        let mut crew = Self { runtime, shared, clients: Vec::new() };
        crew.follow(members);
        for register in 0..REGISTERS {
            let first = crew.shared.addresses.lock().unwrap()[0].clone();
            let made = async {
                let tls = crew.shared.tls.clone();
                let channel = connect(&[first], tls, ChannelKind::Control).await.unwrap();
                write(&crew.shared, channel, register, 0).await.unwrap();
            };
            crew.runtime.block_on(made);
        }
        for client in 0..CLIENTS {
            let work = work(crew.shared.clone(), Chance::seeded(seed ^ (client << 32)));
            crew.clients.push(crew.runtime.spawn(work));
        }
        crew
    }

    /// The members are at other addresses now.
    pub(super) fn follow(&self, members: &Members) {
        let now = members.running.values().map(|service| service.address.clone()).collect();
        *self.shared.addresses.lock().unwrap() = now;
    }

    /// Questions that came to an end, well or not.
    pub(super) fn attempted(&self) -> u64 {
        self.shared.attempted.load(Relaxed)
    }

    pub(super) fn answered(&self) -> u64 {
        self.shared.answered.load(Relaxed)
    }

    /// Ends the work and judges it; `again` says how it is had again.
    pub(super) fn judge(self, again: &str) {
        self.shared.is_over.store(true, Relaxed);
        for client in self.clients {
            self.runtime.block_on(client).unwrap();
        }
        let steps = std::mem::take(&mut *self.shared.steps.lock().unwrap());
        for register in 0..REGISTERS {
            let own = steps.iter().filter(|(of, _)| *of == register).map(|(_, step)| *step);
            let own: Vec<Step> = own.collect();
            assert!(is_linearizable(&own), "{again}: not linearizable: {own:#?}");
            let writes = |step: &&Step| matches!(step, Step::Answered(Wish::Write(_), _));
            let asked = own.iter().filter(|step| matches!(step, Step::Asked(Wish::Write(_))));
            let (least, most) = (own.iter().filter(writes).count(), asked.count());
            let revision = self.runtime.block_on(revision(&self.shared, register));
            assert!((least + 1..=most + 1).contains(&revision), "{again}: each is applied once");
        }
        eprintln!("{} questions, {} answers", self.shared.attempted.load(Relaxed), steps.len());
    }
}

impl Shared {
    fn name(&self, register: u64) -> String {
        format!("register-{}-{register}", self.crew)
    }

    fn tell(&self, register: u64, step: Step) {
        self.steps.lock().unwrap().push((register, step));
    }
}

async fn work(shared: Arc<Shared>, mut chance: Chance) {
    let mut channels = BTreeMap::new();
    while !shared.is_over.load(Relaxed) {
        let addresses = shared.addresses.lock().unwrap().clone();
        let address = chance.one_of(&addresses).clone();
        let (register, number) = (chance.below(REGISTERS), shared.numbers.fetch_add(1, Relaxed));
        let wish = if chance.below(2) == 0 { Wish::Read(number) } else { Wish::Write(number) };
        shared.tell(register, Step::Asked(wish));
        let asked = ask(&shared, &mut channels, &address, register, wish);
        match timeout(PATIENCE, asked).await {
            Ok(Some(found)) => {
                shared.tell(register, Step::Answered(wish, found));
                shared.answered.fetch_add(1, Relaxed);
            }
            _ => drop(channels.remove(&address)),
        }
        shared.attempted.fetch_add(1, Relaxed);
        sleep(Duration::from_millis(chance.below(PAUSE_MS_MAX))).await;
    }
}

async fn ask(
    shared: &Shared,
    channels: &mut BTreeMap<String, Channel>,
    address: &str,
    register: u64,
    wish: Wish,
) -> Option<u64> {
    let channel = match channels.get(address) {
        Some(channel) => channel.clone(),
        None => {
            let endpoints = [address.to_owned()];
            let made = connect(&endpoints, shared.tls.clone(), ChannelKind::Control).await.ok()?;
            channels.insert(address.to_owned(), made.clone());
            made
        }
    };
    match wish {
        Wish::Read(_) => read(shared, channel, register).await.ok(),
        Wish::Write(number) => write(shared, channel, register, number).await.ok(),
    }
}

async fn write(
    shared: &Shared,
    channel: Channel,
    register: u64,
    number: u64,
) -> Result<u64, Status> {
    let path = format!("/{number}").into_bytes().into();
    let files = v1::FilesSource { paths: vec![path], ..Default::default() };
    let policy = v1::PolicySpec {
        agent: shared.agent.clone(),
        vault: "main".to_owned(),
        source: Some(v1::SourceSpec { source: Some(Source::Files(files)) }),
        ..Default::default()
    };
    let resource =
        v1::Resource { name: shared.name(register), revision: 0, spec: Some(Spec::Policy(policy)) };
    let request = v1::ApplyRequest { resource: Some(resource), dry_run: false };
    AdminClient::new(channel).apply(Request::new(request)).await.map(|_| number)
}

async fn read(shared: &Shared, channel: Channel, register: u64) -> Result<u64, Status> {
    let Some(Spec::Policy(policy)) = resource(shared, channel, register).await?.spec else {
        panic!("a policy")
    };
    let Some(Source::Files(files)) = policy.source.unwrap().source else { panic!("files") };
    let text = std::str::from_utf8(&files.paths[0]).unwrap().to_owned();
    Ok(text.trim_start_matches('/').parse().unwrap())
}

async fn resource(
    shared: &Shared,
    channel: Channel,
    register: u64,
) -> Result<v1::Resource, Status> {
    let request = v1::ListRequest { kind: "policy".to_owned(), name: shared.name(register) };
    let answer = AdminClient::new(channel).list(request).await?.into_inner();
    Ok(answer.resources[0].clone())
}

/// How often a register was changed, its making included.
async fn revision(shared: &Shared, register: u64) -> usize {
    let endpoints = shared.addresses.lock().unwrap().clone();
    let channel = connect(&endpoints, shared.tls.clone(), ChannelKind::Control).await.unwrap();
    resource(shared, channel, register).await.unwrap().revision as usize
}

fn is_linearizable(steps: &[Step]) -> bool {
    let actions = actions(steps);
    actions.is_empty()
        || WGLChecker::<RegisterSpecification<u64>>::is_linearizable(History::from_actions(actions))
}

fn actions(steps: &[Step]) -> Vec<(usize, Action<RegisterOperation<u64>>)> {
    let mut answered = BTreeSet::new();
    let mut found = BTreeSet::new();
    for step in steps {
        if let Step::Answered(Wish::Read(number) | Wish::Write(number), value) = step {
            answered.insert(*number);
            found.insert(*value);
        }
    }
    let mut open: BTreeSet<u64> = found.difference(&answered).copied().collect();
    open.remove(&0);
    let mut actions = Vec::new();
    let mut act = |number: u64, action| actions.push((usize::try_from(number).unwrap(), action));
    for step in steps {
        match *step {
            Step::Asked(Wish::Read(number)) if answered.contains(&number) => {
                act(number, Action::Call(Read(None)));
            }
            Step::Asked(Wish::Write(number))
                if answered.contains(&number) || open.contains(&number) =>
            {
                act(number, Action::Call(Write(number)));
            }
            Step::Asked(_) => {}
            Step::Answered(Wish::Read(number), value) => {
                act(number, Action::Response(Read(Some(value))));
                if open.remove(&value) {
                    act(value, Action::Response(Write(value)));
                }
            }
            Step::Answered(Wish::Write(number), _) => {
                act(number, Action::Response(Write(number)));
            }
        }
    }
    actions
}

#[test]
fn the_judge_knows_a_stale_read_and_a_lost_write_from_right_ones() {
    use Step::{Answered, Asked};
    let (write, read) = (Wish::Write(1), Wish::Read(2));
    let written = [Asked(write), Answered(write, 1), Asked(read)];
    let judged =
        |steps: &[Step], value| is_linearizable(&[steps, &[Answered(read, value)]].concat());
    assert!(judged(&written, 1));
    assert!(!judged(&written, 0), "the write was acknowledged before");
    let at_once = [Asked(write), Asked(read)];
    assert!(judged(&at_once, 0) && judged(&at_once, 1), "nobody knows");
    // Found once, and not after that.
    let later = Wish::Read(3);
    let found = [Asked(write), Asked(read), Answered(read, 1), Asked(later)];
    assert!(!is_linearizable(&[&found[..], &[Answered(later, 0)]].concat()));
    assert!(is_linearizable(&[&found[..], &[Answered(later, 1)]].concat()));
}
