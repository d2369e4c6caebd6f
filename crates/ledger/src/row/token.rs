//! A join token, of which only the hash is kept.

use super::row;
use holdfast_common::{AgentId, Timestamp};
use minicbor::{Decode, Encode};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct TokenRow {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub hash: [u8; 32],
    #[n(1)]
    pub labels: BTreeMap<String, String>,
    #[n(2)]
    pub expires: Timestamp,
    #[n(3)]
    pub used_by: Option<AgentId>,
}

row!(TokenRow, Token, "token", |row| row.hash);
