//! What one member asks another, apart from the log: mostly the leader, on behalf of a caller.

use super::{Lane, Peers, replication::silent};
use crate::raft::LeaderTime;
use bytes::Bytes;
use holdfast_common::{AgentId, Result, RunId, Timestamp, record};
use holdfast_keyring::{KekId, KekSource};
use holdfast_ledger::{Actor, Command, Reply};
use holdfast_wire::{
    status::from_status,
    v1::{self, raft_client::RaftClient},
};
use std::time::Duration;
use tonic::{Response, Status, transport::Channel};

/// Longer than an election takes; whoever asks tries again.
const PATIENCE: Duration = Duration::from_secs(5);
const HELLO_PATIENCE: Duration = Duration::from_secs(2);

/// What a leader says of its time, if it says any.
fn told_time(told: &v1::ReadIndexResponse) -> Option<LeaderTime> {
    let time = |ns| Timestamp::from_nanos(ns);
    (told.time_ns != 0)
        .then(|| LeaderTime { now: time(told.time_ns), wall: told.wall_ns.map(time) })
}

impl Peers {
    async fn ask<A, F>(
        &self,
        member: u64,
        patience: Duration,
        call: impl FnOnce(RaftClient<Channel>) -> F + Send,
    ) -> Result<A>
    where
        F: Future<Output = Result<Response<A>, Status>> + Send,
    {
        let asked = async {
            let client = self.client(member, Lane::Calls).await?;
            let answer = call(client).await.map_err(|status| from_status(&status))?;
            Ok(answer.into_inner())
        };
        tokio::time::timeout(patience, asked).await.unwrap_or_else(|_| Err(silent(member)))
    }

    /// Has the leader propose a command; the index at which it was applied, and the reply.
    pub(in crate::raft) async fn propose(
        &self,
        leader: u64,
        key: [u8; 16],
        actor: &Actor,
        command: &Command,
    ) -> Result<(u64, Reply)> {
        #[cfg(test)]
        if let Some(line) = crate::raft::simulation::line(self.0.me, leader) {
            return line.propose(key, actor, command).await;
        }
        let request = v1::ProposeRequest {
            header: self.header(leader),
            key: Bytes::copy_from_slice(&key),
            actor: record::to_bytes(actor).into(),
            command: record::to_bytes(command).into(),
        };
        let call = |mut raft: RaftClient<Channel>| async move { raft.propose(request).await };
        let answer = self.ask(leader, PATIENCE, call).await?;
        Ok((answer.index, record::from_bytes("reply", &answer.reply)?))
    }

    pub(in crate::raft) async fn read_index(&self, leader: u64) -> Result<u64> {
        #[cfg(test)]
        if let Some(line) = crate::raft::simulation::line(self.0.me, leader) {
            return line.read_index().await;
        }
        let request = v1::ReadIndexRequest { header: self.header(leader) };
        let call = |mut raft: RaftClient<Channel>| async move { raft.read_index(request).await };
        Ok(self.ask(leader, PATIENCE, call).await?.index)
    }

    /// None of a leader that does not say it.
    pub(in crate::raft) async fn leader_time(&self, leader: u64) -> Result<Option<LeaderTime>> {
        let request = v1::ReadIndexRequest { header: self.header(leader) };
        let call = |mut raft: RaftClient<Channel>| async move { raft.read_index(request).await };
        Ok(told_time(&self.ask(leader, PATIENCE, call).await?))
    }

    /// Waits until the leader has shipped the log up to `index`.
    pub(crate) async fn await_shipped(
        &self,
        leader: u64,
        index: u64,
        patience: Duration,
    ) -> Result<u64> {
        let request = v1::AwaitShippedRequest { header: self.header(leader), index };
        let call = |mut raft: RaftClient<Channel>| async move { raft.await_shipped(request).await };
        Ok(self.ask(leader, patience, call).await?.shipped)
    }

    pub(crate) async fn overview(&self, leader: u64) -> Result<v1::OverviewResponse> {
        let request = v1::OverviewRequest { header: self.header(leader) };
        self.ask(leader, PATIENCE, |mut raft: RaftClient<Channel>| async move {
            raft.overview(request).await
        })
        .await
    }

    /// Whether a member finds this KEK where it is said to be; an error says why not.
    pub(crate) async fn has_kek(
        &self,
        member: u64,
        source: &KekSource,
        derivation: &[u8],
        kek: &KekId,
    ) -> Result<()> {
        let request = v1::HasKekRequest {
            header: self.header(member),
            source: source.to_string(),
            derivation: Bytes::copy_from_slice(derivation),
            kek_id: Bytes::copy_from_slice(kek.as_bytes()),
        };
        let call = |mut raft: RaftClient<Channel>| async move { raft.has_kek(request).await };
        self.ask(member, PATIENCE, call).await.map(drop)
    }

    /// Asks the leader to hand over to another member.
    pub(in crate::raft) async fn transfer(&self, leader: u64, to_node: u64) -> Result<()> {
        let request = v1::TransferRequest { header: self.header(leader), to_node };
        self.ask(leader, PATIENCE, |mut raft: RaftClient<Channel>| async move {
            raft.transfer(request).await
        })
        .await
        .map(drop)
    }

    /// What a member heard of a run from its agent.
    pub(crate) async fn progress(
        &self,
        member: u64,
        run: &RunId,
    ) -> Result<Option<v1::RunProgress>> {
        let run_id = Bytes::copy_from_slice(run.as_bytes());
        let request = v1::ProgressRequest { header: self.header(member), run_id };
        let call = |mut raft: RaftClient<Channel>| async move { raft.progress(request).await };
        Ok(self.ask(member, HELLO_PATIENCE, call).await?.progress)
    }

    /// Lines of an agent at a member that another process holds.
    pub(crate) async fn rivals(
        &self,
        member: u64,
        agent: &AgentId,
        process: u64,
        doubled: bool,
    ) -> Result<Vec<v1::RivalLine>> {
        let agent_id = Bytes::copy_from_slice(agent.as_bytes());
        let header = self.header(member);
        let request = v1::RivalsRequest { header, agent_id, process, doubled };
        let call = |mut raft: RaftClient<Channel>| async move { raft.rivals(request).await };
        Ok(self.ask(member, HELLO_PATIENCE, call).await?.lines)
    }

    /// What a member that was superseded has of the log behind an entry; a part of it.
    pub(crate) async fn remnant(&self, member: u64, after: u64) -> Result<v1::RemnantResponse> {
        let request = v1::RemnantRequest { header: self.header(member), after };
        let asked = async {
            let mut raft = self.client_of_any_epoch(member, Lane::Calls).await?;
            let answer = raft.remnant(request).await.map_err(|status| from_status(&status))?;
            Ok(answer.into_inner())
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(silent(member)))
    }

    /// Tells a member where this one is, unless that is empty; how it is itself.
    pub(crate) async fn hello(&self, member: u64, address: &str) -> Result<v1::HelloResponse> {
        let (header, address) = (self.header(member), address.to_owned());
        let request = v1::HelloRequest { header, address };
        // Also from and to one that was superseded: this is how it is found out.
        let asked = async {
            let mut raft = self.client_of_any_epoch(member, Lane::Calls).await?;
            let answer = raft.hello(request).await.map_err(|status| from_status(&status))?;
            Ok(answer.into_inner())
        };
        tokio::time::timeout(HELLO_PATIENCE, asked).await.unwrap_or_else(|_| Err(silent(member)))
    }
}
