//! Operators: let in, renewed, and, when they are shut out, gone from every connection.
//!
//! ```text
//!   request ─▶ IssueOperator ─▶ row ─▶ certificate   made from the row, however often asked
//!   ledger changes, clock goes on ─▶ look at who is connected ─▶ close whoever may not call
//! ```
//!
//! Every member looks by itself, at what is there and not at what happened: whoever was shut out
//! before a snapshot came or a member was started anew is as gone as anybody.

use crate::{api::access::is_shut_out, house::House, identity::pki::new_serial};
use holdfast_common::{Code, Error, Name, Result, Timestamp, limits};
use holdfast_ledger::{
    Actor, Role,
    command::{IssueOperator, RenewOperator, RevokeOperator},
    row::OperatorRow,
};
use holdfast_runtime::{
    identity::{Identity, IdentityKind, PeerCertificate},
    pki::{ProvenKey, Validity},
};
use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const DAY_SECS: u64 = 24 * 3600;
/// What the ledger does not tell: that a certificate ran out.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Longer than an answer waits for the locations.
const SPARED_MAX: Duration = Duration::from_secs(30);
/// By then an answer that was given has gone out.
const SPARED_AFTER: Duration = Duration::from_secs(1);

pub(crate) struct Issued {
    pub(crate) row: OperatorRow,
    pub(crate) certificate: Vec<u8>,
}

/// Lets somebody in for so many days at a time; 0 as long as may be.
pub(crate) async fn issue(
    house: &House,
    actor: Actor,
    (name, role): (Name, Role),
    days: u32,
    key: &ProvenKey,
) -> Result<Issued> {
    let longest = limits::OPERATOR_CERT_TTL_SECS;
    let ttl_secs = if days == 0 { longest } else { u64::from(days) * DAY_SECS };
    if ttl_secs > longest {
        let message =
            format!("an operator's certificate lasts at most {} days", longest / DAY_SECS);
        return Err(Error::new(Code::UsageMalformed, message));
    }
    let validity = Validity::starting(house.ledger.now(), Duration::from_secs(ttl_secs));
    let command = IssueOperator {
        name: name.clone(),
        role,
        serial: new_serial(house.entropy.as_ref()),
        not_after: validity.not_after,
        public_key: *key.as_bytes(),
        ttl_secs,
    };
    house.ledger.propose(actor, command).await?;
    from_row(house, &name, key.as_bytes())
}

/// For the certificate that asks, whose key is at hand: the handshake has shown it.
pub(crate) async fn renew(house: &House, peer: &PeerCertificate) -> Result<Issued> {
    let IdentityKind::Operator(name) = &peer.identity.kind else {
        return Err(Error::new(Code::AuthDenied, "only an operator may call this"));
    };
    let command = renewal(house, name, peer)?;
    house.ledger.propose(Actor::Operator(name.clone()), command).await?;
    from_row(house, name, &peer.public_key)
}

/// A new serial and a new end for whoever has this certificate.
pub(crate) fn renewal(house: &House, name: &Name, old: &PeerCertificate) -> Result<RenewOperator> {
    let row = house.ledger.query().operator(name)?;
    let ttl_secs = row.and_then(|row| row.ttl_secs).unwrap_or(limits::OPERATOR_CERT_TTL_SECS);
    let validity = Validity::starting(house.ledger.now(), Duration::from_secs(ttl_secs));
    Ok(RenewOperator {
        name: name.clone(),
        serial_before: old.serial,
        public_key: old.public_key,
        serial: new_serial(house.entropy.as_ref()),
        not_after: validity.not_after,
    })
}

/// What was agreed, as a certificate: said again it is the same one in all that counts.
pub(crate) fn from_row(house: &House, name: &Name, key: &[u8; 32]) -> Result<Issued> {
    let row = house.ledger.query().operator(name)?;
    let Some(row) = row.filter(|row| !row.revoked && row.public_key == Some(*key)) else {
        let message = format!("`{name}` was revoked, or issued to somebody else, meanwhile");
        return Err(Error::new(Code::ResourceConflict, message));
    };
    let not_before = Validity::starting(house.ledger.now(), Duration::ZERO).not_before;
    let validity = Validity { not_before, not_after: row.not_after };
    let (key, identity) =
        (ProvenKey::checked_elsewhere(*key), Identity::operator(house.cluster, name.clone()));
    let certificate = house.keys()?.authority.issue(&key, &identity, validity, row.serial)?;
    Ok(Issued { row, certificate: certificate.to_vec() })
}

pub(crate) async fn revoke(house: &House, actor: Actor, name: Name) -> Result<OperatorRow> {
    house.ledger.propose(actor, RevokeOperator { name: name.clone() }).await?;
    close_shut_out(house);
    house.ledger.query().operator(&name)?.ok_or_else(|| {
        Error::new(Code::OperatorMissing, format!("`{name}` is not remembered any more"))
    })
}

/// Who stands that somebody let in, or whoever was let in by those in turn: whoever is to go may
/// have seen to it that he stays. A name may have been somebody else's before.
pub(crate) fn let_in_by<'a>(
    rows: &'a [OperatorRow],
    first: &OperatorRow,
    now: Timestamp,
) -> impl Iterator<Item = &'a OperatorRow> {
    let is_by = |row: &OperatorRow, by: &OperatorRow| {
        let is_later = row.since >= by.since;
        let is_before_the_end = by.revoked_at.is_none_or(|end| row.since <= Some(end));
        row.issued_by.as_ref() == Some(&by.name) && is_later && is_before_the_end
    };
    let (mut found, mut next) = (BTreeSet::new(), vec![first]);
    while let Some(by) = next.pop() {
        for row in rows.iter().filter(|row| row.name != first.name && is_by(row, by)) {
            if found.insert(&row.name) {
                next.push(row);
            }
        }
    }
    rows.iter().filter(move |row| found.contains(&row.name) && row.may_act(now))
}

