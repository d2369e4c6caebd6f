//! People: who may act for the cluster, until when, and with which certificates.
//!
//! A row is of a name. Of whoever has it now: a name that was revoked may be issued again, with
//! another serial, and what was issued under it before counts for nothing.

use super::row;
use crate::Role;
use holdfast_common::{Name, Timestamp, limits};
use minicbor::{Decode, Encode};
use std::time::Duration;

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct OperatorRow {
    #[n(0)]
    pub name: Name,
    #[n(1)]
    pub role: Role,
    /// Of the newest certificate.
    #[n(2)]
    pub serial: u64,
    #[n(3)]
    pub not_after: Timestamp,
    #[n(4)]
    pub revoked: bool,
    /// When it was issued, in ledger time; none of one that came with a cluster or its recovery.
    #[n(5)]
    pub since: Option<Timestamp>,
    #[n(6)]
    pub issued_by: Option<Name>,
    /// The key that every certificate under this name is for; older ledgers did not note it.
    #[cbor(n(7), with = "minicbor::bytes")]
    pub public_key: Option<[u8; 32]>,
    /// How long each certificate lasts.
    #[n(8)]
    pub ttl_secs: Option<u64>,
    #[n(9)]
    pub renewed: Option<Timestamp>,
    /// Of the certificate before: whoever renews has it until the new one is at hand.
    #[n(10)]
    pub serial_before: Option<u64>,
    #[n(11)]
    pub revoked_at: Option<Timestamp>,
    #[n(12)]
    pub revoked_by: Option<Name>,
    /// When it came with a recovery; none of one that somebody issued, or that founded a cluster.
    #[n(13)]
    pub recovered: Option<Timestamp>,
}

row!(OperatorRow, Operator, "operator", |row| row.name.as_str().as_bytes());

impl OperatorRow {
    /// One that comes with a cluster, or with its recovery: nobody issued it.
    pub fn founding(name: Name, serial: u64, not_after: Timestamp) -> Self {
        Self {
            name,
            role: Role::Admin,
            serial,
            not_after,
            revoked: false,
            since: None,
            issued_by: None,
            public_key: None,
            ttl_secs: None,
            renewed: None,
            serial_before: None,
            revoked_at: None,
            revoked_by: None,
            recovered: None,
        }
    }

    /// Whether its newest certificate has run out. Of one that came with an older ledger that is
    /// not known: its coordinator renewed it, and noted nothing.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.public_key.is_some() && self.not_after < now
    }

    /// Whether it may act now, as far as the ledger knows.
    pub fn may_act(&self, now: Timestamp) -> bool {
        !self.revoked && !self.is_over(now)
    }

    /// Whether the cluster can be run by it alone, beyond doubt.
    pub fn is_able(&self, now: Timestamp) -> bool {
        !self.revoked && self.role == Role::Admin && now <= self.not_after
    }

    /// Whether it will be able for a while, whoever is ill or on a journey: one that nobody issued
    /// is renewed by its coordinator.
    pub fn stays(&self, now: Timestamp) -> bool {
        let soon = now.plus(Duration::from_secs(limits::OPERATOR_ENDING_SECS));
        self.is_able(if self.since.is_none() { now } else { soon })
    }

    /// Whether a certificate of this name is of whoever has the name now. One that nobody issued is
    /// renewed by its coordinator also while nobody leads: it is known by its key alone.
    pub fn admits(&self, serial: u64, key: &[u8; 32]) -> bool {
        let is_key = self.public_key.is_none_or(|known| known == *key);
        let is_serial = serial == self.serial || Some(serial) == self.serial_before;
        is_key && (is_serial || self.since.is_none())
    }

    /// The same at a member's door, where a ledger may lack a renewal that another side agreed to:
    /// one for the known key that ends later is newer than what is known. A key is one person's.
    pub fn is_shown(&self, serial: u64, key: &[u8; 32], not_after: Timestamp) -> bool {
        let is_newer = self.public_key == Some(*key) && self.not_after < not_after;
        is_newer || self.admits(serial, key)
    }
}
