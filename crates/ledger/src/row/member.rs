//! A member of the coordinator cluster, as it is wanted.
//!
//! Rows say who should vote and who should follow; the leader brings the cluster to it. An id is
//! given once and its row stays for ever, so that nobody who was removed comes back as another.
//! The name of a removed member is free again.

use super::row;
use holdfast_common::{Code, Error, Name, Result, Timestamp, limits};
use minicbor::{Decode, Encode};
use std::net::Ipv6Addr;

/// What a member is for.
#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(index_only)]
pub enum Duty {
    #[n(1)]
    Data,
    /// Votes, so that two other regions can tell which of them is cut off; serves no data.
    #[n(2)]
    Witness,
}

#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(index_only)]
pub enum MemberRole {
    #[n(1)]
    Learner,
    #[n(2)]
    Voter,
    /// It learns, and is made a voter as soon as that leaves an odd number of them.
    #[n(3)]
    Candidate,
}

impl core::fmt::Display for MemberRole {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Learner => "learner",
            Self::Voter => "voter",
            Self::Candidate => "candidate",
        })
    }
}

#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(index_only)]
pub enum MemberState {
    #[n(1)]
    Joined,
    #[n(2)]
    Removed,
    /// Of a region whose epoch is over. It may say so, and is told.
    #[n(3)]
    Superseded,
}

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct MemberRow {
    #[n(0)]
    pub id: u64,
    #[n(1)]
    pub name: Name,
    #[n(2)]
    pub region: Name,
    /// `host:port`, where the other members and the clients reach it.
    #[n(3)]
    pub address: String,
    #[n(4)]
    pub duty: Duty,
    /// The role that is wanted; which one it has, the cluster knows.
    #[n(5)]
    pub role: MemberRole,
    #[n(6)]
    pub state: MemberState,
    #[n(7)]
    pub joined: Timestamp,
    /// The key with which it joined.
    #[cbor(n(8), with = "minicbor::bytes")]
    pub identity_public: [u8; 32],
    /// Whether its certificates are for that key only: others make a new one at each start.
    #[n(9)]
    pub keeps_key: Option<bool>,
}

impl MemberRow {
    /// Whether a certificate with this key can be of this member. A number may have been given on
    /// both sides of a cluster that was divided, to two members.
    pub fn may_have(&self, key: &[u8; 32]) -> bool {
        let keeps_key = self.duty == Duty::Witness || self.keeps_key == Some(true);
        !keeps_key || self.identity_public == *key
    }

    pub fn is_live(&self) -> bool {
        self.state == MemberState::Joined
    }

    /// Whether it is wanted as a voter that holds data.
    pub fn is_data_voter(&self) -> bool {
        self.is_voter() && self.duty == Duty::Data
    }

    /// Whether it is wanted as a voter.
    pub fn is_voter(&self) -> bool {
        self.is_live() && self.role == MemberRole::Voter
    }
}

/// The id of the member that founds a cluster.
pub const FOUNDER_ID: u64 = 1;

/// Insists on `host:port`, where the host is a name, an IPv4 address or a bracketed IPv6 address.
/// Port 0 is of a member that chooses one when it starts.
pub fn check_address(address: &str) -> Result<()> {
    let is_address = address.len() <= limits::ADDRESS_BYTES_MAX
        && address.rsplit_once(':').is_some_and(|(host, port)| is_host(host) && is_port(port));
    if is_address {
        return Ok(());
    }
    let shown: String = address.chars().take(64).collect();
    let message = format!("`{}` is not the address of a member", shown.escape_debug());
    Err(Error::new(Code::ResourceMalformed, message)
        .next("write it as host:port, like backup-1.example:7443 or [2001:db8::1]:7443"))
}

pub(crate) fn no_member(which: impl core::fmt::Display) -> Error {
    Error::new(Code::MemberMissing, format!("there is no member `{which}`"))
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => host.parse::<Ipv6Addr>().is_ok(),
        None => {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
            !host.is_empty() && host.bytes().all(plain)
        }
    }
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

row!(MemberRow, Member, "member", |row| row.id.to_be_bytes());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_and_a_port_are_made_of_is_an_address() {
        let longest = format!("{}:1", "a".repeat(limits::ADDRESS_BYTES_MAX - 2));
        for good in ["localhost:0", "10.0.0.1:65535", "b-1.example_x:7443", "[::1]:80", &longest] {
            assert!(check_address(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn what_nobody_can_connect_to_is_no_address() {
        let longer = format!("{}:1", "a".repeat(limits::ADDRESS_BYTES_MAX - 1));
        let bad = ["", ":", "host", "host:", ":80", "host:65536", "host:+80", "host:8a"];
        let worse = ["::1:80", "[::1]", "[::g]:80", "[]:80", "a b:80", "a/b:80", "u@h:80", "ä:80"];
        for bad in bad.into_iter().chain(worse).chain(["https://host:80", "h\n:80", &longer]) {
            let error = check_address(bad).unwrap_err();
            assert_eq!(error.code, Code::ResourceMalformed, "{bad}");
            assert!(error.next.is_some_and(|next| next.contains("host:port")), "{bad}");
        }
    }
}
