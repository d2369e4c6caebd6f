//! The few messages of etcd's interface that are spoken here, written down by hand from its
//! public description: `KV/Put` and `Maintenance/Status`. Fields that nobody reads are left out;
//! decoding passes over them.

#[derive(Clone, PartialEq, prost::Message)]
pub struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct PutResponse {
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ResponseHeader {
    #[prost(uint64, tag = "1")]
    pub cluster_id: u64,
    /// Of the member that answers.
    #[prost(uint64, tag = "2")]
    pub member_id: u64,
    #[prost(int64, tag = "3")]
    pub revision: i64,
    #[prost(uint64, tag = "4")]
    pub raft_term: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct StatusRequest {}

#[derive(Clone, PartialEq, prost::Message)]
pub struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    #[prost(string, tag = "2")]
    pub version: String,
    /// The member id of who leads, as the answering member believes; zero: nobody.
    #[prost(uint64, tag = "4")]
    pub leader: u64,
}

pub const PUT: &str = "/etcdserverpb.KV/Put";
pub const STATUS: &str = "/etcdserverpb.Maintenance/Status";

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    #[test]
    fn a_put_is_key_and_value_at_one_and_two() {
        let put = PutRequest { key: b"key".to_vec(), value: b"worth".to_vec() };
        assert_eq!(put.encode_to_vec(), b"\x0a\x03key\x12\x05worth");
        assert_eq!(StatusRequest {}.encode_to_vec(), b"");
    }

    #[test]
    fn an_answer_to_a_put_says_the_revision_and_the_term() {
        let bytes = [0x0a, 0x09, 0x08, 0x05, 0x10, 0x07, 0x18, 0xac, 0x02, 0x20, 0x02];
        let wanted = ResponseHeader { cluster_id: 5, member_id: 7, revision: 300, raft_term: 2 };
        assert_eq!(PutResponse::decode(&bytes[..]).unwrap().header, Some(wanted));
        assert!(PutResponse::decode(&bytes[..10]).is_err(), "cut off");
        assert_eq!(PutResponse::decode(&b""[..]).unwrap().header, None);
    }

    #[test]
    fn a_status_names_member_and_leader_among_fields_that_are_passed_over() {
        let mut bytes = vec![0x0a, 0x0b, 0x10];
        bytes.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]); // member id
        bytes.extend(b"\x12\x063.4.23"); // version
        bytes.extend([0x18, 0x80, 0x80, 0x02]); // database size
        bytes.extend([0x20, 0x96, 0x01]); // leader
        bytes.extend([0x28, 0x09, 0x30, 0x02, 0x38, 0x09, 0x48, 0x01]); // indexes, term, use
        let status = StatusResponse::decode(&*bytes).unwrap();
        assert_eq!(status.header.unwrap().member_id, u64::MAX);
        assert_eq!((status.version.as_str(), status.leader), ("3.4.23", 150));
        assert_eq!(StatusResponse::decode(&b""[..]).unwrap().leader, 0);
    }
}
