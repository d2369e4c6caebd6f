//! The lines to the other members.
//!
//! ```text
//!   openraft ─→ Peer (one per target) ─┐
//!   propose, read index, overview ─────┴→ Peers: address book ─→ channel per member (mTLS)
//!                                                             └→ a second one for snapshots
//! ```
//!
//! A line is dialled when it is first needed and mends itself. Where a member is comes from the
//! membership, and from the member itself when it says so: a restart may have moved it; but for
//! those of which the configuration knows better. Before this process knows its own certificate
//! nobody can be called.

mod calls;
mod epoch;
mod replication;
mod transfer;
pub(super) mod wire;

use super::types::{Member, Types};
use crate::region::Standing;
use epoch::Stand;
use holdfast_common::{ClusterId, Code, Error, Result, Secret, limits};
use holdfast_runtime::tls::{ChannelKind, ClientTls, connect};
use holdfast_wire::v1::{self, raft_client::RaftClient};
use openraft::network::RaftNetworkFactory;
pub(super) use replication::Peer;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};
use tonic::transport::Channel;
pub(crate) use transfer::Incoming;
pub use wire::MemberMessage;

/// A handle on all lines.
#[derive(Clone)]
pub(crate) struct Peers(Arc<Shared>);

struct Shared {
    cluster: ClusterId,
    me: u64,
    /// Where some are from here, whatever they and the membership say.
    fixed: BTreeMap<u64, String>,
    tls: OnceLock<Arc<ClientTls>>,
    /// With what this member vouches for the epoch that it tells of.
    voucher_key: OnceLock<Secret<32>>,
    book: Mutex<BTreeMap<u64, Entry>>,
    stand: Mutex<Stand>,
    turn: Mutex<()>,
}

#[derive(Default)]
struct Entry {
    /// As the membership says; what it said before is not believed again.
    listed: Option<String>,
    address: Option<String>,
    channels: BTreeMap<Lane, Channel>,
}

/// What travels on a line, each apart: bulk delays nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Log,
    Calls,
    Snapshots,
}

impl Peers {
    pub(crate) fn new(cluster: ClusterId, me: u64, fixed: BTreeMap<u64, String>) -> Self {
        Self(Arc::new(Shared {
            cluster,
            me,
            fixed,
            tls: OnceLock::new(),
            voucher_key: OnceLock::new(),
            book: Mutex::default(),
            stand: Mutex::new(Stand::at(Standing::first())),
            turn: Mutex::default(),
        }))
    }

    /// From now on others can be called, with this certificate.
    pub(crate) fn identify(&self, tls: Arc<ClientTls>) {
        // A second certificate comes through `ClientTls::replace`.
        drop(self.0.tls.set(tls));
    }

    /// A member says where it is.
    pub(crate) fn learn(&self, member: u64, address: &str) {
        self.lock().entry(member).or_default().move_to(address);
    }

    /// The membership says where a member is.
    pub(crate) fn list(&self, member: u64, address: &str) {
        let mut book = self.lock();
        let entry = book.entry(member).or_default();
        if entry.listed.as_deref() != Some(address) {
            entry.listed = Some(address.to_owned());
            entry.move_to(address);
        }
    }

    fn header(&self, to: u64) -> Option<v1::PeerHeader> {
        let cluster_id = bytes::Bytes::copy_from_slice(self.0.cluster.as_bytes());
        let epoch = self.tell_epoch();
        Some(v1::PeerHeader { cluster_id, from: self.0.me, to, epoch })
    }

    async fn client(&self, member: u64, lane: Lane) -> Result<RaftClient<Channel>> {
        // Whoever was superseded asks nobody for anything.
        self.insist_on_epoch()?;
        self.client_of_any_epoch(member, lane).await
    }

    async fn client_of_any_epoch(&self, member: u64, lane: Lane) -> Result<RaftClient<Channel>> {
        Ok(RaftClient::new(self.channel(member, lane).await?)
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::MESSAGE_BYTES_MAX))
    }

    async fn channel(&self, member: u64, lane: Lane) -> Result<Channel> {
        let address = {
            let book = self.lock();
            let entry = book.get(&member);
            if let Some(channel) = entry.and_then(|entry| entry.channels.get(&lane)) {
                return Ok(channel.clone());
            }
            self.place(member, entry).cloned()
        };
        let (Some(address), Some(tls)) = (address, self.0.tls.get()) else {
            let message = format!("it is not known yet how to reach member {member}");
            return Err(Error::new(Code::ClusterUnreachable, message));
        };
        let kind = match lane {
            Lane::Log | Lane::Calls => ChannelKind::Peer,
            Lane::Snapshots => ChannelKind::Data,
        };
        let channel = connect(std::slice::from_ref(&address), tls.clone(), kind).await?;
        let mut book = self.lock();
        let entry = book.entry(member).or_default();
        // It may have moved while we dialled.
        if self.place(member, Some(&*entry)) == Some(&address) {
            entry.channels.insert(lane, channel.clone());
        }
        Ok(channel)
    }

    fn place<'a>(&'a self, member: u64, entry: Option<&'a Entry>) -> Option<&'a String> {
        self.0.fixed.get(&member).or(entry.and_then(|entry| entry.address.as_ref()))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn move_to(&mut self, address: &str) {
        if self.address.as_deref() != Some(address) {
            self.address = Some(address.to_owned());
            self.channels.clear();
        }
    }
}

impl RaftNetworkFactory<Types> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, member: &Member) -> Peer {
        self.list(target, &member.address);
        Peer { peers: self.clone(), target }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_member_says_of_itself_counts_until_the_membership_says_something_new() {
        let peers = Peers::new(ClusterId::from_bytes([1; 16]), 1, BTreeMap::new());
        let at = |member| peers.lock().get(&member).and_then(|entry| entry.address.clone());
        peers.list(2, "a:1");
        assert_eq!(at(2).as_deref(), Some("a:1"));
        peers.learn(2, "b:2");
        peers.list(2, "a:1");
        assert_eq!(at(2).as_deref(), Some("b:2"), "old news");
        peers.list(2, "c:3");
        assert_eq!(at(2).as_deref(), Some("c:3"));
        assert_eq!(at(3), None);
    }

    #[test]
    fn where_the_configuration_knows_better_nobody_is_believed() {
        let fixed = BTreeMap::from([(2, "inside:1".to_owned())]);
        let peers = Peers::new(ClusterId::from_bytes([1; 16]), 1, fixed);
        let place = |member| peers.place(member, peers.lock().get(&member)).cloned();
        assert_eq!(place(2).as_deref(), Some("inside:1"), "of whom nothing was heard yet");
        for member in [2, 3] {
            peers.list(member, "outside:2");
            peers.learn(member, "elsewhere:3");
        }
        assert_eq!(place(2).as_deref(), Some("inside:1"));
        assert_eq!(place(3).as_deref(), Some("elsewhere:3"));
    }
}