/// Closes connections for as long as the coordinator runs.
pub(crate) async fn watch(house: Arc<House>, shutdown: CancellationToken) -> Result<()> {
    let mut applied = house.ledger.applied();
    loop {
        close_shut_out(&house);
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            changed = applied.changed() => if changed.is_err() { return Ok(()) },
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
}

fn close_shut_out(house: &House) {
    let is_operator =
        |peer: &PeerCertificate| matches!(peer.identity.kind, IdentityKind::Operator(_));
    let gone = house.connections.peers(is_operator);
    for peer in gone.iter().filter(|peer| is_shut_out(house, peer)) {
        let parts = parts_himself(house, peer);
        let closed = house.connections.close_among(|other, remote| {
            let is_spared = parts && house.parting.is_spared(remote);
            other.fingerprint == peer.fingerprint && !is_spared
        });
        if closed > 0 {
            tracing::info!(who = %peer.identity, closed, "connections of a former operator closed");
        }
    }
}

/// Whoever was shut out by somebody else waits for no answer that is worth a connection.
fn parts_himself(house: &House, peer: &PeerCertificate) -> bool {
    let IdentityKind::Operator(name) = &peer.identity.kind else { return false };
    let row = house.ledger.query().operator(name).ok().flatten();
    row.is_some_and(|row| was_by_himself(&row))
}

fn was_by_himself(row: &OperatorRow) -> bool {
    row.revoked && row.revoked_by.as_ref() == Some(&row.name)
}

/// Connections on which somebody waits to hear that he shut himself out.
#[derive(Clone, Default)]
pub(crate) struct Parting(Arc<Mutex<HashMap<SocketAddr, Instant>>>);

impl Parting {
    /// Spares a connection until this is dropped and what was said has gone out; not for ever.
    pub(crate) fn spare(&self, remote: SocketAddr) -> Spared {
        self.lock().insert(remote, Instant::now() + SPARED_MAX);
        Spared { parting: self.clone(), remote }
    }

    fn is_spared(&self, remote: SocketAddr) -> bool {
        let now = Instant::now();
        let mut spared = self.lock();
        spared.retain(|_, until| now < *until);
        spared.contains_key(&remote)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Spared {
    parting: Parting,
    remote: SocketAddr,
}

impl Drop for Spared {
    fn drop(&mut self) {
        let soon = Instant::now() + SPARED_AFTER;
        let mut spared = self.parting.lock();
        // Those that nobody looks for are not kept either.
        spared.retain(|_, until| Instant::now() < *until);
        spared.insert(self.remote, soon);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_shut_out_by_another_is_not_spared_for_trying_it_himself() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        let stands = OperatorRow::founding(name("ben"), 1, Default::default());
        let revoked =
            |by: &str| OperatorRow { revoked: true, revoked_by: Some(name(by)), ..stands.clone() };
        assert!(was_by_himself(&revoked("ben")));
        assert!(!was_by_himself(&revoked("ada")) && !was_by_himself(&stands));
    }

    #[test]
    fn whom_he_let_in_is_named_and_whom_those_let_in() {
        let at = Timestamp::from_nanos;
        let name = |text: &str| text.parse::<Name>().unwrap();
        let row = |who: &str, by: &str, since: i64| OperatorRow {
            since: Some(at(since)),
            issued_by: Some(name(by)),
            public_key: Some([1; 32]),
            ..OperatorRow::founding(name(who), 1, at(100))
        };
        let gone = |row: OperatorRow, when| OperatorRow {
            revoked: true,
            revoked_at: Some(at(when)),
            ..row
        };
        let ben = gone(row("ben", "ada", 10), 50);
        let rows = [
            row("ada", "admin", 1),
            ben.clone(),
            row("eve", "ben", 20),
            row("mal", "eve", 30),
            gone(row("sid", "ben", 20), 40),
            row("tom", "sid", 30),
            // Whoever had these names before, or has one now, is somebody else.
            row("old", "ben", 5),
            row("new", "ben", 60),
            row("due", "sid", 45),
            row("her", "ada", 20),
        ];
        let named = |now| {
            let left = let_in_by(&rows, &ben, at(now));
            left.map(|row| row.name.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(named(60), ["eve", "mal", "tom"]);
        assert!(named(200).is_empty(), "they have run out");
        let founder = OperatorRow::founding(name("admin"), 1, at(100));
        assert_eq!(let_in_by(&rows, &founder, at(60)).count(), 5, "all, through ada and ben");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_an_answer_is_spared_until_it_has_gone_out_and_not_for_ever() {
        let parting = Parting::default();
        let remote: SocketAddr = "127.0.0.1:7".parse().unwrap();
        let spared = parting.spare(remote);
        assert!(parting.is_spared(remote));
        assert!(!parting.is_spared("127.0.0.1:8".parse().unwrap()), "another connection");
        drop(spared);
        assert!(parting.is_spared(remote), "the answer is on its way");
        tokio::time::advance(SPARED_AFTER).await;
        assert!(!parting.is_spared(remote));
        let _unread = parting.spare(remote);
        tokio::time::advance(SPARED_MAX).await;
        assert!(!parting.is_spared(remote), "he never takes the answer");
        assert!(parting.lock().is_empty());
    }
}
