//! What other members ask of this one's ledger.
//!
//! Each call is checked where it comes in (`api/raft`): the certificate of a member, the cluster,
//! and that it means this member. What is here trusts that.

use super::{
    Ledger,
    peers::{Incoming, wire},
    snapshot,
    types::{StoredLogId, StoredVote, Vote, entries_from_bytes},
};
use holdfast_common::{Code, Error, Result};
use holdfast_wire::v1;
use openraft::{
    alias,
    async_runtime::WatchReceiver,
    entry::RaftEntry,
    raft::{AppendEntriesRequest, AppendEntriesResponse},
};
use std::path::PathBuf;

impl Ledger {
    pub(crate) async fn take_entries(
        &self,
        request: v1::AppendRequest,
    ) -> Result<v1::AppendResponse> {
        self.peers.insist_on_open_log()?;
        self.peers.contacted();
        self.silence.broken();
        let answer = self.raft.append_entries(wire::appended(request)?).await;
        answer.map(|answer| wire::append_answer(&answer)).map_err(refused)
    }

    pub(crate) async fn give_vote(&self, request: v1::VoteRequest) -> Result<v1::VoteResponse> {
        self.peers.insist_on_open_log()?;
        let answer = self.raft.vote(wire::asked_vote(request)?).await;
        answer.map(|answer| wire::vote_answer(&answer)).map_err(refused)
    }

    pub(crate) async fn would_vote(&self, request: v1::VoteRequest) -> Result<v1::VoteResponse> {
        let answer = self.raft.pre_vote(wire::asked_vote(request)?).await;
        answer.map(|answer| wire::vote_answer(&answer)).map_err(refused)
    }

    pub(crate) async fn take_over(
        &self,
        request: v1::TakeOverRequest,
    ) -> Result<v1::TakeOverResponse> {
        let answer = self.raft.handle_transfer_leader(wire::handed_over(request)?).await;
        let refused = match answer.map_err(refused)? {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        };
        Ok(v1::TakeOverResponse { refused })
    }

    /// Takes entries that a leader had applied and shipped, as if it had sent them, and waits until
    /// they are applied here. What this member has already is passed over.
    pub(crate) async fn take_shipped(&self, entries: &[u8]) -> Result<()> {
        // The tables are ahead of what openraft says of them, for a moment.
        let here = Some(*self.applied.borrow()).filter(|index| *index > 0);
        let wait = self.raft.wait(None);
        let stopped = |error| {
            Error::new(Code::ClusterLeaderless, "the ledger of this member has stopped")
                .cause(error)
        };
        wait.applied_index_at_least(here, "what the tables have").await.map_err(stopped)?;
        let (applied, vote) = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            (metrics.last_applied, metrics.vote)
        };
        let mut entries = entries_from_bytes(entries)?;
        entries.retain(|entry| entry.index() > applied.map_or(0, |id| id.index));
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(()) };
        let (next, last) = (applied.map_or(1, |id| id.index + 1), last.log_id);
        if first.index() != next {
            return Err(Error::new(Code::LogDamaged, format!("entry {next} was not shipped")));
        }
        // In the name of whoever wrote the last of them, unless a later leader was heard since.
        let (term, node, _) = StoredLogId::from(&last).parts();
        let theirs = Vote::from(StoredVote::of(term, node, true));
        let vote = if vote > theirs { vote } else { theirs };
        let request =
            AppendEntriesRequest { vote, prev_log_id: applied, entries, leader_commit: Some(last) };
        let answer = self.raft.append_entries(request).await.map_err(refused)?;
        if !matches!(
            answer,
            AppendEntriesResponse::Success | AppendEntriesResponse::PartialSuccess(_)
        ) {
            let message = "the shipped log does not go on from this one";
            return Err(Error::new(Code::LogDamaged, message).cause(answer));
        }
        self.applied_at_least(last.index).await
    }

    /// Where the parts of snapshots come together.
    pub(crate) fn snapshots(&self) -> PathBuf {
        self.snapshots.to_path_buf()
    }

    /// Installs a snapshot that was received whole.
    pub(crate) async fn install(
        &self,
        ballot: Option<v1::Ballot>,
        incoming: Incoming,
    ) -> Result<v1::SendSnapshotResponse> {
        self.peers.insist_on_open_log()?;
        self.peers.contacted();
        let vote = wire::vote(ballot)?;
        let directory = self.snapshots();
        let adopt = move || -> Result<_> {
            let path = incoming.finish(&directory)?;
            Ok((snapshot::head_of(&path)?, path))
        };
        let adopted = tokio::task::spawn_blocking(adopt).await;
        let (head, snapshot) = adopted.map_err(|error| {
            Error::new(Code::InternalBug, "receiving a snapshot").cause(error)
        })??;
        let meta = super::machine::meta_of(&head)?;
        let snapshot = alias::SnapshotOf::<super::Types, PathBuf> { meta, snapshot };
        let answer = self.raft.install_full_snapshot(vote, snapshot).await.map_err(refused)?;
        Ok(v1::SendSnapshotResponse { vote: Some(wire::ballot(&answer.vote)) })
    }

    /// The members as this one sees them while it leads.
    pub(crate) fn overview(&self) -> Result<v1::OverviewResponse> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let (Some(replication), Some(heartbeat)) = (&metrics.replication, &metrics.heartbeat)
        else {
            return Err(Error::new(Code::ClusterLeaderless, "this member does not lead"));
        };
        let membership = metrics.membership_config.membership();
        let voters: Vec<u64> = membership.voter_ids().collect();
        let members = membership.nodes().map(|(id, _)| v1::PeerView {
            id: *id,
            voter: voters.contains(id),
            matched: match *id == self.me {
                true => metrics.last_log_index,
                false => replication.get(id).and_then(|at| at.as_ref()).map(|at| at.index),
            },
            silent_ms: match *id == self.me {
                true => Some(0),
                false => heartbeat.get(id).and_then(|at| at.as_ref()).map(|at| {
                    let silent = openraft::Instant::elapsed(&**at);
                    u64::try_from(silent.as_millis()).unwrap_or(u64::MAX)
                }),
            },
        });
        Ok(v1::OverviewResponse {
            last: metrics.last_log_index.unwrap_or(0),
            members: members.collect(),
        })
    }

    /// Has another member lead, whoever leads now.
    pub(crate) async fn transfer(&self, to: u64) -> Result<()> {
        match self.current_leader() {
            Some(leader) if leader == self.me => self.hand_over(to).await,
            Some(leader) => self.peers.transfer(leader, to).await,
            None => Err(Error::new(Code::ClusterLeaderless, "nobody leads at the moment")),
        }
    }

    /// Hands over to another member, if this one leads. Whoever asks may know an older leader or
    /// older voters: openraft stops to lead at once, for whomever, and where nobody else can be
    /// elected it would stand still until its next start.
    pub(crate) async fn hand_over(&self, to: u64) -> Result<()> {
        if self.current_leader() != Some(self.me) {
            return Err(Error::new(Code::ClusterLeaderless, "this member does not lead"));
        }
        if to == self.me {
            return Ok(());
        }
        if !self.raft.voter_ids().any(|voter| voter == to) {
            let message = format!("member {to} does not vote, and cannot lead");
            return Err(Error::new(Code::ResourceConflict, message)
                .next("name a voter: `holdfast cluster status` tells who votes"));
        }
        self.raft.trigger().transfer_leader(to).await.map_err(|fatal| self.stopped(&fatal))
    }
}

fn refused(error: impl core::error::Error) -> Error {
    Error::new(Code::FileIoFailed, "the ledger of this member cannot answer").cause(error)
}
