//! The first command of every ledger: who the cluster is, and its first operator.

use super::{Apply, Outcome, conflict};
use crate::row::{ClusterRow, OperatorRow, cluster::CLUSTER_KEY};
use holdfast_common::Result;
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct InitCluster {
    #[n(0)]
    pub cluster: ClusterRow,
    #[n(1)]
    pub operator: OperatorRow,
}

impl InitCluster {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        if apply.tables.row::<ClusterRow>(CLUSTER_KEY)?.is_some() {
            return Err(conflict("this ledger already belongs to a cluster"));
        }
        apply.tables.put(&self.cluster)?;
        apply.tables.put(&self.operator)?;
        Ok(Outcome::Done)
    }
}
