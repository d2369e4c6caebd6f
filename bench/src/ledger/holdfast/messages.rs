//! The few messages of Holdfast's interface that are spoken here, written down by hand from
//! `proto/holdfast/v1`: `Admin/CreateToken`, `Admin/Status`, `Admin/ListAudit`, `Raft/Propose`
//! and `Raft/AwaitShipped`. Fields that nobody reads are left out; decoding passes over them.

use std::collections::BTreeMap;

#[derive(Clone, PartialEq, prost::Message)]
pub struct CreateTokenRequest {
    #[prost(btree_map = "string, string", tag = "1")]
    pub labels: BTreeMap<String, String>,
    /// For a coordinator instead of an agent.
    #[prost(bool, tag = "3")]
    pub for_member: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct CreateTokenResponse {
    #[prost(string, tag = "1")]
    pub token: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct StatusRequest {}

#[derive(Clone, PartialEq, prost::Message)]
pub struct StatusResponse {
    #[prost(uint64, optional, tag = "3")]
    pub leader: Option<u64>,
    #[prost(message, repeated, tag = "6")]
    pub members: Vec<MemberStatus>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct MemberStatus {
    #[prost(string, tag = "2")]
    pub name: String,
    /// `voter` or `learner`: what it is now.
    #[prost(string, tag = "4")]
    pub role: String,
    /// How far it has applied the log.
    #[prost(uint64, tag = "6")]
    pub applied: u64,
    /// Entries that the leader has and it has not.
    #[prost(uint64, optional, tag = "7")]
    pub lag: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ListAuditRequest {
    /// The number of the first row that is wanted.
    #[prost(uint64, tag = "1")]
    pub after: u64,
    #[prost(uint32, tag = "2")]
    pub limit: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ListAuditResponse {
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<AuditEntry>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct AuditEntry {
    #[prost(uint64, tag = "1")]
    pub number: u64,
    #[prost(int64, tag = "2")]
    pub time_ns: i64,
    #[prost(string, tag = "4")]
    pub action: String,
}

/// What a member that does not lead sends to the one that does, from `raft.proto`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ProposeRequest {
    #[prost(message, optional, tag = "1")]
    pub header: Option<PeerHeader>,
    #[prost(bytes = "vec", tag = "2")]
    pub key: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub actor: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub command: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct PeerHeader {
    #[prost(bytes = "vec", tag = "1")]
    pub cluster_id: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub from: u64,
    #[prost(uint64, tag = "3")]
    pub to: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ProposeResponse {
    #[prost(uint64, tag = "1")]
    pub index: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub reply: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct AwaitShippedRequest {
    #[prost(message, optional, tag = "1")]
    pub header: Option<PeerHeader>,
    #[prost(uint64, tag = "2")]
    pub index: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct AwaitShippedResponse {
    #[prost(uint64, tag = "1")]
    pub shipped: u64,
}

pub const AWAIT_SHIPPED: &str = "/holdfast.v1.Raft/AwaitShipped";
pub const PROPOSE: &str = "/holdfast.v1.Raft/Propose";
pub const CREATE_TOKEN: &str = "/holdfast.v1.Admin/CreateToken";
pub const LIST_AUDIT: &str = "/holdfast.v1.Admin/ListAudit";
pub const STATUS: &str = "/holdfast.v1.Admin/Status";

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    #[test]
    fn a_token_is_asked_for_with_its_labels_at_one_and_its_kind_at_three() {
        let labels = BTreeMap::from([("key".to_owned(), "worth".to_owned())]);
        let request = CreateTokenRequest { labels, for_member: true };
        assert_eq!(request.encode_to_vec(), b"\x0a\x0c\x0a\x03key\x12\x05worth\x18\x01");
        let answer = CreateTokenResponse::decode(&b"\x0a\x03hf1\x10\x05"[..]).unwrap();
        assert_eq!(answer.token, "hf1");
    }

    #[test]
    fn a_status_names_the_leader_and_the_roles_among_fields_that_are_passed_over() {
        let mut bytes = b"\x0a\x01c\x12\x03one\x18\x02\x20\x01".to_vec(); // names, leader, epoch
        bytes.extend(b"\x42\x00\x32\x0b\x08\x07\x22\x07learner"); // a source, a member
        let status = StatusResponse::decode(&bytes[..]).unwrap();
        assert_eq!((status.leader, &*status.members[0].role), (Some(2), "learner"));
        assert!(StatusResponse::decode(&bytes[..bytes.len() - 1]).is_err(), "cut off");
        assert_eq!(StatusResponse::decode(&b""[..]).unwrap().leader, None);
    }
}
