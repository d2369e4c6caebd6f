//! The network between the members: late, lossy, out of order, twice, or cut.
//!
//! ```text
//!   ask ─→ one message or two, each with a delay of its own ─→ the other member, if it runs
//!   answer ←─ the same way back, through a network that may have changed since
//! ```
//!
//! What is lost is not noticed: whoever asks waits until his patience is over.

use super::{
    events::{Event, Fate},
    member::Living,
    world::World,
};
use crate::raft::{
    Types,
    peers::Incoming,
    snapshot,
    types::{Member, Vote},
};
use futures::{FutureExt, future::BoxFuture};
use holdfast_common::{Code, Error, Result as Held};
use holdfast_ledger::{Actor, Command, Reply};
use openraft::{
    OptionalSend, RaftNetworkFactory, alias,
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::{RPCOption, v2::RaftNetworkV2},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use std::{collections::BTreeSet, fs, path::PathBuf, sync::Arc, time::Duration};
use tokio::sync::mpsc;

const CALL_PATIENCE: Duration = Duration::from_secs(5);
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(20);

/// How the lines are at the moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Links {
    /// From whom to whom nothing gets through.
    pub(super) cut: BTreeSet<(u64, u64)>,
    pub(super) lost_percent: u64,
    pub(super) twice_percent: u64,
    pub(super) late_ms: u64,
}

/// The way from one member to another.
#[derive(Clone)]
pub(in crate::raft) struct Line {
    pub(super) world: Arc<World>,
    pub(super) from: u64,
    pub(super) to: u64,
}

type Answer<A> = BoxFuture<'static, Held<A>>;

impl Line {
    pub(in crate::raft) async fn propose(
        self,
        key: [u8; 16],
        actor: &Actor,
        command: &Command,
    ) -> Held<(u64, Reply)> {
        let (actor, command) = (actor.clone(), command.clone());
        let call = move |at: Arc<Living>| -> Answer<(u64, Reply)> {
            let (actor, command) = (actor.clone(), command.clone());
            async move { at.ledger.agree(key, &actor, &command).await }.boxed()
        };
        self.ask("propose", CALL_PATIENCE, call).await
    }

    pub(in crate::raft) async fn read_index(self) -> Held<u64> {
        let call = |at: Arc<Living>| async move { at.ledger.read_index().await }.boxed();
        self.ask("read index", CALL_PATIENCE, call).await
    }

    #[expect(clippy::disallowed_methods, reason = "the simulation owns its tasks")]
    async fn ask<A: Send + 'static>(
        &self,
        what: &'static str,
        patience: Duration,
        call: impl Fn(Arc<Living>) -> Answer<A> + Clone + Send + 'static,
    ) -> Held<A> {
        let (sender, mut answers) = mpsc::channel(2);
        let twice = self.world.links.lock().unwrap().twice_percent;
        let copies = if self.world.dice().is(twice) { 2 } else { 1 };
        for _ in 0..copies {
            let (line, call, sender) = (self.clone(), call.clone(), sender.clone());
            tokio::spawn(async move {
                if let Some(answer) = line.carry(what, call).await {
                    drop(sender.try_send(answer));
                }
            });
        }
        match tokio::time::timeout(patience, answers.recv()).await {
            Ok(Some(answer)) => answer,
            _ => Err(unreachable(self.to)),
        }
    }

    /// There and back, once.
    async fn carry<A: Send + 'static>(
        self,
        what: &'static str,
        call: impl Fn(Arc<Living>) -> Answer<A>,
    ) -> Option<Held<A>> {
        let has_arrived = self.travel(what).await;
        let there = self.world.member(self.to);
        let fate = match (has_arrived, &there) {
            (false, _) => Fate::Lost,
            (true, None) => Fate::Refused,
            (true, Some(_)) => Fate::Arrived,
        };
        self.tell(what, fate);
        let answer = match (has_arrived, there) {
            (false, _) => return None,
            (true, None) => Err(unreachable(self.to)),
            (true, Some(at)) => at.life.spawn(call(at.clone())).await.ok()?,
        };
        let back = Self { world: self.world, from: self.to, to: self.from };
        let has_arrived = back.travel("answer").await;
        back.tell("answer", if has_arrived { Fate::Arrived } else { Fate::Lost });
        has_arrived.then_some(answer)
    }

    /// Whether a message gets through; it takes its time.
    async fn travel(&self, what: &str) -> bool {
        let is_bulk = what == "snapshot";
        let (is_lost, span) = {
            let links = self.world.links.lock().unwrap();
            let mut dice = self.world.dice();
            let late = links.late_ms * if is_bulk { 10 } else { 1 };
            let span = dice.millis(0, late);
            (dice.is(links.lost_percent) || links.cut.contains(&(self.from, self.to)), span)
        };
        if is_lost {
            return false;
        }
        tokio::time::sleep(span).await;
        !self.world.links.lock().unwrap().cut.contains(&(self.from, self.to))
    }

    fn tell(&self, what: &'static str, fate: Fate) {
        self.world.tell(Event::Carried { from: self.from, to: self.to, what, fate });
    }
}

