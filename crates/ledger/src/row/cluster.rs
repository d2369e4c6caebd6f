//! Who this cluster is.

use super::row;
use holdfast_common::{ClusterId, Name, Timestamp};
use minicbor::{Decode, Encode, bytes::ByteVec};

/// The one row of the cluster. Private keys in it are wrapped under the coordinators' KEK.
#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct ClusterRow {
    #[n(0)]
    pub id: ClusterId,
    #[n(1)]
    pub name: Name,
    #[n(2)]
    pub created: Timestamp,
    #[n(3)]
    pub ca_certificate: ByteVec,
    #[n(4)]
    pub ca_key_wrapped: ByteVec,
    #[n(5)]
    pub recovery_key_wrapped: ByteVec,
    /// What it takes beside its source to have the KEK, where there is such a thing.
    #[n(6)]
    pub kek_derivation: Option<ByteVec>,
}

pub const CLUSTER_KEY: &[u8] = b"cluster";
row!(ClusterRow, Cluster, "cluster", |_row| CLUSTER_KEY);
