//! The first command of every ledger: who the cluster is, its first operator and its first member.

use super::{Apply, Outcome, conflict};
use crate::row::{
    ClusterRow, MemberRow, OperatorRow,
    cluster::CLUSTER_KEY,
    member::{FOUNDER_ID, check_address},
};
use holdfast_common::{Code, Error, Result};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct InitCluster {
    #[n(0)]
    pub cluster: ClusterRow,
    #[n(1)]
    pub operator: OperatorRow,
    /// The member that founds it; ledgers from before there were members have none.
    #[n(2)]
    pub member: Option<MemberRow>,
}

impl InitCluster {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        if apply.tables.row::<ClusterRow>(CLUSTER_KEY)?.is_some() {
            return Err(conflict("this ledger already belongs to a cluster"));
        }
        if let Some(member) = &self.member {
            check_founder(member)?;
            apply.add_member(&MemberRow { joined: apply.time, ..member.clone() })?;
        }
        apply.tables.put(&self.cluster)?;
        apply.tables.put(&self.operator)?;
        Ok(Outcome::Done)
    }
}

/// Whoever founds a cluster is its first voter.
fn check_founder(member: &MemberRow) -> Result<()> {
    if member.id != FOUNDER_ID || !member.is_voter() {
        let message = format!("a cluster is founded by a voter with the id {FOUNDER_ID}");
        return Err(Error::new(Code::ResourceMalformed, message));
    }
    check_address(&member.address)
}
