//! Between openraft's values and the protocol's, both ways.

use super::super::types::{
    Entry, LogId, StoredLogId, StoredVote, Types, Vote, entry_from_bytes, entry_to_bytes,
};
use bytes::Bytes;
use holdfast_common::{Code, Error, Result};
use holdfast_wire::{
    parse,
    v1::{self, append_response::Outcome},
};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse,
};

type Header = Option<v1::PeerHeader>;

/// A message between members without its header, which is judged where it comes in.
pub trait MemberMessage: Sized {
    /// Parsed as it would be here, and rendered again.
    fn said_anew(self) -> Result<Self>;
}

impl MemberMessage for v1::AppendRequest {
    fn said_anew(self) -> Result<Self> {
        appended(self).map(|request| append(None, &request))
    }
}

impl MemberMessage for v1::AppendResponse {
    fn said_anew(self) -> Result<Self> {
        append_answered(self).map(|answer| append_answer(&answer))
    }
}

impl MemberMessage for v1::TakeOverRequest {
    fn said_anew(self) -> Result<Self> {
        handed_over(self).map(|request| hand_over(None, &request))
    }
}

impl MemberMessage for v1::VoteRequest {
    fn said_anew(self) -> Result<Self> {
        asked_vote(self).map(|request| ask_vote(None, &request))
    }
}

impl MemberMessage for v1::VoteResponse {
    fn said_anew(self) -> Result<Self> {
        vote_answered(self).map(|answer| vote_answer(&answer))
    }
}

pub(in super::super) fn position(id: &LogId) -> v1::LogPosition {
    let (term, node, index) = StoredLogId::from(id).parts();
    v1::LogPosition { term, node, index }
}

pub(in super::super) fn log_id(position: v1::LogPosition) -> LogId {
    StoredLogId::of(position.term, position.node, position.index).into()
}

pub(in super::super) fn ballot(vote: &Vote) -> v1::Ballot {
    let (term, node, committed) = StoredVote::from(vote).parts();
    v1::Ballot { term, node, committed }
}

pub(in super::super) fn vote(ballot: Option<v1::Ballot>) -> Result<Vote> {
    let ballot = parse::required("a vote", ballot)?;
    Ok(StoredVote::of(ballot.term, ballot.node, ballot.committed).into())
}

pub(super) fn append(header: Header, request: &AppendEntriesRequest<Types>) -> v1::AppendRequest {
    v1::AppendRequest {
        header,
        vote: Some(ballot(&request.vote)),
        previous: request.prev_log_id.as_ref().map(position),
        entries: request.entries.iter().map(|entry| Bytes::from(entry_to_bytes(entry))).collect(),
        committed: request.leader_commit.as_ref().map(position),
    }
}

pub(crate) fn appended(request: v1::AppendRequest) -> Result<AppendEntriesRequest<Types>> {
    let entries = request.entries.iter().map(|bytes| entry_from_bytes(bytes));
    Ok(AppendEntriesRequest {
        vote: vote(request.vote)?,
        prev_log_id: request.previous.map(log_id),
        entries: entries.collect::<Result<Vec<Entry>>>()?,
        leader_commit: request.committed.map(log_id),
    })
}

pub(crate) fn append_answer(answer: &AppendEntriesResponse<Types>) -> v1::AppendResponse {
    let (outcome, taken, vote) = match answer {
        AppendEntriesResponse::Success => (Outcome::Success, None, None),
        AppendEntriesResponse::PartialSuccess(taken) => {
            (Outcome::Partial, taken.as_ref().map(position), None)
        }
        AppendEntriesResponse::Conflict => (Outcome::Conflict, None, None),
        AppendEntriesResponse::HigherVote(vote) => (Outcome::HigherVote, None, Some(ballot(vote))),
    };
    v1::AppendResponse { outcome: outcome.into(), taken, vote }
}

pub(super) fn append_answered(answer: v1::AppendResponse) -> Result<AppendEntriesResponse<Types>> {
    Ok(match answer.outcome() {
        Outcome::Success => AppendEntriesResponse::Success,
        Outcome::Partial => AppendEntriesResponse::PartialSuccess(answer.taken.map(log_id)),
        Outcome::Conflict => AppendEntriesResponse::Conflict,
        Outcome::HigherVote => AppendEntriesResponse::HigherVote(vote(answer.vote)?),
        Outcome::Unspecified => {
            return Err(Error::new(Code::UsageMalformed, "an answer to entries says nothing"));
        }
    })
}

