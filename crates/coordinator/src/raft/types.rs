//! What openraft is told about us, and how its values become bytes. Nothing of openraft leaves
//! this folder.

use bytes::Bytes;
use holdfast_common::{Code, Error, Result, record};
use holdfast_ledger::{Envelope, LEVEL};
use minicbor::{Decode, Encode, bytes::ByteVec};
use openraft::{EntryPayload, Membership, alias};
use std::collections::{BTreeMap, BTreeSet};

/// A command in its envelope, as bytes: the log neither looks into it nor renders it twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proposal(pub(crate) Bytes);

impl std::fmt::Display for Proposal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// A reply, as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer(pub(crate) Bytes);

/// A coordinator as the others know it.
#[derive(Clone, Debug, Decode, Default, Encode, PartialEq, Eq)]
#[cbor(map)]
pub(crate) struct Member {
    #[n(0)]
    pub(crate) name: String,
    #[n(1)]
    pub(crate) region: String,
    #[n(2)]
    pub(crate) address: String,
}

#[cfg(not(test))]
type Runtime = openraft::impls::TokioRuntime;
#[cfg(test)]
use super::simulation::Runtime;

openraft::declare_raft_types!(
    pub(crate) Types:
        D = Proposal,
        R = Answer,
        Node = Member,
        AsyncRuntime = Runtime,
);

pub(crate) type LogId = alias::LogIdOf<Types>;
pub(crate) type Entry = alias::EntryOf<Types>;
pub(crate) type Vote = alias::VoteOf<Types>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<Types>;

/// A log id in its stored form.
#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub(crate) struct StoredLogId {
    #[n(0)]
    term: u64,
    #[n(1)]
    node: u64,
    #[n(2)]
    index: u64,
}

impl StoredLogId {
    pub(crate) fn of(term: u64, node: u64, index: u64) -> Self {
        Self { term, node, index }
    }

    /// Term, node, index.
    pub(crate) fn parts(self) -> (u64, u64, u64) {
        (self.term, self.node, self.index)
    }
}

impl From<&LogId> for StoredLogId {
    fn from(id: &LogId) -> Self {
        Self { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
    }
}

impl From<StoredLogId> for LogId {
    fn from(id: StoredLogId) -> Self {
        let leader_id =
            openraft::impls::leader_id_adv::LeaderId { term: id.term, node_id: id.node };
        Self { leader_id, index: id.index }
    }
}

#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub(crate) struct StoredVote {
    #[n(0)]
    term: u64,
    #[n(1)]
    node: u64,
    #[n(2)]
    committed: bool,
}

impl StoredVote {
    pub(crate) fn of(term: u64, node: u64, committed: bool) -> Self {
        Self { term, node, committed }
    }

    /// Term, node, whether a quorum agreed.
    pub(crate) fn parts(self) -> (u64, u64, bool) {
        (self.term, self.node, self.committed)
    }
}

impl From<&Vote> for StoredVote {
    fn from(vote: &Vote) -> Self {
        let leader = &vote.leader_id;
        Self { term: leader.term, node: leader.node_id, committed: vote.committed }
    }
}

impl From<StoredVote> for Vote {
    fn from(vote: StoredVote) -> Self {
        let leader_id =
            openraft::impls::leader_id_adv::LeaderId { term: vote.term, node_id: vote.node };
        Self { leader_id, committed: vote.committed }
    }
}

/// Who belongs to the cluster, in its stored form.
#[derive(Clone, Debug, Decode, Default, Encode, PartialEq, Eq)]
#[cbor(map)]
pub(crate) struct StoredMembers {
    #[n(0)]
    at: Option<StoredLogId>,
    #[n(1)]
    configs: Vec<Vec<u64>>,
    #[n(2)]
    nodes: BTreeMap<u64, Member>,
}

impl StoredMembers {
    /// One member that votes.
    pub(crate) fn alone(at: Option<StoredLogId>, id: u64, member: Member) -> Self {
        Self { at, configs: vec![vec![id]], nodes: BTreeMap::from([(id, member)]) }
    }
}

fn configs_of(membership: &Membership<u64, Member>) -> Vec<Vec<u64>> {
    membership.get_joint_config().iter().map(|set| set.iter().copied().collect()).collect()
}

fn nodes_of(membership: &Membership<u64, Member>) -> BTreeMap<u64, Member> {
    membership.nodes().map(|(id, node)| (*id, node.clone())).collect()
}

fn membership_of(
    configs: Vec<Vec<u64>>,
    nodes: BTreeMap<u64, Member>,
) -> Result<Membership<u64, Member>> {
    let configs: Vec<BTreeSet<u64>> =
        configs.into_iter().map(|ids| ids.into_iter().collect()).collect();
    if configs.is_empty() {
        return Ok(Membership::default());
    }
    Membership::new(configs, nodes).map_err(|error| {
        Error::new(Code::LogDamaged, "a stored membership makes no sense").cause(error)
    })
}

impl From<&StoredMembership> for StoredMembers {
    fn from(stored: &StoredMembership) -> Self {
        Self {
            at: stored.log_id().as_ref().map(StoredLogId::from),
            configs: configs_of(stored.membership()),
            nodes: nodes_of(stored.membership()),
        }
    }
}

