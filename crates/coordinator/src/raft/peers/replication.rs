//! What openraft calls on another member.

use super::{Lane, Peers, wire};
use crate::raft::types::{Types, Vote};
use holdfast_common::{Code, Error, Result as Held};
use holdfast_wire::{status::from_status, v1::raft_client::RaftClient};
use openraft::{
    OptionalSend, alias,
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::{RPCOption, v2::RaftNetworkV2},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use std::{future::Future, path::PathBuf, time::Duration};
use tonic::{Response, Status, transport::Channel};

/// One other member, as openraft sees it.
pub(crate) struct Peer {
    pub(super) peers: Peers,
    pub(super) target: u64,
}

impl Peer {
    async fn ask<A, F>(
        &self,
        patience: Duration,
        call: impl FnOnce(RaftClient<Channel>) -> F + Send,
    ) -> Held<A>
    where
        F: Future<Output = Result<Response<A>, Status>> + Send,
    {
        let asked = async {
            let client = self.peers.client(self.target, Lane::Log).await?;
            let answer = call(client).await.map_err(|status| from_status(&status))?;
            Ok(answer.into_inner())
        };
        tokio::time::timeout(patience, asked).await.unwrap_or_else(|_| Err(silent(self.target)))
    }
}

pub(super) fn silent(member: u64) -> Error {
    Error::new(Code::ClusterUnreachable, format!("member {member} does not answer in time"))
}

fn failed(error: Error) -> RPCError<Types> {
    if error.code == Code::ClusterUnreachable {
        return RPCError::Unreachable(Unreachable::new(&error));
    }
    RPCError::Network(NetworkError::new(&error))
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = PathBuf;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let message = wire::append(self.peers.header(self.target), &request);
        let answer = self
            .ask(option.soft_ttl(), |mut raft: RaftClient<Channel>| async move {
                raft.append(message).await
            })
            .await;
        answer.and_then(wire::append_answered).map_err(failed)
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let message = wire::ask_vote(self.peers.header(self.target), &request);
        let answer = self
            .ask(option.soft_ttl(), |mut raft: RaftClient<Channel>| async move {
                raft.vote(message).await
            })
            .await;
        answer.and_then(wire::vote_answered).map_err(failed)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let message = wire::ask_vote(self.peers.header(self.target), &request);
        let answer = self
            .ask(option.soft_ttl(), |mut raft: RaftClient<Channel>| async move {
                raft.pre_vote(message).await
            })
            .await;
        answer.and_then(wire::vote_answered).map_err(failed)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: alias::SnapshotOf<Types, PathBuf>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let sent = tokio::select! {
            closed = cancel => return Err(StreamingError::Closed(closed)),
            sent = self.peers.send_snapshot(self.target, &vote, snapshot.snapshot) => sent,
        };
        match sent {
            Ok(vote) => Ok(SnapshotResponse::new(vote)),
            Err(error) => Err(StreamingError::Unreachable(Unreachable::new(&error))),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let message = wire::hand_over(self.peers.header(self.target), &request);
        let answer = self
            .ask(option.soft_ttl(), |mut raft: RaftClient<Channel>| async move {
                raft.take_over(message).await
            })
            .await;
        let answer = answer.map_err(failed)?;
        if answer.refused.is_empty() {
            return Ok(Ok(()));
        }
        let error = Error::new(Code::ResourceConflict, answer.refused);
        Err(RPCError::Network(NetworkError::new(&error)))
    }
}
