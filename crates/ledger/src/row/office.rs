//! Who leads the cluster, in which term and since when.
//!
//! The cluster elects; whoever was elected writes it down here with its first command, so that
//! every member can show it and the audit log has it.

use super::row;
use holdfast_common::Timestamp;
use minicbor::{Decode, Encode};

#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct OfficeRow {
    #[n(0)]
    pub member: u64,
    #[n(1)]
    pub term: u64,
    #[n(2)]
    pub since: Timestamp,
}

pub const OFFICE_KEY: &[u8] = b"office";
row!(OfficeRow, Office, "office", |_row| OFFICE_KEY);