fn unreachable(member: u64) -> Error {
    Error::new(Code::ClusterUnreachable, format!("member {member} does not answer"))
}

fn failed(error: Error) -> RPCError<Types> {
    if error.code == Code::ClusterUnreachable {
        return RPCError::Unreachable(Unreachable::new(&error));
    }
    RPCError::Network(NetworkError::new(&error))
}

fn refused(error: impl core::error::Error) -> Error {
    Error::new(Code::FileIoFailed, "the ledger of this member cannot answer").cause(error)
}

/// All lines that begin at a member.
#[derive(Clone)]
pub(super) struct Lines {
    pub(super) world: Arc<World>,
    pub(super) from: u64,
}

impl RaftNetworkFactory<Types> for Lines {
    type Network = Line;

    async fn new_client(&mut self, to: u64, _: &Member) -> Line {
        Line { world: self.world.clone(), from: self.from, to }
    }
}

impl RaftNetworkV2<Types> for Line {
    type SnapshotData = PathBuf;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let what = if request.entries.is_empty() { "heartbeat" } else { "entries" };
        let call = move |at: Arc<Living>| {
            let request = request.clone();
            async move { at.ledger.raft.append_entries(request).await.map_err(refused) }.boxed()
        };
        self.ask(what, option.soft_ttl(), call).await.map_err(failed)
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let call = move |at: Arc<Living>| {
            let request = request.clone();
            async move { at.ledger.raft.vote(request).await.map_err(refused) }.boxed()
        };
        self.ask("vote", option.soft_ttl(), call).await.map_err(failed)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let call = move |at: Arc<Living>| {
            let request = request.clone();
            async move { at.ledger.raft.pre_vote(request).await.map_err(refused) }.boxed()
        };
        self.ask("pre-vote", option.soft_ttl(), call).await.map_err(failed)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: alias::SnapshotOf<Types, PathBuf>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let failed = |error: Error| StreamingError::Unreachable(Unreachable::new(&error));
        let path = snapshot.snapshot;
        let bytes = fs::read(&path).map_err(|error| failed(refused(error)))?;
        let (hash, _) = snapshot::hash_of(&path).map_err(failed)?;
        let (world, bytes) = (self.world.clone(), Arc::<[u8]>::from(bytes));
        let call = move |at: Arc<Living>| {
            let (world, bytes) = (world.clone(), bytes.clone());
            async move { receive(&world, &at, vote, hash, &bytes).await }.boxed()
        };
        let sent = tokio::select! {
            biased;
            closed = cancel => return Err(StreamingError::Closed(closed)),
            sent = self.ask("snapshot", SNAPSHOT_PATIENCE, call) => sent,
        };
        sent.map(SnapshotResponse::new).map_err(failed)
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let call = move |at: Arc<Living>| {
            let request = request.clone();
            async move { at.ledger.raft.handle_transfer_leader(request).await.map_err(refused) }
                .boxed()
        };
        self.ask("transfer", option.soft_ttl(), call).await.map_err(failed)
    }
}

/// Takes a snapshot in as `Ledger::install` does, on this thread; it may break off half-way, and
/// goes on there the next time.
async fn receive(
    world: &World,
    at: &Living,
    vote: Vote,
    hash: [u8; 32],
    bytes: &[u8],
) -> Held<Vote> {
    let directory = at.ledger.snapshots();
    let offset = Incoming::offset(&directory, &hash);
    let mut incoming = Incoming::begin(&directory, hash, bytes.len() as u64, offset)?;
    let rest = &bytes[usize::try_from(offset).unwrap()..];
    let part = {
        let mut dice = world.dice();
        if dice.is(20) { dice.below(rest.len() as u64 + 1) } else { rest.len() as u64 }
    };
    incoming.push(&rest[..usize::try_from(part).unwrap()])?;
    let path = incoming.finish(&directory)?;
    let meta = crate::raft::machine::meta_of(&snapshot::head_of(&path)?)?;
    let snapshot = alias::SnapshotOf::<Types, PathBuf> { meta, snapshot: path };
    let answer = at.ledger.raft.install_full_snapshot(vote, snapshot).await.map_err(refused)?;
    Ok(answer.vote)
}