impl TryFrom<StoredMembers> for StoredMembership {
    type Error = Error;

    fn try_from(stored: StoredMembers) -> Result<Self> {
        let membership = membership_of(stored.configs, stored.nodes)?;
        Ok(Self::new(stored.at.map(LogId::from), membership))
    }
}

/// An entry of the log in its stored form.
#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
struct StoredEntry {
    #[n(0)]
    id: StoredLogId,
    #[n(1)]
    command: Option<ByteVec>,
    #[n(2)]
    members: Option<StoredMembers>,
}

pub(crate) fn entry_to_bytes(entry: &Entry) -> Vec<u8> {
    let (command, members) = match &entry.payload {
        EntryPayload::Blank => (None, None),
        EntryPayload::Normal(proposal) => (Some(proposal.0.to_vec().into()), None),
        EntryPayload::Membership(membership) => (
            None,
            Some(StoredMembers {
                at: None,
                configs: configs_of(membership),
                nodes: nodes_of(membership),
            }),
        ),
    };
    record::to_bytes(&StoredEntry { id: StoredLogId::from(&entry.log_id), command, members })
}

pub(crate) fn entry_from_bytes(bytes: &[u8]) -> Result<Entry> {
    let stored: StoredEntry = record::from_bytes("log entry", bytes)?;
    let payload = match (stored.command, stored.members) {
        (Some(command), _) => EntryPayload::Normal(Proposal(Bytes::from(Vec::from(command)))),
        (None, Some(members)) => {
            EntryPayload::Membership(membership_of(members.configs, members.nodes)?)
        }
        (None, None) => EntryPayload::Blank,
    };
    Ok(Entry { log_id: stored.id.into(), payload })
}

/// An entry that makes `voter` the only one that votes; the other nodes follow.
pub(crate) fn membership_entry(
    id: StoredLogId,
    voter: u64,
    nodes: BTreeMap<u64, Member>,
) -> Result<Entry> {
    let membership = membership_of(vec![vec![voter]], nodes)?;
    Ok(Entry { log_id: id.into(), payload: EntryPayload::Membership(membership) })
}

/// Entries that lie end to end, in their stored form.
pub(crate) fn entries_from_bytes(mut bytes: &[u8]) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let mut decoder = minicbor::Decoder::new(bytes);
        let skipped = decoder.skip().map(|()| decoder.position());
        let end = skipped.map_err(|error| {
            Error::new(Code::RecordMalformed, "entries of the log cannot be told apart")
                .cause(error)
        })?;
        let (entry, rest) = bytes.split_at(end);
        entries.push(entry_from_bytes(entry)?);
        bytes = rest;
    }
    Ok(entries)
}

/// The commands among entries that lie end to end, with the index of each.
pub(crate) fn envelopes_from_bytes(bytes: &[u8]) -> Result<Vec<(u64, Envelope)>> {
    let entries = entries_from_bytes(bytes)?.into_iter();
    let commands = entries.filter_map(|entry| match entry.payload {
        EntryPayload::Normal(proposal) => Some((entry.log_id.index, proposal)),
        _ => None,
    });
    commands.map(|(index, proposal)| Ok((index, Envelope::read(&proposal.0, LEVEL)?))).collect()
}

/// An entry in its stored form, read and rendered again.
pub(crate) fn entry_written_anew(bytes: &[u8]) -> Result<Vec<u8>> {
    entry_from_bytes(bytes).map(|entry| entry_to_bytes(&entry))
}

/// Which entry it is, by its stored form.
pub(crate) fn entry_index(bytes: &[u8]) -> Result<u64> {
    entry_from_bytes(bytes).map(|entry| entry.log_id.index)
}

/// A command as an entry of the log.
#[cfg(test)]
pub(crate) fn entry_of_command(
    term: u64,
    node: u64,
    index: u64,
    envelope: &holdfast_ledger::Envelope,
) -> Vec<u8> {
    let payload = EntryPayload::Normal(Proposal(record::to_bytes(envelope).into()));
    entry_to_bytes(&Entry { log_id: StoredLogId { term, node, index }.into(), payload })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_id(index: u64) -> LogId {
        StoredLogId { term: 3, node: 1, index }.into()
    }

    #[test]
    fn every_kind_of_entry_survives_its_stored_form() {
        let members = StoredMembers {
            at: None,
            configs: vec![vec![1, 2]],
            nodes: BTreeMap::from([(1, Member::default()), (2, Member::default())]),
        };
        let payloads = [
            EntryPayload::Blank,
            EntryPayload::Normal(Proposal(Bytes::from_static(b"command"))),
            EntryPayload::Membership(membership_of(members.configs, members.nodes).unwrap()),
        ];
        for payload in payloads {
            let entry = Entry { log_id: log_id(7), payload };
            let bytes = entry_to_bytes(&entry);
            assert_eq!(entry_to_bytes(&entry_from_bytes(&bytes).unwrap()), bytes);
            assert!(entry_from_bytes(&bytes[..bytes.len() - 1]).is_err());
        }
    }
}
