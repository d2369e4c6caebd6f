//! The lines between members, in a test's hands: a TCP proxy for every ordered pair of them.
//!
//! ```text
//!   1 ── dials 2 ──▶ proxy 1→2 ──▶ 2      its calls are of the flow 1→2, the answers of 2→1
//!   2 ── dials 1 ──▶ proxy 2→1 ──▶ 1      its calls are of the flow 2→1, the answers of 1→2
//! ```
//!
//! A flow is what one member says to another, whoever dialled. TCP has no lost, doubled or
//! reordered bytes, and TLS would end the connection at the first: so a loss is a connection that
//! tears, or one that stands still and goes on late, when newer ones have overtaken it. A call is
//! doubled where its answer is torn off and it is made again. Single messages that are lost,
//! doubled and out of order are the simulation's (`crates/coordinator/src/raft/simulation`).

use super::Chance;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    runtime::{Builder, Runtime},
    sync::watch,
};

/// How a flow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Clear,
    /// So many pieces in a hundred tear their connection.
    Leaky(u64),
    /// Each piece is held for so long; what comes meanwhile goes along with the next.
    Slow(Duration),
    /// Nothing arrives until it moves again, and then all of it.
    Still,
    /// Connections end, and new ones end at once.
    Torn,
}

/// A flow, and how many connections of it were forgotten by whatever lies between.
#[derive(Clone, Copy, Debug)]
struct State {
    flow: Flow,
    forgotten: u64,
}

pub struct Lines {
    flows: BTreeMap<(u64, u64), watch::Sender<State>>,
    addresses: BTreeMap<(u64, u64), SocketAddr>,
    targets: Arc<Mutex<BTreeMap<u64, String>>>,
    /// Connections so far, of all pairs.
    count: Arc<Mutex<u64>>,
    runtime: Option<Runtime>,
}

const PIECE_BYTES: usize = 64 << 10;

impl Lines {
    /// Between the members of these numbers, all of them clear.
    pub fn between(members: &[u64], seed: u64) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let pairs: Vec<(u64, u64)> = members
            .iter()
            .flat_map(|from| members.iter().map(move |to| (*from, *to)))
            .filter(|(from, to)| from != to)
            .collect();
        let clear = State { flow: Flow::Clear, forgotten: 0 };
        let flows: BTreeMap<_, _> =
            pairs.iter().map(|pair| (*pair, watch::Sender::new(clear))).collect();
        let (targets, count) = (Arc::default(), Arc::default());
        let mut lines =
            Self { flows, addresses: BTreeMap::new(), targets, count, runtime: Some(runtime) };
        for (from, to) in pairs {
            let pair = Pair {
                to,
                calls: lines.flows[&(from, to)].subscribe(),
                answers: lines.flows[&(to, from)].subscribe(),
                targets: lines.targets.clone(),
                count: lines.count.clone(),
                dice: Arc::new(Mutex::new(Chance::seeded(seed ^ (from << 8) ^ to))),
            };
            let runtime = lines.runtime.as_ref().unwrap();
            let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
            lines.addresses.insert((from, to), listener.local_addr().unwrap());
            runtime.spawn(pair.accept(listener));
        }
        lines
    }

    /// Where `from` dials `to`.
    pub fn address(&self, from: u64, to: u64) -> SocketAddr {
        self.addresses[&(from, to)]
    }

    /// Where a member really is.
    pub fn reach(&self, to: u64, address: &str) {
        self.targets.lock().unwrap().insert(to, address.to_owned());
    }

    /// Between two members, both ways.
    pub fn set(&self, one: u64, other: u64, flow: Flow) {
        self.set_one_way(one, other, flow);
        self.set_one_way(other, one, flow);
    }

    pub fn set_one_way(&self, from: u64, to: u64, flow: Flow) {
        self.flows[&(from, to)].send_modify(|state| state.flow = flow);
    }

    /// One member apart from all others, both ways.
    pub fn part(&self, alone: u64, flow: Flow) {
        for (from, to) in self.pairs() {
            if from == alone || to == alone {
                self.set_one_way(from, to, flow);
            }
        }
    }

    /// The connections that stand with this member say nothing any more and do not end; new ones
    /// are as ever. So does a firewall that was started anew.
    pub fn forget(&self, member: u64) {
        let count = *self.count.lock().unwrap();
        for (from, to) in self.pairs() {
            if from == member || to == member {
                self.flows[&(from, to)].send_modify(|state| state.forgotten = count);
            }
        }
    }

    pub fn clear(&self) {
        for (from, to) in self.pairs() {
            self.set_one_way(from, to, Flow::Clear);
        }
    }

    /// How many connections were made so far.
    pub fn count(&self) -> u64 {
        *self.count.lock().unwrap()
    }

    pub fn pairs(&self) -> Vec<(u64, u64)> {
        self.flows.keys().copied().collect()
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The connections that one member makes to another.
#[derive(Clone)]
struct Pair {
    to: u64,
    calls: watch::Receiver<State>,
    answers: watch::Receiver<State>,
    targets: Arc<Mutex<BTreeMap<u64, String>>>,
    count: Arc<Mutex<u64>>,
    dice: Arc<Mutex<Chance>>,
}

impl Pair {
    async fn accept(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(self.clone().carry(stream));
        }
    }

    async fn carry(self, dialled: TcpStream) {
        let number = {
            let mut count = self.count.lock().unwrap();
            *count += 1;
            *count
        };
        let target = self.targets.lock().unwrap().get(&self.to).cloned();
        let Some(target) = target else { return };
        if [&self.calls, &self.answers].iter().any(|flow| flow.borrow().flow == Flow::Torn) {
            return;
        }
        let Ok(reached) = TcpStream::connect(&target).await else { return };
        for stream in [&dialled, &reached] {
            stream.set_nodelay(true).unwrap();
        }
        let (dialled_read, dialled_write) = dialled.into_split();
        let (reached_read, reached_write) = reached.into_split();
        // Whichever ends takes the other along.
        tokio::select! {
            () = pump(number, dialled_read, reached_write, self.calls, self.dice.clone()) => {}
            () = pump(number, reached_read, dialled_write, self.answers, self.dice) => {}
        }
    }
}

/// One way of a connection, until it ends or is torn.
async fn pump(
    number: u64,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut flow: watch::Receiver<State>,
    dice: Arc<Mutex<Chance>>,
) {
    let mut piece = vec![0; PIECE_BYTES];
    let mut watched = flow.clone();
    loop {
        let length = tokio::select! {
            read = from.read(&mut piece) => match read {
                Ok(0) | Err(_) => return,
                Ok(length) => length,
            },
            _torn_or_over = watched.wait_for(|state| state.flow == Flow::Torn) => return,
        };
        let moves = |state: &State| state.flow != Flow::Still && number > state.forgotten;
        let Ok(now) = flow.wait_for(moves).await.map(|state| state.flow) else { return };
        match now {
            Flow::Torn => return,
            Flow::Leaky(percent) if dice.lock().unwrap().below(100) < percent => return,
            Flow::Slow(pause) => tokio::time::sleep(pause).await,
            _ => {}
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}