pub(super) fn ask_vote(header: Header, request: &VoteRequest<Types>) -> v1::VoteRequest {
    v1::VoteRequest {
        header,
        vote: Some(ballot(&request.vote)),
        last: request.last_log_id.as_ref().map(position),
        handed_over: request.leadership_transfer,
    }
}

pub(crate) fn asked_vote(request: v1::VoteRequest) -> Result<VoteRequest<Types>> {
    let mut asked = VoteRequest::new(vote(request.vote)?, request.last.map(log_id));
    asked.leadership_transfer = request.handed_over;
    Ok(asked)
}

pub(crate) fn vote_answer(answer: &VoteResponse<Types>) -> v1::VoteResponse {
    v1::VoteResponse {
        vote: Some(ballot(&answer.vote)),
        granted: answer.vote_granted,
        last: answer.last_log_id.as_ref().map(position),
    }
}

pub(super) fn vote_answered(answer: v1::VoteResponse) -> Result<VoteResponse<Types>> {
    Ok(VoteResponse::new(vote(answer.vote)?, answer.last.map(log_id), answer.granted))
}

pub(super) fn hand_over(
    header: Header,
    request: &TransferLeaderRequest<Types>,
) -> v1::TakeOverRequest {
    v1::TakeOverRequest {
        header,
        from_leader: Some(ballot(request.from_leader())),
        to_node: *request.to_node_id(),
        last: request.last_log_id().map(position),
    }
}

pub(crate) fn handed_over(request: v1::TakeOverRequest) -> Result<TransferLeaderRequest<Types>> {
    let from = vote(request.from_leader)?;
    Ok(TransferLeaderRequest::new(from, request.to_node, request.last.map(log_id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use openraft::EntryPayload;

    #[test]
    fn what_is_sent_is_what_arrives() {
        let id = |index| LogId::from(StoredLogId::of(3, 2, index));
        let ours = Vote::from(StoredVote::of(4, 1, true));
        let request = AppendEntriesRequest::<Types> {
            vote: ours,
            prev_log_id: Some(id(6)),
            entries: vec![Entry { log_id: id(7), payload: EntryPayload::Blank }],
            leader_commit: None,
        };
        let arrived = appended(append(None, &request)).unwrap();
        assert_eq!(format!("{arrived:?}"), format!("{request:?}"));
        for answer in [
            AppendEntriesResponse::Success,
            AppendEntriesResponse::PartialSuccess(Some(id(9))),
            AppendEntriesResponse::PartialSuccess(None),
            AppendEntriesResponse::Conflict,
            AppendEntriesResponse::HigherVote(ours),
        ] {
            assert_eq!(append_answered(append_answer(&answer)).unwrap(), answer);
        }
        let mut asked = VoteRequest::<Types>::new(ours, Some(id(1)));
        asked.leadership_transfer = true;
        assert_eq!(asked_vote(ask_vote(None, &asked)).unwrap(), asked);
        let answer = VoteResponse::<Types>::new(ours, None, true);
        assert_eq!(vote_answered(vote_answer(&answer)).unwrap(), answer);
        let transfer = TransferLeaderRequest::<Types>::new(ours, 5, Some(id(2)));
        assert_eq!(handed_over(hand_over(None, &transfer)).unwrap(), transfer);
    }

    #[test]
    fn what_says_nothing_is_refused() {
        assert!(appended(v1::AppendRequest::default()).is_err());
        assert!(asked_vote(v1::VoteRequest::default()).is_err());
        assert!(append_answered(v1::AppendResponse::default()).is_err());
        assert!(handed_over(v1::TakeOverRequest::default()).is_err());
        let entries = vec![Bytes::from_static(b"\xff")];
        let vote = Some(v1::Ballot { term: 1, node: 1, committed: true });
        assert!(appended(v1::AppendRequest { vote, entries, ..Default::default() }).is_err());
    }
}
