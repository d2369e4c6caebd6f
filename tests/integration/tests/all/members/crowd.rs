//! Hundreds of agents, each with its own identity and the agent's own code, lose the member that
//! all of them were attached to: they come to the others spread over time and over members, and
//! whoever operates the cluster meanwhile is served.
//!
//! How many: `HOLDFAST_TORTURE_AGENTS`; a thousand in `make torture`.

use super::scene::{Members, PATIENCE};
use crate::harness::{Front, agents, wait_until};
use holdfast_agent::{
    join::{JoinOptions, join},
    options::AgentConfig,
    service,
};
use holdfast_common::{
    SystemClock,
    limits::{KIB, MIB},
};
use holdfast_runtime::{ChannelKind, Context, connect};
use holdfast_wire::v1::{self, admin_client::AdminClient};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{runtime::Runtime, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

const AGENTS: usize = 200;
/// At once, where they join.
const JOINING: usize = 16;
const SLOT: Duration = Duration::from_millis(250);
/// Of all attempts, the part that may come in one slot.
const CROWDED: usize = 5;
/// Attempts for one agent.
const ATTEMPTS: usize = 3;
/// An operator who asks meanwhile waits no longer than an election takes, and for each agent that
/// comes with him: what a handshake costs in a debug build.
const SERVED: Duration = Duration::from_secs(3);
const SERVED_EACH: Duration = Duration::from_millis(12);
/// What a member holds more at most, with them and for each of them.
const HELD: usize = 24 * MIB;
const HELD_EACH: usize = 160 * KIB;

struct Crowd {
    runtime: Runtime,
    operator: AdminClient<Channel>,
    leaving: CancellationToken,
}

impl Crowd {
    /// Joins so many agents through one member.
    fn joined(members: &Members, count: usize) -> (Self, Vec<AgentConfig>) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let operator = operator(members, &runtime, &[members.running["one"].address.clone()]);
        let coordinator = members.running["one"].address.clone();
        let home = members.scratch.join("crowd");
        let all = async {
            let mut joining = JoinSet::new();
            let mut joined = Vec::new();
            for number in 0..count {
                if joining.len() == JOINING {
                    joined.push(joining.join_next().await.unwrap().unwrap());
                }
                let one = join_one(operator.clone(), coordinator.clone(), home.clone(), number);
                joining.spawn(one);
            }
            joined.extend(joining.join_all().await);
            joined
        };
        let configs = runtime.block_on(all);
        let leaving = CancellationToken::new();
        (Self { runtime, operator, leaving }, configs)
    }

    /// The members are elsewhere now.
    fn call_at(&mut self, members: &Members, endpoints: Vec<String>) {
        self.operator = operator(members, &self.runtime, &endpoints);
    }

    fn start(&self, config: AgentConfig) {
        let leaving = self.leaving.clone();
        self.runtime
            .spawn(async move { service::serve(config, leaving, |_: &str| ()).await.unwrap() });
    }

    /// How many agents the cluster says are connected, and how long it took to say so.
    fn connected(&self) -> (usize, Duration) {
        let (mut operator, start) = (self.operator.clone(), Instant::now());
        let asked = operator.list_agents(v1::ListAgentsRequest {});
        let Ok(answer) = self.runtime.block_on(asked) else { return (0, start.elapsed()) };
        let agents = answer.into_inner().agents;
        let connected = agents.iter().filter(|agent| agent.state == "connected").count();
        (connected, start.elapsed())
    }
}

fn operator(members: &Members, runtime: &Runtime, endpoints: &[String]) -> AdminClient<Channel> {
    let context = Context::load(&members.scratch.join("c/operator.toml")).unwrap();
    let tls = context.tls(Arc::new(SystemClock::start())).unwrap();
    let connected = connect(endpoints, tls, ChannelKind::Control);
    AdminClient::new(runtime.block_on(connected).unwrap())
}

async fn join_one(
    mut operator: AdminClient<Channel>,
    coordinator: String,
    home: impl AsRef<Path>,
    number: usize,
) -> AgentConfig {
    let request = v1::CreateTokenRequest { ttl_ms: 3_600_000, ..Default::default() };
    let token = operator.create_token(request).await.unwrap().into_inner().token;
    let name = format!("agent-{number}");
    let dir = home.as_ref().join(&name);
    std::fs::create_dir_all(&dir).unwrap();
    let name = Some(name.parse().unwrap());
    join(JoinOptions { coordinator, token, dir, name }).await.unwrap()
}

#[test]
fn agents_that_lose_their_member_come_to_the_others_without_a_stampede() {
    let mut members = Members::three();
    let count = agents(AGENTS);
    let (mut crowd, configs) = Crowd::joined(&members, count);
    // Now each member is reached through a front that counts.
    let fronts = ["one", "two", "three"].map(|name| {
        let front = Front::shut(crowd.runtime.handle());
        let config = members.dir(name).join("coordinator.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(config, format!("advertise = \"{}\"\n{text}", front.address)).unwrap();
        (name, front)
    });
    for (name, front) in &fronts {
        assert_eq!(members.stop(name), Some(0));
        members.start(name);
        front.open(&members.running[*name].address);
        members.wait_for_voters(3);
    }
    crowd.call_at(&members, fronts.iter().map(|(_, front)| front.address.to_string()).collect());
    let lost = members.leader();
    let front_of = |name: &str| &fronts.iter().find(|(known, _)| *known == name).unwrap().1;
    // All of them at one member: it is the only one that they know of.
    for config in configs {
        let endpoints = vec![front_of(&lost).address.to_string()];
        crowd.start(AgentConfig { endpoints, ..config });
    }
    let all_there = || (crowd.connected().0 == count).then_some(());
    wait_until("all are attached", PATIENCE, all_there);
    let start = Instant::now();
    members.kill(&lost);
    // The cluster knows that they are gone only when they come again: it is the members' own word
    // that counts.
    let survivors: Vec<&String> = members.running.keys().collect();
    let held = |name: &str| members.running[name].resident_bytes_max();
    let held_before: Vec<usize> = survivors.iter().map(|name| held(name)).collect();
    let attached = |name: &str| {
        let log = members.running[name].log();
        log.matches("agent attached").count()
    };
    let before: usize = survivors.iter().map(|name| attached(name)).sum();
    assert_eq!(before, 0);
    let served = SERVED + SERVED_EACH * count as u32;
    let all_back = || {
        let (_, asked_for) = crowd.connected();
        assert!(asked_for < served, "an operator waited for {asked_for:?}");
        let back: usize = survivors.iter().map(|name| attached(name)).sum();
        (back >= count && crowd.connected().0 == count).then_some(())
    };
    wait_until("all are attached again", PATIENCE, all_back);
    let took = start.elapsed();
    let mut attempts = 0;
    for (name, before) in survivors.iter().zip(held_before) {
        let came = front_of(name).came_since(start, SLOT);
        let (most, sum) = (*came.iter().max().unwrap(), came.iter().sum::<usize>());
        eprintln!("{name}: {sum} came, {most} at most in {SLOT:?}: {came:?}");
        assert!(sum > count / 4, "they are spread over the members that are left");
        assert!(most < sum / CROWDED + 20, "{most} of {sum} at once");
        let held = held(name) - before;
        eprintln!("{name}: {} KiB more at most", held / KIB);
        assert!(held < HELD + sum * HELD_EACH, "{held} bytes for {sum} agents");
        attempts += sum;
    }
    eprintln!("{count} agents were back after {took:?}, with {attempts} attempts");
    assert!(attempts <= ATTEMPTS * count, "{attempts} attempts of {count} agents");
    crowd.leaving.cancel();
}
